"""Answers of the Auto Scaling API that moto lacks or cuts short."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from . import hooks, refreshes
from .activities import Activity
from .group_rules import GroupRules
from .groups import Group
from .hook_answers import FIELDS as HOOK_FIELDS
from .registry import Registry

ACTIVITIES_PER_PAGE = 100
LATER_SETTINGS = {
    "TerminationPolicies": "termination_policies",
    "DefaultCooldown": "default_cooldown",
    "PlacementGroup": "placement_group",
    "CapacityRebalance": "capacity_rebalance",
    "MaxInstanceLifetime": "max_instance_lifetime",
    "DefaultInstanceWarmup": "default_instance_warmup",
    "InstanceLifecyclePolicy": "instance_lifecycle_policy",
}

_create_auto_scaling_group = AutoScalingResponse.create_auto_scaling_group
_update_auto_scaling_group = AutoScalingResponse.update_auto_scaling_group


def _rules(response: AutoScalingResponse) -> GroupRules:
    rules = response.autoscaling_backend
    assert isinstance(rules, GroupRules)  # noqa: S101 - the backend is swapped together with these answers
    return rules


def create_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """Create with lifecycle hooks, before anything is launched."""
    answer = _create_auto_scaling_group(self)
    group = _rules(self).group(self._get_param("AutoScalingGroupName"))
    for given in self._get_param("LifecycleHookSpecificationList", []):
        fields = {field: given.get(name) for name, field in HOOK_FIELDS.items()}
        fields["heartbeat_timeout"] = int(given["HeartbeatTimeout"]) if "HeartbeatTimeout" in given else None
        hooks.put(group, given["LifecycleHookName"], fields)
    return answer


def update_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """Change also the settings that moto leaves as they are."""
    answer = _update_auto_scaling_group(self)
    group = _rules(self).group(self._get_param("AutoScalingGroupName"))
    for parameter, attribute in LATER_SETTINGS.items():
        value = self._get_param(parameter)
        if value is not None:
            setattr(group, attribute, value)
    return answer


def delete_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """Delete, by force only when that is asked for."""
    _rules(self).delete_auto_scaling_group(
        self._get_param("AutoScalingGroupName"), self._get_bool_param("ForceDelete", False)
    )
    return EmptyResult()


def describe_scaling_activities(self: AutoScalingResponse) -> ActionResult:
    """Show what groups have done, newest first.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
    """
    rules, name = _rules(self), self._get_param("AutoScalingGroupName")
    groups = [rules.group(name)] if name else rules.groups()
    activities: list[Activity] = [activity for group in groups for activity in group.log.activities]
    if self._get_bool_param("IncludeDeletedGroups", False):
        activities += [each for each in rules.past if name in (None, each.auto_scaling_group_name)]
    asked = self._get_param("ActivityIds", [])
    if asked:
        activities = [activity for activity in activities if activity.activity_id in asked]
    activities.sort(key=lambda activity: (activity.start_time, activity.activity_id), reverse=True)
    start = int(self._get_param("NextToken") or 0)
    end = start + self._get_int_param("MaxRecords", ACTIVITIES_PER_PAGE)
    result: dict[str, Any] = {"Activities": activities[start:end]}
    if end < len(activities):
        result["NextToken"] = str(end)
    return ActionResult(result)


def describe_load_balancer_target_groups(self: AutoScalingResponse) -> ActionResult:
    """Show how far target groups are with the group's instances."""
    rules = _rules(self)
    group = rules.group(self._get_param("AutoScalingGroupName"))
    found = {arn: rules.elbv2_backend.target_groups.get(arn) for arn in group.target_group_arns}
    states = [
        {"LoadBalancerTargetGroupARN": arn, "State": _state(group, getattr(target_group, "registry", None))}
        for arn, target_group in found.items()
    ]
    return ActionResult({"LoadBalancerTargetGroups": states})


def describe_load_balancers(self: AutoScalingResponse) -> ActionResult:
    """Show how far classic load balancers are with the group's instances."""
    rules = _rules(self)
    group = rules.group(self._get_param("AutoScalingGroupName"))
    found = {name: rules.elb_backend.load_balancers.get(name) for name in group.load_balancer_names}
    states = [
        {"LoadBalancerName": name, "State": _state(group, getattr(balancer, "registry", None))}
        for name, balancer in found.items()
    ]
    return ActionResult({"LoadBalancers": states})


def _state(group: Group, registry: Registry | None) -> str:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_LoadBalancerTargetGroupState.html."""
    if registry is None:
        return "Removed"
    entries = [registry.entries.get(member.instance_id) for member in group.serving()]
    if any(entry is None for entry in entries):
        return "Adding"
    return "InService" if any(registry.is_healthy(member.instance_id) for member in group.serving()) else "Added"


def disable_metrics_collection(self: AutoScalingResponse) -> ActionResult:
    """Collect fewer metrics, or none."""
    group = _rules(self).group(self._get_param("AutoScalingGroupName"))
    unwanted = self._get_param("Metrics", [])
    group.metrics = [metric for metric in group.metrics if unwanted and metric not in unwanted]
    return EmptyResult()


def start_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """Start a refresh."""
    rules = _rules(self)
    refresh_id = refreshes.start(rules.group(self._get_param("AutoScalingGroupName")), rules.cloud.utcnow())
    return ActionResult({"InstanceRefreshId": refresh_id})


def cancel_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """Cancel the refresh that runs."""
    rules = _rules(self)
    refresh_id = refreshes.cancel(rules.group(self._get_param("AutoScalingGroupName")), rules.cloud.utcnow())
    return ActionResult({"InstanceRefreshId": refresh_id})


def describe_instance_refreshes(self: AutoScalingResponse) -> ActionResult:
    """Show a group's refreshes, newest first.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html
    """
    asked = self._get_param("InstanceRefreshIds", [])
    found = _rules(self).group(self._get_param("AutoScalingGroupName")).refreshes
    return ActionResult(
        {"InstanceRefreshes": [each for each in found if not asked or each.instance_refresh_id in asked]}
    )
