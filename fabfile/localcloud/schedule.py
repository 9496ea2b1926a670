"""Scheduled scaling: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moto.autoscaling.models import FakeScheduledAction

    from .group_rules import GroupRules
    from .groups import Group


def run_due_actions(rules: GroupRules, group: Group) -> None:
    """Do what is scheduled for now, once.

    While ScheduledActions is suspended what becomes due is missed, not put off. Actions that recur are not run here.
    """
    now = rules.cloud.clock.now()
    for name, action in list(rules.scheduled_actions.items()):
        if action.auto_scaling_group_name != group.name or action.recurrence:
            continue
        start = _moment(action.start_time)
        if start is None or start > now:
            continue
        del rules.scheduled_actions[name]
        if group.allows("ScheduledActions"):
            _apply(group, action)


def _apply(group: Group, action: FakeScheduledAction) -> None:
    before = group.sizes
    smallest = before.smallest if action.min_size is None else action.min_size
    largest = before.largest if action.max_size is None else action.max_size
    wanted = before.desired if action.desired_capacity is None else action.desired_capacity
    group.min_size, group.max_size = smallest, largest
    group.desired_capacity = min(max(wanted, smallest), largest)
    after = group.sizes
    group.log.note(
        f"a scheduled action update of AutoScalingGroup constraints to min: {after.smallest}, max: {after.largest}, "
        f"desired: {after.desired} changing the desired capacity from {before.desired} to {after.desired}."
    )


def _moment(text: str | datetime | None) -> datetime | None:
    if text is None:
        return None
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
