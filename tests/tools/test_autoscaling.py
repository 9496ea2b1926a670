"""What Auto Scaling answers of a group, read as what a release may rely on: in the API's own shapes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.stub import Stubber

from fabfile.plan.fleet import Lifecycle, Place
from fabfile.plan.reading import read_settings
from fabfile.tools import aws
from fabfile.tools.autoscaling import GroupFacts, read_group

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TEMPLATE = {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "shop", "Version": "7"}
RESERVATION = "cr-0123456789abcdef0"
POOL = "arn:aws:resource-groups:us-east-1:123456789012:group/shop"


def group(**fields: Any) -> dict[str, Any]:
    """Describe a group as AWS does; a field of None is left out."""
    raw = {
        "AutoScalingGroupName": "shop-prod",
        "MinSize": 1,
        "MaxSize": 4,
        "DesiredCapacity": 2,
        "DefaultCooldown": 300,
        "AvailabilityZones": ["us-east-1a"],
        "HealthCheckType": "ELB",
        "CreatedTime": NOW,
        "LaunchTemplate": TEMPLATE,
        "VPCZoneIdentifier": "subnet-a",
        "Instances": [],
        **fields,
    }
    return {name: value for name, value in raw.items() if value is not None}


def mixed(override: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Describe a group with a mixed-instances policy."""
    launch = {"LaunchTemplateSpecification": TEMPLATE, "Overrides": [{"InstanceType": "t3.small", **(override or {})}]}
    return group(LaunchTemplate=None, MixedInstancesPolicy={"LaunchTemplate": launch}, **fields)


def reserving(preference: str | None, *ids: str, groups: tuple[str, ...] = ()) -> dict[str, Any]:
    """Make a group's Capacity Reservation specification."""
    target = {"CapacityReservationIds": list(ids), "CapacityReservationResourceGroupArns": list(groups)}
    given = {"CapacityReservationPreference": preference, "CapacityReservationTarget": target}
    return {"CapacityReservationSpecification": {name: value for name, value in given.items() if value}}


def read(raw: dict[str, Any], *others: dict[str, Any], data: dict[str, Any] | None = None) -> GroupFacts:
    """Read a group that AWS describes so, beside others, with such a launch template."""
    made_up = {"region_name": "us-east-1", "aws_access_key_id": "none", "aws_secret_access_key": "none"}
    clients: dict[str, Any] = {name: boto3.client(name, **made_up) for name in ("autoscaling", "ec2")}  # type: ignore[call-overload]
    autoscaling, ec2 = Stubber(clients["autoscaling"]), Stubber(clients["ec2"])
    version = {
        "LaunchTemplateId": "lt-1",
        "VersionNumber": 7,
        "LaunchTemplateData": {"ImageId": "ami-1", **(data or {})},
    }
    subnet = {"SubnetId": "subnet-a", "AvailabilityZone": "us-east-1a", "AvailableIpAddressCount": 9}
    autoscaling.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [raw]})
    ec2.add_response("describe_launch_template_versions", {"LaunchTemplateVersions": [version]})
    ec2.add_response("describe_subnets", {"Subnets": [subnet]})
    autoscaling.add_response("describe_lifecycle_hooks", {"LifecycleHooks": []})
    autoscaling.add_response("describe_instance_refreshes", {"InstanceRefreshes": []})
    pages = [[raw], *([each] for each in others)]
    for number, page in enumerate(pages, 1):
        more = {"NextToken": str(number)} if number < len(pages) else {}
        autoscaling.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": page, **more})
    with autoscaling, ec2, aws.using(lambda service, *_: clients[service]):
        return read_group(read_settings({"name": "shop", "envs": {"prod": {}}}, "prod"))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (group(Status="Delete in progress"), "shop-prod is being deleted (its status: Delete in progress)"),
        (group(Operator={"Principal": "eks.amazonaws.com"}), "shop-prod is managed by eks.amazonaws.com"),
        (mixed({"ImageId": "ami-1"}), "has ami-1 for t3.small, so that the group would go on launching that"),
        (mixed(DesiredCapacityType="vcpu"), "shop-prod counts its capacity in vcpu"),
        (group(**reserving("capacity-reservations-first")), "launches with capacity-reservations-first"),
        (group(**reserving(None, RESERVATION)), "names Capacity Reservations with the preference default"),
        (
            group(**reserving("capacity-reservations-only", RESERVATION, groups=(POOL,))),
            "names 2 Capacity Reservations",
        ),
        (mixed(**reserving("none")), "which an EC2 Fleet cannot be told"),
    ],
)
def test_refuses_with_the_way_out_what_a_release_cannot_do(raw: dict[str, Any], why: str) -> None:
    unsupported = read(raw).group.unsupported
    assert unsupported is not None
    assert why in unsupported
    assert "\n" not in unsupported


