"""Load balancers that send a group nothing: whoever waits for health there waits for ever."""

from __future__ import annotations

from collections.abc import Iterable

from .fleet import Balancer, Facts, Group, Health, Instance, Lifecycle

_NOT_IN_USE = "Target.NotInUse"


def why_not_in_use(facts: Facts) -> str | None:
    """Return which target group sends nothing to instances that are registered with it, and the way out; or None.

    Target.NotInUse has two causes: no load balancer uses the target group, or none has the target's zone enabled
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html).
    """
    serving = [i for i in facts.instances.values() if i.alive and i.lifecycle is Lifecycle.IN_SERVICE]
    for balancer in facts.balancers:
        if serving and _is_idle(balancer, serving):
            return _why_idle(balancer, facts.group)
        for zone in sorted(facts.group.subnets):
            there = [i for i in serving if i.zone == zone]
            if there and _is_idle(balancer, there):
                return _why_idle_in(balancer, zone, facts.group)
    return None


def _is_idle(balancer: Balancer, instances: Iterable[Instance]) -> bool:
    known = (balancer.registrations.get(instance.id) for instance in instances)
    return all(each is not None and each.health is Health.UNUSED and each.reason == _NOT_IN_USE for each in known)


def _why_idle(balancer: Balancer, group: Group) -> str:
    return (
        f"the target group {balancer.name} sends {group.name} nothing ({_NOT_IN_USE}): no instance would become "
        "healthy in it; have a listener forward to it and its load balancer's zones enabled, or detach it: "
        f"aws autoscaling detach-load-balancer-target-groups --auto-scaling-group-name {group.name} "
        f"--target-group-arns ARN-OF-{balancer.name}"
    )


def _why_idle_in(balancer: Balancer, zone: str, group: Group) -> str:
    return (
        f"the target group {balancer.name} sends nothing to {zone}, where {group.name} has instances ({_NOT_IN_USE}): "
        f"none would become healthy there; enable {zone} for its load balancer, "
        f"or take {group.subnets[zone]} out of the group"
    )
