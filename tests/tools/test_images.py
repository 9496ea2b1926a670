"""AMIs and the builder's network, asked of an EC2 API (moto's)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from fabfile.plan.outcome import Refusal
from fabfile.plan.settings import Settings
from fabfile.tools import images
from fabfile.tools.aws import client
from fabfile.tools.images import Place


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def settings(endpoint: str) -> Settings:
    return made(endpoint)


def made(endpoint: str, name: str = "", **bake: Any) -> Settings:
    own = {"source_name": "own-base-*", "source_owners": ["self"], **bake}
    return Settings.model_validate(
        {"name": name or f"shop-{secrets.token_hex(4)}", "env": "dev", "endpoint": endpoint, "bake": own}
    )


def image(settings: Settings, name: str, tags: dict[str, str] | None = None) -> str:
    ec2 = client("ec2", settings)
    made = ec2.run_instances(ImageId="ami-760aaa0f", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    image_id = str(ec2.create_image(InstanceId=made, Name=name)["ImageId"])
    if tags:
        ec2.create_tags(Resources=[image_id], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    return image_id


def created(settings: Settings, image_id: str) -> str:
    return str(client("ec2", settings).describe_images(ImageIds=[image_id])["Images"][0]["CreationDate"])


def network(settings: Settings, cidr: str) -> str:
    ec2 = client("ec2", settings)
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    return str(ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"])


def test_the_base_is_the_newest_image_of_a_trusted_owner_by_that_name(settings: Settings) -> None:
    first = created(settings, image(settings, "own-base-first"))
    number = 0
    while created(settings, newest := image(settings, f"own-base-{number}")) == first:  # moto tells whole seconds
        number += 1
        assert number < 1000
    image(settings, "another")
    base = images.read_base(settings)
    assert base is not None
    assert (base.id, base.name, base.root_gib) == (newest, f"own-base-{number}", 15)
    assert base.root_device == "/dev/sda1"
    assert images.read_base(made(settings.endpoint or "", source_owners=["099720109477"])) is None


def test_only_images_of_the_project_count_as_baked(settings: Settings) -> None:
    own = image(settings, "own-one", {"headway:project": settings.name, "headway:version": "1.4.0"})
    image(settings, "own-two", {"headway:project": f"{settings.name}-other"})
    image(settings, "own-three")
    [baked] = images.read_baked(settings)
    assert (baked.id, baked.name, baked.available) == (own, "own-one", True)
    assert baked.tags["headway:version"] == "1.4.0"
    assert images.read_image(settings, own) == baked
    assert images.read_image(settings, "ami-00000000") is None


def test_names_that_are_taken_are_known_whoever_made_the_image(settings: Settings) -> None:
    for name in ("x", "x-2", "y"):
        image(settings, f"{settings.name}-{name}")
    assert images.read_names(settings, f"{settings.name}-x") == {f"{settings.name}-x", f"{settings.name}-x-2"}


def test_a_builder_in_our_own_network_is_open_to_our_address_alone(endpoint: str) -> None:
    settings = made(endpoint, subnet=network(made(endpoint), "127.0.0.0/24"))
    assert images.read_place(settings) == Place(settings.bake.subnet, ("127.0.0.1/32",))


def test_a_builder_in_a_network_that_sees_another_address_of_ours_is_open_to_that_network(endpoint: str) -> None:
    settings = made(endpoint, subnet=network(made(endpoint), "203.0.113.0/24"))
    assert images.read_place(settings) == Place(settings.bake.subnet, ("203.0.113.0/24",))


def test_networks_that_are_set_are_taken_as_they_are(endpoint: str) -> None:
    settings = made(endpoint, subnet="subnet-1", source_cidrs=["198.51.100.0/24"])
    assert images.read_place(settings) == Place("subnet-1", ("198.51.100.0/24",))


def test_a_builder_on_a_public_address_leaves_it_to_packer_to_find_ours(endpoint: str) -> None:
    assert images.read_place(made(endpoint, subnet="subnet-1", interface="public_ip")) == Place("subnet-1", ())


def test_without_a_subnet_the_builder_goes_where_the_group_is(settings: Settings) -> None:
    subnets = [network(settings, "203.0.113.0/24"), network(settings, "198.51.100.0/24")]
    scaling = client("autoscaling", settings)
    scaling.create_launch_configuration(LaunchConfigurationName=settings.name, ImageId="ami-1", InstanceType="t3.micro")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=settings.group,
        LaunchConfigurationName=settings.name,
        MinSize=0,
        MaxSize=0,
        VPCZoneIdentifier=",".join(subnets),
    )
    assert images.read_place(settings) == Place(subnets[0], ("203.0.113.0/24",))


def test_without_group_and_default_vpc_a_subnet_must_be_named(endpoint: str) -> None:
    settings = made(endpoint).model_copy(update={"region": "eu-north-1"})
    ec2 = client("ec2", settings)
    [vpc] = ec2.describe_vpcs()["Vpcs"]
    assert images.read_place(settings).cidrs == ("172.31.0.0/16",)
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=vpc["VpcId"])
    with pytest.raises(Refusal, match=r"headway\.bake\.subnet: must be set"):
        images.read_place(settings)


def test_an_endpoint_that_does_not_answer_is_known_at_once(endpoint: str) -> None:
    assert images.why_not_reached(made(endpoint)) is None
    assert images.why_not_reached(Settings.model_validate({"name": "shop"})) is None
    reason = images.why_not_reached(made("http://127.0.0.1:1"))
    assert str(reason).startswith("headway.endpoint: http://127.0.0.1:1 does not answer")
    assert "fab lab.up" in str(reason)
