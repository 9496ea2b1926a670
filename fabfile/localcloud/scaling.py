"""What an Auto Scaling group does by itself, one step at a time.

Pages followed: the instance lifecycle
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html), health checks
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html), termination policies
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html), and suspended
processes (https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html).
"""

from __future__ import annotations

from collections import Counter

from moto.autoscaling.models import ASG_NAME_TAG
from moto.ec2.exceptions import EC2ClientError

from .groups import Group, GroupRules, Member
from .instances import Instance

RETRY_S = 15.0
LONGEST_RETRY_S = 300.0


def step(rules: GroupRules, group: Group) -> None:
    """Let a group notice what has changed and do what follows from it."""
    for member in list(group.members):
        STEPS[member.lifecycle_state](rules, group, member)
    if group.status is not None:
        if not group.members:
            rules.forget(group)
        return
    _replace_unhealthy(rules, group)
    _meet_desired_capacity(rules, group)
    _rebalance(rules, group)


def _pending(rules: GroupRules, group: Group, member: Member) -> None:
    if member.machine.state == "running":
        member.lifecycle_state = "InService"
        member.in_service_since_s = rules.cloud.time_s()
        member.has_left_balancers = False
        if group.allows("AddToLoadBalancer"):
            for registry, port, _ in group.registries():
                registry.register(member.instance_id, port)
        group.log.end(member.activity)
    elif member.machine.state not in ("pending",):
        message = f"{member.machine.state_reason.message or 'Instance became unhealthy while waiting for instance to be in InService state.'}"  # noqa: E501
        group.log.end(member.activity, "Failed" if member.machine.state == "terminated" else "Cancelled", message)
        member.activity = None
        if member.machine.state == "terminated":
            group.members.remove(member)
            _fail_for_now(rules, group)
        else:
            rules.terminate_member(group, member, "as it did not come into service")


def _in_service(rules: GroupRules, group: Group, member: Member) -> None:
    if not group.allows("HealthCheck") or member.health_status == "Unhealthy":
        return
    why = _why_unhealthy(rules, group, member)
    if why:
        member.health_status = "Unhealthy"
        member.unhealthy_because = why


def _why_unhealthy(rules: GroupRules, group: Group, member: Member) -> str | None:
    """Name the health check that a member fails; the grace period covers all but a machine that is not running."""
    if member.machine.state != "running":
        return f"an EC2 health check indicating it has been {'terminated or stopped'}"
    if rules.cloud.time_s() - (member.in_service_since_s or 0.0) < float(group.health_check_grace_period or 0):
        return None
    if member.machine.checks == "impaired":
        return "an EC2 instance status checks failure"
    if group.health_check_type == "ELB" and any(
        registry.is_unhealthy(member.instance_id) for registry, _, _ in group.registries()
    ):
        return "an ELB system health check failure"
    return None


def _leaving(rules: GroupRules, group: Group, member: Member, then: str) -> bool:
    """Deregister a member everywhere and wait for its last request; tell whether that is over."""
    registries = group.registries()
    if not member.has_left_balancers:
        for registry, _, delay_s in registries:
            registry.deregister(member.instance_id, delay_s)
        member.has_left_balancers = True
    if member.machine.state in ("running", "stopping") and not all(
        registry.has_let_go(member.instance_id) for registry, _, _ in registries
    ):
        if member.activity is not None:
            member.activity.status_code = "WaitingForELBConnectionDraining"
        return False
    if member.activity is not None:
        member.activity.status_code = then
    return True


def _entering_standby(rules: GroupRules, group: Group, member: Member) -> None:
    if _leaving(rules, group, member, "InProgress"):
        member.lifecycle_state = "Standby"
        group.log.end(member.activity)


def _detaching(rules: GroupRules, group: Group, member: Member) -> None:
    if _leaving(rules, group, member, "InProgress"):
        group.members.remove(member)
        rules.ec2_backend.delete_tags([member.instance_id], {ASG_NAME_TAG: group.name})
        group.log.end(member.activity)


def _terminating(rules: GroupRules, group: Group, member: Member) -> None:
    if member.machine.state == "terminated":
        group.members.remove(member)
        group.log.end(member.activity)
    elif _leaving(rules, group, member, "InProgress"):
        member.machine.terminate()


def _standby(rules: GroupRules, group: Group, member: Member) -> None:
    if member.machine.state == "terminated":
        group.members.remove(member)


STEPS = {
    "Pending": _pending,
    "InService": _in_service,
    "EnteringStandby": _entering_standby,
    "Standby": _standby,
    "Detaching": _detaching,
    "Terminating": _terminating,
}


def _replace_unhealthy(rules: GroupRules, group: Group) -> None:
    """Terminate what is unhealthy; the gap that it leaves is filled as any other."""
    if not (group.allows("ReplaceUnhealthy") and group.allows("Terminate")):
        return
    for member in group.members:
        if member.lifecycle_state == "InService" and member.health_status == "Unhealthy":
            rules.terminate_member(group, member, f"in response to {member.unhealthy_because}")


