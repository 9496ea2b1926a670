"""Before traffic: start the new fleet, health before traffic, and the moment to wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from . import traffic
from .fleet import COUNTED, Facts, Gate, Instance, Lifecycle, Power, holds
from .ledger import demand
from .release import (
    HEALTH,
    IDS_A_CALL,
    Act,
    Decision,
    ExitStandby,
    Goal,
    LaunchInstances,
    Migrate,
    Record,
    Staged,
    Terminate,
    Undo,
    Wait,
)
from .sides import Side, count_missing, is_settled, new_side, old_side
from .waiting import drained_within_s, give_up, is_over, wait_for, why_unhealthy
from .wording import counted

LAUNCHES_EACH = 4
# More in one call would find no capacity more often, all or none.
LAUNCHED_A_CALL = 100
# What is done shortly before the minute of a timed cutover, and how late it may start.
PREPARE_S = 60
LATE_S = 30


def launch(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Bring the staying fleet to the number that is needed: from Standby, or by starting instances."""
    if is_settled(side, record):
        return None
    lacking = count_missing(side, record, facts)
    if lacking < 0:
        return _trim(side, goal, record, facts, -lacking)
    missing = min(lacking, _allowed(side, goal, record, facts))
    rested = _rested(side)
    if rested and missing > 0 and not _is_held(side, goal, record, facts):
        back = ExitStandby(tuple(i.id for i in rested[: min(missing, IDS_A_CALL)]))
        return migrate(side, goal, record) or traffic.room(record, facts, missing) or back
    missing -= len(rested)
    if missing <= 0 or _is_minute(side, goal, record, facts):
        return None
    return (
        _coming(side, goal, record, facts)
        or _early(side, goal, record, facts)
        or _unsure(side, goal, record, facts, lacking)
        or _add(side, record, facts, missing)
    )


def _unsure(side: Side, goal: Goal, record: Record, facts: Facts, lacking: int) -> Wait | None:
    """Wait until so many looks in a row agree on what the fleet lacks."""

    def agrees(look: Facts) -> bool:
        return count_missing(_same_side(side, record, look), record, look) == lacking

    if not holds(facts, goal.confirmations, agrees):
        return Wait("another look to agree on what is missing", facts.at, None, "look")
    return None


def _add(side: Side, record: Record, facts: Facts, missing: int) -> Decision:
    """Start so many instances, unless they keep dying."""
    if len(record.launched) > LAUNCHES_EACH * (missing + len(side.active)):
        sick = [i for i in side.active if i.in_group and not facts.healthy_everywhere(i.id)]
        why = f": {why_unhealthy(sick[0], facts)}" if sick else ""
        return give_up(
            side, record, f"{len(record.launched)} instances were started, and they keep dying{why}", sick, HEALTH
        )
    return _start(side, record, facts, missing)


def _same_side(side: Side, record: Record, look: Facts) -> Side:
    return new_side(record, look) if side.forward else old_side(record, look)


def _trim(side: Side, goal: Goal, record: Record, facts: Facts, surplus: int) -> Act | Wait | None:
    """Terminate what was started twice and never served, such as after an answer that came from yesterday's world."""
    spare = [i for i in side.outside if i.id not in record.attached]
    spare = spare[-surplus:]
    if not spare:
        return None
    ids = {i.id for i in spare}

    def agrees(look: Facts) -> bool:
        then = _same_side(side, record, look)
        return count_missing(then, record, look) <= -len(ids) and ids <= {i.id for i in then.outside}

    if not holds(facts, goal.confirmations, agrees):
        return Wait("another look to agree on what is spare", facts.at, None, "look")
    return Terminate(tuple(sorted(ids)))


def _allowed(side: Side, goal: Goal, record: Record, facts: Facts) -> int:
    """Return how many more may be started now: the canary comes alone, and a batch not before the one before it."""
    allowed = needed = demand(record, facts)
    if not side.forward:
        return allowed
    if goal.at is None and not goal.stage and not traffic.is_proven(side, goal, record, facts):
        allowed = goal.canary - len(side.active)
    if goal.batch is not None:
        serving = sum(i.lifecycle in COUNTED for i in side.leave)
        allowed = min(allowed, needed + goal.batch - len(side.active) - serving)
    return allowed


