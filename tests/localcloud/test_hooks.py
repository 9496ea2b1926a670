"""Lifecycle hooks, as https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html has them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    return provision_world(cloud, capacity=2, max_size=6, min_size=1)


@pytest.fixture
def hook(world: World, autoscaling: Any) -> Any:
    """Put a hook on the group."""

    def put(transition: str = LAUNCHING, name: str = "wait", **given: Any) -> None:
        autoscaling.put_lifecycle_hook(
            AutoScalingGroupName=world.group, LifecycleHookName=name, LifecycleTransition=transition, **given
        )

    return put


def want(world: World, desired: int) -> None:
    world.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=desired)


def states(world: World) -> dict[str, str]:
    return {each["InstanceId"]: each["LifecycleState"] for each in world.describe_group()["Instances"]}


def waiting(world: World, state: str = "Pending:Wait") -> str:
    """Let time pass until one member waits; return its id."""
    world.cloud.until(lambda: state in states(world).values(), within_s=60)
    return next(instance_id for instance_id, each in states(world).items() if each == state)


def complete(world: World, instance_id: str, result: str = "CONTINUE", name: str = "wait") -> None:
    world.cloud.client("autoscaling").complete_lifecycle_action(
        AutoScalingGroupName=world.group,
        LifecycleHookName=name,
        InstanceId=instance_id,
        LifecycleActionResult=result,
    )


def activity(world: World, instance_id: str) -> Any:
    """Return the newest activity that speaks of an instance."""
    found = world.cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=world.group)
    return next(each for each in found["Activities"] if instance_id in each["Description"])


def test_a_launch_waits_outside_the_load_balancers_until_its_hook_is_completed(world: World, hook: Any) -> None:
    hook()
    want(world, 3)
    new = waiting(world)
    world.cloud.clock.sleep(120)
    assert states(world)[new] == "Pending:Wait"
    assert new not in world.health()
    assert activity(world, new)["StatusCode"] == "MidLifecycleAction"
    complete(world, new)
    seen = []
    for _ in range(3):
        world.cloud.clock.sleep(1)
        seen.append(states(world)[new])
    assert seen == ["Pending:Proceed", "InService", "InService"]
    assert activity(world, new)["StatusCode"] == "Successful"


def test_who_waits_counts_against_the_desired_capacity(world: World, hook: Any) -> None:
    hook()
    want(world, 3)
    waiting(world)
    world.cloud.clock.sleep(120)
    assert len(states(world)) == 3


def test_a_launch_whose_time_is_over_is_terminated_by_default(world: World, hook: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html: ABANDON is the default."""
    hook(HeartbeatTimeout=30)
    want(world, 3)
    new = waiting(world)
    world.cloud.until(lambda: states(world).get(new, "").startswith("Terminating"), within_s=40)
    launches = world.cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=world.group)
    launch = next(each for each in launches["Activities"] if each["Description"].endswith(f"new EC2 instance: {new}"))
    assert launch["StatusCode"] == "Cancelled"
    assert launch["StatusMessage"].endswith("was abandoned: Heartbeat Timeout")


def test_a_launch_whose_time_is_over_goes_on_where_that_is_the_hooks_result(world: World, hook: Any) -> None:
    hook(HeartbeatTimeout=30, DefaultResult="CONTINUE")
    want(world, 3)
    new = waiting(world)
    world.cloud.until(lambda: states(world)[new] == "InService", within_s=40)


def test_an_abandoned_launch_is_terminated_and_tried_again(world: World, hook: Any) -> None:
    hook()
    want(world, 3)
    new = waiting(world)
    complete(world, new, "ABANDON")
    world.cloud.until(lambda: new not in states(world), within_s=60)
    assert waiting(world) != new


