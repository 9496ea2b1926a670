"""Auto Scaling as its pages describe it: what groups of the simulated cloud do by themselves."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from fabfile.localcloud.faults import Fault
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    """Make a group of four behind two load balancers, past its grace period; it may have two to eight."""
    world = provision_world(cloud, capacity=4)
    cloud.clock.sleep(60)
    return world


def suspend(world: World, *processes: str) -> None:
    world.cloud.client("autoscaling").suspend_processes(
        AutoScalingGroupName=world.group, ScalingProcesses=list(processes)
    )


def resume(world: World, *processes: str) -> None:
    world.cloud.client("autoscaling").resume_processes(
        AutoScalingGroupName=world.group, ScalingProcesses=list(processes)
    )


def set_desired(world: World, capacity: int) -> None:
    world.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=capacity)


def health_status(world: World, instance_id: str) -> str | None:
    found = {each["InstanceId"]: each["HealthStatus"] for each in world.describe_group()["Instances"]}
    return found.get(instance_id)


def causes(world: World) -> list[str]:
    answer = world.cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=world.group)
    return [activity["Cause"] for activity in answer["Activities"]]


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html


def test_an_instance_that_dies_is_replaced(world: World, cloud: SimulatedCloud) -> None:
    victim = world.members()[0]
    cloud.hosts.kill(victim)
    cloud.clock.sleep(60)
    assert victim not in world.members(None)
    assert len(world.members()) == 4
    assert set(world.health()) == set(world.classic_health()) == set(world.members())
    assert any("EC2 health check indicating it has been terminated or stopped" in cause for cause in causes(world))


def test_an_instance_that_is_stopped_is_replaced_even_in_its_grace_period(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, HealthCheckGracePeriod=3600)
    victim = world.members()[0]
    cloud.client("ec2").stop_instances(InstanceIds=[victim])
    cloud.clock.sleep(60)
    assert victim not in world.members(None)
    assert len(world.members()) == 4


def test_an_instance_that_fails_the_load_balancers_check_is_replaced(world: World, cloud: SimulatedCloud) -> None:
    victim = world.members()[0]
    cloud.hosts.script(victim, sick_s=0)
    cloud.clock.sleep(60)
    assert victim not in world.members(None)
    assert len(world.members()) == 4
    assert any("in response to an ELB system health check failure" in cause for cause in causes(world))


def test_with_ec2_health_checks_the_load_balancers_word_does_not_count(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, HealthCheckType="EC2")
    victim = world.members()[0]
    cloud.hosts.script(victim, sick_s=0)
    cloud.clock.sleep(600)
    assert victim in world.members()


def test_failed_checks_do_not_count_in_the_grace_period(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, HealthCheckGracePeriod=600)
    cloud.hosts.script_next(Behaviour(healthy_s=None))
    set_desired(world, 5)
    cloud.clock.sleep(500)
    assert len(world.members()) == 5
    assert list(world.health().values()).count("unhealthy") == 1
    cloud.clock.sleep(200)
    assert list(world.health().values()).count("healthy") == 5


def test_an_impaired_instance_is_given_a_few_minutes(world: World, cloud: SimulatedCloud) -> None:
    victim = world.members()[0]
    cloud.hosts.script(victim, checks_s=None)
    cloud.clock.sleep(120)
    assert victim in world.members()
    cloud.clock.sleep(120)
    assert victim not in world.members(None)


def test_unhealthy_instances_go_one_at_a_time_in_a_small_group(world: World, cloud: SimulatedCloud) -> None:
    for instance_id in world.members():
        cloud.hosts.script(instance_id, sick_s=0)
    least = 4
    for _ in range(200):
        cloud.clock.sleep(1)
        least = min(least, len(world.members()))
    assert least == 3
    assert set(world.health().values()) == {"healthy"}


def test_nothing_is_replaced_while_no_instance_was_ever_healthy(cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/load-balancer-status.html."""
    world = provision_world(cloud, capacity=0)
    cloud.hosts.images[world.image_ids["1.0.0"]] = Behaviour(healthy_s=None)
    set_desired(world, 0)
    cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=world.group, MaxSize=2, DesiredCapacity=2, HealthCheckGracePeriod=0
    )
    cloud.clock.sleep(30)
    ids = set(world.members())
    cloud.clock.sleep(600)
    assert set(world.members()) == ids
    assert set(world.health().values()) == {"unhealthy"}


