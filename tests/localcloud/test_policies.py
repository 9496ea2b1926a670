"""Scaling policies, alarms and schedules: who changes a group's sizes besides people.

Pages: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html,
https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fabfile.localcloud.schedule import recurs
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    """Make a group of four that may have one to forty."""
    return provision_world(cloud, capacity=4, min_size=1, max_size=40)


@pytest.fixture
def policy(world: World, autoscaling: Any) -> Any:
    """Put a policy on the group; return its ARN."""

    def put(kind: str = "SimpleScaling", **given: Any) -> str:
        answer = autoscaling.put_scaling_policy(
            AutoScalingGroupName=world.group, PolicyName="more", PolicyType=kind, **given
        )
        return str(answer["PolicyARN"])

    return put


def desired(world: World) -> int:
    return int(world.describe_group()["DesiredCapacity"])


def schedule(world: World, name: str = "daily", **given: Any) -> None:
    world.cloud.client("autoscaling").put_scheduled_update_group_action(
        AutoScalingGroupName=world.group, ScheduledActionName=name, **given
    )


@pytest.mark.parametrize(
    ("kind", "adjustment", "expected"),
    [
        ("ChangeInCapacity", 3, 7),
        ("ChangeInCapacity", -9, 1),
        ("ExactCapacity", 9, 9),
        ("ExactCapacity", 99, 40),
        ("PercentChangeInCapacity", 70, 6),
        ("PercentChangeInCapacity", 10, 5),
        ("PercentChangeInCapacity", -10, 3),
        ("PercentChangeInCapacity", -70, 2),
    ],
)
def test_adjustments_are_rounded_and_kept_within_the_sizes(
    world: World, policy: Any, kind: str, adjustment: int, expected: int
) -> None:
    policy(AdjustmentType=kind, ScalingAdjustment=adjustment)
    world.cloud.sound_alarm("more")
    assert desired(world) == expected


def test_a_percentage_changes_at_least_by_its_magnitude(world: World, policy: Any) -> None:
    policy(AdjustmentType="PercentChangeInCapacity", ScalingAdjustment=25, MinAdjustmentMagnitude=2)
    world.cloud.sound_alarm("more")
    assert desired(world) == 6


def test_simple_scaling_cools_down_before_it_listens_again(world: World, policy: Any) -> None:
    policy(AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=120)
    world.cloud.sound_alarm("more")
    world.cloud.sound_alarm("more")
    assert desired(world) == 5
    world.cloud.clock.sleep(121)
    world.cloud.sound_alarm("more")
    assert desired(world) == 6


@pytest.mark.parametrize(("breach", "expected"), [(0, 4), (9, 4), (10, 5), (19.9, 5), (20, 8), (500, 8)])
def test_a_step_is_chosen_by_the_size_of_the_breach(world: World, policy: Any, breach: float, expected: int) -> None:
    steps = [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 0},
        {"MetricIntervalLowerBound": 10, "MetricIntervalUpperBound": 20, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 20, "ScalingAdjustment": 4},
    ]
    policy("StepScaling", AdjustmentType="ChangeInCapacity", StepAdjustments=steps)
    world.cloud.sound_alarm("more", breach)
    assert desired(world) == expected


@pytest.mark.parametrize(("breach", "expected"), [(0, 4), (-10, 4), (-20, 2), (-21, 2)])
def test_steps_below_the_threshold_take_in_their_upper_bound(
    world: World, policy: Any, breach: float, expected: int
) -> None:
    steps = [
        {"MetricIntervalLowerBound": -20, "MetricIntervalUpperBound": 0, "ScalingAdjustment": 0},
        {"MetricIntervalUpperBound": -20, "ScalingAdjustment": -2},
    ]
    policy("StepScaling", AdjustmentType="ChangeInCapacity", StepAdjustments=steps)
    world.cloud.sound_alarm("more", breach)
    assert desired(world) == expected


def test_target_tracking_scales_in_proportion_and_in_only_where_it_may(world: World, policy: Any) -> None:
    metric = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}}
    policy("TargetTrackingScaling", TargetTrackingConfiguration={**metric, "TargetValue": 50.0})
    world.cloud.sound_alarm("more", breach=25)
    assert desired(world) == 6
    world.cloud.sound_alarm("more", breach=-25)
    assert desired(world) == 3
    tracking = {**metric, "TargetValue": 50.0, "DisableScaleIn": True}
    policy("TargetTrackingScaling", TargetTrackingConfiguration=tracking)
    world.cloud.sound_alarm("more", breach=-25)
    assert desired(world) == 3


def test_the_activity_names_alarm_and_policy(world: World, policy: Any, autoscaling: Any) -> None:
    policy(AdjustmentType="ChangeInCapacity", ScalingAdjustment=1)
    world.cloud.sound_alarm("more")
    world.cloud.clock.sleep(5)
    newest = autoscaling.describe_scaling_activities(AutoScalingGroupName=world.group)["Activities"][0]
    assert "in state ALARM triggered policy more changing the desired capacity from 4 to 5" in newest["Cause"]


def test_a_policy_is_executed_by_hand_unless_the_cooldown_is_to_be_honoured(
    world: World, policy: Any, autoscaling: Any
) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_ExecutePolicy.html."""
    policy(AdjustmentType="ChangeInCapacity", ScalingAdjustment=1)
    execute = {"AutoScalingGroupName": world.group, "PolicyName": "more"}
    autoscaling.execute_policy(**execute)
    autoscaling.execute_policy(**execute)
    assert desired(world) == 6
    with pytest.raises(ClientError, match="ScalingActivityInProgress"):
        autoscaling.execute_policy(**execute, HonorCooldown=True)