def _meet_desired_capacity(rules: GroupRules, group: Group) -> None:
    counted = group.counted()
    missing = (group.desired_capacity or 0) + (1 if group.rebalancing else 0) - len(counted)
    if missing > 0 and group.allows("Launch") and rules.cloud.time_s() >= group.retry_at_s:
        for _ in range(missing):
            if not _launch(rules, group):
                break
    elif missing < 0 and group.allows("Terminate"):
        for _ in range(-missing):
            victim = _victim(group)
            if victim is None:
                break
            rules.terminate_member(
                group,
                victim,
                f"in response to a difference between desired and actual capacity, shrinking the capacity from "
                f"{len(group.counted())} to {len(group.counted()) - 1}",
            )


def _victim(group: Group) -> Member | None:
    """Choose who goes: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html.

    The zone with most instances, there the oldest template version, there the oldest instance.
    """
    candidates = [member for member in group.counted() if not member.protected_from_scale_in]
    if not candidates:
        return None
    crowd = Counter(member.availability_zone for member in group.counted())
    fullest = max(crowd[member.availability_zone] for member in candidates)
    candidates = [member for member in candidates if crowd[member.availability_zone] == fullest]
    policies = group.termination_policies or ["Default"]
    return min(candidates, key=lambda member: [_rank(policy, group, member) for policy in (*policies, "Default")])


def _rank(policy: str, group: Group, member: Member) -> tuple[float, ...]:
    age = member.machine.launch_time.timestamp()
    current = group.ec2_launch_template
    is_current = bool(current and member.from_template and member.from_template["LaunchTemplateId"] == current.id)
    if policy == "NewestInstance":
        return (-age,)
    if policy == "OldestInstance":
        return (age,)
    if policy == "OldestLaunchTemplate":
        return (float(is_current), float(member.version))
    return (float(is_current), float(member.version), age)


def _launch(rules: GroupRules, group: Group) -> bool:
    """Launch one instance, in the zone that has fewest and has capacity."""
    crowd = Counter(member.availability_zone for member in group.counted())
    size = len(group.counted())
    zones = sorted(_subnets(rules, group), key=lambda zone: (crowd[zone], zone))
    error: EC2ClientError | None = None
    for zone in zones:
        try:
            instance = _run(rules, group, zone)
        except EC2ClientError as refused:
            error = refused
            continue
        activity = group.log.begin(
            f"Launching a new EC2 instance: {instance.id}",
            "an instance was started in response to a difference between desired and actual capacity, increasing the "
            f"capacity from {size} to {size + 1}.",
        )
        group.members.append(Member(group, instance, "Pending", activity))
        group.failures = 0
        return True
    failed = group.log.begin(
        "Launching a new EC2 instance",
        "an instance was started in response to a difference between desired and actual capacity, increasing the "
        f"capacity from {size} to {size + 1}.",
    )
    group.log.end(failed, "Failed", f"{error.message if error else 'No subnet.'} Launching EC2 instance failed.")
    _fail_for_now(rules, group)
    return False


def _fail_for_now(rules: GroupRules, group: Group) -> None:
    group.retry_at_s = rules.cloud.time_s() + min(RETRY_S * 2**group.failures, LONGEST_RETRY_S)
    group.failures += 1


def _subnets(rules: GroupRules, group: Group) -> dict[str, str | None]:
    """Return a subnet for each zone of the group; None where only the zone is given."""
    if not group.vpc_zone_identifier:
        return dict.fromkeys(group.availability_zones)
    subnets = [rules.ec2_backend.get_subnet(each.strip()) for each in group.vpc_zone_identifier.split(",")]
    return {subnet.availability_zone: subnet.id for subnet in reversed(subnets)}


def _run(rules: GroupRules, group: Group, zone: str) -> Instance:
    version = group.pinned_version()
    template = {"LaunchTemplateId": version.template.id, "Version": str(version.number)} if version else None
    reservation = rules.ec2_backend.run_instances(
        version.image_id if version else group.image_id,
        1,
        None if version else group.user_data,
        [] if version else group.security_groups,
        instance_type=version.instance_type if version else group.instance_type,
        tags={"instance": {**group.get_propagated_tags(), ASG_NAME_TAG: group.name}},
        placement=zone,
        region_name=rules.region_name,
        launch_config=group.launch_config,
        launch_template=template,
        is_instance_type_default=False,
        subnet_id=_subnets(rules, group)[zone],
        key_name=None if version else group.launch_config.key_name,
    )
    instance = reservation.instances[0]
    assert isinstance(instance, Instance)  # noqa: S101 - the class is swapped together with these rules
    return instance


def _rebalance(rules: GroupRules, group: Group) -> None:
    """Launch where instances are few before one goes where they are many.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-benefits.html#AutoScalingBehavior.InstanceUsage
    """
    settled = all(member.lifecycle_state in ("InService", "Standby") for member in group.members)
    if group.rebalancing:
        group.rebalancing = not settled
        return
    serving = [member for member in group.members if member.lifecycle_state == "InService"]
    crowd = Counter(dict.fromkeys(_subnets(rules, group), 0))
    crowd.update(member.availability_zone for member in serving)
    uneven = bool(crowd) and max(crowd.values()) - min(crowd.values()) > 1
    if uneven and settled and len(serving) == group.desired_capacity and group.allows("AZRebalance"):
        group.rebalancing = group.allows("Launch") and rules.cloud.time_s() >= group.retry_at_s
