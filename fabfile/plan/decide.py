"""The release, as one pure function: goal, record and facts in, the one next thing out.

Forward and back are the same road. A *side* says which instances are to stay and which are to leave; undoing a
release is serving the other side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from .fleet import Facts, Health, Instance, Lifecycle, Power, holds
from .ledger import demand
from .release import (
    Act,
    Attach,
    BakeImage,
    Decision,
    Done,
    EnterStandby,
    ExitStandby,
    Goal,
    LaunchInstances,
    Migrate,
    PinTemplate,
    PointGroup,
    PrepareGroup,
    Protect,
    Record,
    Resize,
    RestoreGroup,
    Retire,
    Stuck,
    Terminate,
    Undo,
    Undone,
    Untag,
    Wait,
    WriteTemplateVersion,
)
from .sides import Side, count_missing, is_committed, is_settled, new_side, old_side
from .wording import counted

# AttachInstances, EnterStandby and their like take 20 ids in the API's prose and 19 in its length constraint
# (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html): the smaller one is safe.
IDS_A_CALL = 19
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceProtection.html
PROTECTED_A_CALL = 50
PAUSED = frozenset({"AZRebalance"})
MAX_FAILURES = 5
LAUNCHES_EACH = 4


def decide(goal: Goal, record: Record, facts: Facts) -> Decision:
    """Name the one next thing of a release, or what it waits for.

    :param goal: what was asked for.
    :param record: what was written down; `record.undo` turns the release round.
    :param facts: what AWS says now, with the looks before it.
    """
    if record.undo is None and record.failures >= MAX_FAILURES:
        if is_committed(record):
            return Stuck(f"gave up after {record.failures} failed calls in a row; {record.version} serves")
        return Undo(f"gave up after {record.failures} failed calls in a row")
    if record.undo is not None:
        if record.failures >= MAX_FAILURES * 2:
            return Stuck(f"{record.undo}; and putting back failed {record.failures} times")
        return _serve(old_side(record, facts), goal, record, facts) or Undone(record.undo)
    if record.image_id is None:
        return BakeImage(goal.version)
    if record.template_version is None:
        if facts.group.pinned != record.before.template.version:
            return PinTemplate(record.before.template)
        return WriteTemplateVersion(record.before.template, record.image_id, token=record.id)
    return _serve(new_side(record, facts), goal, record, facts) or Done(
        f"{record.version} serves {facts.group.name} on "
        f"{counted(sum(i.in_group for i in new_side(record, facts).active), 'instance')}"
    )


def _serve(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Walk the one road: warm, migrate, attach, healthy, point, standby, drain, soak, retire, restore."""
    return (
        _turn_back(side, record, facts)
        or _lost(side, goal, record, facts)
        or _launch(side, goal, record, facts)
        or _migrate(side, goal, record)
        or _warm(side, goal, record, facts)
        or (_room(record, facts, len(side.outside)) if side.outside else None)
        or _protect(side, record)
        or _attach(side)
        or _healthy(side, goal, record, facts)
        or _point(side, facts)
        or _stand_by(side, goal, record, facts)
        or _soak(side, goal, record, facts)
        or _retire(side, goal, record, facts)
        or _restore(side, record, facts)
    )


def _turn_back(side: Side, record: Record, facts: Facts) -> Act | None:
    """On the way back, first aim autoscaling at the old version and recall the old fleet."""
    if side.forward:
        return None
    if point := _point(side, facts):
        return point
    ours = [i.id for i in side.stay if i.lifecycle is Lifecycle.STANDBY and i.standby == record.id]
    if not ours:
        return None
    return _room(record, facts, len(ours)) or ExitStandby(tuple(ours[:IDS_A_CALL]))