def test_a_heartbeat_begins_the_timeout_anew(world: World, hook: Any, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RecordLifecycleActionHeartbeat.html."""
    hook(HeartbeatTimeout=30)
    want(world, 3)
    new = waiting(world)
    for _ in range(3):
        world.cloud.clock.sleep(25)
        autoscaling.record_lifecycle_action_heartbeat(
            AutoScalingGroupName=world.group, LifecycleHookName="wait", InstanceId=new
        )
    world.cloud.clock.sleep(25)
    assert states(world)[new] == "Pending:Wait"


def test_heartbeats_keep_nobody_waiting_beyond_a_hundred_timeouts(world: World, hook: Any, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html: 48 hours, or 100 timeouts."""
    hook(HeartbeatTimeout=30)
    shown = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=world.group)["LifecycleHooks"]
    assert shown[0]["GlobalTimeout"] == 3000
    want(world, 3)
    new = waiting(world)
    for _ in range(150):
        if states(world).get(new) != "Pending:Wait":
            break
        autoscaling.record_lifecycle_action_heartbeat(
            AutoScalingGroupName=world.group, LifecycleHookName="wait", InstanceId=new
        )
        world.cloud.clock.sleep(25)
    assert states(world).get(new) != "Pending:Wait"


@pytest.mark.parametrize("result", ["CONTINUE", "ABANDON"])
def test_a_terminating_member_drains_waits_for_its_hook_and_goes_either_way(
    world: World, hook: Any, result: str
) -> None:
    hook(TERMINATING)
    want(world, 1)
    going = waiting(world, "Terminating:Wait")
    assert world.cloud.hosts.status(going) == 200
    assert world.health().get(going) in (None, "draining")
    world.cloud.clock.sleep(300)
    assert states(world)[going] == "Terminating:Wait"
    complete(world, going, result)
    world.cloud.clock.sleep(1)
    assert states(world)[going] == "Terminating:Proceed"
    world.cloud.until(lambda: going not in states(world), within_s=30)


@pytest.mark.parametrize("result", ["CONTINUE", "ABANDON"])
def test_a_terminating_member_whose_time_is_over_goes_whatever_the_result(world: World, hook: Any, result: str) -> None:
    hook(TERMINATING, HeartbeatTimeout=30, DefaultResult=result)
    want(world, 1)
    going = waiting(world, "Terminating:Wait")
    world.cloud.until(lambda: going not in states(world), within_s=60)


def test_all_hooks_of_a_transition_must_continue_and_one_abandons(world: World, hook: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html: ABANDON ends the rest."""
    hook(name="first")
    hook(name="second")
    want(world, 3)
    new = waiting(world)
    complete(world, new, name="first")
    world.cloud.clock.sleep(30)
    assert states(world)[new] == "Pending:Wait"
    complete(world, new, "ABANDON", name="second")
    world.cloud.until(lambda: new not in states(world), within_s=60)


def test_hooks_do_not_run_for_attaching_detaching_and_standby(
    world: World, cloud: SimulatedCloud, hook: Any, autoscaling: Any
) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html#lifecycle-hooks-availability."""
    hook()
    hook(TERMINATING, name="leave")
    ec2 = cloud.client("ec2")
    launched = ec2.run_instances(
        LaunchTemplate={"LaunchTemplateId": world.template_id}, MinCount=1, MaxCount=1, SubnetId=world.subnets[0]
    )
    mine = launched["Instances"][0]["InstanceId"]
    cloud.clock.sleep(30)
    of_group = {"AutoScalingGroupName": world.group, "InstanceIds": [mine]}
    seen: set[str] = set()

    def settle() -> None:
        for _ in range(40):
            cloud.clock.sleep(1)
            seen.update(states(world).values())

    autoscaling.attach_instances(**of_group)
    settle()
    autoscaling.enter_standby(**of_group, ShouldDecrementDesiredCapacity=True)
    settle()
    autoscaling.exit_standby(**of_group)
    settle()
    autoscaling.detach_instances(**of_group, ShouldDecrementDesiredCapacity=True)
    settle()
    assert {"InService", "Standby"} <= seen
    assert not any(state.endswith((":Wait", ":Proceed")) for state in seen)
    assert mine not in states(world)


def test_a_policy_retains_whose_termination_was_abandoned_until_somebody_ends_it(
    world: World, cloud: SimulatedCloud, autoscaling: Any, hook: Any
) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/manage-retained-instances.html."""
    hook(TERMINATING)
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=world.group,
        InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "retain"}},
    )
    leaving = world.members()[0]
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=leaving, ShouldDecrementDesiredCapacity=False)
    assert waiting(world, "Terminating:Wait") == leaving
    complete(world, leaving, "ABANDON")
    cloud.clock.sleep(120)
    assert states(world)[leaving] == "Terminating:Retained"
    assert len(world.members()) == 2  # it does not count: another has taken its place
    assert leaving not in world.health()
    cloud.client("ec2").terminate_instances(InstanceIds=[leaving])
    cloud.clock.sleep(10)
    assert leaving not in states(world)


def test_deleting_a_hook_abandons_launches_and_lets_terminations_go_on(
    world: World, hook: Any, autoscaling: Any
) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteLifecycleHook.html."""
    hook()
    hook(TERMINATING, name="leave")
    want(world, 3)
    new = waiting(world)
    autoscaling.delete_lifecycle_hook(AutoScalingGroupName=world.group, LifecycleHookName="wait")
    assert waiting(world, "Terminating:Wait") == new
    autoscaling.delete_lifecycle_hook(AutoScalingGroupName=world.group, LifecycleHookName="leave")
    world.cloud.until(lambda: new not in states(world), within_s=30)
    assert autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=world.group)["LifecycleHooks"] == []


