"""CloudWatch alarms: they are what a test sets them to, and run the scaling policies that they name.

Pages followed: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html and, for an
alarm's first state, https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html. No metric
is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend

if TYPE_CHECKING:
    from .cloud import Cloud


class AlarmRules(CloudWatchBackend):
    """Alarms whose state has consequences."""

    cloud: Cloud

    def put_metric_alarm(self, *args: Any, **kwargs: Any) -> Alarm:
        """Make an alarm, which has no state yet, or change one, whose state stays."""
        name = str(kwargs.get("name") or args[0])
        before = self.alarms.get(name)
        alarm = super().put_metric_alarm(*args, **kwargs)
        if before is None:
            alarm.update_state("Unchecked: Initial alarm creation", "", "INSUFFICIENT_DATA")
        else:
            alarm.update_state(before.state_reason, before.state_reason_data, before.state_value)
        return alarm

    def set_alarm_state(self, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
        """Set a state; what the alarm does in it, it does when that is another than before."""
        before = self.alarms[alarm_name].state_value if alarm_name in self.alarms else ""
        super().set_alarm_state(alarm_name, reason, reason_data, state_value)
        alarm = self.alarms[alarm_name]
        if state_value == "ALARM" and before != "ALARM" and alarm.actions_enabled:
            for arn in alarm.alarm_actions or []:
                if ":scalingPolicy:" in arn:
                    self.cloud.sound_alarm(arn.rpartition("policyName/")[2], alarm=alarm_name)
