"""The end of the road: old instances out for good, and every setting of the group as it was."""

from __future__ import annotations

from .fleet import COUNTED, Facts, Instance, Lifecycle, Power
from .ledger import demand, maxima, own_maximum
from .release import (
    IDS_A_CALL,
    PROTECTED_A_CALL,
    TERMINATED_A_CALL,
    Act,
    Decision,
    Detach,
    Goal,
    Protect,
    Record,
    Resize,
    RestoreGroup,
    Retire,
    Stuck,
    Terminate,
    Untag,
    Wait,
)
from .sides import Side
from .waiting import drained_within_s, is_over, wait_for
from .wording import counted


def retire(side: Side, goal: Goal, record: Record, facts: Facts) -> Decision | None:
    """Let leaving instances go: out of the group first, then for good, and wait until they are gone."""
    strays = [i.id for i in side.leave if not i.in_group] + _halted(record, facts)
    resting = [i for i in side.leave if i.lifecycle is Lifecycle.STANDBY and not _is_kept(i, side, goal, record)]
    # What was kept warm for this day, and is not needed at today's size, or no longer answers.
    resting += [i for i in side.stay if side.forward and i.lifecycle is Lifecycle.STANDBY and i.standby]
    going = [*strays, *(i.id for i in resting)]
    draining = [i for i in facts.instances.values() if i.id in going and not facts.out_everywhere(i.id)]
    if draining:
        what = f"{counted(len(draining), 'instance')} to finish requests"
        wait = wait_for(what, "let go", drained_within_s(goal, facts), record, facts, draining)
        if not is_over(wait, facts):
            return wait
    if strays:
        return Terminate(tuple(strays[:TERMINATED_A_CALL]))
    if resting:
        ids = tuple(i.id for i in resting[:IDS_A_CALL])
        return Retire(ids) if facts.group.end_hooks else Detach(ids, record.id)
    # Nobody but us ever takes an instance out of Standby, not even one that is dead
    # (https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html).
    dead = [
        i.id
        for i in facts.instances.values()
        if i.lifecycle is Lifecycle.STANDBY
        and i.power not in (Power.PENDING, Power.RUNNING)
        and (i.id in record.rested or i.standby)
    ]
    dead += [instance_id for instance_id in facts.unseen if instance_id in record.rested]
    if dead:
        return Retire(tuple(sorted(dead)[:IDS_A_CALL]))
    return _gone(goal, record, facts)


def _halted(record: Record, facts: Facts) -> list[str]:
    """List our instances outside the group that stopped: EC2 keeps them, and nobody else will ever terminate them.

    A machine that shuts down by itself stops, by default
    (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_ChangingInstanceInitiatedShutdownBehavior.html).
    """
    halted = (Power.STOPPING, Power.STOPPED)
    return [
        i.id
        for i in facts.instances.values()
        if not i.in_group and i.power in halted and record.id in (i.release, i.leaving)
    ]


def _gone(goal: Goal, record: Record, facts: Facts) -> Decision | None:
    going = [i for i in facts.instances.values() if _is_going(i, record)]
    if not going:
        return None
    what = f"{counted(len(going), 'instance')} to terminate"
    wait = wait_for(what, "retire", drained_within_s(goal, facts), record, facts, going)
    if not is_over(wait, facts):
        return wait
    ours = [i.id for i in going if i.leaving == record.id and i.power is Power.RUNNING]
    return Stuck(f"{ours[0]} does not leave {facts.group.name}", tuple(ours)) if ours else None


def _is_going(instance: Instance, record: Record) -> bool:
    ours = record.id in (instance.release, instance.leaving)
    return instance.lifecycle is Lifecycle.LEAVING or (ours and instance.power is Power.SHUTTING_DOWN)


def _is_kept(instance: Instance, side: Side, goal: Goal, record: Record) -> bool:
    """Whether an instance in Standby outlives this release: the previous fleet, or one that was warm before us."""
    if side.forward:
        return goal.keep_previous and instance.image_id == record.before.image_id
    return instance.id in record.recalled or instance.standby not in (None, record.id)


def restore(side: Side, goal: Goal, record: Record, facts: Facts) -> Act | Wait | None:
    """Put the group's settings back, merged with what others changed meanwhile."""
    tagged = [i.id for i in side.active if i.in_group and i.standby]
    if tagged:
        return Untag(tuple(tagged))
    if not record.prepared:
        return None
    group = facts.group
    # A new instance that died in the group left its place to a replacement; a policy wanted less, or more than allowed.
    fit = min(demand(record, facts), group.max)
    if group.min <= fit < group.desired:
        return _unfit(side, goal, record, facts) or Resize(fit)
    if group.desired < fit:  # a maximum that somebody lowered meanwhile cut it
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
    maximum = max(own_maximum(record, facts), group.desired)
    ours = group.max in maxima(record) and group.max != maximum
    resume = record.paused & group.suspended
    return RestoreGroup(maximum if ours else None, resume) if ours or resume else None


def _unfit(side: Side, goal: Goal, record: Record, facts: Facts) -> Wait | None:
    """Wait before the group shrinks: whom it takes is its own choice, and everybody else must be able to serve."""
    dead = [i for i in facts.instances.values() if not i.alive and i.lifecycle in COUNTED]
    unfit = dead + [i for i in side.active if i.in_group and not facts.healthy_everywhere(i.id)]
    if not unfit:
        return None
    what = f"{counted(len(unfit), 'instance')} to serve before the group shrinks"
    wait = wait_for(what, "shrink", goal.healthy_within_s, record, facts, unfit)
    return None if is_over(wait, facts) else wait
