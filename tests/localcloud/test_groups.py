"""Auto Scaling as its pages describe it: what may be asked of groups of the simulated cloud, and what they answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fabfile.localcloud.faults import Fault
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    """Make a group of two in service; it may have one to four."""
    return provision_world(cloud, capacity=2)


def run(world: World, count: int = 1, *, subnet: int = 0, version: str = "$Default") -> list[str]:
    """Run instances beside the group until they are running; return their ids."""
    answer = world.cloud.client("ec2").run_instances(
        LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": version},
        SubnetId=world.subnets[subnet],
        MinCount=count,
        MaxCount=count,
    )
    world.cloud.clock.sleep(7)
    return [instance["InstanceId"] for instance in answer["Instances"]]


def new_version(world: World, version: str) -> str:
    """Make an image of a version and a template version with it; return the template version's number."""
    answer = world.cloud.client("ec2").create_launch_template_version(
        LaunchTemplateId=world.template_id,
        SourceVersion="$Latest",
        LaunchTemplateData={"ImageId": world.image(version)},
    )
    return str(answer["LaunchTemplateVersion"]["VersionNumber"])


def call(world: World, action: str, instance_ids: list[str], **more: Any) -> dict[str, Any]:
    action_of = getattr(world.cloud.client("autoscaling"), action)
    return dict(action_of(AutoScalingGroupName=world.group, InstanceIds=instance_ids, **more))


def lifecycle(world: World, instance_id: str) -> str | None:
    states = {each["InstanceId"]: each["LifecycleState"] for each in world.describe_group()["Instances"]}
    return states.get(instance_id)


def refusal(error: pytest.ExceptionInfo[ClientError]) -> str:
    assert error.value.response["Error"]["Code"] == "ValidationError"
    return str(error.value.response["Error"]["Message"])


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html


def test_attached_instances_join_the_load_balancers_and_the_desired_capacity(
    world: World, cloud: SimulatedCloud
) -> None:
    ids = run(world, 2)
    call(world, "attach_instances", ids)
    assert world.describe_group()["DesiredCapacity"] == 4
    assert {lifecycle(world, each) for each in ids} == {"Pending"}
    cloud.clock.sleep(15)
    assert {lifecycle(world, each) for each in ids} == {"InService"}
    assert {world.health()[each] for each in ids} == {"healthy"}
    assert {world.classic_health()[each] for each in ids} == {"InService"}
    assert len(world.members()) == 4


def test_attaching_beyond_the_maximum_is_refused(world: World) -> None:
    ids = run(world, 3)
    with pytest.raises(ClientError) as error:
        call(world, "attach_instances", ids)
    assert "max-size=4, and desired-size=2. To attach 3 more instance" in refusal(error)
    assert world.describe_group()["DesiredCapacity"] == 2


def test_more_than_twenty_instances_are_refused_in_one_call(world: World) -> None:
    ids = [f"i-{number:017x}" for number in range(21)]
    for action, more in (
        ("attach_instances", {}),
        ("detach_instances", {"ShouldDecrementDesiredCapacity": True}),
        ("enter_standby", {"ShouldDecrementDesiredCapacity": True}),
        ("exit_standby", {}),
    ):
        with pytest.raises(ClientError) as error:
            call(world, action, ids, **more)
        assert "length less than or equal to 20" in refusal(error)


def test_only_running_instances_can_be_attached(world: World, cloud: SimulatedCloud) -> None:
    (instance_id,) = run(world)
    cloud.client("ec2").stop_instances(InstanceIds=[instance_id])
    with pytest.raises(ClientError) as error:
        call(world, "attach_instances", [instance_id])
    assert "is not in correct state" in refusal(error)


def test_a_member_of_a_group_cannot_be_attached(world: World) -> None:
    with pytest.raises(ClientError) as error:
        call(world, "attach_instances", world.members()[:1])
    assert "already part of AutoScalingGroup:shop-prod" in refusal(error)


def test_an_instance_whose_image_is_gone_cannot_be_attached(world: World, cloud: SimulatedCloud) -> None:
    (instance_id,) = run(world, version=new_version(world, "2.0.0"))
    cloud.client("ec2").deregister_image(ImageId=world.image_ids["2.0.0"])
    with pytest.raises(ClientError) as error:
        call(world, "attach_instances", [instance_id])
    assert "does not exist any more" in refusal(error)


