"""How an Auto Scaling group judges the health of its instances.

Page followed: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html.
"""

from __future__ import annotations

from .group_rules import GroupRules
from .groups import Group, Member

PATIENCE_S = 180.0  # "waits a few minutes" when a status check fails


def judge(rules: GroupRules, group: Group) -> None:
    """Mark the instances in service that fail a health check as unhealthy.

    One that does not run is marked at once. Of those that only fail a check, at most a tenth of the group, and at
    least one, goes at a time, and the next not before the last one has been replaced.
    """
    _note_proven_pools(group)
    if not group.allows("HealthCheck"):
        return
    for member in group.serving():
        if member.health_status == "Healthy" and member.machine.state != "running":
            _mark(member, "an EC2 health check indicating it has been terminated or stopped")
    for member in group.serving():
        why = _why_unhealthy(rules, group, member) if member.health_status == "Healthy" else None
        if why and _may_miss_one_more(group):
            _mark(member, why)


def _why_unhealthy(rules: GroupRules, group: Group, member: Member) -> str | None:
    now_s = rules.cloud.time_s()
    impaired = member.machine.checks == "impaired"
    member.impaired_since_s = (member.impaired_since_s or now_s) if impaired else None
    if now_s - (member.in_service_since_s or 0.0) < float(group.health_check_grace_period or 0):
        return None
    if member.impaired_since_s is not None and now_s - member.impaired_since_s >= PATIENCE_S:
        return "an EC2 instance status checks failure"
    if group.health_check_type == "ELB" and any(
        balancer.registry.is_unhealthy(member.instance_id)
        for balancer in group.balancers()
        if balancer.registry.pool in group.proven
    ):
        return "an ELB system health check failure"
    return None


def _note_proven_pools(group: Group) -> None:
    """Remember which balancers are InService for the group: before, their verdicts terminate nobody.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/load-balancer-status.html
    """
    for balancer in group.balancers():
        registry = balancer.registry
        if registry.pool not in group.proven and any(registry.is_healthy(each.instance_id) for each in group.serving()):
            group.proven.add(registry.pool)


def _may_miss_one_more(group: Group) -> bool:
    healthy = sum(member.health_status == "Healthy" for member in group.serving())
    return group.sizes.desired - healthy < max(1, group.sizes.desired // 10)


def _mark(member: Member, why: str) -> None:
    member.health_status = "Unhealthy"
    member.unhealthy_because = why
