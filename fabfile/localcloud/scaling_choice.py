"""Where an Auto Scaling group launches, and whom it terminates when it shrinks.

Pages followed: instance distribution
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html#AutoScalingBehavior.Rebalancing) and
termination policies
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from moto.autoscaling.models import ASG_NAME_TAG
from moto.ec2.exceptions import EC2ClientError

from .group_rules import GroupRules
from .groups import Group, Member
from .instances import Instance
from .mixed import SPOT, Purchase, next_purchase, terms_to_shrink

RETRY_S = 15.0
LONGEST_RETRY_S = 300.0


def launch(rules: GroupRules, group: Group, count: int) -> None:
    """Launch instances one by one, each in the zone that has fewest and has capacity, until one fails."""
    members = group.counted()
    crowd = Counter(member.availability_zone for member in members)
    places = subnets(rules, group)
    for _ in range(count):
        member = _launch_one(rules, group, members, sorted(places, key=lambda each: (crowd[each], each)), places)
        if member is None:
            back_off(rules, group)
            return
        crowd[member.availability_zone] += 1
        members.append(member)
        group.join(member)


def _launch_one(
    rules: GroupRules, group: Group, members: list[Member], zones: list[str], places: dict[str, str | None]
) -> Member | None:
    error = "the group has no subnet"
    purchase = next_purchase(group, members)
    for zone in zones:
        try:
            instance = _run(rules, group, purchase, zone, places[zone])
        except EC2ClientError as refused:
            error = refused.message
            continue
        why = _why_launched(len(members))
        activity = group.log.begin(f"Launching a new EC2 instance: {instance.id}", why, zone=zone)
        member = Member(group, instance, activity)
        member.runs_launch_hooks = True
        return member
    failed = group.log.begin("Launching a new EC2 instance", _why_launched(len(members)))
    group.log.end(failed, "Failed", f"{error.rstrip('.')}. Launching EC2 instance failed.")
    return None


def back_off(rules: GroupRules, group: Group) -> None:
    """Wait before the next launch, longer with each failure."""
    group.retry_at_s = rules.cloud.time_s() + min(RETRY_S * 2**group.failures, LONGEST_RETRY_S)
    group.failures += 1


def choose_victims(group: Group, count: int) -> Iterator[Member]:
    """Choose who goes, one after another; fewer where all others are protected.

    Of the zone with most instances, of the terms of which there are too many, there by the policies.
    """
    counted = group.counted()
    crowd = Counter(member.availability_zone for member in counted)
    policies = [*(group.termination_policies or []), "Default"]
    candidates = sorted(
        (member for member in counted if not member.protected_from_scale_in),
        key=lambda member: [_rank(policy, group, member) for policy in policies],
        reverse=True,
    )
    queues: dict[str | None, list[Member]] = {}
    for member in candidates:
        queues.setdefault(member.availability_zone, []).append(member)
    for _ in range(count):
        zones = [zone for zone, queue in queues.items() if queue]
        if not zones:
            return
        fullest = max(crowd[zone] for zone in zones)
        heads = [_pick(group, counted, queues[zone]) for zone in zones if crowd[zone] == fullest]
        victim = min(heads, key=lambda member: [_rank(policy, group, member) for policy in policies])
        queues[victim.availability_zone].remove(victim)
        crowd[victim.availability_zone] -= 1
        if group.mixed_instances_policy:
            counted.remove(victim)
        yield victim


def _pick(group: Group, counted: list[Member], queue: list[Member]) -> Member:
    terms = terms_to_shrink(group, counted)
    return next((member for member in reversed(queue) if terms in (None, member.lifecycle)), queue[-1])


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


def _run(rules: GroupRules, group: Group, purchase: Purchase, zone: str, subnet_id: str | None) -> Instance:
    version = rules.ec2_backend.version_of(purchase.template) if purchase.template else group.pinned_version()
    own_type = version.instance_type if version else group.instance_type
    template = {"LaunchTemplateId": version.template.id, "Version": str(version.number)} if version else None
    reservation = rules.ec2_backend.run_instances(
        version.image_id if version else group.image_id,
        1,
        None if version else group.user_data,
        [] if version else group.security_groups,
        instance_type=purchase.instance_type or own_type,
        tags={"instance": {**group.get_propagated_tags(), ASG_NAME_TAG: group.name}},
        placement=zone,
        region_name=rules.region_name,
        launch_config=group.launch_config,
        launch_template=template,
        is_instance_type_default=False,
        subnet_id=subnet_id,
        instance_market_options={"MarketType": SPOT} if purchase.lifecycle == SPOT else None,
        key_name=None if version else group.launch_config.key_name,
    )
    instance = reservation.instances[0]
    assert isinstance(instance, Instance)  # noqa: S101 - the class is swapped together with these rules
    instance.close_to({"GroupName": group.placement_group})
    return instance