def test_a_hook_is_changed_in_what_is_given_and_shows_only_what_was_given(
    world: World, hook: Any, autoscaling: Any
) -> None:
    hook(HeartbeatTimeout=60)
    hook(DefaultResult="CONTINUE")
    (shown,) = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=world.group)["LifecycleHooks"]
    assert shown == {
        "LifecycleHookName": "wait",
        "AutoScalingGroupName": world.group,
        "LifecycleTransition": LAUNCHING,
        "HeartbeatTimeout": 60,
        "GlobalTimeout": 6000,
        "DefaultResult": "CONTINUE",
    }


def test_a_group_may_be_created_with_hooks(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html."""
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="hooked",
        MinSize=1,
        MaxSize=1,
        LaunchTemplate={"LaunchTemplateId": world.template_id},
        VPCZoneIdentifier=world.subnets[0],
        LifecycleHookSpecificationList=[{"LifecycleHookName": "wait", "LifecycleTransition": LAUNCHING}],
    )
    cloud.clock.sleep(30)
    (group,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["hooked"])["AutoScalingGroups"]
    assert [each["LifecycleState"] for each in group["Instances"]] == ["Pending:Wait"]


def test_a_group_that_is_deleted_by_force_waits_for_no_hook(world: World, hook: Any, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html: ForceDelete."""
    hook(TERMINATING)
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName=world.group, ForceDelete=True)
    world.cloud.clock.sleep(60)
    assert autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_the_grace_period_begins_when_the_hook_is_over(world: World, cloud: SimulatedCloud, hook: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/health-check-grace-period.html."""
    hook()
    cloud.hosts.script_next(Behaviour(healthy_s=None))
    want(world, 3)
    new = waiting(world)
    cloud.clock.sleep(600)
    complete(world, new)
    cloud.clock.sleep(50)
    assert states(world)[new] == "InService"
    cloud.until(lambda: states(world).get(new) != "InService", within_s=60)


def test_nobody_completes_an_action_that_nobody_waits_for(world: World, hook: Any) -> None:
    hook()
    with pytest.raises(ClientError, match="No active Lifecycle Action found with instance ID"):
        complete(world, world.members()[0])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"HeartbeatTimeout": 10}, "between 30 and 7200"),
        ({"DefaultResult": "MAYBE"}, "Invalid Default Result"),
        ({"transition": "autoscaling:TEA"}, "Invalid Lifecycle Transition"),
    ],
)
def test_a_hook_that_cannot_be_is_refused(hook: Any, given: dict[str, Any], expected: str) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html."""
    with pytest.raises(ClientError, match=expected):
        hook(**given)