@pytest.mark.parametrize(
    "raw",
    [
        group(),
        mixed(DesiredCapacityType="units"),
        mixed(PlacementGroup="apart"),
        group(**reserving("default")),
        group(PlacementGroup="apart", **reserving("capacity-reservations-only", RESERVATION)),
    ],
)
def test_takes_what_it_can_do_as_the_group_would(raw: dict[str, Any]) -> None:
    assert read(raw).group.unsupported is None


def test_refuses_a_placement_group_that_a_fleet_might_take_for_all_of_the_templates_placement() -> None:
    placement = {"Placement": {"Tenancy": "dedicated"}}
    refused = read(mixed(PlacementGroup="apart"), data=placement).group.unsupported or ""
    assert "shop-prod has a placement group, and its launch template Tenancy" in refused
    assert read(group(PlacementGroup="apart"), data=placement).group.unsupported is None


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (group(), Place()),
        (group(PlacementGroup="apart"), Place("apart")),
        (group(**reserving("default")), Place()),
        (group(**reserving("none")), Place(reservations="none")),
        (
            group(**reserving("capacity-reservations-only", groups=(POOL,))),
            Place(reservations="capacity-reservations-only", reservation=POOL),
        ),
    ],
)
def test_reads_what_a_group_asks_for_wherever_it_launches(raw: dict[str, Any], place: Place) -> None:
    assert read(raw).group.place == place


@pytest.mark.parametrize("other", [group, mixed])
def test_refuses_a_template_whose_newest_version_another_group_launches(other: Any) -> None:
    newest = {"LaunchTemplate": {**TEMPLATE, "Version": "$Latest"}} if other is group else {}
    sharer = other(**{**newest, "AutoScalingGroupName": "shop-worker"})
    if other is mixed:
        launch = sharer["MixedInstancesPolicy"]["LaunchTemplate"]
        launch["LaunchTemplateSpecification"] = {**TEMPLATE, "Version": "$Latest"}
    quiet = group(AutoScalingGroupName="shop-quiet")
    refused = read(group(), quiet, sharer).group.unsupported or ""
    assert refused.startswith("shop-worker launches $Latest of the launch template of shop-prod (lt-1)")
    assert "pin shop-worker to a version by its number first" in refused


@pytest.mark.parametrize(
    "template", [TEMPLATE, {**TEMPLATE, "Version": "$Default"}, {**TEMPLATE, "LaunchTemplateId": "lt-2"}]
)
def test_lets_others_share_a_template_that_launch_nothing_new_by_it(template: dict[str, Any]) -> None:
    others = group(AutoScalingGroupName="shop-worker", LaunchTemplate=template)
    assert read(group(LaunchTemplate={**TEMPLATE, "Version": "$Latest"}), others).group.unsupported is None


def member(state: str) -> dict[str, Any]:
    return {
        "InstanceId": "i-1",
        "AvailabilityZone": "us-east-1a",
        "LifecycleState": state,
        "HealthStatus": "Healthy",
        "ProtectedFromScaleIn": False,
    }


SHAPE: Any = botocore.session.get_session().get_service_model("autoscaling").shape_for("LifecycleState")


@pytest.mark.parametrize("state", [*SHAPE.enum, "SomethingNew"])
def test_has_no_member_outside_the_group_but_those_of_a_warm_pool(state: str) -> None:
    found = read(group(Instances=[member(state)]))
    if state == "Terminating:Retained":
        assert (found.members, found.retained) == ({}, ("i-1",))
        return
    lifecycle = found.members["i-1"].lifecycle
    assert (lifecycle is Lifecycle.OUTSIDE) == state.startswith("Warmed:")
    assert (lifecycle is Lifecycle.IN_SERVICE) == (state == "InService")
    assert (lifecycle is Lifecycle.LEAVING) == state.startswith(("Terminat", "Detach"))
    assert found.retained == ()


def test_takes_new_states_and_root_volumes_that_are_replaced_for_members_to_come() -> None:
    for state in ("SomethingNew", "Quarantined", "ReplacingRootVolume:Wait", "RootVolumeReplaced", "Pending:Wait"):
        assert read(group(Instances=[member(state)])).members["i-1"].lifecycle is Lifecycle.PENDING


def test_finds_load_balancers_in_their_own_lists_and_among_traffic_sources() -> None:
    web, api = (f"arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/{name}/1" for name in ("web", "api"))
    sources = [{"Identifier": web, "Type": "elbv2"}, {"Identifier": api}, {"Identifier": "shop", "Type": "elb"}]
    found = read(group(TargetGroupARNs=[web], TrafficSources=sources))
    assert (found.target_groups, found.classic) == ((web, api), ("shop",))
    found = read(group(TargetGroupARNs=[web], LoadBalancerNames=["shop"]))
    assert (found.target_groups, found.classic) == ((web,), ("shop",))