def test_a_user_may_call_an_instance_unhealthy(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    victim = world.members()[0]
    autoscaling.set_instance_health(InstanceId=victim, HealthStatus="Unhealthy")
    cloud.clock.sleep(60)
    assert victim not in world.members(None)
    assert len(world.members()) == 4


def test_an_instance_that_does_not_survive_its_boot_is_tried_again(world: World, cloud: SimulatedCloud) -> None:
    cloud.hosts.script_next(Behaviour(boot_s=30))
    set_desired(world, 5)
    cloud.clock.sleep(3)
    (booting,) = world.members("Pending")
    cloud.hosts.kill(booting)
    cloud.clock.sleep(60)
    assert len(world.members()) == 5
    assert booting not in world.members(None)
    answer = cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=world.group)
    (launch,) = (each for each in answer["Activities"] if each["Description"].endswith(f"new EC2 instance: {booting}"))
    assert launch["StatusCode"] == "Failed"
    assert launch["StatusMessage"].endswith("Internal error on launch. Launching EC2 instance failed.")


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html


def test_suspended_processes_are_listed_with_a_reason(world: World) -> None:
    suspend(world, "AZRebalance", "Launch")
    suspended = world.describe_group()["SuspendedProcesses"]
    assert [each["ProcessName"] for each in suspended] == ["AZRebalance", "Launch"]
    assert suspended[0]["SuspensionReason"] == "User suspended at 2030-01-01T00:01:11Z"
    resume(world, "Launch")
    assert [each["ProcessName"] for each in world.describe_group()["SuspendedProcesses"]] == ["AZRebalance"]


def test_without_launch_nothing_is_launched_until_it_is_resumed(world: World, cloud: SimulatedCloud) -> None:
    suspend(world, "Launch")
    cloud.hosts.kill(world.members()[0])
    set_desired(world, 6)
    cloud.clock.sleep(60)
    assert len(world.members(None)) == 3  # ReplaceUnhealthy terminates, but does not launch
    resume(world, "Launch")
    cloud.clock.sleep(30)
    assert len(world.members()) == 6


def test_without_terminate_nobody_in_service_goes_until_it_is_resumed(world: World, cloud: SimulatedCloud) -> None:
    suspend(world, "Terminate")
    sick = world.members()[0]
    cloud.hosts.script(sick, sick_s=0)
    set_desired(world, 3)
    cloud.clock.sleep(120)
    assert len(world.members()) == 4
    assert health_status(world, sick) == "Unhealthy"
    resume(world, "Terminate")
    cloud.clock.sleep(60)
    assert sick not in world.members(None)


def test_without_health_check_nobody_is_marked_unhealthy(world: World, cloud: SimulatedCloud) -> None:
    suspend(world, "HealthCheck")
    sick = world.members()[0]
    cloud.hosts.script(sick, sick_s=0)
    cloud.clock.sleep(120)
    assert health_status(world, sick) == "Healthy"


def test_without_replace_unhealthy_the_unhealthy_are_marked_and_stay(world: World, cloud: SimulatedCloud) -> None:
    suspend(world, "ReplaceUnhealthy")
    sick = world.members()[0]
    cloud.hosts.script(sick, sick_s=0)
    cloud.clock.sleep(120)
    assert health_status(world, sick) == "Unhealthy"
    resume(world, "ReplaceUnhealthy")
    cloud.clock.sleep(60)
    assert sick not in world.members(None)


def test_without_add_to_load_balancer_new_instances_are_never_registered(world: World, cloud: SimulatedCloud) -> None:
    suspend(world, "AddToLoadBalancer")
    before = set(world.members())
    set_desired(world, 5)
    cloud.clock.sleep(30)
    resume(world, "AddToLoadBalancer")
    cloud.clock.sleep(30)
    (new,) = set(world.members()) - before
    assert set(world.health()) == before
    assert new not in world.classic_health()


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html


def test_the_oldest_template_version_goes_first_within_the_fullest_zone(world: World, cloud: SimulatedCloud) -> None:
    cloud.client("ec2").create_launch_template_version(
        LaunchTemplateId=world.template_id,
        SourceVersion="1",
        LaunchTemplateData={"ImageId": world.image("2.0.0")},
    )
    old = set(world.members())
    cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=world.group, LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": "2"}
    )
    set_desired(world, 8)
    cloud.clock.sleep(20)
    set_desired(world, 4)
    cloud.clock.sleep(60)
    assert len(world.members(None)) == 4
    assert not old & set(world.members(None))
    zones = Counter(each["AvailabilityZone"] for each in world.describe_group()["Instances"])
    assert zones == {"us-east-1a": 2, "us-east-1b": 2}


def test_the_newest_instance_goes_first_where_the_policy_says_so(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, TerminationPolicies=["NewestInstance"])
    before = set(world.members())
    set_desired(world, 6)
    cloud.clock.sleep(20)
    set_desired(world, 4)
    cloud.clock.sleep(60)
    assert set(world.members()) == before


