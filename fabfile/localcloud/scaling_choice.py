"""Where an Auto Scaling group launches, and whom it terminates when it shrinks.

Pages followed: instance distribution
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html#AutoScalingBehavior.Rebalancing) and
termination policies
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html).
"""

from __future__ import annotations

from collections import Counter

from moto.autoscaling.models import ASG_NAME_TAG
from moto.ec2.exceptions import EC2ClientError

from .group_rules import GroupRules
from .groups import Group, Member
from .instances import Instance

RETRY_S = 15.0
LONGEST_RETRY_S = 300.0


def launch(rules: GroupRules, group: Group) -> bool:
    """Launch one instance, in the zone that has fewest and has capacity; tell whether that went well."""
    crowd = Counter(member.availability_zone for member in group.counted())
    size = len(group.counted())
    error = "the group has no subnet"
    for zone in sorted(subnets(rules, group), key=lambda each: (crowd[each], each)):
        try:
            instance = _run(rules, group, zone)
        except EC2ClientError as refused:
            error = refused.message
            continue
        activity = group.log.begin(f"Launching a new EC2 instance: {instance.id}", _why_launched(size), zone=zone)
        member = Member(group, instance, activity)
        member.runs_launch_hooks = True
        group.join(member)
        return True
    failed = group.log.begin("Launching a new EC2 instance", _why_launched(size))
    group.log.end(failed, "Failed", f"{error.rstrip('.')}. Launching EC2 instance failed.")
    back_off(rules, group)
    return False


def back_off(rules: GroupRules, group: Group) -> None:
    """Wait before the next launch, longer with each failure."""
    group.retry_at_s = rules.cloud.time_s() + min(RETRY_S * 2**group.failures, LONGEST_RETRY_S)
    group.failures += 1


def choose_victim(group: Group) -> Member | None:
    """Choose who goes: the zone with most instances, there by the policies; None when all are protected."""
    counted = group.counted()
    crowd = Counter(member.availability_zone for member in counted)
    candidates = [member for member in counted if not member.protected_from_scale_in]
    if not candidates:
        return None
    fullest = max(crowd[member.availability_zone] for member in candidates)
    policies = [*(group.termination_policies or []), "Default"]
    return min(
        (member for member in candidates if crowd[member.availability_zone] == fullest),
        key=lambda member: [_rank(policy, group, member) for policy in policies],
    )


def subnets(rules: GroupRules, group: Group) -> dict[str, str | None]:
    """Return a subnet for each zone of the group; None where only the zone is given."""
    if not group.vpc_zone_identifier:
        return dict.fromkeys(group.availability_zones)
    found = [rules.ec2_backend.get_subnet(each.strip()) for each in group.vpc_zone_identifier.split(",")]
    return {subnet.availability_zone: subnet.id for subnet in reversed(found)}


def _rank(policy: str, group: Group, member: Member) -> tuple[float, ...]:
    """Order members by a policy: whoever ranks lowest goes first."""
    launched = member.machine.launch_time.timestamp()
    current = group.ec2_launch_template
    is_current = bool(current and member.from_template and member.from_template["LaunchTemplateId"] == current.id)
    if policy == "NewestInstance":
        return (-launched,)
    if policy == "OldestInstance":
        return (launched,)
    if policy == "OldestLaunchTemplate":
        return (float(is_current), float(member.version))
    return (float(is_current), float(member.version), launched)


def _why_launched(size: int) -> str:
    return (
        "an instance was started in response to a difference between desired and actual capacity, increasing the "
        f"capacity from {size} to {size + 1}."
    )


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
        subnet_id=subnets(rules, group)[zone],
        key_name=None if version else group.launch_config.key_name,
    )
    instance = reservation.instances[0]
    assert isinstance(instance, Instance)  # noqa: S101 - the class is swapped together with these rules
    return instance
