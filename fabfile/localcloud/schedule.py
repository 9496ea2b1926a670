"""Scheduled scaling: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from moto.autoscaling.models import FakeScheduledAction

    from .group_rules import GroupRules
    from .groups import Group

MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
RANGES: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, MONTHS),
    (0, 7, DAYS),
)


def run_due_actions(rules: GroupRules, group: Group) -> None:
    """Do what is scheduled for now: once, or each time that a recurring action's minute comes.

    While ScheduledActions is suspended what becomes due is missed, not put off.
    """
    now, before = rules.cloud.clock.now(), group.scheduled_until
    group.scheduled_until = now
    if not rules.scheduled_actions:
        return
    for name, action in list(rules.scheduled_actions.items()):
        if action.auto_scaling_group_name != group.name:
            continue
        start, end = _moment(action.start_time), _moment(action.end_time)
        is_over = end is not None and end <= now
        if is_over or (start is not None and start <= now and not action.recurrence):
            del rules.scheduled_actions[name]
        if not is_over and _is_due(action, start, before, now) and group.allows("ScheduledActions"):
            _apply(group, action)


def _is_due(action: FakeScheduledAction, start: datetime | None, before: datetime, now: datetime) -> bool:
    """Tell whether an action has become due since the last look."""
    if not action.recurrence:
        return start is not None and start <= now
    if start is not None and start > before:
        return start <= now  # "performs the action at this time, and then based on the specified recurrence"
    zone = ZoneInfo(action.time_zone or "UTC")
    minute = before.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while minute <= now:
        if recurs(action.recurrence, minute.astimezone(zone)):
            return True
        minute += timedelta(minutes=1)
    return False


def recurs(recurrence: str, local: datetime) -> bool:
    """Tell whether a cron expression names a minute: stars, numbers, names, lists, ranges and steps.

    As in crontab, a day has to fit one of the two fields for days where both say something
    (https://man7.org/linux/man-pages/man5/crontab.5.html).

    :raises ValueError: the expression is none.
    """
    fields = recurrence.split()
    if len(fields) != len(RANGES):
        raise ValueError(f"a recurrence has five fields (got {recurrence!r})")
    values = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)
    fits = [value in _numbers(field, *bounds) for field, value, bounds in zip(fields, values, RANGES, strict=True)]
    minute, hour, day, month, weekday = fits
    if not fields[2].startswith("*") and not fields[4].startswith("*"):
        return minute and hour and month and (day or weekday)
    return all(fits)


def why_not_recurrence(recurrence: str | None, zone: str | None) -> str | None:
    """Tell why nothing can recur so, or None when it can."""
    try:
        ZoneInfo(zone or "UTC")
        if recurrence:
            recurs(recurrence, datetime(2030, 1, 1, tzinfo=UTC))
    except (ValueError, KeyError) as error:
        return f"Given recurrence string or time zone is invalid: {error}"
    return None


@cache
def _numbers(field: str, lowest: int, highest: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first == "*":
            low, high = lowest, highest
        else:
            low = _number(first, names)
            high = _number(last, names) if last else highest if step else low
        if not lowest <= low <= high <= highest:
            raise ValueError(f"{part!r} is not between {lowest} and {highest}")
        found.update(range(low, high + 1, int(step or 1)))
    return frozenset(number % 7 for number in found) if names is DAYS else frozenset(found)


def _number(text: str, names: tuple[str, ...]) -> int:
    return names.index(text) if text in names else int(text)


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
