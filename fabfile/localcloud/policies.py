"""Scaling policies: what an alarm makes of a group's desired capacity.

Pages followed: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html (kinds of adjustment,
how they are rounded, steps, the cooldown of simple scaling) and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html. Warm-up is not modelled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import FakeScalingPolicy
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

if TYPE_CHECKING:
    from .group_rules import GroupRules
    from .groups import Group

_put_scaling_policy = AutoScalingResponse.put_scaling_policy

SIMPLE, STEP, TRACKING = "SimpleScaling", "StepScaling", "TargetTrackingScaling"


class Policy(FakeScalingPolicy):
    """A policy that keeps within its group's sizes."""

    autoscaling_backend: GroupRules

    def execute(self, breach: float = 0.0, alarm: str = "") -> None:
        """Change the desired capacity as the policy says.

        :param breach: how far the metric is beyond the alarm's threshold, or beyond the target that is tracked.
        :param alarm: name of the alarm; empty when a user asks for it.
        """
        group = self.autoscaling_backend.group(self.auto_scaling_group_name)
        before = group.sizes
        wanted = self._wanted(before.desired, breach)
        group.desired_capacity = min(max(wanted, before.smallest), before.largest)
        if group.sizes.desired == before.desired:
            return
        group.cools_until_s = self._cloud_s() + float(self.cooldown or 0)
        who = f"a monitor alarm {alarm} in state ALARM triggered policy" if alarm else "a user request executed policy"
        group.log.note(
            f"{who} {self.name} changing the desired capacity from {before.desired} to {group.sizes.desired}."
        )

    def is_cooling(self, group: Group) -> bool:
        """Tell whether simple scaling waits for the last change to show its effect."""
        return self.policy_type == SIMPLE and self._cloud_s() < group.cools_until_s

    def _cloud_s(self) -> float:
        return self.autoscaling_backend.cloud.time_s()

    def _wanted(self, desired: int, breach: float) -> int:
        if self.policy_type == TRACKING:
            return self._tracked(desired, breach)
        adjustment: Any = self.scaling_adjustment
        if self.policy_type == STEP:
            adjustment = next((step["ScalingAdjustment"] for step in self._steps() if _holds(step, breach)), 0)
        return _adjusted(self.adjustment_type, int(adjustment or 0), desired, int(self.min_adjustment_magnitude or 0))

    def _steps(self) -> list[dict[str, Any]]:
        steps: Any = self.step_adjustments
        return list(steps or ())

    def _tracked(self, desired: int, breach: float) -> int:
        tracking = vars(self.target_tracking_configuration)
        target = float(tracking["TargetValue"])
        wanted = math.ceil(desired * (target + breach) / target - 1e-9)
        only_out = str(tracking.get("DisableScaleIn", False)).lower() == "true"
        return max(wanted, desired) if only_out else wanted


def put_scaling_policy(self: AutoScalingResponse) -> ActionResult:
    """Put a policy, and name it as the API does."""
    answer: Any = _put_scaling_policy(self)
    return ActionResult({"PolicyARN": answer.result["PolicyArn"], "Alarms": []})


def execute_policy(self: AutoScalingResponse) -> ActionResult:
    """Run a policy by hand.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_ExecutePolicy.html
    """
    policy = self.autoscaling_backend.policies.get(self._get_param("PolicyName").rpartition("policyName/")[2])
    if not isinstance(policy, Policy):
        raise ValidationError("ScalingPolicy name not found - null")
    if self._get_bool_param("HonorCooldown", False) and policy.is_cooling(
        policy.autoscaling_backend.group(policy.auto_scaling_group_name)
    ):
        raise AutoscalingClientError("ScalingActivityInProgress", "The group is cooling down from its last activity.")
    metric, threshold = self._get_param("MetricValue"), self._get_param("BreachThreshold")
    if policy.policy_type == STEP and (metric is None or threshold is None):
        raise ValidationError("MetricValue and BreachThreshold are required for StepScaling policies")
    policy.execute(float(metric or 0) - float(threshold or 0))
    return EmptyResult()


def _holds(step: dict[str, Any], breach: float) -> bool:
    """Tell whether a breach lies in a step, which takes in the bound that is nearer to the threshold."""
    lower, upper = _bound(step, "Lower", -math.inf), _bound(step, "Upper", math.inf)
    return lower <= breach < upper if breach >= 0 else lower < breach <= upper


def _bound(step: dict[str, Any], which: str, missing: float) -> float:
    given = step.get(f"MetricInterval{which}Bound")
    return missing if given in (None, "") else float(given)


def _adjusted(kind: str, adjustment: int, desired: int, magnitude: int) -> int:
    if kind == "ExactCapacity":
        return adjustment
    change = adjustment
    if kind == "PercentChangeInCapacity":
        exact = desired * adjustment / 100
        change = math.floor(exact) if exact > 0 else math.ceil(exact)
        if change == 0 and exact:
            change = 1 if exact > 0 else -1
        if change and abs(change) < magnitude:
            change = magnitude if change > 0 else -magnitude
    return desired + change
