"""What a release writes down before each act, and what autoscaling itself wants beneath all that we moved."""

from __future__ import annotations

from dataclasses import replace

from .fleet import Facts, Gate, Lifecycle
from .release import (
    Act,
    Attach,
    Detach,
    Drop,
    EnterStandby,
    ExitStandby,
    PrepareGroup,
    Record,
    Resize,
    Retire,
    Terminate,
    Wait,
)

COMMITTED = "committed"


def intend(act: Act, record: Record, facts: Facts) -> Record:
    """Write down, before an act, what cannot be found out after it."""
    match act:
        case PrepareGroup():
            paused = record.paused | (act.pause - facts.group.suspended)
            # Whoever set another maximum than ours meanwhile meant it: that one is put back in the end.
            own = record.own_max if facts.group.max == record.raised_max else facts.group.max
            return replace(record, prepared=True, raised_max=act.max, own_max=own, paused=paused)
        case Attach():
            return replace(record, attached=_joined(record.attached, act.ids))
        case EnterStandby():
            watched = _joined(record.watched, _serving_new(record, facts)) if record.undo is None else record.watched
            return replace(record, rested=_joined(record.rested, act.ids), watched=watched)
        case ExitStandby():
            before_us = tuple(i for i in act.ids if i not in record.rested)
            return replace(record, recalled=_joined(record.recalled, before_us))
        case Drop(shrink=True):
            return replace(record, rested=_joined(record.rested, act.ids))
        case Retire() | Detach() if record.undo is None and record.mark(COMMITTED) is None:
            return replace(record, marks=(*record.marks, (COMMITTED, facts.at)))
        case Terminate():
            # One outside the group that was to be attached: the call that was written down was never made.
            never = {*act.ids} - {*record.rested}
            record = replace(record, attached=tuple(i for i in record.attached if i not in never))
        case Resize():
            return replace(record, trimmed=record.trimmed + facts.group.desired - act.desired)
    return record


def note(wait: Wait, record: Record, facts: Facts) -> Record:
    """Write down, at the start of a wait, since when it lasts, and who serves while it watches the new version."""
    if record.mark(wait.mark) is not None:
        return record
    watched = record.watched
    if wait.name in ("canary", "soak", Gate.COMMIT.mark) and record.undo is None:
        watched = _joined(watched, _serving_new(record, facts))
    return replace(record, marks=(*record.marks, (wait.mark, wait.since)), watched=watched)


def own_maximum(record: Record) -> int:
    """Return the maximum that the group has beneath what we raised."""
    return record.before.max if record.own_max is None else record.own_max


def demand(record: Record, facts: Facts) -> int:
    """Return how many instances the fleet needs now: what it had, or more if autoscaling asked for more meanwhile.

    The group's desired capacity is autoscaling's own wish plus what our acts did to it: each attached instance added
    one, each one put in Standby took one. An instance that died kept its place, for the group replaces it. The wish is
    never followed downwards during a release: with both fleets in service each instance has half the load, and a policy
    would shrink the group for no good reason. Nor is it followed above the maximum that the group had before us.
    """
    added_first = {*record.attached, *record.recalled}
    moved = sum(
        _place(instance_id, record, facts) - (0 if instance_id in added_first else 1)
        for instance_id in {*added_first, *record.rested}
    )
    wish = min(facts.group.desired - moved + record.trimmed, max(own_maximum(record), record.wanted))
    return max(record.wanted if record.undo is None else min(record.wanted, record.before.desired), wish)


def _serving_new(record: Record, facts: Facts) -> tuple[str, ...]:
    serving = (i for i in facts.instances.values() if i.alive and i.lifecycle is Lifecycle.IN_SERVICE)
    if record.image_id == record.before.image_id:
        return tuple(sorted(i.id for i in serving if i.release == record.id))
    return tuple(sorted(i.id for i in serving if i.image_id == record.image_id))


def _place(instance_id: str, record: Record, facts: Facts) -> int:
    """Return 1 if the desired capacity counts this instance, or the one that took its place; else 0."""
    instance = facts.instances.get(instance_id)
    if instance is None or not instance.alive:
        return 0 if instance_id in record.rested else 1
    return 1 if instance.lifecycle in (Lifecycle.IN_SERVICE, Lifecycle.PENDING) else 0


def _joined(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))
