"""From the first new instance that serves to the last old one that does not."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from .fleet import COUNTED, Facts, Gate, Instance, Lifecycle, holds
from .ledger import demand
from .release import (
    HEALTH,
    IDS_A_CALL,
    PROTECTED_A_CALL,
    Act,
    Attach,
    Decision,
    Drop,
    EnterStandby,
    Goal,
    PointGroup,
    PrepareGroup,
    Protect,
    Record,
    Resize,
    Wait,
)
from .sides import Side, is_committed, is_settled
from .waiting import drained_within_s, give_up, is_over, wait_for, why_unhealthy
from .wording import counted

PAUSED = frozenset({"AZRebalance"})


def room(record: Record, facts: Facts, more: int) -> Act | None:
    """Make room for more instances and pause what would work against us: before anything is moved into the group."""
    group = facts.group
    if not record.prepared:
        return PrepareGroup(max=group.max + more, pause=PAUSED - group.suspended)
    # Autoscaling grew into the room meanwhile, or we died before the calls that we had written down.
    raised = record.raised_max or 0
    unraised = record.undo is None and group.max == record.before.max < raised
    short, awake = group.desired + more > group.max, record.paused - group.suspended
    if short or awake or unraised:
        maximum = max(group.max, group.desired + more, raised if unraised else 0)
        return PrepareGroup(max=maximum, pause=awake)
    return None


def protect(side: Side, record: Record) -> Act | None:
    """Shield both fleets from scale-in while the traffic moves: half the load on each is no reason to shrink."""
    moving = side.outside or any(i.lifecycle is Lifecycle.IN_SERVICE for i in side.leave)
    if not record.prepared or not moving:
        return None
    ids = [i.id for i in (*side.stay, *side.leave) if i.lifecycle is Lifecycle.IN_SERVICE and not i.protected]
    return Protect(tuple(ids[:PROTECTED_A_CALL]), protected=True) if ids else None


def attach(side: Side, goal: Goal, record: Record, facts: Facts) -> Act | None:
    """Hand new instances to the group: the canary alone first."""
    ready = [i.id for i in side.outside if i.is_warm]
    if not is_proven(side, goal, record, facts):
        ready = ready[: max(goal.canary - sum(i.in_group for i in side.active), 0)]
    if not ready:
        return None
    # A policy may have lowered the number below what is in service and shielded: the group would drop the newcomers.
    there = min(_count_there(facts), facts.group.max)
    return Resize(there) if there > facts.group.desired else Attach(tuple(ready[:IDS_A_CALL]))


def healthy(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Wait until these ids, not a number of them, are healthy in every load balancer, several reads in a row."""
    if is_settled(side, record):
        return None
    active = [i for i in side.active if i.in_group] if side.forward else list(side.active)
    ids = [i.id for i in active]

    def is_sure(instance_id: str) -> bool:
        return holds(facts, goal.confirmations, lambda look: look.healthy_everywhere(instance_id))

    sure = sum(is_sure(instance_id) for instance_id in ids)
    # The way back does not wait for what the group launched beyond what is needed.
    if sure == len(ids) or (not side.forward and sure >= demand(record, facts)):
        return None
    sick = [i for i in active if not facts.healthy_everywhere(i.id)]
    moving = any(i.lifecycle is not Lifecycle.IN_SERVICE for i in side.leave)
    name = "steady" if moving else "healthy"
    what = f"{len(ids) - len(sick)} of {len(ids)} instances healthy in every load balancer"
    wait = wait_for(what, name, goal.healthy_within_s, record, facts, sick)
    if not is_over(wait, facts):
        return wait
    if not side.forward and not any(facts.healthy_everywhere(i.id) for i in side.leave):
        return None
    reasons = "; ".join(why_unhealthy(i, facts) for i in sick[:3]) or "it came and went"
    return give_up(side, record, f"not healthy within {goal.healthy_within_s:g} s: {reasons}", sick, HEALTH)


def is_proven(side: Side, goal: Goal, record: Record, facts: Facts) -> bool:
    """Whether the canary has served as long as it was to, or there is none."""
    if not side.forward or not goal.canary or is_committed(record):
        return True
    since = record.mark("canary")
    passed = since is not None and facts.at >= since + timedelta(seconds=goal.canary_s)
    return passed or sum(i.in_group for i in side.active) > goal.canary


def canary(side: Side, goal: Goal, record: Record, facts: Facts) -> Wait | None:
    """Watch the first new instances serve beside the whole old fleet; trouble is seen before this is asked."""
    if is_proven(side, goal, record, facts):
        return None
    since = record.mark("canary") or facts.at
    wake = since + timedelta(seconds=goal.canary_s)
    number = counted(sum(i.in_group for i in side.active), "instance")
    return Wait(f"{number} of {record.version} to serve for {goal.canary_s:g} s", since, None, "canary", wake=wake)


