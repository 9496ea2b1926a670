"""EC2 Fleets of type instant: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instant-fleet.html."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from fabfile.localcloud.faults import Fault
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    return provision_world(cloud, capacity=0)


def fleet(world: World, total: int = 4, subnets: int = 2, **changes: Any) -> Any:
    """Ask for an instant fleet of one type in the first subnets."""
    overrides = [{"InstanceType": "m5.large", "SubnetId": subnet} for subnet in world.subnets[:subnets]]
    specification = {"LaunchTemplateId": world.template_id, "Version": "1"}
    target = {"TotalTargetCapacity": total, "DefaultTargetCapacityType": "on-demand", **changes.pop("target", {})}
    asked = {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": specification, "Overrides": overrides}],
        "TargetCapacitySpecification": target,
        **changes,
    }
    return world.cloud.client("ec2").create_fleet(**asked)


def ids_by_terms(answer: Any) -> dict[str, int]:
    """Count what a fleet has launched by its terms."""
    counts: dict[str, int] = {}
    for each in answer["Instances"]:
        counts[each["Lifecycle"]] = counts.get(each["Lifecycle"], 0) + len(each["InstanceIds"])
    return counts


def described(world: World, answer: Any) -> list[Any]:
    ids = [instance_id for each in answer["Instances"] for instance_id in each["InstanceIds"]]
    found = world.cloud.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


def test_a_fleet_launches_as_many_as_asked_on_the_terms_asked(world: World, cloud: SimulatedCloud) -> None:
    answer = fleet(world, 5, target={"OnDemandTargetCapacity": 3, "SpotTargetCapacity": 2})
    assert ids_by_terms(answer) == {"on-demand": 3, "spot": 2}
    assert answer.get("Errors", []) == []
    instances = described(world, answer)
    assert sorted(each.get("InstanceLifecycle", "") for each in instances) == ["", "", "", "spot", "spot"]
    assert {each["InstanceType"] for each in instances} == {"m5.large"}
    cloud.clock.sleep(30)
    assert {each["State"]["Name"] for each in described(world, answer)} == {"running"}


def test_what_is_left_of_the_total_goes_to_the_default_terms(world: World) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TargetCapacitySpecificationRequest.html."""
    answer = fleet(world, 5, target={"OnDemandTargetCapacity": 1, "DefaultTargetCapacityType": "spot"})
    assert ids_by_terms(answer) == {"on-demand": 1, "spot": 4}


def test_instances_carry_the_tags_asked_for_and_the_version_launched(world: World) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "headway:release", "Value": "r1"}]}]
    (instance,) = described(world, fleet(world, 1, TagSpecifications=tags))
    shown = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert shown["headway:release"] == "r1"
    assert shown["aws:ec2launchtemplate:version"] == "1"
    assert shown["aws:ec2:fleet-id"].startswith("fleet-")


def test_a_fleet_fills_one_pool_so_one_zone_unless_told_to_spread(world: World) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-allocation-strategy.html."""
    together = described(world, fleet(world, 6, target={"OnDemandTargetCapacity": 3, "SpotTargetCapacity": 3}))
    assert len({each["Placement"]["AvailabilityZone"] for each in together}) == 1
    spread = fleet(world, 4, SpotOptions={"AllocationStrategy": "diversified"}, target={"SpotTargetCapacity": 4})
    assert len({each["Placement"]["AvailabilityZone"] for each in described(world, spread)}) == 2


def test_a_zone_without_capacity_is_made_up_for_by_another_pool(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.refuse_capacity("us-east-1a", Fault())
    answer = fleet(world, 4)
    assert ids_by_terms(answer) == {"on-demand": 4}
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["InsufficientInstanceCapacity"]
    assert {each["Placement"]["AvailabilityZone"] for each in described(world, answer)} == {"us-east-1b"}


def test_what_finds_no_capacity_is_missing_and_told_of(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFleetError.html."""
    cloud.faults.refuse_capacity("*", Fault(skip=3))
    answer = fleet(world, 5, subnets=1, target={"OnDemandTargetCapacity": 4, "SpotTargetCapacity": 1})
    assert ids_by_terms(answer) == {"on-demand": 3}
    assert {(each["Lifecycle"], each["ErrorCode"]) for each in answer["Errors"]} == {
        ("on-demand", "InsufficientInstanceCapacity"),
        ("spot", "UnfulfillableCapacity"),
    }
    shown = answer["Errors"][0]["LaunchTemplateAndOverrides"]
    assert shown["Overrides"]["SubnetId"] == world.subnets[0]


def test_a_fleet_without_any_capacity_is_an_answer_without_instances(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.refuse_capacity("*", Fault())
    answer = fleet(world, 2)
    assert answer.get("Instances", []) == []
    assert answer["Errors"]
    assert cloud.cloud.instances == {}


def test_a_fleet_is_launched_once_for_each_token(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html."""
    first = fleet(world, 2, ClientToken="once")
    cloud.clock.sleep(5)
    assert fleet(world, 2, ClientToken="once")["Instances"] == first["Instances"]
    assert len(cloud.cloud.instances) == 2
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        fleet(world, 3, ClientToken="once")


def test_the_pool_with_the_lowest_priority_number_comes_first(world: World) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FleetLaunchTemplateOverridesRequest.html."""
    specification = {"LaunchTemplateId": world.template_id, "Version": "1"}
    overrides = [
        {"InstanceType": "m4.large", "SubnetId": world.subnets[0], "Priority": 2.0},
        {"InstanceType": "m5.large", "SubnetId": world.subnets[0], "Priority": 1.0},
    ]
    configs = [{"LaunchTemplateSpecification": specification, "Overrides": overrides}]
    answer = fleet(world, 2, LaunchTemplateConfigs=configs, OnDemandOptions={"AllocationStrategy": "prioritized"})
    assert [each["InstanceType"] for each in answer["Instances"]] == ["m5.large"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target": {"TotalTargetCapacity": 1, "SpotTargetCapacity": 2}}, "InvalidTargetCapacitySpecification"),
        ({"SpotOptions": {"AllocationStrategy": "cheapest"}}, "InvalidParameterValue"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(world: World, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ClientError, match=expected):
        fleet(world, **changes)
