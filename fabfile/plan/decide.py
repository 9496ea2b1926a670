"""The release, as one pure function: goal, record and facts in, the one next thing out.

Forward and back are the same road. A *side* says which instances are to stay and which are to leave; undoing a
release is serving the other side. The parts of the road: :mod:`.warming` (before traffic), :mod:`.traffic` (from the
first new instance that serves to the last old one that does not), :mod:`.leaving` (old instances out, settings back).
"""

from __future__ import annotations

from datetime import timedelta

from . import leaving, traffic, warming
from .fleet import RESTING, Facts, Lifecycle, Power, holds
from .release import (
    ALARM,
    HEALTH,
    IDS_A_CALL,
    Act,
    BakeImage,
    Decision,
    Done,
    ExitStandby,
    Goal,
    PinTemplate,
    Record,
    Stuck,
    Undo,
    Undone,
    Wait,
    WriteTemplateVersion,
)
from .sides import Side, is_committed, new_side, old_side
from .waiting import is_over, wait_for, why_unhealthy
from .wording import counted

MAX_FAILURES = 5
# How long EC2 may not know an instance that the group lists, before the group is the one that is behind.
UNSEEN_S = 60
# Of the new instances that served, one in so many may be lost to its machine without a word against the version.
LOST_IN = 20


def decide(goal: Goal, record: Record, facts: Facts) -> Decision:
    """Name the one next thing of a release, or what it waits for.

    :param goal: what was asked for.
    :param record: what was written down; `record.undo` turns the release round.
    :param facts: what AWS says now, with the looks before it.
    """
    if record.undo is None and record.failures >= MAX_FAILURES:
        why = f"gave up after {record.failures} failed calls in a row: {record.trouble}"
        return Stuck(f"{why}; {record.version} serves") if is_committed(record) else Undo(why)
    if wait := _unseen(record, facts):
        return wait
    return _forward(goal, record, facts) if record.undo is None else _back(record.undo, goal, record, facts)


def _back(reason: str, goal: Goal, record: Record, facts: Facts) -> Decision:
    if record.failures >= MAX_FAILURES * 2:
        return Stuck(f"{reason}; and putting back failed {record.failures} times: {record.trouble}")
    return _serve(old_side(record, facts), goal, record, facts) or _sure(goal, record, facts, Undone(reason))


def _forward(goal: Goal, record: Record, facts: Facts) -> Decision:
    if record.image_id is None:
        return BakeImage(goal.version)
    if record.template_version is None:
        if facts.group.pinned != record.before.template.version:
            return PinTemplate(record.before.template, mixed=facts.group.mix is not None)
        return WriteTemplateVersion(record.before.template, record.image_id, token=record.id)
    side = new_side(record, facts)
    serving = counted(sum(i.in_group for i in side.active), "instance")
    done = Done(f"{record.version} serves {facts.group.name} on {serving}")
    return _serve(side, goal, record, facts) or _sure(goal, record, facts, done)


