"""What a group has done and why: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count

_numbers = [count(1)]


def number_anew() -> None:
    """Begin again to number activities with one, so that their ids repeat in a new cloud."""
    _numbers[0] = count(1)


@dataclass
class Activity:
    """One scaling activity, under the names that the API's answers have."""

    activity_id: str
    auto_scaling_group_name: str
    auto_scaling_group_arn: str
    description: str
    cause: str
    start_time: datetime
    end_time: datetime | None
    status_code: str
    status_message: str | None
    progress: int
    details: str


class Log:
    """The activities of one group, newest first.

    :param now: what tells the time, in UTC without a zone.
    """

    def __init__(self, group_name: str, group_arn: str, now: Callable[[], datetime]) -> None:
        self._name = group_name
        self._arn = group_arn
        self._now = now
        self._notes: list[str] = []
        self.activities: list[Activity] = []

    def note(self, why: str) -> None:
        """Remember what happened to the group; the next activity's cause tells of it."""
        self._notes.append(f"At {self._now():%Y-%m-%dT%H:%M:%SZ} {why}")

    def begin(
        self, description: str, why: str, *, status: str = "InProgress", progress: int = 0, zone: str = ""
    ) -> Activity:
        """Note that something has begun, and why."""
        cause = "  ".join([*self._notes, f"At {self._now():%Y-%m-%dT%H:%M:%SZ} {why}"])
        self._notes.clear()
        activity = Activity(
            f"{next(_numbers[0]):08x}-0000-4000-8000-000000000000",
            self._name,
            self._arn,
            description,
            cause,
            self._now(),
            None,
            status,
            None,
            progress,
            json.dumps({"Availability Zone": zone}) if zone else "{}",
        )
        self.activities.insert(0, activity)
        return activity

    def end(self, activity: Activity | None, status: str = "Successful", message: str | None = None) -> None:
        """Note how it has ended."""
        if activity is not None:
            activity.status_code, activity.status_message = status, message
            activity.progress = 100
            activity.end_time = self._now()
