"""Answers of the Auto Scaling API about lifecycle hooks, whose actions moto lacks."""

from __future__ import annotations

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from . import hooks
from .group_rules import GroupRules
from .groups import Group, Member

FIELDS = {
    "LifecycleTransition": "lifecycle_transition",
    "DefaultResult": "default_result",
    "NotificationTargetARN": "notification_target_arn",
    "RoleARN": "role_arn",
    "NotificationMetadata": "notification_metadata",
}


def put_lifecycle_hook(self: AutoScalingResponse) -> ActionResult:
    """Make a hook, or change one."""
    given = {field: self._get_param(name) for name, field in FIELDS.items()}
    given["heartbeat_timeout"] = self._get_int_param("HeartbeatTimeout")
    hooks.put(_group(self), self._get_param("LifecycleHookName"), given)
    return EmptyResult()


def delete_lifecycle_hook(self: AutoScalingResponse) -> ActionResult:
    """Take a hook away."""
    hooks.delete(_group(self), self._get_param("LifecycleHookName"))
    return EmptyResult()


def describe_lifecycle_hooks(self: AutoScalingResponse) -> ActionResult:
    """Show a group's hooks, without targets and roles that nobody named."""
    names = self._get_param("LifecycleHookNames", [])
    found = _group(self).hooks.values()
    return ActionResult({"LifecycleHooks": [hook for hook in found if not names or hook.lifecycle_hook_name in names]})


def complete_lifecycle_action(self: AutoScalingResponse) -> ActionResult:
    """Let an instance go on.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html
    """
    result = self._get_param("LifecycleActionResult")
    if result not in (hooks.ABANDON, hooks.CONTINUE):
        raise ValidationError(f"Invalid Lifecycle Action Result: {result}")
    member, waiting = _waiting(self)
    hooks.end(member, waiting, result, hooks.COMPLETED)
    return EmptyResult()


def record_lifecycle_action_heartbeat(self: AutoScalingResponse) -> ActionResult:
    """Let an instance wait for the whole timeout again.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RecordLifecycleActionHeartbeat.html
    """
    _, waiting = _waiting(self)
    waiting.until_s = _group(self).autoscaling_backend.cloud.time_s() + waiting.hook.heartbeat_timeout
    return EmptyResult()


def _waiting(response: AutoScalingResponse) -> tuple[Member, hooks.Waiting]:
    return hooks.find(
        _group(response),
        response._get_param("LifecycleHookName"),
        instance_id=response._get_param("InstanceId"),
        token=response._get_param("LifecycleActionToken"),
    )


def _group(response: AutoScalingResponse) -> Group:
    rules = response.autoscaling_backend
    assert isinstance(rules, GroupRules)  # noqa: S101 - the backend is swapped together with these answers
    return rules.group(response._get_param("AutoScalingGroupName"))
