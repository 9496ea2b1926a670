"""Launch templates that say more than an image and a type: what a release makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from fabfile.localcloud.faults import Fault
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Ending

from .conftest import Operator


def launch_from(operator: Operator, **data: Any) -> None:
    """Give the group a launch template that says more, and instances that it has launched from that."""
    autoscaling, world = operator.cloud.client("autoscaling"), operator.world
    answer = operator.cloud.client("ec2").create_launch_template_version(
        LaunchTemplateId=world.template_id, SourceVersion="1", LaunchTemplateData=data
    )
    version = str(answer["LaunchTemplateVersion"]["VersionNumber"])
    named = {"LaunchTemplateId": world.template_id, "Version": version}
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=world.group, LaunchTemplate=named)
    for instance_id in world.members():
        autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
        )
    operator.cloud.until(lambda: is_whole(operator, version))
    operator.fewest_serving = operator.serving()


def is_whole(operator: Operator, version: str) -> bool:
    members = operator.world.describe_group()["Instances"]
    return operator.serving() == len(members) == 3 and {m["LaunchTemplate"]["Version"] for m in members} == {version}


def mix(operator: Operator, version: str, **override: Any) -> None:
    """Give the group a mixed-instances policy, half of it spot."""
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=operator.world.group,
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": operator.world.template_id, "Version": version},
                "Overrides": [{"InstanceType": "t3.small", **override}],
            },
            "InstancesDistribution": {"OnDemandBaseCapacity": 2, "OnDemandPercentageAboveBaseCapacity": 0},
        },
    )


def described(operator: Operator) -> list[dict[str, Any]]:
    """Describe the group's instances."""
    ids = operator.world.members()
    answer = operator.cloud.client("ec2").describe_instances(InstanceIds=ids)
    return [instance for reservation in answer["Reservations"] for instance in reservation["Instances"]]


def security_group(operator: Operator) -> str:
    ec2 = operator.cloud.client("ec2")
    vpc = ec2.describe_subnets(SubnetIds=[operator.world.subnets[0]])["Subnets"][0]["VpcId"]
    return str(ec2.create_security_group(GroupName="shop", Description="shop", VpcId=vpc)["GroupId"])


@pytest.mark.parametrize("is_mixed", [False, True])
def test_starts_instances_with_the_templates_network_interface_in_the_groups_subnets(
    operator: Operator, is_mixed: bool
) -> None:
    group_id = security_group(operator)
    launch_from(
        operator, NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": True, "Groups": [group_id]}]
    )
    if is_mixed:
        mix(operator, "2")
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.screen.failures == []
    assert operator.carried() == {"2.0.0"}
    instances = described(operator)
    assert {i["SubnetId"] for i in instances} == set(operator.world.subnets)
    assert {g["GroupId"] for i in instances for n in i["NetworkInterfaces"] for g in n["Groups"]} == {group_id}


@pytest.mark.parametrize(
    ("interfaces", "why"),
    [
        ([{"DeviceIndex": 0}, {"DeviceIndex": 1}], "version 2 of shop-prod's launch template has 2 network interfaces"),
        ([{"DeviceIndex": 0, "PrivateIpAddress": "10.99.0.77"}], "fixes PrivateIpAddress of its network interface"),
    ],
)
def test_refuses_network_interfaces_that_no_second_fleet_can_have(
    operator: Operator, interfaces: list[dict[str, Any]], why: str
) -> None:
    world = operator.world
    operator.cloud.client("ec2").create_launch_template_version(
        LaunchTemplateId=world.template_id, SourceVersion="1", LaunchTemplateData={"NetworkInterfaces": interfaces}
    )
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=world.group, LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": "2"}
    )
    with pytest.raises(Refusal, match=why):
        operator.release("2.0.0")
    assert operator.screen.acts == []


@pytest.mark.parametrize("is_mixed", [False, True])
def test_starts_instances_in_the_groups_placement_group(operator: Operator, is_mixed: bool) -> None:
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=operator.world.group, PlacementGroup="apart"
    )
    if is_mixed:
        mix(operator, "1")
    assert operator.release("2.0.0").ending is Ending.DONE
    assert {i["Placement"]["GroupName"] for i in described(operator)} == {"apart"}


