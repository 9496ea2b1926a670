"""CloudWatch: the alarms that a release listens to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..plan.fleet import Alarm
from .aws import client

if TYPE_CHECKING:
    from ..plan.settings import Settings

_NAMES_A_CALL = 100


def read_alarms(settings: Settings, names: Sequence[str]) -> dict[str, Alarm]:
    """Read alarms by name, metric ones and composite ones; one that does not exist is left out.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    """
    found: dict[str, Alarm] = {}
    cloudwatch = client("cloudwatch", settings)
    for start in range(0, len(names), _NAMES_A_CALL):
        answer = cloudwatch.describe_alarms(
            AlarmNames=list(names[start : start + _NAMES_A_CALL]), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        for raw in (*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])):
            found[raw["AlarmName"]] = Alarm(raw["StateValue"] == "ALARM", raw.get("StateReason", ""))
    return found
