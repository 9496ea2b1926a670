"""What a release writes down before each act, and what autoscaling itself wants beneath all that we moved."""

from __future__ import annotations

from dataclasses import replace

from .fleet import COUNTED, RESTING, Facts, Gate, Lifecycle
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
    record = _corrected(record, facts)
    match act:
        case PrepareGroup():
            paused = record.paused | (act.pause - facts.group.suspended)
            # Whoever set another maximum than ours meanwhile meant it: that one is put back in the end.
            own = record.own_max if facts.group.max in maxima(record) else facts.group.max
            earlier = tuple(sorted(maxima(record) - {act.max}))
            return replace(record, prepared=True, raised_max=act.max, raised=earlier, own_max=own, paused=paused)
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
            return replace(record, resizing=(facts.group.desired, act.desired))
    return record


def note(wait: Wait, record: Record, facts: Facts) -> Record:
    """Write down, at the start of a wait, since when it lasts, and who serves while it watches the new version."""
    if record.mark(wait.mark) is not None:
        return record
    watched = record.watched
    if wait.name in ("canary", "soak", Gate.COMMIT.mark) and record.undo is None:
        watched = _joined(watched, _serving_new(record, facts))
    return replace(record, marks=(*record.marks, (wait.mark, wait.since)), watched=watched)


def _corrected(record: Record, facts: Facts) -> Record:
    """Strike out what was written down for a call that was never made, as far as it can be seen."""
    attached, rested = _moved(record, facts)
    return replace(record, rested=rested, attached=attached, resizing=None, trimmed=_trimmed(record, facts))


def _moved(record: Record, facts: Facts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return whom we attached and whom we put into Standby: what is seen goes before what was written down."""
    attached, rested = dict.fromkeys(record.attached), dict.fromkeys(record.rested)
    for instance in facts.instances.values():
        if instance.release == record.id and instance.in_group:
            attached[instance.id] = None
        if instance.lifecycle in COUNTED:  # whoever dies there keeps the place
            rested.pop(instance.id, None)
        elif instance.alive and instance.lifecycle in RESTING and instance.standby == record.id:
            rested[instance.id] = None
        elif instance.alive and instance.lifecycle is Lifecycle.OUTSIDE and instance.id not in rested:
            attached.pop(instance.id, None)
    return tuple(attached), tuple(rested)


def _trimmed(record: Record, facts: Facts) -> int:
    """Return by how much we lowered the desired capacity; what was only meant counts once it is seen."""
    if record.resizing is None or facts.group.desired == record.resizing[0]:
        return record.trimmed
    return record.trimmed + record.resizing[0] - record.resizing[1]


def settled(act: Act, record: Record) -> Record:
    """Write down, after an act that AWS did, what from now on is certain."""
    match act:
        case Resize() if record.resizing is not None:
            was, now = record.resizing
            return replace(record, resizing=None, trimmed=record.trimmed + was - now)
        case ExitStandby():  # whoever dies from now on dies in the group, which keeps the place
            return replace(record, rested=tuple(i for i in record.rested if i not in act.ids))
    return record


def withdrawn(act: Act, intended: Record, before: Record, facts: Facts) -> Record:
    """Take back what was written down before an act that AWS refused, but for whom it moved all the same.

    A call whose answer is lost is repeated by boto3 itself, and is refused then because it was done.

    :param facts: the world after it.
    """
    match act:
        case EnterStandby():
            there: tuple[Lifecycle, ...] = RESTING
        case ExitStandby():
            there = COUNTED
        case Drop():
            there = (Lifecycle.LEAVING,)
        case _:
            return intended

    def is_there(instance_id: str) -> bool:
        instance = facts.instances.get(instance_id)
        return instance is not None and instance.lifecycle in there

    return replace(
        intended,
        rested=tuple(i for i in intended.rested if i in before.rested or is_there(i)),
        recalled=tuple(i for i in intended.recalled if i in before.recalled or is_there(i)),
    )


def maxima(record: Record) -> set[int]:
    """Return the maxima that this release set, or meant to set when it died."""
    return {*record.raised, *(() if record.raised_max is None else (record.raised_max,))}


def own_maximum(record: Record, facts: Facts) -> int:
    """Return the maximum that the group has beneath what we raised."""
    if facts.group.max not in maxima(record):
        return facts.group.max
    return record.before.max if record.own_max is None else record.own_max


def demand(record: Record, facts: Facts) -> int:
    """Return how many instances the fleet needs now: what it had, or more if autoscaling asked for more meanwhile.

    The group's desired capacity is autoscaling's own wish plus what our acts did to it: each attached instance added
    one, each one put in Standby took one. An instance that died kept its place, for the group replaces it. The wish is
    never followed downwards during a release: with both fleets in service each instance has half the load, and a policy
    would shrink the group for no good reason. Nor is it followed above the maximum that the group had before us. Who
    raised the minimum meanwhile wants as many.
    """
    attached, rested = _moved(record, facts)
    added_first = {*attached, *record.recalled}
    moved = sum(
        _place(instance_id, rested, facts) - (0 if instance_id in added_first else 1)
        for instance_id in {*added_first, *rested}
    )
    wish = min(facts.group.desired - moved + _trimmed(record, facts), max(own_maximum(record, facts), record.wanted))
    had = record.wanted if record.undo is None else min(record.wanted, record.before.desired)
    return max(had, wish, facts.group.min)


def _serving_new(record: Record, facts: Facts) -> tuple[str, ...]:
    serving = (i for i in facts.instances.values() if i.alive and i.lifecycle is Lifecycle.IN_SERVICE)
    if record.image_id == record.before.image_id:
        return tuple(sorted(i.id for i in serving if i.release == record.id))
    return tuple(sorted(i.id for i in serving if i.image_id == record.image_id))


def _place(instance_id: str, rested: tuple[str, ...], facts: Facts) -> int:
    """Return 1 if the desired capacity counts this instance, or the one that took its place; else 0."""
    instance = facts.instances.get(instance_id)
    if instance is not None and instance.lifecycle in COUNTED:
        return 1
    if instance is None or not instance.alive:
        return 0 if instance_id in rested else 1
    return 0


def _joined(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))
