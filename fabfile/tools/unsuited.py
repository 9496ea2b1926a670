"""What a group has that a release cannot handle, each with the way out, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ec2 import Blueprint

# What only one machine at a time can have.
_FIXED = (
    "NetworkInterfaceId",
    "PrivateIpAddress",
    "PrivateIpAddresses",
    "Ipv6Addresses",
    "Ipv4Prefixes",
    "Ipv6Prefixes",
)
# Of a placement, what the group's own subnet and placement group take the place of.
_REPLACED = {"AvailabilityZone", "AvailabilityZoneId", "GroupName", "GroupId"}


def specifications(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield how a group names its launch templates: its own, or those of its mixed-instances policy.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_MixedInstancesPolicy.html

    :param raw: the group as DescribeAutoScalingGroups shows it; here and below.
    """
    if raw.get("LaunchTemplate"):
        yield raw["LaunchTemplate"]
    template = (raw.get("MixedInstancesPolicy") or {}).get("LaunchTemplate", {})
    for each in (template, *template.get("Overrides", [])):
        if each.get("LaunchTemplateSpecification"):
            yield each["LaunchTemplateSpecification"]


def why_unsuited(
    raw: Mapping[str, Any],
    blueprint: Blueprint,
    subnets: Mapping[str, str],
    *,
    refresh: str | None = None,
    sharer: str | None = None,
) -> str | None:
    """Return why a group cannot be released to, or None.

    :param blueprint: the template version that it launches.
    :param subnets: its subnet by zone.
    :param refresh: an instance refresh that goes on.
    :param sharer: another group that launches whatever version of the template is the newest.
    """
    return (
        _why_not_ours(raw)
        or _why_no_template(raw)
        or _why_interfaces(raw, blueprint)
        or _why_mix(raw)
        or _why_place(raw, blueprint)
        or _why_in_the_way(raw, subnets, refresh)
        or _why_shared(raw, blueprint, sharer)
    )


def _why_not_ours(raw: Mapping[str, Any]) -> str | None:
    """Refuse what is on its way out, and what only another service may change.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AutoScalingGroup.html
    """
    name = raw["AutoScalingGroupName"]
    if raw.get("Status"):
        return f"{name} is being deleted (its status: {raw['Status']}); set headway.release.group to one that stays"
    principal = (raw.get("Operator") or {}).get("Principal")
    if principal:
        return f"{name} is managed by {principal}, and nobody else may change it; release by way of that service"
    return None


def _why_no_template(raw: Mapping[str, Any]) -> str | None:
    name = raw["AutoScalingGroupName"]
    if raw.get("LaunchConfigurationName"):
        return (
            f"{name} uses launch configuration {raw['LaunchConfigurationName']}, which cannot be versioned; "
            "move it to a launch template: "
            "https://docs.aws.amazon.com/autoscaling/ec2/userguide/migrate-to-launch-templates.html"
        )
    return None if any(specifications(raw)) else f"{name} has no launch template; give it one"


def _why_interfaces(raw: Mapping[str, Any], blueprint: Blueprint) -> str | None:
    """Refuse interfaces that a release cannot start a second fleet with.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LaunchTemplateInstanceNetworkInterfaceSpecification.html
    """
    which = f"version {blueprint.template.version} of {raw['AutoScalingGroupName']}'s launch template"
    if len(blueprint.interfaces) > 1:
        return f"{which} has {len(blueprint.interfaces)} network interfaces; leave one, and attach others at boot"
    for interface in blueprint.interfaces:
        fixed = next((name for name in _FIXED if interface.get(name)), None)
        if fixed:
            return f"{which} fixes {fixed} of its network interface, which one instance alone can have; leave it out"
    return None


