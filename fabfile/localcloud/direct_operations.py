"""Operations of the services that direct clients cover, each as it is answered by moto's method for it."""

from __future__ import annotations

import base64
import uuid
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ConnectionClosedError
from moto.core.errors import get_error_model
from moto.core.exceptions import ServiceException
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import get_pagination_model, get_service_model, method_names_from_class
from moto.utilities.utils import get_partition
from werkzeug.exceptions import HTTPException

from .direct_answers import Answers
from .direct_requests import converter
from .faults import Failure

if TYPE_CHECKING:
    from random import Random

    from .cloud import Cloud

# botocore itself changes their requests on the way.
LEFT_OUT = frozenset({"CopySnapshot", "RequestSpotInstances", "CreateLaunchConfiguration"})

ANSWERING = {
    "ec2": ("moto.ec2.responses", "EC2Response"),
    "autoscaling": ("moto.autoscaling.responses", "AutoScalingResponse"),
    "elb": ("moto.elb.responses", "ELBResponse"),
    "elbv2": ("moto.elbv2.responses", "ELBV2Response"),
    "cloudwatch": ("moto.cloudwatch.responses", "CloudWatchResponse"),
}


class Operation:
    """One operation of a service.

    :param service: boto3's name of it.
    :param model: moto's model of the operation.
    :param kind: moto's class of answers for the service.
    """

    def __init__(self, service: str, model: Any, kind: type[BaseResponse]) -> None:
        from botocore import xform_name

        self.service = service
        self.model = model
        self.name: str = model.name
        self.method = xform_name(model.name)
        self.kind = kind
        self.prepare = converter(model)
        self.answers = Answers(model, kind.RESPONSE_KEY_PATH_TO_TRANSFORMER)
        self.pages = _pagination(service).get(model.name)
        self._moto_method = _moto_name(model.name)

    def why_not(self, _arguments: dict[str, Any]) -> str | None:
        """Tell why a call cannot be answered here, or None when it can."""
        return None

    def complete(self, arguments: dict[str, Any], dice: Random) -> dict[str, Any]:
        """Add what botocore adds of its own: client tokens, and encoded user data."""
        tokens = [name for name in self.model.idempotent_members if name not in arguments]
        if tokens:
            arguments = {**arguments, **{name: str(uuid.UUID(int=dice.getrandbits(128), version=4)) for name in tokens}}
        if self.service != "ec2":
            return arguments
        if self.name == "RunInstances" and "UserData" in arguments:
            raw = arguments["UserData"]
            raw = raw.encode() if isinstance(raw, str) else raw
            arguments = {**arguments, "UserData": base64.b64encode(raw).decode()}
        if "Filters" in arguments and "Filter" in self.model.input_shape.members:
            arguments = {("Filter" if name == "Filters" else name): each for name, each in arguments.items()}
        return arguments

    def ask(self, parameters: dict[str, Any], region: str) -> dict[str, Any] | Failure:
        """Have moto answer; returns the answer as boto3 shows it, or what the call fails with."""
        response: Any = self.kind()
        querystring = {"Action": [self.name]}
        response.__dict__.update(
            params=parameters,
            querystring=querystring,
            # where moto looks for whether both InstanceIds and MaxResults were given
            data={**parameters, **querystring, "InstanceId.1": ""} if "InstanceIds" in parameters else querystring,
            uri_match={},
            headers={},
            response_headers={},
            body="",
            method="POST",
            path="/",
            uri=f"https://{self.service}.{region}.amazonaws.com/",
            region=region,
            partition=get_partition(region),
            current_account=DEFAULT_ACCOUNT_ID,
            access_key="local",
        )
        try:
            result = getattr(response, self._moto_method)()
            return self._shown(response, result)
        except ServiceException as error:
            return self._failure(error)
        except HTTPException as error:
            code = getattr(error, "error_type", error.name)
            return Failure(code, str(getattr(error, "message", error.description)), error.code or 400)

    def finish(self, answer: dict[str, Any], retries: int, _cloud: Cloud) -> dict[str, Any]:
        """Return an answer with the metadata that boto3 adds."""
        metadata = {
            "RequestId": "direct",
            "HTTPStatusCode": 200,
            "HTTPHeaders": {},
            "RetryAttempts": retries,
        }
        return {**answer, "ResponseMetadata": metadata}

    def error(self, failure: Failure, arguments: dict[str, Any], retries: int, exhausted: bool) -> Exception:
        """Return the exception that boto3 raises for a failure.

        :param arguments: of the call.
        :param exhausted: no try is left that boto3 would have made otherwise.
        """
        if failure.is_silence:
            return ConnectionClosedError(endpoint_url=f"https://{self.service}.amazonaws.com/")
        metadata: dict[str, Any] = {
            "RequestId": "direct",
            "HTTPStatusCode": failure.status,
            "HTTPHeaders": {},
            "RetryAttempts": retries,
        }
        if exhausted:
            metadata["MaxAttemptsReached"] = True
        kind = _exceptions(self.service).from_code(failure.code)
        error = {"Code": failure.code, "Message": failure.message, **self.details(failure, arguments)}
        raised: ClientError = kind({"Error": error, "ResponseMetadata": metadata}, self.name)
        return raised

    def details(self, failure: Failure, arguments: dict[str, Any]) -> dict[str, str]:
        """Return what else the service says of a failure."""
        return {}

    def _shown(self, response: Any, result: Any) -> dict[str, Any]:
        if type(result).execute_result is not ActionResult.execute_result:
            # A result that moto still has to cut into pages: it does so on its way to the serializer.
            from moto.core.responses import ActionContext

            context = ActionContext(self.model.service_model, self.model, _Kept, response)  # type: ignore[arg-type]
            _, _, result = result.execute_result(context)
        else:
            result = result.result
        if isinstance(result, Exception):
            raise result
        answer = self.answers.show(result)
        if self.name == "GetConsoleOutput" and "Output" in answer:
            answer["Output"] = base64.b64decode(answer["Output"]).decode("utf-8", "replace")
        return answer

    def _failure(self, error: ServiceException) -> Failure:
        shape = get_error_model(error, self.model.service_model)
        message = getattr(error, "message", "") or ""
        if self.answers.is_xml and not self.answers.is_ec2:
            message = shape.query_compatible_error_message or message
        return Failure(shape.error_code, message, shape.metadata.get("error", {}).get("httpStatusCode", 400))


