"""Mixed-instances policies: of which type, and on which terms, a group launches its next instance.

Page followed: https://docs.aws.amazon.com/autoscaling/ec2/userguide/mixed-instances-groups-set-up-overview.html. Of the
overrides the first type is launched, as the strategy ``prioritized`` has it; weights are not modelled, and a new policy
does not replace the instances that are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .groups import Group, Member
    from .instances import InstanceRules

SPOT, ON_DEMAND = "spot", "on-demand"
DEFAULTS: dict[str, Any] = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
}


@dataclass(frozen=True)
class Purchase:
    """What is launched next, where that is not the template's own: empty fields mean the template's."""

    instance_type: str = ""
    template: dict[str, Any] | None = None
    lifecycle: str = ON_DEMAND


def complete(given: dict[str, Any], before: dict[str, Any] | None, ec2: InstanceRules) -> dict[str, Any]:
    """Make the whole policy of what a request gives of one.

    Distribution parameters that are not given take their defaults; an update may leave the template as it is:
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_MixedInstancesPolicy.html.

    :raises ValidationError: it names no template.
    """
    template = given.get("LaunchTemplate") or (before or {}).get("LaunchTemplate") or {}
    specification = {key: value for key, value in (template.get("LaunchTemplateSpecification") or {}).items() if value}
    if not specification:
        raise ValidationError("Launch template specification is required in a mixed instances policy.")
    version = ec2.version_of(specification)
    named = {"LaunchTemplateId": version.template.id, "LaunchTemplateName": version.template.name}
    distribution = {**DEFAULTS, **{k: v for k, v in (given.get("InstancesDistribution") or {}).items() if v != ""}}
    for name in ("OnDemandBaseCapacity", "OnDemandPercentageAboveBaseCapacity"):
        distribution[name] = int(distribution[name])
    if not 0 <= distribution["OnDemandPercentageAboveBaseCapacity"] <= 100:
        raise ValidationError("OnDemandPercentageAboveBaseCapacity must be between 0 and 100.")
    if distribution["SpotAllocationStrategy"] == "lowest-price":
        distribution["SpotInstancePools"] = int(distribution.get("SpotInstancePools", 2))
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"Version": specification.get("Version", "$Default"), **named},
            "Overrides": list(template.get("Overrides") or []),
        },
        "InstancesDistribution": distribution,
    }


def identify(specification: dict[str, Any]) -> dict[str, Any]:
    """Name a template once: policies show its id and its name, requests take one of them."""
    return {key: value for key, value in specification.items() if key != "LaunchTemplateName"}


def on_demand_of(distribution: dict[str, Any], size: int) -> int:
    """Tell how many of a group's instances are on demand; a fraction counts in favour of on-demand."""
    base = min(size, int(distribution["OnDemandBaseCapacity"]))
    return base - (-(size - base) * int(distribution["OnDemandPercentageAboveBaseCapacity"]) // 100)


def next_purchase(group: Group, members: Sequence[Member]) -> Purchase:
    """Say what a group launches next, by the members that it counts."""
    policy = group.mixed_instances_policy
    if not policy:
        return Purchase()
    has = sum(member.lifecycle == ON_DEMAND for member in members)
    wants = on_demand_of(policy["InstancesDistribution"], len(members) + 1)
    overrides = policy["LaunchTemplate"]["Overrides"]
    first = overrides[0] if overrides else {}
    own = first.get("LaunchTemplateSpecification")
    return Purchase(first.get("InstanceType", ""), own or None, ON_DEMAND if has < wants else SPOT)


def terms_to_shrink(group: Group, members: Sequence[Member]) -> str | None:
    """Say of which terms there are too many when a group shrinks by one; None where all are alike.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
    """
    policy = group.mixed_instances_policy
    if not policy:
        return None
    has = sum(member.lifecycle == ON_DEMAND for member in members)
    return ON_DEMAND if has > on_demand_of(policy["InstancesDistribution"], len(members) - 1) else SPOT