def test_protected_instances_survive_scaling_in(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-instance-protection.html."""
    members = world.members()
    autoscaling.set_instance_protection(
        AutoScalingGroupName=world.group, InstanceIds=members[:3], ProtectedFromScaleIn=True
    )
    set_desired(world, 2)
    cloud.clock.sleep(60)
    assert set(world.members(None)) == set(members[:3])  # one more than desired, and nobody may go
    autoscaling.set_instance_protection(
        AutoScalingGroupName=world.group, InstanceIds=members[:3], ProtectedFromScaleIn=False
    )
    cloud.clock.sleep(60)
    assert len(world.members(None)) == 2


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html#AutoScalingBehavior.InstanceUsage


def test_an_uneven_group_launches_in_the_emptier_zone_before_it_terminates_in_the_fuller(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    by_zone: dict[str, list[str]] = {}
    for each in world.describe_group()["Instances"]:
        by_zone.setdefault(each["AvailabilityZone"], []).append(each["InstanceId"])
    for instance_id in by_zone["us-east-1a"]:
        autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
        )
    least = 2
    for _ in range(60):
        cloud.clock.sleep(1)
        least = min(least, len(world.members()))
    assert least == 2
    zones = Counter(each["AvailabilityZone"] for each in world.describe_group()["Instances"])
    assert zones == {"us-east-1a": 1, "us-east-1b": 1}


def test_an_uneven_group_stays_so_while_az_rebalance_is_suspended(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    suspend(world, "AZRebalance")
    for each in world.describe_group()["Instances"]:
        if each["AvailabilityZone"] == "us-east-1a":
            autoscaling.terminate_instance_in_auto_scaling_group(
                InstanceId=each["InstanceId"], ShouldDecrementDesiredCapacity=True
            )
    cloud.clock.sleep(60)
    zones = Counter(each["AvailabilityZone"] for each in world.describe_group()["Instances"])
    assert zones == {"us-east-1b": 2}


def test_an_even_group_is_left_alone_when_instances_are_attached_and_put_in_standby(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    old = world.members()
    ids = []
    for subnet in world.subnets:
        answer = cloud.client("ec2").run_instances(
            LaunchTemplate={"LaunchTemplateId": world.template_id}, SubnetId=subnet, MinCount=2, MaxCount=2
        )
        ids += [each["InstanceId"] for each in answer["Instances"]]
    cloud.clock.sleep(10)
    autoscaling.attach_instances(AutoScalingGroupName=world.group, InstanceIds=ids)
    cloud.clock.sleep(20)
    autoscaling.enter_standby(AutoScalingGroupName=world.group, InstanceIds=old, ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(300)
    assert set(world.members()) == set(ids)
    assert set(world.members("Standby")) == set(old)


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html


@pytest.mark.parametrize(("suspended", "expected"), [(False, 6), (True, 4)])
def test_a_scheduled_action_changes_the_group_when_its_time_comes(
    world: World, cloud: SimulatedCloud, autoscaling: Any, *, suspended: bool, expected: int
) -> None:
    autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=world.group,
        ScheduledActionName="morning",
        StartTime=cloud.clock.now() + timedelta(seconds=60),
        DesiredCapacity=6,
    )
    if suspended:
        suspend(world, "ScheduledActions")
    cloud.clock.sleep(50)
    assert len(world.members()) == 4
    cloud.clock.sleep(50)
    if suspended:
        resume(world, "ScheduledActions")  # what was due meanwhile is missed
        cloud.clock.sleep(50)
    assert len(world.members()) == expected


@pytest.mark.parametrize(("suspended", "expected"), [(False, 6), (True, 4)])
def test_an_alarm_scales_the_group_unless_its_notification_is_suspended(
    world: World, cloud: SimulatedCloud, autoscaling: Any, *, suspended: bool, expected: int
) -> None:
    autoscaling.put_scaling_policy(
        AutoScalingGroupName=world.group,
        PolicyName="more",
        AdjustmentType="ChangeInCapacity",
        ScalingAdjustment=2,
    )
    if suspended:
        suspend(world, "AlarmNotification")
    cloud.sound_alarm("more")
    cloud.clock.sleep(30)
    assert len(world.members()) == expected


def test_no_capacity_delays_a_launch_longer_with_each_failure(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.refuse_capacity("*", Fault(until_s=cloud.clock.elapsed_s + 300))
    set_desired(world, 5)
    cloud.clock.sleep(300)
    failed = [cause for cause in causes(world) if "increasing the capacity from 4 to 5" in cause]
    assert 3 <= len(failed) <= 6
    cloud.clock.sleep(300)
    assert len(world.members()) == 5