def _lost(side: Side, goal: Goal, record: Record, facts: Facts) -> Undo | None:
    """Turn back at once when a new instance that served is lost while the old fleet still rests."""
    if not side.forward or is_committed(record):
        return None

    def is_sick(instance_id: str) -> bool:
        return holds(facts, goal.confirmations, lambda look: not look.healthy_everywhere(instance_id))

    sick = tuple(instance_id for instance_id in record.watched if is_sick(instance_id))
    if not sick:
        return None
    first = facts.instances.get(sick[0])
    return Undo(f"lost health: {why_unhealthy(first, facts) if first else f'{sick[0]} is gone'}", sick)


def _launch(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    if is_settled(side, record):
        return None
    missing = count_missing(side, record, facts)
    if missing <= 0:
        return None
    rested = [
        i
        for i in side.stay
        if i.lifecycle is Lifecycle.STANDBY and i.standby and i.image_id == side.image_id and i.answers is not False
    ]
    if rested:
        back = tuple(i.id for i in rested[: min(missing, IDS_A_CALL)])
        return _room(record, facts, missing) or ExitStandby(back)

    def agrees(look: Facts) -> bool:
        then = new_side(record, look) if side.forward else old_side(record, look)
        return count_missing(then, record, look) == missing

    if not holds(facts, goal.confirmations, agrees):
        return Wait("another look to agree on what is missing", facts.at, None, "look")
    if len(record.launched) > LAUNCHES_EACH * (missing + len(side.active)):
        return _give_up(side, f"{len(record.launched)} instances were started, and they keep dying", ())
    zone, count = _emptiest_zone(side.active, facts.group.subnets, missing)
    return LaunchInstances(
        count=count,
        zone=zone,
        subnet=facts.group.subnets[zone],
        template=side.template,
        image_id=side.image_id,
        release=record.id,
        token=_token(record, side, zone, facts),
        tags=facts.group.tags,
    )


def _emptiest_zone(active: Sequence[Instance], subnets: Iterable[str], missing: int) -> tuple[str, int]:
    """Spread `missing` over the zones and return the first zone that gets some, with its share."""
    filled = Counter(i.zone for i in active)
    zones = sorted(subnets)
    share: Counter[str] = Counter()
    for _ in range(missing):
        share[min(zones, key=lambda zone: (filled[zone] + share[zone], zone))] += 1
    zone = min(share)
    return zone, share[zone]


def _token(record: Record, side: Side, zone: str, facts: Facts) -> str:
    """Name a launch after what exists already, so that a repeat after a crash asks for the very same instances."""
    ours = sum(1 for i in facts.instances.values() if i.release == record.id)
    return f"{record.id}-{'f' if side.forward else 'b'}-{zone}-{ours}"[-64:]


def _migrate(side: Side, goal: Goal, record: Record) -> Act | None:
    return Migrate(goal.version) if side.forward and goal.migrates and not record.migrated else None


def _warm(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Health before traffic: every new instance runs, passes its checks and answers before the group gets it."""
    cold = [i for i in side.outside if not _is_warm(i)]
    if not cold:
        return None
    what = f"{len(side.outside) - len(cold)} of {len(side.outside)} new instances answer"
    wait = _wait(what, "warm" if side.forward else "undo warm", goal.warm_within_s, record, facts, cold)
    if facts.at < (wait.until or facts.at):
        return wait
    first = cold[0]
    return _give_up(
        side,
        f"{first.id} was not ready within {goal.warm_within_s:g} s: {_why_cold(first)}",
        cold,
    )


def _is_warm(instance: Instance) -> bool:
    return instance.power is Power.RUNNING and instance.checks_pass and instance.answers is True


def _why_cold(instance: Instance) -> str:
    if instance.power is not Power.RUNNING:
        return f"it is {instance.power.value}"
    if not instance.checks_pass:
        return "its EC2 status checks do not pass"
    return f"its health check answers: {instance.answer or 'nothing'}"


def _room(record: Record, facts: Facts, more: int) -> Act | None:
    """Make room for more instances and pause what would work against us: before anything is moved into the group."""
    group = facts.group
    if not record.prepared:
        return PrepareGroup(max=group.max + more, pause=PAUSED - group.suspended)
    # Autoscaling grew into the room meanwhile, or we died before the call that we had written down.
    short, awake = group.desired + more > group.max, record.paused - group.suspended
    if short or awake:
        return PrepareGroup(max=max(group.max, group.desired + more), pause=awake)
    return None


def _protect(side: Side, record: Record) -> Act | None:
    """Shield both fleets from scale-in while the traffic moves: half the load on each is no reason to shrink."""
    moving = side.outside or any(i.lifecycle is Lifecycle.IN_SERVICE for i in side.leave)
    if not record.prepared or not moving:
        return None
    ids = [i.id for i in (*side.stay, *side.leave) if i.lifecycle is Lifecycle.IN_SERVICE and not i.protected]
    return Protect(tuple(ids[:PROTECTED_A_CALL]), protected=True) if ids else None


def _attach(side: Side) -> Act | None:
    return Attach(tuple(i.id for i in side.outside[:IDS_A_CALL])) if side.outside else None


def _healthy(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Wait until these ids, not a number of them, are healthy in every load balancer, several reads in a row."""
    if is_settled(side, record):
        return None
    ids = [i.id for i in side.active]
    if not ids or holds(facts, goal.confirmations, lambda look: all(look.healthy_everywhere(i) for i in ids)):
        return None
    sick = [i for i in side.active if not facts.healthy_everywhere(i.id)]
    moving = any(i.lifecycle is not Lifecycle.IN_SERVICE for i in side.leave)
    mark = f"{'' if side.forward else 'undo '}{'steady' if moving else 'healthy'}"
    what = f"{len(ids) - len(sick)} of {len(ids)} instances healthy in every load balancer"
    wait = _wait(what, mark, goal.healthy_within_s, record, facts, sick)
    if facts.at < (wait.until or facts.at):
        return wait
    reason = f"not healthy within {goal.healthy_within_s:g} s: {'; '.join(why_unhealthy(i, facts) for i in sick[:3])}"
    if not side.forward and not any(facts.healthy_everywhere(i.id) for i in side.leave):
        return None
    return _give_up(side, reason, sick)


def why_unhealthy(instance: Instance, facts: Facts) -> str:
    """Say in one phrase which load balancer does not have an instance healthy, and its reason."""
    for balancer in facts.balancers:
        registration = balancer.registrations.get(instance.id)
        health = balancer.health_of(instance.id)
        if health is not Health.HEALTHY:
            detail = (
                f" ({registration.reason}: {registration.description})" if registration and registration.reason else ""
            )
            return f"{instance.id} is {health.value} in {balancer.name}{detail}"
    return f"{instance.id} is {instance.lifecycle.value} in {facts.group.name}"


def _point(side: Side, facts: Facts) -> Act | None:
    return None if facts.group.template == side.template else PointGroup(side.template)


def _stand_by(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    serving = [i for i in side.leave if i.lifecycle is Lifecycle.IN_SERVICE]
    if serving:
        return _standing(facts, len(serving)) or EnterStandby(tuple(i.id for i in serving[:IDS_A_CALL]), record.id)
    on_their_way = [
        i
        for i in side.leave
        if i.lifecycle in (Lifecycle.PENDING, Lifecycle.ENTERING_STANDBY)
        or (i.lifecycle is Lifecycle.STANDBY and not facts.out_everywhere(i.id))
    ]
    if not on_their_way:
        return None
    mark = "drain" if side.forward else "undo drain"
    wait = _wait(
        f"{counted(len(on_their_way), 'instance')} to finish requests",
        mark,
        goal.drain_within_s,
        record,
        facts,
        on_their_way,
    )
    if facts.at < (wait.until or facts.at):
        return wait
    return _give_up(
        side, f"{on_their_way[0].id} did not leave the load balancers within {goal.drain_within_s:g} s", on_their_way
    )


def _standing(facts: Facts, leaving: int) -> Act | None:
    """Let the desired capacity say what is in service, where a policy lowered it and no instance could follow.

    EnterStandby may not take it below the minimum
    (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html).
    """
    counted_in = (Lifecycle.IN_SERVICE, Lifecycle.PENDING)
    there = min(sum(i.alive and i.lifecycle in counted_in for i in facts.instances.values()), facts.group.max)
    low = facts.group.desired - min(leaving, IDS_A_CALL) < facts.group.min
    return Resize(there) if low and there > facts.group.desired else None


def _soak(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Watch the new fleet with the old one still warm; trouble is seen by `_healthy`, which comes first."""
    if not side.forward or not goal.soak_s or not side.leave or is_committed(record):
        return None
    wait = _wait(f"the new fleet to serve for {goal.soak_s:g} s", "soak", goal.soak_s, record, facts, ())
    return wait if facts.at < (wait.until or facts.at) else None


def _retire(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    strays = [i for i in side.leave if not i.in_group]
    if strays:
        return Terminate(tuple(i.id for i in strays))
    leaving = [i for i in side.leave if i.lifecycle is Lifecycle.STANDBY and not _is_kept(i, side, goal, record)]
    if leaving:
        return Retire(tuple(i.id for i in leaving[:IDS_A_CALL]))
    going = [
        i
        for i in facts.instances.values()
        if i.lifecycle is Lifecycle.LEAVING or (i.release == record.id and i.power is Power.SHUTTING_DOWN)
    ]
    if going:
        wait = _wait(
            f"{counted(len(going), 'instance')} to terminate", "retire", goal.drain_within_s, record, facts, going
        )
        return wait if facts.at < (wait.until or facts.at) else None
    return None


def _is_kept(instance: Instance, side: Side, goal: Goal, record: Record) -> bool:
    """Whether an instance in Standby outlives this release: the previous fleet, or one that was warm before us."""
    if side.forward:
        return goal.keep_previous and instance.image_id == record.before.image_id
    return instance.id in record.recalled or instance.standby not in (None, record.id)


def _restore(side: Side, record: Record, facts: Facts) -> Act | None:
    tagged = [i.id for i in side.active if i.lifecycle is Lifecycle.IN_SERVICE and i.standby]
    if tagged:
        return Untag(tuple(tagged))
    if not record.prepared:
        return None
    group = facts.group
    # A new instance that died in the group left its place to a replacement; a policy wanted less, or more than allowed.
    fit = min(demand(record, facts), group.max)
    if group.min <= fit <= len(side.active) and group.desired != fit:
        return Resize(fit)
    shielded = [
        i.id
        for i in side.active
        if i.lifecycle is Lifecycle.IN_SERVICE
        and i.protected
        and i.id not in record.before.protected
        and not group.protects_new
    ]
    if shielded:
        return Protect(tuple(shielded[:PROTECTED_A_CALL]), protected=False)
    # Who changed the maximum meanwhile meant it; and it must never fall below what runs.
    maximum = max(record.before.max, group.desired)
    ours = record.raised_max is not None and group.max == record.raised_max and group.max != maximum
    resume = record.paused & group.suspended
    return RestoreGroup(maximum if ours else None, resume) if ours or resume else None


def _wait(what: str, mark: str, within_s: float, record: Record, facts: Facts, pending: Iterable[Instance]) -> Wait:
    since: datetime = record.mark(mark) or facts.at
    return Wait(what, since, since + timedelta(seconds=within_s), mark, tuple(i.id for i in pending))


def _give_up(side: Side, reason: str, blamed: Iterable[Instance]) -> Undo | Stuck:
    ids = tuple(i.id for i in blamed)
    return Undo(reason, ids) if side.forward else Stuck(reason, ids)
