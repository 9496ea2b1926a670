"""Instance refreshes: one that runs is listed as running until it is cancelled; it replaces nobody.

Page followed: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

from moto.autoscaling.exceptions import AutoscalingClientError

if TYPE_CHECKING:
    from .groups import Group

_numbers = count(1)


@dataclass(frozen=True)
class Refresh:
    """One instance refresh, under the names that the API's answers have."""

    instance_refresh_id: str
    auto_scaling_group_name: str
    start_time: datetime
    instances_to_update: int
    status: str = "InProgress"
    end_time: datetime | None = None
    percentage_complete: int = 0
    strategy: str = "Rolling"


def start(group: Group, now: datetime) -> str:
    """Start a refresh; return its id.

    :raises AutoscalingClientError: InstanceRefreshInProgress, where one runs.
    """
    if running(group) is not None:
        raise AutoscalingClientError(
            "InstanceRefreshInProgress",
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
        )
    refresh_id = f"{next(_numbers):08x}-0000-4000-8000-0000000000fe"
    group.refreshes.insert(0, Refresh(refresh_id, group.name, now, len(group.members)))
    return refresh_id


def cancel(group: Group, now: datetime) -> str:
    """Cancel the refresh that runs; return its id.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CancelInstanceRefresh.html

    :raises AutoscalingClientError: ActiveInstanceRefreshNotFound, where none runs.
    """
    refresh = running(group)
    if refresh is None:
        raise AutoscalingClientError(
            "ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for the group."
        )
    group.refreshes[0] = replace(refresh, status="Cancelled", end_time=now)
    return refresh.instance_refresh_id


def running(group: Group) -> Refresh | None:
    """Return the refresh that runs, if one does; it is the newest."""
    return next((each for each in group.refreshes[:1] if each.status == "InProgress"), None)
