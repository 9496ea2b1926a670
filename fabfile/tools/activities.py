"""What a group tried by itself and could not: its scaling activities."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..plan.evidence import Activity
from .aws import client

if TYPE_CHECKING:
    from ..plan.settings import Settings

_PAGES = 3  # of 100: a group that fails tries for ever, and says the same each time
_FAILED = ("Failed", "Cancelled")
_HELD = "MidLifecycleAction"


def read_failed(settings: Settings, since: datetime) -> tuple[Activity, ...]:
    """Read the activities of the env's group that failed, and those that a lifecycle hook holds, newest first.

    "If an attempt to launch instances failed, the StatusCode value is Failed or Cancelled and the StatusMessage element
    in the response indicates the cause of the failure"; they are "sorted by start time", and those "still in progress
    are described first" (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html).

    :param since: when the release began; activities that started earlier are not its own.
    """
    autoscaling = client("autoscaling", settings, in_haste=True)
    asked: dict[str, Any] = {"AutoScalingGroupName": settings.group}
    found: list[Activity] = []
    for _ in range(_PAGES):
        answer = autoscaling.describe_scaling_activities(**asked)
        for raw in answer["Activities"]:
            ended = raw["StatusCode"] in (*_FAILED, "Successful")
            if raw["StartTime"] < since:
                if ended:
                    return tuple(found)
            elif raw["StatusCode"] in (*_FAILED, _HELD):
                found.append(_activity(raw))
        if not answer.get("NextToken"):
            break
        asked["NextToken"] = answer["NextToken"]
    return tuple(found)


def _activity(raw: dict[str, Any]) -> Activity:
    return Activity(
        at=raw["StartTime"],
        status=raw["StatusCode"],
        description=raw.get("Description", ""),
        message=raw.get("StatusMessage", ""),
    )