class _Kept:
    """In place of moto's serializer: gives back what it is given."""

    def __init__(self, **_: Any) -> None:
        pass

    def serialize(self, result: Any) -> dict[str, Any]:
        """Return the result as it is."""
        return {"status_code": 200, "headers": {}, "body": result}


class _Operations(dict[str, Operation]):
    """The operations of a service by boto3's method names, each made when it is first asked for."""

    def __init__(self, service: str, kind: type[BaseResponse]) -> None:
        from botocore import xform_name

        super().__init__()
        self._service = service
        self._kind = kind
        self._model = get_service_model(service)
        known = method_names_from_class(kind)
        self._names = {
            xform_name(name): name
            for name in self._model.operation_names
            if _moto_name(name) in known and name not in LEFT_OUT
        }

    def get(self, name: str, default: Any = None) -> Any:
        """Return an operation, or None for one that is not covered."""
        if name not in self and name in self._names:
            self[name] = Operation(self._service, self._model.operation_model(self._names[name]), self._kind)
        return super().get(name, default)


@cache
def operations(service: str) -> Any:
    """Return a service's operations by boto3's method names; None for a service that is not covered."""
    if service == "s3":
        from .direct_s3 import s3_operations

        return s3_operations()
    if service not in ANSWERING:
        return None
    module, name = ANSWERING[service]
    kind: type[BaseResponse] = getattr(import_module(module), name)
    return _Operations(service, kind)


@cache
def _moto_name(operation: str) -> str:
    from moto.core.utils import camelcase_to_underscores

    return camelcase_to_underscores(operation)


@cache
def _pagination(service: str) -> dict[str, Any]:
    try:
        return get_pagination_model(service)
    except Exception:
        return {}


@cache
def _exceptions(service: str) -> Any:
    """Return boto3's exceptions for a service; moto's model of it would have more of them."""
    from botocore.errorfactory import ClientExceptionsFactory
    from botocore.loaders import create_loader
    from botocore.model import ServiceModel

    model = ServiceModel(create_loader().load_service_model(service, "service-2"), service)
    return ClientExceptionsFactory().create_client_exceptions(model)