def ramp(side: Side, record: Record, facts: Facts) -> Wait | None:
    """Let new instances come to their full share before the old ones leave, where load balancers start them slowly.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    """
    leaves = any(i.lifecycle is Lifecycle.IN_SERVICE for i in side.leave)
    if not facts.slow_start_s or not side.forward or is_committed(record) or not leaves:
        return None
    mark = f"ramp#{len(record.attached) + len(record.recalled)}"
    since = record.mark(mark) or facts.at
    wake = since + timedelta(seconds=facts.slow_start_s)
    number = counted(sum(i.in_group for i in side.active), "instance")
    return Wait(f"{number} to take a full share", since, None, mark, wake=wake) if facts.at < wake else None


def point(side: Side, facts: Facts) -> Act | None:
    """Have autoscaling launch what stays."""
    if facts.group.template == side.template:
        return None
    return PointGroup(side.template, mixed=facts.group.mix is not None)


def stand_by(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Take leaving instances out of the load balancers, as many as are replaced, and wait until they are drained."""
    serving = [i for i in side.leave if i.lifecycle is Lifecycle.IN_SERVICE]
    if side.forward and not is_committed(record):
        replaced = sum(i.in_group for i in side.active) + len(serving) - demand(record, facts)
        serving = _in_turn(serving, side, facts)[: max(replaced, 0)]
    if serving:
        return _standing(facts, len(serving)) or EnterStandby(tuple(i.id for i in serving[:IDS_A_CALL]), record.id)
    on_their_way = [
        i
        for i in side.leave
        if i.lifecycle in (Lifecycle.PENDING, Lifecycle.ENTERING_STANDBY, Lifecycle.IN_SERVICE)
        or (i.lifecycle is Lifecycle.STANDBY and not facts.out_everywhere(i.id))
    ]
    if not on_their_way:
        return None
    what = f"{counted(len(on_their_way), 'instance')} to finish requests"
    wait = wait_for(what, "drain", drained_within_s(goal, facts), record, facts, on_their_way)
    if not is_over(wait, facts):
        return wait
    pending = tuple(i.id for i in on_their_way if i.lifecycle is Lifecycle.PENDING)
    if pending:
        return Drop(pending[:1], shrink=facts.group.desired > facts.group.min)
    first = on_their_way[0]
    return give_up(
        side,
        record,
        f"{first.id} did not leave the load balancers within {drained_within_s(goal, facts):g} s",
        on_their_way,
    )


def _in_turn(serving: list[Instance], side: Side, facts: Facts) -> list[Instance]:
    """Say who goes first: whoever does not serve, for all others are counted on; then the zone that has most.

    A network load balancer sends a zone's requests to that zone's instances alone, by default
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-cross-zone.html).
    """
    first = [i for i in serving if not facts.healthy_everywhere(i.id)]
    waiting = [i for i in serving if facts.healthy_everywhere(i.id)]
    left = Counter(i.zone for i in (*side.active, *waiting) if facts.healthy_everywhere(i.id))
    while waiting:
        fullest = max(waiting, key=lambda i: left[i.zone])
        left[fullest.zone] -= 1
        waiting.remove(fullest)
        first.append(fullest)
    return first


def _standing(facts: Facts, leaving: int) -> Act | None:
    """Let the desired capacity say what is in service, where a policy lowered it and no instance could follow.

    EnterStandby may not take it below the minimum
    (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html).
    """
    group = facts.group
    if group.desired - min(leaving, IDS_A_CALL) >= group.min:
        return None
    there = _count_there(facts)
    if there > group.max:
        return PrepareGroup(max=there, pause=frozenset())
    return Resize(there) if there > group.desired else None


def _count_there(facts: Facts) -> int:
    """Return what the desired capacity would be if it said what is there."""
    return sum(i.alive and i.lifecycle in COUNTED for i in facts.instances.values())


def soak(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Watch the new fleet with the old one still warm; trouble is seen before this is asked."""
    if not side.forward or is_committed(record):
        return None
    since = record.mark("soak") or facts.at
    wake = since + timedelta(seconds=goal.soak_s)
    if goal.soak_s and side.leave and facts.at < wake:
        return Wait(f"the new fleet to serve for {goal.soak_s:g} s", since, None, "soak", wake=wake)
    if shut := facts.shut.get(Gate.COMMIT):
        return Wait(shut, facts.at, None, Gate.COMMIT.mark)
    return None
