"""What a failed call means: another zone, another moment, another look, or the end."""

from __future__ import annotations

import sys
from enum import Enum

from invoke.exceptions import Exit

from .act import NoCapacityError


class Mishap(Enum):
    """How a call failed, by what can be done about it."""

    FINAL = "a stage refused, or a tool of the project failed: trying again cannot help"
    CAPACITY = "EC2 has no capacity there now, or the subnet no address"
    BUSY = "AWS is busy with us or with somebody else"
    CONTRADICTION = "the group is another than we believed: a look answered with yesterday's world"
    FAILED = "anything else"


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientFreeAddressesInSubnet",
    "UnfulfillableCapacity",
    "Unsupported",
}
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html, and those of each action
_BUSY = {
    "ResourceContention",
    "ScalingActivityInProgress",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "SlowDown",
    "InternalFailure",
    "InternalError",
    "InternalServerError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Unavailable",
    "RequestTimeout",
}
# A token that is used up names a launch that happened, in a subnet that had more free addresses than any other then.
# https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
_OUTDATED = {"InvalidInstanceID.NotFound", "IdempotentParameterMismatch"}
# EC2 Auto Scaling has the one code ValidationError for all of these.
_CONTRADICTIONS = (
    "is already part of",
    "is not part of",
    "is not in InService",
    "is not in Standby",
    "is not in correct state",
    "not found - No managed instance found",
)


def judge(error: Exception) -> Mishap:
    """Say what kind of failure an error is."""
    if isinstance(error, Exit):
        return Mishap.FINAL
    if isinstance(error, NoCapacityError):
        return Mishap.CAPACITY
    code, message = _code_of(error), str(error)
    if code in _CAPACITY:
        return Mishap.CAPACITY
    if code in _BUSY or (code is None and _is_connection(error)):
        return Mishap.BUSY
    if code in _OUTDATED or any(words in message for words in _CONTRADICTIONS):
        return Mishap.CONTRADICTION
    return Mishap.FAILED


def _code_of(error: Exception) -> str | None:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code")) if isinstance(response, dict) else None


def _is_connection(error: Exception) -> bool:
    if "botocore" not in sys.modules:
        return False
    from botocore import exceptions

    return isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError)
