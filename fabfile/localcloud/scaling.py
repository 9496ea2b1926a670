"""What an Auto Scaling group does by itself, one step at a time.

Pages followed: the instance lifecycle
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html) and suspended processes
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html).
How it judges health is in :mod:`.scaling_health`, how it launches and whom it terminates in :mod:`.scaling_choice`.
"""

from __future__ import annotations

from collections import Counter

from moto.autoscaling.models import ASG_NAME_TAG

from . import hooks
from .group_rules import GroupRules
from .groups import Group, Member
from .scaling_choice import back_off, choose_victims, launch, subnets
from .scaling_health import judge
from .schedule import run_due_actions


def step(rules: GroupRules, group: Group) -> None:
    """Let a group notice what has changed and do what follows from it."""
    for member in group.members:
        STEPS[member.lifecycle_state](rules, group, member)
    if group.status is not None:
        if not group.members:
            rules.forget(group)
        return
    run_due_actions(rules, group)
    judge(rules, group)
    _replace_unhealthy(rules, group)
    _meet_desired_capacity(rules, group)
    _rebalance(rules, group)


def _pending(rules: GroupRules, group: Group, member: Member) -> None:
    if member.machine.state != "running":
        _fail_unless_booting(rules, group, member)
    elif member.runs_launch_hooks and hooks.begin(group, member, hooks.LAUNCHING, rules.cloud.time_s()):
        member.lifecycle_state = "Pending:Wait"
        _set_status(member, "MidLifecycleAction")
    else:
        _come_into_service(rules, group, member)


def _pending_wait(rules: GroupRules, group: Group, member: Member) -> None:
    """Wait for the hooks of a launch; ABANDON, or its time out where that is the default, terminates it."""
    if member.machine.state != "running":
        _fail_unless_booting(rules, group, member)
        return
    hooks.expire(member, rules.cloud.time_s())
    if member.abandoned_because:
        group.log.end(member.activity, "Cancelled", member.abandoned_because)
        rules.terminate_member(group, member, "in response to a launch lifecycle action that was abandoned")
    elif not member.waits:
        member.lifecycle_state = "Pending:Proceed"
        _set_status(member, "InProgress")


def _come_into_service(rules: GroupRules, group: Group, member: Member) -> None:
    member.lifecycle_state = "InService"
    member.runs_launch_hooks = False
    member.in_service_since_s = rules.cloud.time_s()
    member.has_left_balancers = False
    if group.allows("AddToLoadBalancer"):
        for balancer in group.balancers():
            balancer.registry.register(member.instance_id, balancer.port)
    group.log.end(member.activity)
    group.failures = 0


def _fail_unless_booting(rules: GroupRules, group: Group, member: Member) -> None:
    state = member.machine.state
    if state == "pending":
        return
    why = member.machine.state_reason.message or f"Instance is {state}"
    group.log.end(member.activity, "Failed", f"{why}. Launching EC2 instance failed.")
    rules.terminate_member(group, member, f"as it is {state} and did not come into service")
    back_off(rules, group)


def _pending_proceed(rules: GroupRules, group: Group, member: Member) -> None:
    if member.machine.state == "running":
        _come_into_service(rules, group, member)
    else:
        _fail_unless_booting(rules, group, member)


def _entering_standby(rules: GroupRules, group: Group, member: Member) -> None:
    if _has_left(group, member):
        member.lifecycle_state = "Standby"
        group.log.end(member.activity)


def _detaching(rules: GroupRules, group: Group, member: Member) -> None:
    if _has_left(group, member):
        group.leave(member)
        rules.ec2_backend.delete_tags([member.instance_id], {ASG_NAME_TAG: group.name})
        group.log.end(member.activity)


def _terminating(rules: GroupRules, group: Group, member: Member) -> None:
    """Leave the load balancers, then wait for the hooks, then end. One whose machine is gone waits for them as well.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html
    """
    member.abandoned_because = ""
    if member.machine.state != "terminated" and not _has_left(group, member):
        return
    if not member.is_released and hooks.begin(group, member, hooks.TERMINATING, rules.cloud.time_s()):
        member.lifecycle_state = "Terminating:Wait"
        _set_status(member, "MidLifecycleAction")
    else:
        _terminating_proceed(rules, group, member)


