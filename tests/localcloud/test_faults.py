"""What goes wrong on purpose: errors before a call, answers that are lost after it, answers that are old.

How many attempts boto3 makes by itself: https://boto3.amazonaws.com/v1/documentation/api/latest/guide/retries.html.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from fabfile.localcloud.cloud import Moment
from fabfile.localcloud.errors import documented
from fabfile.localcloud.faults import Fault, Lost
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world

ALWAYS = Fault()
ATTEMPTS = 6  # the first, and five more


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    return provision_world(cloud, capacity=2, max_size=6)


def error_of(call: Any, **parameters: Any) -> tuple[str, int]:
    """Call, and return the code and the HTTP status of what it fails with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response: Any = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def want(world: World, desired: int) -> None:
    world.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=world.group, DesiredCapacity=desired)


def run_one(world: World, **parameters: Any) -> str:
    template = {"LaunchTemplateId": world.template_id}
    answer = world.cloud.client("ec2").run_instances(
        LaunchTemplate=template, MinCount=1, MaxCount=1, SubnetId=world.subnets[0], **parameters
    )
    return str(answer["Instances"][0]["InstanceId"])


@pytest.mark.parametrize(
    ("service", "action", "call", "expected"),
    [
        ("s3", "ListBuckets", "list_buckets", ("SlowDown", 503)),
        ("ec2", "DescribeVpcs", "describe_vpcs", ("RequestLimitExceeded", 503)),
        ("autoscaling", "DescribeAutoScalingGroups", "describe_auto_scaling_groups", ("Throttling", 400)),
        ("elbv2", "DescribeLoadBalancers", "describe_load_balancers", ("Throttling", 400)),
        ("cloudwatch", "DescribeAlarms", "describe_alarms", ("Throttling", 400)),
    ],
)
def test_each_service_throttles_in_its_own_words(
    cloud: SimulatedCloud, service: str, action: str, call: str, expected: tuple[str, int]
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and EC2's and Auto Scaling's error pages."""
    cloud.faults.throttle(f"{service}:{action}", ALWAYS)
    assert error_of(getattr(cloud.client(service), call)) == expected


def test_a_fault_of_one_service_spares_the_action_of_that_name_elsewhere(cloud: SimulatedCloud) -> None:
    cloud.faults.fail("elb:DescribeLoadBalancers", "InternalFailure", fault=ALWAYS)
    assert error_of(cloud.client("elb").describe_load_balancers)[0] == "InternalFailure"
    assert cloud.client("elbv2").describe_load_balancers()["LoadBalancers"] == []


def test_a_call_that_fails_has_no_effect(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.fail("SetDesiredCapacity", "ScalingActivityInProgress", "an activity is in progress")
    with pytest.raises(ClientError, match="an activity is in progress"):
        want(world, 3)
    assert world.describe_group()["DesiredCapacity"] == 2
    want(world, 3)
    assert world.describe_group()["DesiredCapacity"] == 3


def test_resource_contention_is_a_server_error_that_boto3_tries_again(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AttachInstances.html: HTTP status 500."""
    cloud.faults.fail("SetDesiredCapacity", "ResourceContention", fault=Fault(times=ATTEMPTS - 1))
    want(world, 3)
    assert world.describe_group()["DesiredCapacity"] == 3
    cloud.faults.fail("AttachInstances", "ResourceContention", fault=ALWAYS)
    attach = cloud.client("autoscaling").attach_instances
    assert error_of(attach, AutoScalingGroupName=world.group, InstanceIds=["i-1"]) == ("ResourceContention", 500)


def test_an_action_fails_only_as_its_reference_says(cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AttachInstances.html."""
    with pytest.raises(ValueError, match="AWS documents no ScalingActivityInProgress for AttachInstances"):
        cloud.faults.fail("AttachInstances", "ScalingActivityInProgress")
    assert "ResourceContention" in documented("AttachInstances")
    assert "ScalingActivityInProgress" in documented("TerminateInstanceInAutoScalingGroup")


def test_an_object_is_not_written_when_s3_slows_down(cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="state")
    cloud.faults.throttle("s3:PutObject", ALWAYS)
    assert error_of(s3.put_object, Bucket="state", Key="lock", Body=b"mine") == ("SlowDown", 503)
    assert "Contents" not in s3.list_objects_v2(Bucket="state")


@pytest.mark.parametrize(
    ("how", "expected"), [(Lost.CONNECTION, ConnectionClosedError), (Lost.SERVER_ERROR, ClientError)]
)
def test_a_call_whose_answer_is_lost_has_had_its_effect(
    world: World, cloud: SimulatedCloud, how: Lost, expected: type[Exception]
) -> None:
    cloud.faults.lose_answer("SetDesiredCapacity", Fault(times=ATTEMPTS), how)
    with pytest.raises(expected):
        want(world, 4)
    assert world.describe_group()["DesiredCapacity"] == 4


def test_a_conditional_write_whose_answer_is_lost_finds_itself_there_already(cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="state")
    cloud.faults.lose_answer("s3:PutObject")
    assert error_of(s3.put_object, Bucket="state", Key="lock", Body=b"mine", IfNoneMatch="*")[1] == 412
    assert s3.get_object(Bucket="state", Key="lock")["Body"].read() == b"mine"


def test_a_launch_whose_answer_is_lost_launches_once_with_its_token(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html."""
    cloud.faults.lose_answer("RunInstances")
    launched = run_one(world, ClientToken="once")
    assert run_one(world, ClientToken="once") == launched
    assert len(cloud.cloud.instances) == 3


def test_a_fault_may_let_the_first_calls_pass(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.fail("SetDesiredCapacity", "ScalingActivityInProgress", fault=Fault(times=1, skip=1))
    want(world, 3)
    with pytest.raises(ClientError):
        want(world, 4)


def test_a_witness_sees_every_call_before_and_after_and_may_end_the_caller(cloud: SimulatedCloud) -> None:
    seen: list[tuple[Moment, str, str]] = []

    def watch(moment: Moment, service: str, action: str) -> None:
        seen.append((moment, service, action))
        if action == "CreateBucket" and moment is Moment.AFTER:
            raise KeyboardInterrupt

    s3 = cloud.client("s3")
    cloud.cloud.witness = watch
    s3.list_buckets()
    with pytest.raises(KeyboardInterrupt):
        s3.create_bucket(Bucket="state")
    cloud.cloud.witness = None
    assert seen[:2] == [(Moment.BEFORE, "s3", "ListBuckets"), (Moment.AFTER, "s3", "ListBuckets")]
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["state"]


def test_a_stale_group_shows_what_was_true_some_seconds_ago(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html."""
    fault = Fault(times=0)
    cloud.faults.stale("DescribeAutoScalingGroups", fault, age_s=5)
    world.describe_group()
    cloud.clock.sleep(3)
    want(world, 3)
    assert world.describe_group()["DesiredCapacity"] == 3
    cloud.clock.sleep(3)
    fault.times = 2
    assert [world.describe_group()["DesiredCapacity"] for _ in range(3)] == [2, 2, 3]
    cloud.clock.sleep(3)
    fault.times = 1
    assert world.describe_group()["DesiredCapacity"] == 3  # five seconds ago it was so already


def test_stale_health_still_shows_as_healthy_who_has_left(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.stale("DescribeTargetHealth", Fault(since_s=cloud.clock.elapsed_s + 1), age_s=60)
    before = world.health()
    target = {"Id": next(iter(before))}
    cloud.client("elbv2").deregister_targets(TargetGroupArn=world.target_group_arn, Targets=[target])
    cloud.clock.sleep(30)
    assert world.health() == before
    assert set(before.values()) == {"healthy"}


def test_a_stale_list_does_not_know_what_was_launched_just_now(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html: InvalidInstanceID.NotFound."""
    ec2 = cloud.client("ec2")
    launched = run_one(world)
    cloud.faults.stale("DescribeInstances", Fault(times=2), age_s=5)
    assert error_of(ec2.describe_instances, InstanceIds=[launched])[0] == "InvalidInstanceID.NotFound"
    listed = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}])
    assert launched not in {i["InstanceId"] for r in listed["Reservations"] for i in r["Instances"]}
    assert ec2.describe_instances(InstanceIds=[launched])["Reservations"]


def test_chance_makes_some_answers_stale_and_others_not(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.stale("DescribeAutoScalingGroups", Fault(odds=0.5), age_s=1000)
    world.describe_group()
    want(world, 3)
    assert {world.describe_group()["DesiredCapacity"] for _ in range(30)} == {2, 3}