@pytest.mark.parametrize(("version", "ending"), [("2.0.0", Ending.DONE), ("3.0.0", Ending.RESTORED)])
def test_ends_what_the_template_protects_from_termination(operator: Operator, version: str, ending: Ending) -> None:
    launch_from(operator, DisableApiTermination=True)
    result = operator.release(version)
    assert result.ending is ending, result.why
    assert operator.screen.failures == []
    assert operator.leftovers() == []
    assert len(operator.world.members(None)) == 3
    assert all(is_protected(operator, instance_id) for instance_id in operator.world.members())


def is_protected(operator: Operator, instance_id: str) -> bool:
    answer = operator.cloud.client("ec2").describe_instance_attribute(
        InstanceId=instance_id, Attribute="disableApiTermination"
    )
    return bool(answer["DisableApiTermination"]["Value"])


def test_knows_the_image_of_a_template_that_names_it_by_a_parameter(operator: Operator) -> None:
    world = operator.world
    operator.cloud.client("ssm").put_parameter(Name="/shop/ami", Type="String", Value=world.image_ids["1.0.0"])
    launch_from(operator, ImageId="resolve:ssm:/shop/ami")
    operator.release_settings["keep_previous"] = True
    result = operator.release("2.0.0")
    assert (result.ending, operator.screen.failures) == (Ending.DONE, [])
    assert result.record is not None
    assert result.record.from_version == "1.0.0"
    assert result.record.before.image_id == world.image_ids["1.0.0"]
    assert len(world.members("Standby")) == 3
    versions = operator.cloud.client("ec2").describe_launch_template_versions(LaunchTemplateId=world.template_id)
    images = [each["LaunchTemplateData"]["ImageId"] for each in versions["LaunchTemplateVersions"]]
    assert images == [world.image_ids["1.0.0"], "resolve:ssm:/shop/ami", world.image_ids["2.0.0"]]


def test_waits_for_nobody_whom_the_group_retains(operator: Operator) -> None:
    autoscaling, world = operator.cloud.client("autoscaling"), operator.world
    autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=world.group,
        LifecycleHookName="bye",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        DefaultResult="ABANDON",
        HeartbeatTimeout=30,
    )
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=world.group,
        InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "retain"}},
    )
    kept = world.members()[0]
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=kept, ShouldDecrementDesiredCapacity=False)
    operator.cloud.until(lambda: kept in world.members("Terminating:Retained") and operator.serving() == 3)
    operator.fewest_serving = 3
    began_s = operator.cloud.clock.elapsed_s
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.cloud.clock.elapsed_s - began_s < operator.settings.release.drain_within_s
    assert operator.carried() == {"2.0.0"}
    assert world.members("Terminating:Retained")[0] == kept


def test_starts_instances_in_the_subnet_of_a_zone_that_has_addresses_left(operator: Operator) -> None:
    ec2, world = operator.cloud.client("ec2"), operator.world
    vpc = ec2.describe_subnets(SubnetIds=[world.subnets[0]])["Subnets"][0]["VpcId"]
    small, wide = (
        ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        for cidr in ("10.99.64.0/28", "10.99.80.0/20")
    )
    template = {"LaunchTemplateId": world.template_id, "Version": "1"}
    ec2.run_instances(LaunchTemplate=template, SubnetId=small, MinCount=11, MaxCount=11)
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=world.group, VPCZoneIdentifier=f"{small},{wide},{world.subnets[1]}"
    )
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.screen.failures == []
    assert {i["SubnetId"] for i in described(operator)} == {wide, world.subnets[1]}


def test_starts_instances_elsewhere_while_a_zones_subnet_has_no_address_left(operator: Operator) -> None:
    full = "InsufficientFreeAddressesInSubnet"
    operator.cloud.faults.fail("RunInstances", full, "not enough free addresses", Fault(times=1))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert len(operator.screen.failures) == 1
    assert len({i["Placement"]["AvailabilityZone"] for i in described(operator)}) == 1