def _serve(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Walk the one road: warm, migrate, attach, healthy, point, standby, drain, soak, retire, restore."""
    return (
        _turn_back(side, record, facts)
        or _judged(side, record, facts)
        or _lost(side, goal, record, facts)
        or _alarmed(side, goal, record, facts)
        or warming.late(side, goal, record, facts)
        or traffic.protect(side, record)
        or warming.launch(side, goal, record, facts)
        or warming.migrate(side, goal, record)
        or warming.warm(side, goal, record, facts)
        or warming.stage(side, goal, record, facts)
        or warming.until(side, goal, record, facts)
        or warming.gate(side, record, facts)
        or (traffic.room(record, facts, len(side.outside)) if side.outside else None)
        or traffic.attach(side, goal, record, facts)
        or traffic.healthy(side, goal, record, facts)
        or traffic.canary(side, goal, record, facts)
        or traffic.ramp(side, record, facts)
        or traffic.point(side, facts)
        or traffic.stand_by(side, goal, record, facts)
        or traffic.soak(side, goal, record, facts)
        or leaving.retire(side, goal, record, facts)
        or _returned(side, goal, record, facts)
        or leaving.restore(side, goal, record, facts)
    )


def _unseen(record: Record, facts: Facts) -> Wait | None:
    """Wait until EC2 knows every instance that the group lists: nobody can say yet which version it is."""
    if not facts.unseen:
        return None
    mark = f"unseen#{facts.unseen[0]}"
    since = record.mark(mark) or facts.at
    wait = Wait(f"EC2 to know {facts.unseen[0]}", since, since + timedelta(seconds=UNSEEN_S), mark, facts.unseen)
    return wait if facts.at < since + timedelta(seconds=UNSEEN_S) else None


def _sure(goal: Goal, record: Record, facts: Facts, end: Done | Undone) -> Decision:
    """End only when so many looks in a row saw nobody left of the side that leaves."""

    def is_over(look: Facts) -> bool:
        side = new_side(record, look) if record.undo is None else old_side(record, look)
        return all(i.lifecycle is Lifecycle.STANDBY for i in side.leave)

    if holds(facts, goal.confirmations, is_over):
        return end
    return Wait("another look to agree that it is over", facts.at, None, "look")


def _turn_back(side: Side, record: Record, facts: Facts) -> Act | None:
    """On the way back, first aim autoscaling at the old version, and recall the old fleet beside a shielded new one."""
    if side.forward:
        return None
    if point := traffic.point(side, facts):
        return point
    ours = [i.id for i in side.stay if i.lifecycle is Lifecycle.STANDBY and i.standby == record.id]
    if not ours:
        return None
    back = ExitStandby(tuple(ours[:IDS_A_CALL]))
    return traffic.room(record, facts, len(ours)) or traffic.protect(side, record) or back


def _judged(side: Side, record: Record, facts: Facts) -> Undo | None:
    """Turn back when the group itself finds a new instance unhealthy that runs: another one would fare no better."""
    if not side.forward or is_committed(record):
        return None
    known = [facts.instances[i] for i in record.attached if i in facts.instances]
    judged = [i for i in known if i.power is Power.RUNNING and not i.group_healthy]
    for one in judged:
        if seen := next((look for look in facts.looks() if look.unhealthy_somewhere(one.id)), None):
            why = f"{facts.group.name} itself found new instance {one.id} unhealthy: {why_unhealthy(one, seen)}"
            return Undo(why, (one.id,), HEALTH)
    # A failing machine, or a spot one that is called back, says nothing against the version.
    if len(judged) <= len(record.attached) // LOST_IN:
        return None
    return Undo(f"{facts.group.name} itself found new instance {judged[0].id} unhealthy", (judged[0].id,))


def _returned(side: Side, goal: Goal, record: Record, facts: Facts) -> Wait | None:
    """On the way back, wait until those that we took out serve again: nothing is as it was before that."""
    if side.forward:
        return None
    away = [
        i
        for i in side.stay
        if i.standby == record.id and i.in_group and i.lifecycle is not Lifecycle.STANDBY
        if not facts.healthy_everywhere(i.id)
    ]
    if not away:
        return None
    what = f"{counted(len(away), 'instance')} to serve again"
    wait = wait_for(what, "return", goal.healthy_within_s, record, facts, away)
    return None if is_over(wait, facts) else wait


def _lost(side: Side, goal: Goal, record: Record, facts: Facts) -> Undo | None:
    """Turn back at once when a new instance that served is lost while the old fleet still rests."""
    if not side.forward or is_committed(record):
        return None

    def is_sick(instance_id: str) -> bool:
        return holds(facts, goal.confirmations, lambda look: not look.healthy_everywhere(instance_id))

    def is_gone(instance_id: str) -> bool:
        instance = facts.instances.get(instance_id)
        return instance is None or instance.power is not Power.RUNNING

    def is_taken(instance_id: str) -> bool:
        """Whether a person put it into Standby: that says nothing of the version."""
        instance = facts.instances.get(instance_id)
        return instance is not None and instance.lifecycle in RESTING and instance.standby != record.id

    sick = tuple(i for i in record.watched if is_sick(i) and not is_taken(i))
    if len(sick) <= len(record.watched) // LOST_IN and all(is_gone(instance_id) for instance_id in sick):
        return None
    first = facts.instances.get(sick[0])
    return Undo(f"lost health: {why_unhealthy(first, facts) if first else f'{sick[0]} is gone'}", sick, HEALTH)


def _alarmed(side: Side, goal: Goal, record: Record, facts: Facts) -> Undo | None:
    """Turn back when an alarm sounds that was silent before, as long as there is a way back."""
    if not side.forward or is_committed(record) or not any(i.in_group for i in side.stay):
        return None

    def sounds(name: str) -> bool:
        return holds(facts, goal.confirmations, lambda look: name in look.alarms and look.alarms[name].sounds)

    for name, alarm in sorted(facts.alarms.items()):
        if name not in record.deaf and sounds(name):
            return Undo(f"alarm {name} sounds: {alarm.reason or 'no reason given'}", (), ALARM)
    return None
