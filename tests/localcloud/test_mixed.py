"""Mixed-instances policies.

As https://docs.aws.amazon.com/autoscaling/ec2/userguide/mixed-instances-groups-set-up-overview.html has them.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from fabfile.localcloud.mixed import on_demand_of
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    return provision_world(cloud, capacity=0, max_size=20)


def policy(world: World, base: int = 0, percent: int = 100, **template: Any) -> dict[str, Any]:
    specification = {"LaunchTemplateId": world.template_id, "Version": "1"}
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": specification,
            "Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "m4.large"}],
            **template,
        },
        "InstancesDistribution": {"OnDemandBaseCapacity": base, "OnDemandPercentageAboveBaseCapacity": percent},
    }


def update(world: World, **changes: Any) -> None:
    world.cloud.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=world.group, **changes)


def terms(world: World) -> list[str]:
    """Return the terms of the members that are in service, by EC2's word."""
    ids = world.members()
    found = world.cloud.client("ec2").describe_instances(InstanceIds=ids)["Reservations"] if ids else []
    return sorted(i.get("InstanceLifecycle", "on-demand") for r in found for i in r["Instances"])


@pytest.mark.parametrize(
    ("base", "percent", "size", "expected"),
    [(0, 100, 10, 10), (0, 0, 10, 0), (2, 50, 10, 6), (10, 50, 4, 4), (0, 50, 3, 2), (1, 30, 4, 2), (0, 20, 1, 1)],
)
def test_a_fraction_counts_in_favour_of_on_demand(base: int, percent: int, size: int, expected: int) -> None:
    distribution = {"OnDemandBaseCapacity": base, "OnDemandPercentageAboveBaseCapacity": percent}
    assert on_demand_of(distribution, size) == expected


def test_a_group_launches_its_first_type_on_the_terms_of_its_distribution(world: World, cloud: SimulatedCloud) -> None:
    update(world, MixedInstancesPolicy=policy(world, base=1, percent=50), DesiredCapacity=5)
    cloud.clock.sleep(60)
    assert terms(world) == ["on-demand"] * 3 + ["spot"] * 2
    group = world.describe_group()
    assert {each["InstanceType"] for each in group["Instances"]} == {"m5.large"}
    assert {each["LaunchTemplate"]["Version"] for each in group["Instances"]} == {"1"}


def test_the_base_comes_first(world: World, cloud: SimulatedCloud) -> None:
    update(world, MixedInstancesPolicy=policy(world, base=2, percent=0), DesiredCapacity=2)
    cloud.clock.sleep(60)
    assert terms(world) == ["on-demand", "on-demand"]
    update(world, DesiredCapacity=4)
    cloud.clock.sleep(60)
    assert terms(world) == ["on-demand", "on-demand", "spot", "spot"]


def test_scaling_in_keeps_to_the_distribution(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html."""
    update(world, MixedInstancesPolicy=policy(world, percent=50), DesiredCapacity=6)
    cloud.clock.sleep(60)
    update(world, DesiredCapacity=2)
    cloud.clock.sleep(60)
    assert terms(world) == ["on-demand", "spot"]


def test_a_group_shows_its_policy_and_no_template_beside_it(world: World) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AutoScalingGroup.html."""
    update(world, MixedInstancesPolicy=policy(world, base=1, percent=50))
    group = world.describe_group()
    assert "LaunchTemplate" not in group
    shown = group["MixedInstancesPolicy"]
    assert shown["LaunchTemplate"]["LaunchTemplateSpecification"] == {
        "LaunchTemplateId": world.template_id,
        "LaunchTemplateName": world.group,
        "Version": "1",
    }
    assert [each["InstanceType"] for each in shown["LaunchTemplate"]["Overrides"]] == ["m5.large", "m4.large"]
    assert shown["InstancesDistribution"] == {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 1,
        "OnDemandPercentageAboveBaseCapacity": 50,
        "SpotAllocationStrategy": "lowest-price",
        "SpotInstancePools": 2,
    }


def test_a_new_policy_takes_the_place_of_the_old_one(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html."""
    update(world, MixedInstancesPolicy=policy(world, base=1, percent=50))
    version = cloud.client("ec2").create_launch_template_version(
        LaunchTemplateId=world.template_id,
        SourceVersion="1",
        LaunchTemplateData={"ImageId": world.image("2.0.0")},
    )
    number = str(version["LaunchTemplateVersion"]["VersionNumber"])
    specification = {"LaunchTemplateId": world.template_id, "Version": number}
    update(world, MixedInstancesPolicy=policy(world, percent=0, LaunchTemplateSpecification=specification))
    shown = world.describe_group()["MixedInstancesPolicy"]
    assert shown["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == number
    assert shown["InstancesDistribution"]["OnDemandBaseCapacity"] == 0
    update(world, DesiredCapacity=1)
    cloud.clock.sleep(60)
    assert terms(world) == ["spot"]
    assert world.versions_served() == {"2.0.0"}


def test_other_settings_leave_the_policy_and_a_template_replaces_it(world: World) -> None:
    update(world, MixedInstancesPolicy=policy(world, base=1))
    update(world, MaxSize=9)
    assert world.describe_group()["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandBaseCapacity"] == 1
    update(world, LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": "1"})
    group = world.describe_group()
    assert "MixedInstancesPolicy" not in group
    assert group["LaunchTemplate"]["Version"] == "1"


def test_an_override_may_have_a_template_of_its_own(world: World, cloud: SimulatedCloud) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_LaunchTemplateOverrides.html."""
    other = cloud.client("ec2").create_launch_template(
        LaunchTemplateName="arm", LaunchTemplateData={"ImageId": world.image("2.0.0")}
    )
    own = {"LaunchTemplateId": other["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"}
    override = {"InstanceType": "m6g.large", "LaunchTemplateSpecification": own}
    update(world, MixedInstancesPolicy=policy(world, Overrides=[override]), DesiredCapacity=1)
    cloud.clock.sleep(60)
    assert world.versions_served() == {"2.0.0"}


def test_a_group_may_be_created_with_a_policy(world: World, cloud: SimulatedCloud, autoscaling: Any) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html."""
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="mixed",
        MinSize=2,
        MaxSize=2,
        MixedInstancesPolicy=policy(world, percent=50),
        VPCZoneIdentifier=",".join(world.subnets),
    )
    cloud.clock.sleep(30)
    (group,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["mixed"])["AutoScalingGroups"]
    assert [each["LifecycleState"] for each in group["Instances"]] == ["InService", "InService"]


def test_a_policy_and_a_template_at_once_are_refused(world: World) -> None:
    template = {"LaunchTemplateId": world.template_id, "Version": "1"}
    with pytest.raises(ClientError, match="must contain either LaunchTemplate"):
        update(world, MixedInstancesPolicy=policy(world), LaunchTemplate=template)
    with pytest.raises(ClientError, match="between 0 and 100"):
        update(world, MixedInstancesPolicy=policy(world, percent=101))