def _why_mix(raw: Mapping[str, Any]) -> str | None:
    """Refuse what makes instances differ in more than type and terms, or counts anything but instances.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_LaunchTemplateOverrides.html
    """
    name, policy = raw["AutoScalingGroupName"], raw.get("MixedInstancesPolicy") or {}
    which = f"the mixed-instances policy of {name}"
    for override in policy.get("LaunchTemplate", {}).get("Overrides", []):
        kind = override.get("InstanceType") or "one of its overrides"
        if override.get("LaunchTemplateSpecification"):
            return f"{which} has a launch template for {kind} alone; one must do for all types"
        if override.get("ImageId"):
            return (
                f"{which} has {override['ImageId']} for {kind}, so that the group would go on launching that; "
                "leave ImageId out of the overrides"
            )
        if override.get("WeightedCapacity", "1") != "1":
            return f"{which} weighs {kind}; a release counts instances: leave the weights out"
    if raw.get("DesiredCapacityType", "units") != "units":
        return f"{name} counts its capacity in {raw['DesiredCapacityType']}; a release counts instances: make it units"
    return None


def _why_place(raw: Mapping[str, Any], blueprint: Blueprint) -> str | None:
    """Refuse what Auto Scaling asks for when it launches, and neither RunInstances nor CreateFleet can be asked for.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CapacityReservationSpecification.html and, for what an
    EC2 Fleet cannot be told of a placement, https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Placement.html
    """
    name, is_mixed = raw["AutoScalingGroupName"], bool(raw.get("MixedInstancesPolicy"))
    preference, targets = reservations_of(raw)
    way_out = "name the Capacity Reservation in the launch template, and set the group's preference to default"
    if is_mixed and (preference != "default" or targets):
        return f"{name} says which Capacity Reservations to launch into, which an EC2 Fleet cannot be told; {way_out}"
    if preference not in ("default", "none", "capacity-reservations-only"):
        return f"{name} launches with {preference}, which Auto Scaling alone can do; {way_out}"
    if targets and preference != "capacity-reservations-only":
        return f"{name} names Capacity Reservations with the preference {preference}; {way_out}"
    if len(targets) > 1:
        return f"{name} names {len(targets)} Capacity Reservations, and RunInstances takes one; put them in one group"
    kept = sorted(blueprint.placement.keys() - _REPLACED)
    if is_mixed and raw.get("PlacementGroup") and kept:
        return (
            f"{name} has a placement group, and its launch template {kept[0]}: an EC2 Fleet might take the one for the "
            "other; name the placement group in the launch template instead"
        )
    return None


def reservations_of(raw: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return a group's Capacity Reservation preference, and the reservations and groups of them that it names."""
    given = raw.get("CapacityReservationSpecification") or {}
    target = given.get("CapacityReservationTarget") or {}
    named = (*target.get("CapacityReservationIds", []), *target.get("CapacityReservationResourceGroupArns", []))
    return given.get("CapacityReservationPreference") or "default", named


def _why_in_the_way(raw: Mapping[str, Any], subnets: Mapping[str, str], refresh: str | None) -> str | None:
    name = raw["AutoScalingGroupName"]
    if raw.get("WarmPoolConfiguration"):
        return (
            f"{name} has a warm pool, whose instances keep the old version; delete it for the release: "
            f"aws autoscaling delete-warm-pool --auto-scaling-group-name {name}"
        )
    if refresh:
        return (
            f"{name} is being refreshed ({refresh}); wait for it, or: "
            f"aws autoscaling cancel-instance-refresh --auto-scaling-group-name {name}"
        )
    for source in raw.get("TrafficSources", []):
        if source.get("Type") == "vpc-lattice":
            return f"{name} serves {source['Identifier']} of VPC Lattice, whose health cannot be read; take it out"
    if not subnets:
        return f"{name} names no subnets (VPCZoneIdentifier); set them, so that instances can be started beside it"
    return None


def _why_shared(raw: Mapping[str, Any], blueprint: Blueprint, sharer: str | None) -> str | None:
    """Refuse to write a version that another group would launch at once. Nothing here changes the default version."""
    if sharer is None:
        return None
    return (
        f"{sharer} launches $Latest of the launch template of {raw['AutoScalingGroupName']} ({blueprint.template.id}), "
        f"so that it would launch what is not released yet; pin {sharer} to a version by its number first"
    )