def test_an_alarm_is_what_it_is_set_to_and_runs_its_policy_once(
    world: World, policy: Any, cloud: SimulatedCloud
) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html."""
    cloudwatch = cloud.client("cloudwatch")
    arn = policy(AdjustmentType="ChangeInCapacity", ScalingAdjustment=2, Cooldown=0)

    def put() -> None:
        cloudwatch.put_metric_alarm(
            AlarmName="errors",
            Namespace="shop",
            MetricName="5xx",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=10,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[arn],
        )

    def state() -> tuple[str, str]:
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"]
        return alarm["StateValue"], alarm["StateReason"]

    put()
    assert state()[0] == "INSUFFICIENT_DATA"
    for _ in range(2):
        cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="12 of them")
        assert state() == ("ALARM", "12 of them")
    assert desired(world) == 6
    put()
    assert state() == ("ALARM", "12 of them")
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="none")
    assert state() == ("OK", "none")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"]
    assert alarm["StateUpdatedTimestamp"].year == 2030  # the cloud's time


@pytest.mark.parametrize(
    ("recurrence", "local", "expected"),
    [
        ("30 6 * * 2", "2030-01-01T06:30", True),  # a Tuesday
        ("30 6 * * 2", "2030-01-02T06:30", False),
        ("30 6 * * tue", "2030-01-01T06:30", True),
        ("*/15 9-17 * * 1-5", "2030-01-01T09:45", True),
        ("*/15 9-17 * * 1-5", "2030-01-01T09:46", False),
        ("*/15 9-17 * * 1-5", "2030-01-05T09:45", False),
        ("0 0 1 1,6,12 *", "2030-06-01T00:00", True),
        ("0 0 1 jan *", "2030-06-01T00:00", False),
        ("0 0 13 * 5", "2030-01-04T00:00", True),  # a Friday, or the 13th
        ("0 0 13 * 5", "2030-01-13T00:00", True),
        ("0 0 * * 7", "2030-01-06T00:00", True),  # Sunday is 0 and 7
    ],
)
def test_a_recurrence_names_minutes_as_crontab_does(recurrence: str, local: str, expected: bool) -> None:
    """https://man7.org/linux/man-pages/man5/crontab.5.html."""
    assert recurs(recurrence, datetime.fromisoformat(local)) is expected


def test_an_action_recurs_in_its_time_zone(world: World, cloud: SimulatedCloud) -> None:
    schedule(world, "morning", Recurrence="30 2 * * *", TimeZone="Europe/Berlin", DesiredCapacity=6)
    schedule(world, "later", Recurrence="0 3 * * *", TimeZone="Europe/Berlin", DesiredCapacity=5)
    cloud.clock.sleep(3600 + 29 * 60)  # from midnight, UTC
    assert desired(world) == 4
    cloud.clock.sleep(120)
    assert desired(world) == 6
    cloud.clock.sleep(1800)
    assert desired(world) == 5


def test_a_recurring_action_begins_at_its_start_and_is_gone_at_its_end(world: World, cloud: SimulatedCloud) -> None:
    now = cloud.clock.now()
    times: dict[str, Any] = {"StartTime": now + timedelta(seconds=90), "EndTime": now + timedelta(minutes=5)}
    schedule(world, Recurrence="* * * * *", DesiredCapacity=6, **times)
    autoscaling = cloud.client("autoscaling")

    def set_back() -> None:
        autoscaling.set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=4)

    cloud.clock.sleep(85)
    assert desired(world) == 4
    cloud.clock.sleep(10)
    assert desired(world) == 6
    set_back()
    cloud.clock.sleep(60)
    assert desired(world) == 6
    cloud.clock.sleep(180)
    set_back()
    cloud.clock.sleep(180)
    assert desired(world) == 4
    assert autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"] == []


def test_what_recurs_is_missed_while_scheduled_actions_are_suspended(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html."""
    autoscaling = cloud.client("autoscaling")
    schedule(world, Recurrence="* * * * *", DesiredCapacity=6)
    process = {"AutoScalingGroupName": world.group, "ScalingProcesses": ["ScheduledActions"]}
    autoscaling.suspend_processes(**process)
    cloud.clock.sleep(180)
    assert desired(world) == 4
    autoscaling.resume_processes(**process)
    cloud.clock.sleep(61)
    assert desired(world) == 6


@pytest.mark.parametrize(
    "given", [{"Recurrence": "at tea"}, {"Recurrence": "61 * * * *"}, {"TimeZone": "Mars/Olympus"}]
)
def test_a_schedule_that_cannot_be_is_refused(world: World, given: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        schedule(world, **{"Recurrence": "* * * * *", "DesiredCapacity": 6, **given})
