"""What boto3 in this process meets between itself and moto: errors on purpose, lost answers, old answers.

moto answers before anything is sent; this takes the place of the handler that asks moto, so that every action of every
service passes here, S3's too, under the name that botocore's model has for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

from .faults import Failure

if TYPE_CHECKING:
    from .cloud import Cloud

SERVICES = {
    "auto-scaling": "autoscaling",
    "elastic-load-balancing": "elb",
    "elastic-load-balancing-v2": "elbv2",
    "cloudwatch-logs": "logs",
}
JSON = ("application/x-amz-json-1.0", "application/x-amz-json-1.1", "application/json")


def answering(cloud: Cloud) -> Callable[..., AWSResponse | None]:
    """Make the handler that answers boto3's calls, by way of :meth:`.Cloud.before` and :meth:`.Cloud.after`."""

    def answer(self: BotocoreStubber, event_name: str, request: AWSPreparedRequest, **_kw: Any) -> AWSResponse | None:
        if not self.enabled:
            return None
        _, service_id, action = event_name.split(".", 2)
        service = SERVICES.get(service_id, service_id)
        failure = cloud.before(action, service)
        if failure is not None:
            return _failing(failure, service, request)
        found = cloud.memory.recall(
            service, action, lambda: _question(request), lambda: _kept(self.process_request(request))
        )
        failure = cloud.after(action, service)
        if failure is not None:
            return _failing(failure, service, request)
        return None if found is None else AWSResponse(request.url, found[0], found[1], MockRawResponse(found[2]))

    return answer


def _kept(found: Any) -> Any:
    return found and (found[0], dict(found[1]), found[2])


def _question(request: AWSPreparedRequest) -> tuple[str, str]:
    body = request.body
    return request.url, body.decode() if isinstance(body, bytes) else str(body)


def _failing(failure: Failure, service: str, request: AWSPreparedRequest) -> AWSResponse:
    if failure.is_silence:
        raise ConnectionClosedError(endpoint_url=request.url)
    given: Any = request.headers.get("Content-Type", b"")
    asked = given.decode() if isinstance(given, bytes) else str(given)
    body, kind = (_json(failure), asked) if asked in JSON else (_xml(failure, service), "text/xml")
    headers: Any = {"Content-Type": kind, "x-amzn-RequestId": "on-purpose"}
    return AWSResponse(request.url, failure.status, headers, MockRawResponse(body))


def _json(failure: Failure) -> str:
    return json.dumps({"__type": failure.code, "message": failure.message})


def _xml(failure: Failure, service: str) -> str:
    error = f"<Code>{escape(failure.code)}</Code><Message>{escape(failure.message)}</Message>"
    if service == "s3":
        return f"<Error>{error}</Error>"
    if service == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors><RequestID>on-purpose</RequestID></Response>"
    return f"<ErrorResponse><Error>{error}</Error><RequestId>on-purpose</RequestId></ErrorResponse>"
