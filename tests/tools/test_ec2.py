"""What EC2 is asked for, and how its answers are read: in the API's own shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from fabfile.plan.fleet import Place, Template
from fabfile.plan.settings import Settings
from fabfile.tools import aws, ec2

IDS = ("i-1", "i-2")
TEMPLATE = Template("lt-1", "7")
ATTRIBUTE = "disableApiTermination"


@pytest.fixture
def stub() -> Iterator[Stubber]:
    """Answer calls in the order in which they are expected, and no others."""
    client: Any = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
    with Stubber(client) as stubber, aws.using(lambda *_: client):
        yield stubber
        stubber.assert_no_pending_responses()


def wanted(place: Place, **blueprint: Any) -> ec2.Wanted:
    return ec2.Wanted(ec2.Blueprint(TEMPLATE, "ami-1", **blueprint), 2, "subnet-a", "token", {"team": "shop"}, place)


def asked_for(**more: Any) -> dict[str, Any]:
    """Make the request for two instances of the template."""
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "shop"}]}]
    named = {"LaunchTemplateId": "lt-1", "Version": "7"}
    return {
        "LaunchTemplate": named,
        "MinCount": 2,
        "MaxCount": 2,
        "ClientToken": "token",
        "TagSpecifications": tags,
        **more,
    }


@pytest.mark.parametrize(
    ("place", "blueprint", "more"),
    [
        (Place(), {}, {"SubnetId": "subnet-a"}),
        (
            Place(),
            {"interfaces": ({"AssociatePublicIpAddress": True, "Groups": ["sg-1"], "SubnetId": "subnet-z"},)},
            {
                "NetworkInterfaces": [
                    {
                        "DeviceIndex": 0,
                        "AssociatePublicIpAddress": True,
                        "Groups": ["sg-1"],
                        "SubnetId": "subnet-a",
                    }
                ]
            },
        ),
        (
            Place("apart"),
            {"placement": {"Tenancy": "dedicated", "AvailabilityZone": "us-east-1z", "GroupId": "pg-1"}},
            {"SubnetId": "subnet-a", "Placement": {"Tenancy": "dedicated", "GroupName": "apart"}},
        ),
        (
            Place(reservations="none"),
            {},
            {"SubnetId": "subnet-a", "CapacityReservationSpecification": {"CapacityReservationPreference": "none"}},
        ),
        (
            Place(reservations="capacity-reservations-only", reservation="cr-1"),
            {},
            {
                "SubnetId": "subnet-a",
                "CapacityReservationSpecification": {
                    "CapacityReservationPreference": "capacity-reservations-only",
                    "CapacityReservationTarget": {"CapacityReservationId": "cr-1"},
                },
            },
        ),
        (
            Place(reservations="capacity-reservations-only", reservation="arn:aws:resource-groups:group/shop"),
            {},
            {
                "SubnetId": "subnet-a",
                "CapacityReservationSpecification": {
                    "CapacityReservationPreference": "capacity-reservations-only",
                    "CapacityReservationTarget": {
                        "CapacityReservationResourceGroupArn": "arn:aws:resource-groups:group/shop"
                    },
                },
            },
        ),
    ],
)
def test_launches_where_the_group_would(
    stub: Stubber, place: Place, blueprint: dict[str, Any], more: dict[str, Any]
) -> None:
    stub.add_response("run_instances", {"Instances": [{"InstanceId": each} for each in IDS]}, asked_for(**more))
    assert ec2.run_instances(Settings(), wanted(place, **blueprint)) == list(IDS)


def test_takes_of_each_zone_the_subnet_with_most_free_addresses(stub: Stubber) -> None:
    free = {"subnet-a1": ("a", 2), "subnet-b1": ("b", 5), "subnet-a2": ("a", 90), "subnet-b2": ("b", 5)}
    subnets = [
        {"SubnetId": name, "AvailabilityZone": zone, "AvailableIpAddressCount": count}
        for name, (zone, count) in reversed(free.items())
    ]
    stub.add_response("describe_subnets", {"Subnets": subnets}, {"SubnetIds": list(free)})
    assert ec2.read_zones(Settings(), list(free)) == {"a": "subnet-a2", "b": "subnet-b1"}


def test_lifts_the_protection_of_those_that_have_it_and_ends_them_all(stub: Stubber) -> None:
    stub.add_client_error("terminate_instances", "OperationNotPermitted", "The instance 'i-1' may not be terminated.")
    for instance_id, value in zip(IDS, (True, False), strict=True):
        stub.add_response(
            "describe_instance_attribute",
            {"InstanceId": instance_id, "DisableApiTermination": {"Value": value}},
            {"InstanceId": instance_id, "Attribute": ATTRIBUTE},
        )
    stub.add_response("modify_instance_attribute", {}, {"InstanceId": "i-1", "DisableApiTermination": {"Value": False}})
    stub.add_response("terminate_instances", {}, {"InstanceIds": list(IDS)})
    ec2.terminate_instances(Settings(), IDS)


def test_lets_a_refusal_stand_that_no_protection_explains(stub: Stubber) -> None:
    stub.add_client_error("terminate_instances", "OperationNotPermitted", "Another reason.")
    stub.add_response("describe_instance_attribute", {"DisableApiTermination": {"Value": False}})
    with pytest.raises(ClientError, match="Another reason"):
        ec2.terminate_instances(Settings(), IDS[:1])
