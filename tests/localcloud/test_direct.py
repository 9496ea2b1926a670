"""Direct clients answer as boto3 does: the same calls, asked both ways, in two worlds that are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from fabfile.localcloud.faults import Fault, Lost
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud, simulated_cloud
from fabfile.localcloud.world import World, provision_world
from fabfile.plan.settings import Settings
from fabfile.tools import aws
from tests.engine.conftest import Operator

Ask = Callable[..., Any]


class Person:
    """Somebody who asks the cloud, and writes down what it answered."""

    def __init__(self, cloud: SimulatedCloud, world: World) -> None:
        self.cloud = cloud
        self.world = world
        self.heard: list[tuple[str, Any]] = []

    def ask(self, service: str, operation: str, **arguments: Any) -> Any:
        """Ask, and note what one can see of the answer, or of the error."""
        try:
            answer = getattr(self.cloud.client(service), operation)(**arguments)
        except ClientError as error:
            return self._note(operation, (type(error).__name__, str(error), error.response["Error"]))
        except BotoCoreError as error:
            return self._note(operation, (type(error).__name__, str(error)))
        if "Body" in answer:
            answer["Body"] = answer["Body"].read()
        answer.pop("ResponseMetadata")
        return self._note(operation, answer)

    def _note(self, operation: str, answer: Any) -> Any:
        self.heard.append((operation, _without_type(answer)))
        return answer


def _without_type(answer: Any) -> Any:
    """Leave out which side an error blames, and the second copy that some have of their message."""
    if isinstance(answer, tuple) and isinstance(answer[-1], dict):
        return (*answer[:-1], {key: value for key, value in answer[-1].items() if key not in ("Type", "message")})
    return answer


@contextmanager
def _person(*, direct: bool, capacity: int = 3) -> Iterator[Person]:
    with simulated_cloud(seed=11, direct=direct) as cloud:
        yield Person(cloud, provision_world(cloud, capacity=capacity))


def _hear(story: Callable[[Person], None], *, direct: bool) -> list[tuple[str, Any]]:
    with _person(direct=direct) as person:
        story(person)
        return person.heard


def instances(person: Person) -> None:
    ask, world = person.ask, person.world
    template = {"LaunchTemplateId": world.template_id, "Version": "1"}
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "headway:release", "Value": "r-1"}]}]
    run = {
        "LaunchTemplate": template,
        "MinCount": 2,
        "MaxCount": 2,
        "SubnetId": world.subnets[0],
        "TagSpecifications": tags,
    }
    person.cloud.clock.sleep(0.25)
    started = ask("ec2", "run_instances", ClientToken="t-1", **run)
    ids = [each["InstanceId"] for each in started["Instances"]]
    ask("ec2", "run_instances", ClientToken="t-1", **run)
    ask("ec2", "run_instances", ClientToken="t-1", **{**run, "MinCount": 1})
    ask("ec2", "run_instances", ClientToken="t-3", **{**run, "UserData": "#!/bin/sh\necho hello\n"})
    ask("ec2", "run_instances", ClientToken="t-4", **{**run, "LaunchTemplate": {"LaunchTemplateName": "missing"}})
    ask("ec2", "describe_instances", InstanceIds=ids)
    ask("ec2", "describe_instances", InstanceIds=["i-00000000000000000"])
    ask("ec2", "describe_instances", InstanceIds=ids, MaxResults=5)
    ask("ec2", "describe_instances", Filters=[{"Name": "instance-id", "Values": [*ids, "i-00000000000000000"]}])
    ask("ec2", "describe_instances", Filters=[{"Name": "tag:headway:release", "Values": ["r-1"]}])
    ask("ec2", "describe_instances", Filters=[{"Name": "tag:headway:release", "Values": ["r*"]}], MaxResults=1)
    ask("ec2", "describe_instances", Filters=[{"Name": "tag:headway:release", "Values": ["q-?"]}])
    ask("ec2", "describe_instances", Filters=[{"Name": "instance-state-name", "Values": ["pending"]}])
    person.cloud.clock.sleep(40)
    ask("ec2", "describe_instance_status", InstanceIds=ids)
    ask("ec2", "describe_instance_status", InstanceIds=["i-00000000000000000"])
    ask("ec2", "describe_instance_status", IncludeAllInstances=True)
    ask("ec2", "describe_instances", InstanceIds=ids)
    ask("ec2", "create_tags", Resources=ids, Tags=[{"Key": "a", "Value": ""}, {"Key": "b", "Value": "<&>"}])
    ask("ec2", "describe_instances", InstanceIds=ids)
    ask("ec2", "delete_tags", Resources=ids, Tags=[{"Key": "a"}])
    ask("ec2", "describe_instances", InstanceIds=ids)
    address = ask("ec2", "allocate_address", Domain="vpc")
    ask("ec2", "associate_address", AllocationId=address["AllocationId"], InstanceId=ids[0])
    ask("ec2", "describe_instances", InstanceIds=ids)
    ask("ec2", "modify_instance_attribute", InstanceId=ids[0], DisableApiTermination={"Value": False})
    ask("ec2", "describe_instances", InstanceIds=ids)
    ask("ec2", "describe_tags", Filters=[{"Name": "resource-id", "Values": ids}])
    ask("ec2", "get_console_output", InstanceId=ids[0])
    ask("ec2", "stop_instances", InstanceIds=ids[:1])
    ask("ec2", "terminate_instances", InstanceIds=ids[1:])
    ask("ec2", "describe_instances")
    person.cloud.clock.sleep(10)
    ask("ec2", "start_instances", InstanceIds=ids)
    ask("ec2", "describe_instances")
    ask("ec2", "terminate_instances", InstanceIds=["i-00000000000000000"])


def templates_and_images(person: Person) -> None:
    ask, world = person.ask, person.world
    image = world.image("2.0.0", tags={"headway:project": "shop"})
    new = {"LaunchTemplateId": world.template_id, "SourceVersion": "1", "LaunchTemplateData": {"ImageId": image}}
    ask("ec2", "create_launch_template_version", ClientToken="t-2", VersionDescription="two", **new)
    ask("ec2", "create_launch_template_version", ClientToken="t-2", VersionDescription="two", **new)
    ask("ec2", "create_launch_template_version", ClientToken="t-2", VersionDescription="other", **new)
    ask("ec2", "create_launch_template_version", **{**new, "LaunchTemplateId": "lt-0"})
    for versions in (["1"], ["$Latest"], ["$Default"], ["7"], []):
        ask("ec2", "describe_launch_template_versions", LaunchTemplateId=world.template_id, Versions=versions)
    ask("ec2", "describe_launch_template_versions", LaunchTemplateId=world.template_id, MaxResults=1)
    ask("ec2", "describe_launch_templates")
    ask("ec2", "describe_images", Owners=["self"], Filters=[{"Name": "tag:headway:project", "Values": ["shop"]}])
    ask("ec2", "describe_images", ImageIds=["ami-missing"])
    ask("ec2", "describe_subnets", SubnetIds=list(world.subnets))
    ask("ec2", "describe_vpcs")
    ask("ec2", "describe_security_groups")
    ask("ec2", "describe_account_attributes", AttributeNames=["default-vpc"])
    ask("ec2", "deregister_image", ImageId=image)
    ask("ec2", "deregister_image", ImageId=image)


def groups(person: Person) -> None:
    ask, world = person.ask, person.world
    name = {"AutoScalingGroupName": world.group}
    ids = world.members()
    ask("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[world.group])
    ask("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=["missing"])
    ask("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[])
    ask("autoscaling", "describe_auto_scaling_instances", InstanceIds=ids)
    ask("autoscaling", "suspend_processes", **name, ScalingProcesses=["AZRebalance", "ReplaceUnhealthy"])
    ask("autoscaling", "resume_processes", **name, ScalingProcesses=["ReplaceUnhealthy"])
    ask("autoscaling", "set_instance_protection", **name, InstanceIds=ids, ProtectedFromScaleIn=True)
    ask("autoscaling", "enter_standby", **name, InstanceIds=ids[:1], ShouldDecrementDesiredCapacity=True)
    ask("autoscaling", "enter_standby", **name, InstanceIds=ids, ShouldDecrementDesiredCapacity=True)
    ask("autoscaling", "exit_standby", **name, InstanceIds=ids[:1])
    person.cloud.clock.sleep(30)
    ask("autoscaling", "exit_standby", **name, InstanceIds=ids[:1])
    ask("autoscaling", "update_auto_scaling_group", **name, MaxSize=1)
    ask("autoscaling", "update_auto_scaling_group", **name, MinSize=0, MaxSize=9, DesiredCapacity=4)
    ask("autoscaling", "set_desired_capacity", **name, DesiredCapacity=99)
    ask("autoscaling", "set_desired_capacity", **name, DesiredCapacity=5)
    ask("autoscaling", "attach_instances", **name, InstanceIds=["i-00000000000000000"])
    ask("autoscaling", "attach_instances", **name, InstanceIds=ids[:1])
    ask("autoscaling", "create_or_update_tags", Tags=[_tag(world, "headway:capacity", "5")])
    person.cloud.clock.sleep(30)
    ask("autoscaling", "describe_auto_scaling_groups")
    ask("autoscaling", "describe_tags")
    ask("autoscaling", "delete_tags", Tags=[_tag(world, "headway:capacity", "5")])
    ask("autoscaling", "set_instance_health", InstanceId=ids[1], HealthStatus="Unhealthy")
    terminate = "terminate_instance_in_auto_scaling_group"
    ask("autoscaling", terminate, InstanceId=ids[2], ShouldDecrementDesiredCapacity=False)
    ask("autoscaling", terminate, InstanceId="i-00000000000000000", ShouldDecrementDesiredCapacity=False)
    ask("autoscaling", "detach_instances", **name, InstanceIds=ids[:1], ShouldDecrementDesiredCapacity=True)
    person.cloud.clock.sleep(30)
    ask("autoscaling", "describe_auto_scaling_groups")
    ask("autoscaling", "describe_scaling_activities", **name, MaxRecords=3)
    ask("autoscaling", "describe_load_balancer_target_groups", **name)
    ask("autoscaling", "describe_load_balancers", **name)
    ask("autoscaling", "describe_instance_refreshes", **name)
    ask("autoscaling", "delete_auto_scaling_group", **name)
    ask("autoscaling", "delete_auto_scaling_group", **name, ForceDelete=True)


def settings_of_groups(person: Person) -> None:
    ask, world = person.ask, person.world
    name = {"AutoScalingGroupName": world.group}
    moment = person.cloud.clock.now().replace(microsecond=0)
    policy = {"PolicyName": "out", "AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1}
    ask("autoscaling", "put_scaling_policy", **name, **policy)
    ask("autoscaling", "describe_policies", **name)
    ask(
        "autoscaling",
        "put_scheduled_update_group_action",
        **name,
        ScheduledActionName="morning",
        StartTime=moment.replace(day=2),
        DesiredCapacity=4,
    )
    ask("autoscaling", "describe_scheduled_actions", **name)
    hook = {
        "LifecycleHookName": "wait",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "HeartbeatTimeout": 60,
    }
    ask("autoscaling", "put_lifecycle_hook", **name, **hook, DefaultResult="CONTINUE")
    ask("autoscaling", "describe_lifecycle_hooks", **name)
    ask("autoscaling", "delete_lifecycle_hook", **name, LifecycleHookName="wait")
    ask("autoscaling", "describe_warm_pool", **name)
    ask("autoscaling", "disable_metrics_collection", **name)
    alarm = {
        "AlarmName": "errors",
        "MetricName": "5XX",
        "Namespace": "shop",
        "Statistic": "Sum",
        "Period": 60,
        "Threshold": 1.5,
    }
    more = {"EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
    ask("cloudwatch", "put_metric_alarm", **alarm, **more)
    ask("cloudwatch", "set_alarm_state", AlarmName="errors", StateValue="ALARM", StateReason="a test")
    told = ask("cloudwatch", "describe_alarms", AlarmNames=["errors"])
    told["MetricAlarms"][0] = {key: each for key, each in told["MetricAlarms"][0].items() if "Timestamp" not in key}
    ask("cloudwatch", "describe_alarms", AlarmNames=["missing"])


def balancers(person: Person) -> None:
    ask, world = person.ask, person.world
    arn, classic = {"TargetGroupArn": world.target_group_arn}, {"LoadBalancerName": world.load_balancer}
    ids = world.members()
    ask("elbv2", "describe_target_health", **arn)
    ask("elbv2", "describe_target_health", **arn, Targets=[{"Id": ids[0]}, {"Id": "i-00000000000000000"}])
    ask("elbv2", "describe_target_health", TargetGroupArn=world.target_group_arn + "x")
    ask("elbv2", "deregister_targets", **arn, Targets=[{"Id": ids[0]}])
    ask("elbv2", "describe_target_health", **arn)
    ask("elbv2", "register_targets", **arn, Targets=[{"Id": ids[0], "Port": 8080}])
    ask("elbv2", "describe_target_groups", TargetGroupArns=[world.target_group_arn])
    ask("elbv2", "describe_target_groups", Names=["missing"])
    ask("elbv2", "describe_target_group_attributes", **arn)
    found = ask("elbv2", "describe_load_balancers")
    ask("elbv2", "describe_listeners", LoadBalancerArn=found["LoadBalancers"][0]["LoadBalancerArn"])
    ask("elb", "describe_load_balancers", LoadBalancerNames=[world.load_balancer])
    ask("elb", "describe_load_balancers", LoadBalancerNames=["missing"])
    ask("elb", "describe_load_balancer_attributes", **classic)
    ask("elb", "deregister_instances_from_load_balancer", **classic, Instances=[{"InstanceId": ids[1]}])
    ask("elb", "describe_instance_health", **classic)
    ask("elb", "describe_instance_health", LoadBalancerName="missing")
    person.cloud.clock.sleep(20)
    ask("elb", "register_instances_with_load_balancer", **classic, Instances=[{"InstanceId": ids[1]}])
    person.cloud.clock.sleep(2)
    ask("elb", "describe_instance_health", **classic)
    ask("elbv2", "describe_target_health", **arn)


def objects(person: Person) -> None:
    ask = person.ask
    ask("s3", "create_bucket", Bucket="state")
    tag = ask("s3", "put_object", Bucket="state", Key="a/1", Body=b"one", IfNoneMatch="*")["ETag"]
    ask("s3", "put_object", Bucket="state", Key="a/1", Body=b"two", IfNoneMatch="*")
    ask("s3", "put_object", Bucket="state", Key="a/1", Body=b"two", IfMatch='"0"')
    ask("s3", "put_object", Bucket="state", Key="a/2", Body=b"two", IfMatch=tag)
    person.cloud.clock.sleep(61.5)
    ask("s3", "put_object", Bucket="state", Key="a/1", Body="two \N{SNOWMAN}", IfMatch=tag)
    ask("s3", "put_object", Bucket="state", Key="b/1", Body=b"", ContentType="text/plain")
    ask("s3", "put_object", Bucket="state", Key="b/2", Body=b"", Metadata={"who": "ann"})
    ask("s3", "put_object", Bucket="missing", Key="a/1", Body=b"")
    for key in ("a/1", "b/1", "b/2", "missing"):
        ask("s3", "get_object", Bucket="state", Key=key)
        ask("s3", "head_object", Bucket="state", Key=key)
    ask("s3", "get_object", Bucket="missing", Key="a/1")
    ask("s3", "list_objects_v2", Bucket="state", Prefix="a/")
    page = ask("s3", "list_objects_v2", Bucket="state", MaxKeys=2)
    person.heard[-1] = ("list_objects_v2", {**page, "NextContinuationToken": "differs"})
    ask("s3", "list_objects_v2", Bucket="state", Prefix="none/")
    ask("s3", "list_objects_v2", Bucket="missing", Prefix="a/")
    ask("s3", "delete_object", Bucket="state", Key="a/1", IfMatch=tag)
    ask("s3", "delete_object", Bucket="state", Key="missing", IfMatch=tag)
    ask("s3", "delete_object", Bucket="state", Key="b/1")
    ask("s3", "delete_object", Bucket="state", Key="b/1")
    ask("s3", "delete_object", Bucket="missing", Key="b/1")


def mistakes(person: Person) -> None:
    ask, world = person.ask, person.world
    ask("ec2", "describe_instances", InstanceIds="i-1")
    ask("ec2", "describe_instances", Instances=["i-1"])
    ask("ec2", "run_instances", MinCount=1)
    ask("autoscaling", "set_desired_capacity", AutoScalingGroupName=world.group, DesiredCapacity="5")
    ask("autoscaling", "set_desired_capacity", AutoScalingGroupName="", DesiredCapacity=5)
    ask("autoscaling", "enter_standby", AutoScalingGroupName=world.group, InstanceIds=None)
    ask("s3", "get_object", Bucket="state", Key="")
    ask("s3", "put_object", Bucket="state")
    ask("s3", "put_object", Bucket="state", Key="k", Body=5)


def _tag(world: World, key: str, value: str) -> dict[str, Any]:
    where = {"ResourceId": world.group, "ResourceType": "auto-scaling-group"}
    return {**where, "Key": key, "Value": value, "PropagateAtLaunch": True}


STORIES = (instances, templates_and_images, groups, settings_of_groups, balancers, objects, mistakes)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_same_calls_are_answered_the_same_both_ways(story: Callable[[Person], None]) -> None:
    by_boto3, direct = _hear(story, direct=False), _hear(story, direct=True)
    assert [name for name, _ in direct] == [name for name, _ in by_boto3]
    for (name, ours), (_, theirs) in zip(direct, by_boto3, strict=True):
        assert differences(name, ours, theirs) == []


def differences(where: str, ours: Any, theirs: Any) -> list[str]:
    """Name the places at which two answers differ."""
    if type(ours) is not type(theirs):
        return [f"{where}: {ours!r} is not {theirs!r}"]
    if isinstance(ours, dict):
        odd = [f"{where}.{key}: only one has it" for key in sorted(ours.keys() ^ theirs.keys())]
        return odd + [each for key in ours.keys() & theirs.keys() for each in _inside(where, key, ours, theirs)]
    if isinstance(ours, list | tuple) and len(ours) == len(theirs):
        return [each for index in range(len(ours)) for each in _inside(where, index, ours, theirs)]
    return [] if ours == theirs else [f"{where}: {ours!r} is not {theirs!r}"]


def _inside(where: str, key: Any, ours: Any, theirs: Any) -> list[str]:
    return differences(f"{where}.{key}", ours[key], theirs[key])


@pytest.mark.parametrize("direct", [False, True], ids=["boto3", "direct"])
class TestFaults:
    """What goes wrong on purpose strikes both ways."""

    def test_a_throttled_call_is_tried_again_in_virtual_time(self, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            person.cloud.faults.throttle("DescribeVpcs", Fault(times=2))
            began_s = person.cloud.clock.elapsed_s
            answer = person.cloud.client("ec2").describe_vpcs()
            assert answer["ResponseMetadata"]["RetryAttempts"] == 2
            assert person.cloud.clock.elapsed_s > began_s

    def test_whatever_stays_throttled_is_given_up(self, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            person.cloud.faults.throttle("DescribeVpcs", Fault(times=None))
            answer = person.ask("ec2", "describe_vpcs")
            assert answer[1] == (
                "An error occurred (RequestLimitExceeded) when calling the DescribeVpcs operation "
                "(reached max retries: 5): Rate exceeded"
            )

    def test_an_error_on_purpose_has_no_effect(self, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            person.cloud.faults.fail("SetDesiredCapacity", "ScalingActivityInProgress", "busy")
            name = {"AutoScalingGroupName": person.world.group}
            answer = person.ask("autoscaling", "set_desired_capacity", **name, DesiredCapacity=5)
            assert (answer[0], answer[2]["Message"]) == ("ScalingActivityInProgressFault", "busy")
            assert person.world.describe_group()["DesiredCapacity"] == 3

    @pytest.mark.parametrize("how", list(Lost))
    def test_a_lost_answer_is_asked_for_again(self, how: Lost, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            person.cloud.faults.lose_answer("TerminateInstances", Fault(times=1), how)
            ids = person.world.members()[:1]
            answer = person.cloud.client("ec2").terminate_instances(InstanceIds=ids)
            assert answer["TerminatingInstances"][0]["PreviousState"]["Name"] == "shutting-down"

    def test_answers_that_stay_lost_are_a_connection_that_is_closed(self, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            person.cloud.faults.lose_answer("s3:PutObject", Fault(times=None))
            person.cloud.client("s3").create_bucket(Bucket="state")
            answer = person.ask("s3", "put_object", Bucket="state", Key="a", Body=b"1")
            assert answer[0] == "ConnectionClosedError"
            assert person.cloud.client("s3").get_object(Bucket="state", Key="a")["Body"].read() == b"1"

    def test_a_describe_may_be_behind(self, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            soon_s = person.cloud.cloud.time_s() + 1
            person.cloud.faults.stale("DescribeAutoScalingGroups", Fault(since_s=soon_s), age_s=5.0)
            assert person.world.describe_group()["DesiredCapacity"] == 3
            person.cloud.clock.sleep(2)
            person.cloud.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=person.world.group, DesiredCapacity=4
            )
            assert person.world.describe_group()["DesiredCapacity"] == 3


@pytest.mark.parametrize("direct", [False, True], ids=["boto3", "direct"])
class TestCallsOfReleases:
    """What a release asks can be counted, and killed at."""

    def test_they_are_noted_in_order_and_those_of_others_are_not(self, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            person.cloud.client("ec2").describe_vpcs()
            aws.client("s3", Settings()).create_bucket(Bucket="state")
            aws.client("s3", Settings()).put_object(Bucket="state", Key="a", Body=b"")
            aws.client("ec2", Settings()).describe_vpcs()
            assert person.cloud.calls[-2:] == ["s3:PutObject", "ec2:DescribeVpcs"]

    def test_a_client_can_die_before_a_call_has_had_its_effect_or_after(self, *, direct: bool) -> None:
        with _person(direct=direct) as person:
            name = {"AutoScalingGroupName": person.world.group}
            told: list[Any] = []

            def die(call: str, arguments: dict[str, Any]) -> None:
                told.append((call, arguments["DesiredCapacity"]))
                raise KeyboardInterrupt

            person.cloud.calls.before = die
            with pytest.raises(KeyboardInterrupt):
                aws.client("autoscaling", Settings()).set_desired_capacity(**name, DesiredCapacity=4)
            assert person.world.describe_group()["DesiredCapacity"] == 3
            person.cloud.calls.before, person.cloud.calls.after = lambda *_: None, die
            with pytest.raises(KeyboardInterrupt):
                aws.client("autoscaling", Settings()).set_desired_capacity(**name, DesiredCapacity=4)
            assert person.world.describe_group()["DesiredCapacity"] == 4
            assert told == [("autoscaling:SetDesiredCapacity", 4)] * 2


def test_s3_tells_the_clouds_time_both_ways() -> None:
    for direct in (False, True):
        with _person(direct=direct) as person:
            s3 = person.cloud.client("s3")
            s3.create_bucket(Bucket="state")
            s3.put_object(Bucket="state", Key="a", Body=b"")
            headers = s3.get_object(Bucket="state", Key="a")["ResponseMetadata"]["HTTPHeaders"]
            assert headers["date"].startswith("Tue, 01 Jan 2030")


def test_what_direct_clients_do_not_cover_is_asked_through_boto3() -> None:
    with _person(direct=True) as person:
        person.cloud.client("ssm").put_parameter(Name="/shop/url", Value="x", Type="String")
        assert person.cloud.client("ssm").get_parameter(Name="/shop/url")["Parameter"]["Value"] == "x"
        s3 = person.cloud.client("s3")
        s3.create_bucket(Bucket="state")
        assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["state"]
        assert s3.exceptions.NoSuchKey.__name__ == "NoSuchKey"
        person.cloud.client("ec2").get_waiter("instance_running").wait(InstanceIds=person.world.members())


def test_pages_are_those_of_boto3() -> None:
    pages = []
    for direct in (False, True):
        with _person(direct=direct) as person:
            paginator = person.cloud.client("autoscaling").get_paginator("describe_scaling_activities")
            found = paginator.paginate(AutoScalingGroupName=person.world.group, PaginationConfig={"PageSize": 2})
            pages.append([[each["ActivityId"] for each in page["Activities"]] for page in found])
    assert pages[0] == pages[1]
    assert [len(page) for page in pages[0]] == [2, 1]


@pytest.mark.parametrize("healthy_s", [3.0, None], ids=["good", "never healthy"])
def test_a_whole_release_goes_the_same_way_both_ways(healthy_s: float | None) -> None:
    told = []
    for direct in (False, True):
        with _person(direct=direct) as person:
            ours = {"headway:project": "shop"}
            tags = [{"Key": key, "Value": value} for key, value in ours.items()]
            person.cloud.client("ec2").create_tags(Resources=[person.world.image_ids["1.0.0"]], Tags=tags)
            person.world.image("2.0.0", Behaviour(version="2.0.0", healthy_s=healthy_s), ours)
            operator = Operator(person.cloud, person.world)
            result = operator.release("2.0.0")
            seen = (person.world.describe_group(), person.world.health(), person.world.classic_health())
            told.append(
                (result.ending, operator.screen.acts, person.cloud.clock.elapsed_s, [*person.cloud.calls], seen)
            )
    by_boto3, direct_ones = told
    assert differences("release", direct_ones, by_boto3) == []
    assert len(by_boto3[3]) > 100