def test_nothing_is_attached_while_launch_is_suspended(world: World, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html."""
    autoscaling.suspend_processes(AutoScalingGroupName=world.group, ScalingProcesses=["Launch"])
    with pytest.raises(ClientError) as error:
        call(world, "attach_instances", run(world))
    assert "while the Launch process is suspended" in refusal(error)


def test_a_detached_instance_leaves_group_and_load_balancers_and_lives_on(world: World, cloud: SimulatedCloud) -> None:
    gone, kept = world.members()
    call(world, "detach_instances", [gone], ShouldDecrementDesiredCapacity=True)
    assert lifecycle(world, gone) == "Detaching"
    cloud.clock.sleep(30)
    assert world.members(None) == [kept]
    assert set(world.health()) == {kept}
    assert set(world.classic_health()) == {kept}
    assert cloud.hosts.status(gone) == 200


def test_a_detached_instance_is_replaced_unless_the_desired_capacity_shrinks(
    world: World, cloud: SimulatedCloud
) -> None:
    call(world, "detach_instances", world.members()[:1], ShouldDecrementDesiredCapacity=False)
    cloud.clock.sleep(30)
    assert len(world.members()) == 2


def test_detaching_below_the_minimum_is_refused(world: World) -> None:
    with pytest.raises(ClientError) as error:
        call(world, "detach_instances", world.members(), ShouldDecrementDesiredCapacity=True)
    assert "To detach 2 instance" in refusal(error)


def test_detaching_from_standby_with_the_flag_costs_another_instance(world: World, cloud: SimulatedCloud) -> None:
    """As the page warns: the instance in Standby was taken off the desired capacity already."""
    call(world, "attach_instances", run(world))
    cloud.clock.sleep(15)
    call(world, "enter_standby", world.members()[:1], ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(20)
    call(world, "detach_instances", world.members("Standby"), ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(30)
    assert len(world.members()) == 1


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html


def test_an_instance_enters_standby_drained_and_exits_registered(world: World, cloud: SimulatedCloud) -> None:
    first, _ = world.members()
    answer = call(world, "enter_standby", [first], ShouldDecrementDesiredCapacity=True)
    assert answer["Activities"][0]["Description"] == f"Moving EC2 instance to Standby: {first}"
    assert lifecycle(world, first) == "EnteringStandby"
    cloud.clock.sleep(1)
    assert (world.health()[first], world.classic_health()[first]) == ("draining", "InService")
    assert world.describe_group()["DesiredCapacity"] == 1
    assert 2 <= cloud.until(lambda: lifecycle(world, first) == "Standby") < 10  # its last request takes four seconds
    cloud.clock.sleep(10)
    assert first not in world.health()
    assert first not in world.classic_health()
    assert len(world.members(None)) == 2

    call(world, "exit_standby", [first])
    assert lifecycle(world, first) == "Pending"
    assert world.describe_group()["DesiredCapacity"] == 2
    cloud.clock.sleep(10)
    assert lifecycle(world, first) == "InService"
    assert (world.health()[first], world.classic_health()[first]) == ("healthy", "InService")


def test_entering_standby_below_the_minimum_is_refused(world: World) -> None:
    with pytest.raises(ClientError) as error:
        call(world, "enter_standby", world.members(), ShouldDecrementDesiredCapacity=True)
    assert "min-size=1, max-size=4, and desired-size=2. To place into standby 2 instance" in refusal(error)


def test_an_instance_in_standby_is_replaced_when_the_desired_capacity_stays(
    world: World, cloud: SimulatedCloud
) -> None:
    call(world, "enter_standby", world.members()[:1], ShouldDecrementDesiredCapacity=False)
    cloud.clock.sleep(30)
    assert len(world.members()) == 2
    assert len(world.members("Standby")) == 1


def test_exiting_standby_beyond_the_maximum_is_refused(world: World, autoscaling: Any, cloud: SimulatedCloud) -> None:
    first, _ = world.members()
    call(world, "enter_standby", [first], ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(20)
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, MaxSize=1)
    with pytest.raises(ClientError) as error:
        call(world, "exit_standby", [first])
    assert "max-size=1" in refusal(error)


def test_nothing_exits_standby_while_launch_is_suspended(world: World, autoscaling: Any, cloud: SimulatedCloud) -> None:
    first, _ = world.members()
    call(world, "enter_standby", [first], ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(20)
    autoscaling.suspend_processes(AutoScalingGroupName=world.group, ScalingProcesses=["Launch"])
    with pytest.raises(ClientError) as error:
        call(world, "exit_standby", [first])
    assert refusal(error).startswith("Cannot move instances out of Standby for AutoScalingGroup shop-prod while the")


def test_only_instances_in_service_enter_standby(world: World, cloud: SimulatedCloud) -> None:
    first, _ = world.members()
    call(world, "enter_standby", [first], ShouldDecrementDesiredCapacity=True)
    with pytest.raises(ClientError) as error:
        call(world, "enter_standby", [first], ShouldDecrementDesiredCapacity=True)
    assert refusal(error) == f"The instance {first} is not in InService."


def test_nobody_notices_that_an_instance_in_standby_died_until_it_exits(world: World, cloud: SimulatedCloud) -> None:
    first, _ = world.members()
    call(world, "enter_standby", [first], ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(20)
    cloud.hosts.kill(first)
    cloud.clock.sleep(120)
    assert lifecycle(world, first) == "Standby"
    call(world, "exit_standby", [first])
    cloud.clock.sleep(60)
    assert lifecycle(world, first) is None
    assert len(world.members()) == 2


# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html


def test_a_terminated_member_drains_before_its_machine_stops(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    first, _ = world.members()
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(3)
    assert lifecycle(world, first) == "Terminating"
    assert world.health()[first] == "draining"
    assert cloud.hosts.status(first) == 200
    assert activities(world)[0]["StatusCode"] == "WaitingForELBConnectionDraining"
    cloud.clock.sleep(20)
    assert lifecycle(world, first) is None
    assert first not in cloud.hosts.machines
    assert (set(world.health()), set(world.classic_health())) == (set(world.members()),) * 2
    assert len(world.members(None)) == 1


def test_terminating_below_the_minimum_without_replacement_is_refused(
    world: World, autoscaling: Any, cloud: SimulatedCloud
) -> None:
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, MinSize=2)
    first, _ = world.members()
    with pytest.raises(ClientError) as error:
        autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=True)
    assert refusal(error).startswith("Currently, desiredSize equals minSize (2).")
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    cloud.clock.sleep(60)
    assert len(world.members()) == 2


def test_an_instance_in_standby_can_be_terminated_without_touching_the_rest(
    world: World, autoscaling: Any, cloud: SimulatedCloud
) -> None:
    first, second = world.members()
    call(world, "enter_standby", [first], ShouldDecrementDesiredCapacity=True)
    cloud.clock.sleep(20)
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    cloud.clock.sleep(30)
    assert world.members(None) == [second]
    assert world.describe_group()["DesiredCapacity"] == 1


# Launch templates: https://docs.aws.amazon.com/autoscaling/ec2/userguide/launch-templates.html


@pytest.mark.parametrize(("pinned", "launched"), [("$Latest", "2"), ("$Default", "1"), ("1", "1"), ("2", "2")])
def test_a_group_launches_the_version_that_it_pins(
    world: World, cloud: SimulatedCloud, autoscaling: Any, pinned: str, launched: str
) -> None:
    new_version(world, "2.0.0")
    template = {"LaunchTemplateId": world.template_id, "Version": pinned}
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, LaunchTemplate=template)
    before = set(world.members())
    autoscaling.set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=3)
    cloud.clock.sleep(20)
    versions = {each["InstanceId"]: each["LaunchTemplate"]["Version"] for each in world.describe_group()["Instances"]}
    (new,) = set(versions) - before
    assert versions[new] == launched
    assert {versions[each] for each in before} == {"1"}  # what they were launched from, whatever the group has now
    assert world.describe_group()["LaunchTemplate"]["Version"] == pinned


def test_an_attached_instance_reports_the_version_it_was_launched_from(world: World, cloud: SimulatedCloud) -> None:
    (instance_id,) = run(world, version=new_version(world, "2.0.0"))
    call(world, "attach_instances", [instance_id])
    cloud.clock.sleep(2)
    answer = cloud.client("autoscaling").describe_auto_scaling_instances(InstanceIds=[instance_id])
    assert answer["AutoScalingInstances"][0]["LaunchTemplate"]["Version"] == "2"


def test_a_template_that_cannot_be_launched_is_refused(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    new_version(world, "2.0.0")
    cloud.client("ec2").deregister_image(ImageId=world.image_ids["2.0.0"])
    with pytest.raises(ClientError) as error:
        autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=world.group,
            MaxSize=9,
            LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": "2"},
        )
    assert refusal(error).startswith("You must use a valid fully-formed launch template. The image id")
    group = world.describe_group()
    assert (group["MaxSize"], group["LaunchTemplate"]["Version"]) == (4, "1")


# Sizes: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html


def test_the_desired_capacity_keeps_within_the_sizes(world: World, autoscaling: Any) -> None:
    name = {"AutoScalingGroupName": world.group}
    for action, change, message in (
        ("set_desired_capacity", {"DesiredCapacity": 5}, "is above max value 4"),
        ("set_desired_capacity", {"DesiredCapacity": 0}, "is below min value 1"),
        ("update_auto_scaling_group", {"DesiredCapacity": 5}, "Desired capacity:5 must be"),
        ("update_auto_scaling_group", {"MinSize": 5}, "Max bound, 4, must be greater"),
    ):
        with pytest.raises(ClientError) as error:
            getattr(autoscaling, action)(**name, **change)
        assert message in refusal(error)
    autoscaling.update_auto_scaling_group(**name, MinSize=3)
    assert world.describe_group()["DesiredCapacity"] == 3
    autoscaling.update_auto_scaling_group(**name, MinSize=0, MaxSize=1)
    assert world.describe_group()["DesiredCapacity"] == 1


def test_settings_that_are_not_named_stay(world: World, autoscaling: Any) -> None:
    before = world.describe_group()
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, TerminationPolicies=["OldestInstance"])
    after = world.describe_group()
    assert after.pop("TerminationPolicies") == ["OldestInstance"]
    before.pop("TerminationPolicies")
    assert after == before


def test_scaling_out_spreads_over_the_zones(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    autoscaling.set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=4)
    cloud.clock.sleep(20)
    zones = Counter(each["AvailabilityZone"] for each in world.describe_group()["Instances"])
    assert zones == {"us-east-1a": 2, "us-east-1b": 2}


def test_a_zone_without_capacity_is_made_up_for_by_another(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    cloud.faults.refuse_capacity("us-east-1a", Fault())
    autoscaling.set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=4)
    cloud.clock.sleep(20)
    assert len(world.members()) == 4


def test_a_name_is_taken_while_its_group_exists(world: World, autoscaling: Any) -> None:
    with pytest.raises(ClientError) as error:
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=world.group,
            MinSize=0,
            MaxSize=0,
            LaunchTemplate={"LaunchTemplateId": world.template_id},
            VPCZoneIdentifier=world.subnets[0],
        )
    assert error.value.response["Error"]["Code"] == "AlreadyExists"


def test_a_missing_group_is_named(world: World, autoscaling: Any) -> None:
    for action, more in (
        ("set_desired_capacity", {"DesiredCapacity": 1}),
        ("suspend_processes", {}),
        ("attach_instances", {"InstanceIds": ["i-1"]}),
        ("delete_auto_scaling_group", {}),
    ):
        with pytest.raises(ClientError) as error:
            getattr(autoscaling, action)(AutoScalingGroupName="none", **more)
        assert refusal(error).startswith("AutoScalingGroup name not found")


# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html


def test_a_group_with_instances_is_deleted_by_force_only_and_with_them(
    world: World, cloud: SimulatedCloud, autoscaling: Any
) -> None:
    with pytest.raises(ClientError) as error:
        autoscaling.delete_auto_scaling_group(AutoScalingGroupName=world.group)
    assert error.value.response["Error"]["Code"] == "ResourceInUse"
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName=world.group, ForceDelete=True)
    assert world.describe_group()["Status"] == "Delete in progress"
    cloud.clock.sleep(30)
    assert autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert cloud.hosts.machines == {}
    assert activities(world, IncludeDeletedGroups=True, named=False)


# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html


def activities(world: World, *, named: bool = True, **more: Any) -> list[dict[str, Any]]:
    name = {"AutoScalingGroupName": world.group} if named else {}
    answer = world.cloud.client("autoscaling").describe_scaling_activities(**name, **more)
    return list(answer["Activities"])


def test_activities_tell_what_was_done_and_why(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    autoscaling.set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=3)
    cloud.clock.sleep(1)
    newest = activities(world)[0]
    assert newest["StatusCode"] == "InProgress"
    assert newest["Description"].startswith("Launching a new EC2 instance: i-")
    assert "explicitly set group desired capacity changing the desired capacity from 2 to 3" in newest["Cause"]
    assert "increasing the capacity from 2 to 3" in newest["Cause"]
    cloud.clock.sleep(20)
    assert activities(world)[0]["StatusCode"] == "Successful"
    assert activities(world)[0]["EndTime"] > newest["StartTime"]


def test_a_failed_launch_says_why_and_is_tried_again(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    cloud.faults.refuse_capacity("*", Fault(times=2))  # both zones
    autoscaling.set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=3)
    cloud.clock.sleep(1)
    newest = activities(world)[0]
    assert newest["StatusCode"] == "Failed"
    assert "do not have sufficient t3.small capacity" in newest["StatusMessage"]
    assert newest["StatusMessage"].endswith("Launching EC2 instance failed.")
    cloud.clock.sleep(60)
    assert len(world.members()) == 3


def test_a_group_whose_image_is_gone_says_so(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    cloud.client("ec2").deregister_image(ImageId=world.image_ids["1.0.0"])
    autoscaling.set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=3)
    cloud.clock.sleep(1)
    assert "does not exist" in activities(world)[0]["StatusMessage"]


def test_activities_come_page_by_page(world: World) -> None:
    first = world.cloud.client("autoscaling").describe_scaling_activities(
        AutoScalingGroupName=world.group, MaxRecords=1
    )
    rest = world.cloud.client("autoscaling").describe_scaling_activities(
        AutoScalingGroupName=world.group, NextToken=first["NextToken"]
    )
    assert len(first["Activities"]) == len(rest["Activities"]) == 1


# https://docs.aws.amazon.com/autoscaling/ec2/userguide/load-balancer-status.html


def test_an_attached_load_balancer_is_in_service_once_an_instance_is_healthy(
    world: World, autoscaling: Any, cloud: SimulatedCloud
) -> None:
    def state() -> str:
        answer = autoscaling.describe_load_balancer_target_groups(AutoScalingGroupName=world.group)
        return str(answer["LoadBalancerTargetGroups"][0]["State"])

    arns = [world.target_group_arn]
    assert state() == "InService"
    autoscaling.detach_load_balancer_target_groups(AutoScalingGroupName=world.group, TargetGroupARNs=arns)
    cloud.clock.sleep(20)
    assert world.health() == {}
    autoscaling.attach_load_balancer_target_groups(AutoScalingGroupName=world.group, TargetGroupARNs=arns)
    assert state() == "Added"
    cloud.clock.sleep(20)
    assert state() == "InService"


def test_an_instance_refresh_runs_until_it_is_cancelled(world: World, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html."""
    group = {"AutoScalingGroupName": world.group}

    def listed() -> list[tuple[str, str]]:
        found = autoscaling.describe_instance_refreshes(**group)["InstanceRefreshes"]
        return [(each["InstanceRefreshId"], each["Status"]) for each in found]

    assert listed() == []
    refresh = autoscaling.start_instance_refresh(**group)["InstanceRefreshId"]
    assert listed() == [(refresh, "InProgress")]
    with pytest.raises(ClientError, match="InstanceRefreshInProgress"):
        autoscaling.start_instance_refresh(**group)
    assert autoscaling.cancel_instance_refresh(**group)["InstanceRefreshId"] == refresh
    assert listed() == [(refresh, "Cancelled")]
    with pytest.raises(ClientError, match="ActiveInstanceRefreshNotFound"):
        autoscaling.cancel_instance_refresh(**group)
    second = autoscaling.start_instance_refresh(**group)["InstanceRefreshId"]
    assert listed() == [(second, "InProgress"), (refresh, "Cancelled")]


def test_a_group_has_no_warm_pool_until_it_is_given_one(world: World, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeWarmPool.html."""
    group = {"AutoScalingGroupName": world.group}
    pool = autoscaling.describe_warm_pool(**group)
    assert "WarmPoolConfiguration" not in pool
    assert pool["Instances"] == []
    autoscaling.put_warm_pool(**group, MinSize=2, PoolState="Stopped")
    assert autoscaling.describe_warm_pool(**group)["WarmPoolConfiguration"]["MinSize"] == 2
    autoscaling.delete_warm_pool(**group)
    assert "WarmPoolConfiguration" not in autoscaling.describe_warm_pool(**group)