def _terminating_wait(rules: GroupRules, group: Group, member: Member) -> None:
    hooks.expire(member, rules.cloud.time_s())
    if not member.waits:
        member.lifecycle_state = "Terminating:Proceed"
        _set_status(member, "InProgress")


def _terminating_proceed(rules: GroupRules, group: Group, member: Member) -> None:
    member.is_released = True
    if member.abandoned_because and group.retains and member.machine.state == "running":
        member.lifecycle_state = "Terminating:Retained"
        group.log.end(member.activity, "Failed", member.abandoned_because)
        return
    if member.machine.state == "terminated":
        group.leave(member)
        group.log.end(member.activity)
    else:
        member.machine.terminate()


def _retained(rules: GroupRules, group: Group, member: Member) -> None:
    """Keep what nobody could say goodbye to, until somebody ends it by hand.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/manage-retained-instances.html
    """
    if member.machine.state == "terminated":
        group.leave(member)


def _has_left(group: Group, member: Member) -> bool:
    """Deregister a member everywhere and wait for its last request; tell whether that is over."""
    balancers = group.balancers()
    if not member.has_left_balancers:
        for balancer in balancers:
            balancer.registry.deregister(member.instance_id, balancer.delay_s)
        member.has_left_balancers = True
    is_up = member.machine.state in ("running", "stopping")
    serves = is_up and not all(balancer.registry.has_let_go(member.instance_id) for balancer in balancers)
    _set_status(member, "WaitingForELBConnectionDraining" if serves else "InProgress")
    return not serves


def _set_status(member: Member, status: str) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html: the codes of a status."""
    if member.activity is not None:
        member.activity.status_code = status


def _stay(rules: GroupRules, group: Group, member: Member) -> None:
    """Stay as it is. In Standby nobody even notices that an instance is gone.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html#standby-instance-health-status
    """


STEPS = {
    "Pending": _pending,
    "Pending:Wait": _pending_wait,
    "Pending:Proceed": _pending_proceed,
    "InService": _stay,
    "EnteringStandby": _entering_standby,
    "Standby": _stay,
    "Detaching": _detaching,
    "Terminating": _terminating,
    "Terminating:Wait": _terminating_wait,
    "Terminating:Proceed": _terminating_proceed,
    "Terminating:Retained": _retained,
}


def _replace_unhealthy(rules: GroupRules, group: Group) -> None:
    """Terminate what is unhealthy; the gap that it leaves is filled as any other."""
    if not (group.allows("ReplaceUnhealthy") and group.allows("Terminate")):
        return
    for member in group.serving():
        if member.health_status == "Unhealthy":
            rules.terminate_member(group, member, f"in response to {member.unhealthy_because}")


def _meet_desired_capacity(rules: GroupRules, group: Group) -> None:
    missing = group.sizes.desired + (1 if group.rebalancing else 0) - len(group.counted())
    if missing > 0 and group.allows("Launch") and rules.cloud.time_s() >= group.retry_at_s:
        launch(rules, group, missing)
    elif missing < 0 and group.allows("Terminate"):
        size = len(group.counted())
        for number, victim in enumerate(choose_victims(group, -missing)):
            rules.terminate_member(
                group,
                victim,
                "in response to a difference between desired and actual capacity, shrinking the capacity from "
                f"{size - number} to {size - number - 1}",
            )


def _rebalance(rules: GroupRules, group: Group) -> None:
    """Launch where instances are few before one goes where they are many.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html#AutoScalingBehavior.InstanceUsage
    """
    settled = all(member.lifecycle_state in ("InService", "Standby") for member in group.members)
    if group.rebalancing:
        group.rebalancing = not settled
        return
    serving = group.serving()
    if (
        not settled
        or len(serving) != group.sizes.desired
        or not (group.allows("AZRebalance") and group.allows("Launch"))
    ):
        return
    crowd: Counter[str | None] = Counter(dict.fromkeys(subnets(rules, group), 0))
    crowd.update(member.availability_zone for member in serving)
    uneven = max(crowd.values()) - min(crowd.values()) > 1
    group.rebalancing = uneven and rules.cloud.time_s() >= group.retry_at_s
