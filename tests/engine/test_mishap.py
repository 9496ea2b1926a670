"""What a failed call means, by AWS's own codes and words."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from fabfile.engine.act import NoCapacityError
from fabfile.engine.mishap import Mishap, judge
from fabfile.plan.outcome import Refusal


def answer(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "RunInstances")


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (Refusal("no such version"), Mishap.FINAL),
        (NoCapacityError("a fleet of none"), Mishap.CAPACITY),
        (answer("InsufficientInstanceCapacity"), Mishap.CAPACITY),
        (answer("Unsupported", "not supported in your requested Availability Zone"), Mishap.CAPACITY),
        (answer("InsufficientFreeAddressesInSubnet", "not enough free addresses in subnet-1"), Mishap.CAPACITY),
        (answer("ResourceContention"), Mishap.BUSY),
        (answer("ScalingActivityInProgress"), Mishap.BUSY),
        (answer("RequestLimitExceeded"), Mishap.BUSY),
        (answer("Throttling"), Mishap.BUSY),
        (answer("ServiceUnavailable"), Mishap.BUSY),
        (EndpointConnectionError(endpoint_url="https://ec2"), Mishap.BUSY),
        (ReadTimeoutError(endpoint_url="https://ec2"), Mishap.BUSY),
        (answer("InvalidInstanceID.NotFound"), Mishap.CONTRADICTION),
        (answer("IdempotentParameterMismatch"), Mishap.CONTRADICTION),
        (answer("ValidationError", "The instance i-1 is already part of AutoScalingGroup:shop"), Mishap.CONTRADICTION),
        (answer("ValidationError", "The instance i-1 is not part of Auto Scaling group shop."), Mishap.CONTRADICTION),
        (answer("ValidationError", "The instance i-1 is not in InService."), Mishap.CONTRADICTION),
        (answer("ValidationError", "The instance i-1 is not in Standby."), Mishap.CONTRADICTION),
        (answer("ValidationError", "DesiredCapacity cannot be above MaxSize"), Mishap.FAILED),
        (answer("UnauthorizedOperation"), Mishap.FAILED),
        (RuntimeError("is it us?"), Mishap.FAILED),
    ],
    ids=str,
)
def test_knows_what_can_be_done_about_an_error(error: Exception, meaning: Mishap) -> None:
    assert judge(error) is meaning
