"""Errors as AWS documents them: which actions have which, and with which HTTP status.

Pages followed: the errors of each action in the Auto Scaling API reference
(https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Operations.html), which botocore's service model carries,
EC2's (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html) and S3's
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
"""

from __future__ import annotations

from functools import cache
from typing import Any

THROTTLING = {"ec2": "RequestLimitExceeded", "s3": "SlowDown"}  # elsewhere: Throttling
STATUSES = {
    "InsufficientInstanceCapacity": 500,
    "InternalError": 500,
    "InternalFailure": 500,
    "RequestLimitExceeded": 503,
    "ResourceContention": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "Unavailable": 503,
}


def documented(action: str, service: str = "autoscaling") -> tuple[str, ...]:
    """Return the codes of the errors that the API reference names for an action.

    EC2's and S3's references name none for each action.

    :param service: boto3's name of it.
    """
    return _codes(service).get(action, ())


def why_not_documented(action: str, code: str) -> str | None:
    """Tell why an action of Auto Scaling cannot fail so, or None when it can.

    Only errors that the reference names for some actions are judged, such as ScalingActivityInProgress: what every
    action may answer, such as Throttling, is beyond it.
    """
    action = action.removeprefix("autoscaling:")
    codes = _codes("autoscaling")
    if action not in codes or code in codes[action]:
        return None
    if not any(code in each for each in codes.values()):
        return None
    return f"AWS documents no {code} for {action}, but: {', '.join(codes[action]) or 'no error'}"


@cache
def _codes(service: str) -> dict[str, tuple[str, ...]]:
    import botocore.session

    model: Any = botocore.session.get_session().get_service_model(service)
    return {name: tuple(_code(shape) for shape in _errors(model, name)) for name in model.operation_names}


def _errors(model: Any, action: str) -> list[Any]:
    return list(model.operation_model(action).error_shapes)


def _code(shape: Any) -> str:
    return str(shape.metadata.get("error", {}).get("code") or shape.name)
