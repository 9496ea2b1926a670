"""Groups with a mixed-instances policy: new instances of its types, as much of them spot as the policy says."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from fabfile.localcloud.faults import Fault
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Ending

from .conftest import Operator


@pytest.fixture
def mixed(operator: Operator) -> Operator:
    """Give the group a policy: one instance on demand, half of the others, the rest spot."""
    update(operator, [{"InstanceType": "t3.small"}, {"InstanceType": "t3a.small"}])
    return operator


def update(operator: Operator, overrides: list[dict[str, Any]]) -> None:
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=operator.world.group,
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": operator.world.template_id, "Version": "1"},
                "Overrides": overrides,
            },
            "InstancesDistribution": {
                "OnDemandBaseCapacity": 1,
                "OnDemandPercentageAboveBaseCapacity": 50,
                "SpotAllocationStrategy": "price-capacity-optimized",
            },
        },
    )


def policy(operator: Operator) -> dict[str, Any]:
    return dict(operator.world.describe_group()["MixedInstancesPolicy"])


def lifecycles(operator: Operator) -> Counter[str]:
    pages = operator.cloud.client("ec2").get_paginator("describe_instances").paginate()
    members = set(operator.world.members())
    return Counter(
        raw.get("InstanceLifecycle", "on demand")
        for page in pages
        for reservation in page["Reservations"]
        for raw in reservation["Instances"]
        if raw["InstanceId"] in members
    )


def test_starts_the_share_of_spot_that_the_policy_asks_for(mixed: Operator) -> None:
    assert mixed.release("2.0.0").ending is Ending.DONE
    assert mixed.carried() == {"2.0.0"}
    assert mixed.fewest_serving >= 3
    assert lifecycles(mixed) == {"on demand": 2, "spot": 1}
    zones = sorted(i["AvailabilityZone"] for i in mixed.world.describe_group()["Instances"])
    assert len(set(zones)) == 2


def test_changes_nothing_in_the_policy_but_the_version(mixed: Operator) -> None:
    before = policy(mixed)
    mixed.release("2.0.0")
    after = policy(mixed)
    specification = after["LaunchTemplate"].pop("LaunchTemplateSpecification")
    assert specification["Version"] == "2"
    before["LaunchTemplate"].pop("LaunchTemplateSpecification")
    assert json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert "LaunchTemplate" not in mixed.world.describe_group()


def test_puts_the_policy_back_with_the_old_version(mixed: Operator) -> None:
    before = policy(mixed)
    assert mixed.release("3.0.0").ending is Ending.RESTORED
    assert policy(mixed) == before
    assert mixed.leftovers() == []


def test_asks_again_for_what_a_fleet_fell_short_of(mixed: Operator) -> None:
    mixed.cloud.faults.refuse_capacity(fault=Fault(times=1))
    assert mixed.release("2.0.0").ending is Ending.DONE
    assert len(mixed.world.members()) == 3
    assert mixed.leftovers() == []


def test_puts_everything_back_when_no_fleet_ever_comes(mixed: Operator) -> None:
    old = sorted(mixed.world.members())
    mixed.cloud.faults.refuse_capacity(fault=Fault())
    result = mixed.release("2.0.0")
    assert result.ending is Ending.RESTORED
    assert "apacity" in result.why
    assert sorted(mixed.world.members(None)) == old


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ({"InstanceType": "t3.large", "WeightedCapacity": "2"}, r"weighs t3\.large"),
        (
            {"InstanceType": "t4g.small", "LaunchTemplateSpecification": {"LaunchTemplateName": "arm", "Version": "1"}},
            r"launch template for t4g\.small alone",
        ),
    ],
)
def test_refuses_a_policy_that_it_cannot_follow(operator: Operator, override: dict[str, Any], why: str) -> None:
    if "LaunchTemplateSpecification" in override:
        image = operator.world.image_ids["1.0.0"]
        operator.cloud.client("ec2").create_launch_template(
            LaunchTemplateName="arm", LaunchTemplateData={"ImageId": image, "InstanceType": "t4g.small"}
        )
    update(operator, [{"InstanceType": "t3.small"}, override])
    with pytest.raises(Refusal, match=why):
        operator.release("2.0.0")
    assert operator.screen.acts == []