def _rested(side: Side) -> list[Instance]:
    """Return the staying instances that wait in Standby and could serve at once."""
    return [
        i
        for i in side.stay
        if i.lifecycle is Lifecycle.STANDBY and i.standby and i.image_id == side.image_id and i.answers is not False
    ]


def _coming(side: Side, goal: Goal, record: Record, facts: Facts) -> Wait | None:
    """On the way back, wait for those of the old fleet that still drain: from Standby they come back at once."""
    coming = [i for i in side.stay if i.lifecycle is Lifecycle.ENTERING_STANDBY and i.standby == record.id]
    if side.forward or not coming:
        return None
    what = f"{counted(len(coming), 'instance')} to reach Standby and come back"
    wait = wait_for(what, "turn", drained_within_s(goal, facts), record, facts, coming)
    return None if is_over(wait, facts) else wait


def _is_held(side: Side, goal: Goal, record: Record, facts: Facts) -> bool:
    """Whether nothing new may serve yet: before the minute, before the other groups are ready, or at all."""
    if not side.forward or _has_begun(side, record):
        return False
    return goal.stage or Gate.CUTOVER in facts.shut or (goal.at is not None and facts.at < goal.at)


def _start(side: Side, record: Record, facts: Facts, missing: int) -> LaunchInstances:
    group = facts.group
    zones = {zone for zone in group.subnets if zone not in record.barren} or set(group.subnets)
    zone, share = _emptiest_zone(side.active, zones, missing)
    count = min(share, LAUNCHED_A_CALL)
    spot = 0
    if group.mix is not None:
        lacking = group.mix.spot_of(len(side.active) + missing) - sum(i.spot for i in side.active)
        spot = min(max(lacking, 0) * count // missing, count)
    return LaunchInstances(
        count=count,
        zone=zone,
        subnet=group.subnets[zone],
        template=side.template,
        image_id=side.image_id,
        release=record.id,
        token=_token(record, side, zone, facts),
        tags=group.tags,
        mix=group.mix,
        spot=spot,
        place=group.place,
    )


def _emptiest_zone(active: Sequence[Instance], zones: Iterable[str], missing: int) -> tuple[str, int]:
    """Spread `missing` over the zones and return the first zone that gets some, with its share."""
    filled = Counter(i.zone for i in active)
    share: Counter[str] = Counter()
    for _ in range(missing):
        share[min(zones, key=lambda zone: (filled[zone] + share[zone], zone))] += 1
    zone = min(share)
    return zone, share[zone]


def _token(record: Record, side: Side, zone: str, facts: Facts) -> str:
    """Name a launch after what exists already, so that a repeat after a crash asks for the very same instances."""
    ours = {*record.launched, *(i.id for i in facts.instances.values() if i.release == record.id)}
    return f"{record.id}-{'f' if side.forward else 'b'}-{zone}-{len(ours)}-{record.short}"[-64:]


def migrate(side: Side, goal: Goal, record: Record) -> Act | None:
    """Run the expand-migrations once, before the new version gets traffic."""
    return Migrate(goal.version) if side.forward and goal.migrates and not record.migrated else None


def warm(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Health before traffic: every new instance runs, passes its checks and answers before the group gets it."""
    cold = [i for i in side.outside if not i.is_warm]
    if not cold or _is_minute(side, goal, record, facts):
        return None
    what = f"{len(side.outside) - len(cold)} of {len(side.outside)} new instances answer"
    if goal.at is not None and side.forward and goal.at - timedelta(seconds=PREPARE_S) <= facts.at < goal.at:
        what = f"{what}: the cutover at {_said(goal.at)} is in danger"
    wait = wait_for(what, "warm", goal.warm_within_s, record, facts, cold)
    if not is_over(wait, facts):
        return wait
    return give_up(
        side, record, f"{cold[0].id} was not ready within {goal.warm_within_s:g} s: {why_cold(cold[0])}", cold, HEALTH
    )


def why_cold(instance: Instance) -> str:
    """Say what an instance lacks before it could serve."""
    if instance.power is not Power.RUNNING:
        return f"it is {instance.power.value}"
    if not instance.checks_pass:
        return "its EC2 status checks do not pass"
    return f"its health check answers: {instance.answer or 'nothing'}"


def stage(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Stop when the new fleet is warm, where no more was asked for."""
    if not side.forward or not goal.stage or _has_begun(side, record):
        return None
    ids = {i.id for i in side.outside}

    def agrees(look: Facts) -> bool:
        return all(i in look.instances and look.instances[i].is_warm for i in ids)

    if not holds(facts, goal.confirmations, agrees):
        return Wait("another look to agree that they are warm", facts.at, None, "look")
    return Staged(f"{record.version} is warm on {counted(_count_ready(side), 'instance')} beside {facts.group.name}")


def late(side: Side, goal: Goal, record: Record, facts: Facts) -> Undo | None:
    """Refuse a timed cutover whose minute came before its fleet was ready, or went by while nobody was here."""
    if not side.forward or goal.at is None or facts.at < goal.at or _has_begun(side, record):
        return None
    ready = _count_ready(side)
    if ready < _needed(goal, record):
        cold = [i for i in side.outside if not i.is_warm]
        why = f"{cold[0].id}: {why_cold(cold[0])}" if cold else "the others were not started"
        return Undo(
            f"only {ready} of {record.wanted} new instances were ready at {_said(goal.at)}: {why}",
            tuple(i.id for i in cold),
        )
    waited = record.mark(Gate.CUTOVER.mark) is not None or Gate.CUTOVER in facts.shut
    if not waited and facts.at > goal.at + timedelta(seconds=LATE_S):
        return Undo(f"{_said(goal.at)} went by {(facts.at - goal.at).total_seconds():.0f} s ago: too late to cut over")
    return None


def until(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Wait for the minute with a warm fleet; what prepares the group is done shortly before it."""
    if not side.forward or goal.at is None or facts.at >= goal.at or _has_begun(side, record):
        return None
    prepare_at = goal.at - timedelta(seconds=PREPARE_S)
    what = f"{_said(goal.at)}, with {counted(_count_ready(side), 'warm instance')}"
    if facts.at < prepare_at:
        return Wait(what, facts.at, None, "at", wake=prepare_at)
    return (
        traffic.room(record, facts, len(side.outside))
        or traffic.protect(side, record)
        or Wait(what, facts.at, None, "at", wake=goal.at)
    )


def gate(side: Side, record: Record, facts: Facts) -> Wait | None:
    """Wait for the other groups of this env before the first new instance serves."""
    shut = facts.shut.get(Gate.CUTOVER)
    if not shut or not side.forward or _has_begun(side, record):
        return None
    return Wait(shut, facts.at, None, Gate.CUTOVER.mark)


def _early(side: Side, goal: Goal, record: Record, facts: Facts) -> Wait | None:
    """Start a timed release's fleet no sooner than it needs to be ready."""
    if not side.forward or goal.at is None or side.active:
        return None
    start_at = goal.at - timedelta(seconds=goal.warm_within_s)
    if facts.at >= start_at:
        return None
    return Wait(f"{_said(start_at)} to start the new fleet", facts.at, None, "early", wake=start_at)


def _is_minute(side: Side, goal: Goal, record: Record, facts: Facts) -> bool:
    """Whether a timed cutover is due with what is warm; what autoscaling asked for since follows after it."""
    return (
        side.forward
        and goal.at is not None
        and facts.at >= goal.at
        and not _has_begun(side, record)
        and _count_ready(side) >= _needed(goal, record)
    )


def _count_ready(side: Side) -> int:
    return sum(i.is_warm for i in side.outside) + len(_rested(side))


def _needed(goal: Goal, record: Record) -> int:
    return min(record.wanted, goal.batch or record.wanted)


def _has_begun(side: Side, record: Record) -> bool:
    return bool(record.attached or record.recalled) or any(i.in_group for i in side.active)


def _said(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
