"""AMIs: the base to start from, what has been baked, and the network that a builder is put in."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..plan.fleet import PROJECT_TAG
from ..plan.image import Baked, BaseImage
from ..plan.outcome import Refusal
from .aws import client

if TYPE_CHECKING:
    from ..plan.settings import Settings

SMALLEST_GIB = 8  # where a base AMI does not tell


@dataclass(frozen=True)
class Place:
    """Where a builder is put.

    :param subnet: id of its subnet; None lets EC2 take the default VPC's.
    :param cidrs: networks that may reach its SSH; empty where Packer has to find this machine's public address.
    """

    subnet: str | None
    cidrs: tuple[str, ...]


def why_not_reached(settings: Settings) -> str | None:
    """Return why the env's own endpoint cannot be talked to, or None; asked first, as boto3 would try for a minute."""
    if settings.endpoint is None:
        return None
    url = urlsplit(settings.endpoint)
    try:
        socket.create_connection((url.hostname or "", url.port or (443 if url.scheme == "https" else 80)), 5).close()
    except (OSError, ValueError) as error:
        return f"headway.endpoint: {settings.endpoint} does not answer ({error}); fab lab.up starts the local cloud"
    return None


def read_base(settings: Settings) -> BaseImage | None:
    """Return the newest AMI that passes the filter of ``headway.bake``, or None when there is none."""
    found = client("ec2", settings).describe_images(
        Owners=list(settings.bake.source_owners),
        Filters=[{"Name": "name", "Values": [settings.bake.source_name]}],
    )["Images"]
    usable = [raw for raw in found if raw["State"] == "available"]
    if not usable:
        return None
    newest = max(usable, key=lambda raw: (_time(raw["CreationDate"]), raw["ImageId"]))
    device = newest["RootDeviceName"]
    disks = {disk["DeviceName"]: disk.get("Ebs", {}) for disk in newest["BlockDeviceMappings"]}
    root: dict[str, Any] = disks.get(device, {})
    return BaseImage(newest["ImageId"], newest["Name"], device, root.get("VolumeSize", SMALLEST_GIB))


def read_baked(settings: Settings) -> tuple[Baked, ...]:
    """Return the AMIs of this project in this account, finished or not."""
    pages = client("ec2", settings).get_paginator("describe_images")
    found = pages.paginate(Owners=["self"], Filters=[{"Name": f"tag:{PROJECT_TAG}", "Values": [settings.name]}])
    return tuple(_baked(raw) for page in found for raw in page["Images"])


def read_image(settings: Settings, image_id: str) -> Baked | None:
    """Return one AMI of this account, or None when EC2 does not know it."""
    answer = client("ec2", settings).describe_images(
        Owners=["self"], Filters=[{"Name": "image-id", "Values": [image_id]}]
    )
    return next((_baked(raw) for raw in answer["Images"]), None)


def read_names(settings: Settings, start: str) -> frozenset[str]:
    """Return the names of this account's AMIs that begin so: each can be had only once, whoever made it."""
    pages = client("ec2", settings).get_paginator("describe_images")
    found = pages.paginate(Owners=["self"], Filters=[{"Name": "name", "Values": [f"{start}*"]}])
    return frozenset(raw["Name"] for page in found for raw in page["Images"])


def require_imds_v2(settings: Settings, image_id: str) -> None:
    """Let instances of an AMI hand out credentials to sessions (IMDSv2) alone, unless their template says otherwise.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-IMDS-new-instances.html
    """
    client("ec2", settings).modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})


def read_place(settings: Settings) -> Place:
    """Decide where a builder is put, and from where its SSH may be reached.

    Without ``headway.bake.subnet`` it is the first subnet of the env's group, which can reach what the project's
    instances need; without a group it is the default VPC's. Without ``headway.bake.source_cidrs`` its SSH is open to
    this machine's own address alone; where that is no address of the VPC (in a container, behind NAT), to the VPC.

    :raises Refusal: there is no network to put it in.
    """
    bake = settings.bake
    subnet = bake.subnet or _subnet_of_group(settings)
    if bake.source_cidrs or bake.interface != "private_ip":
        return Place(subnet, tuple(bake.source_cidrs))
    networks = _networks(settings, subnet)
    if not networks:
        raise Refusal("headway.bake.subnet: must be set, as the account has no default VPC and the env no group yet")
    own = own_address(networks[0])
    if own is None or any(ipaddress.ip_address(own) in ipaddress.ip_network(network) for network in networks):
        return Place(subnet, (f"{own}/32",) if own else ())
    return Place(subnet, networks)


def own_address(network: str) -> str | None:
    """Return the address that this machine has in the eyes of a network (CIDR), or None when it has no way there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(ipaddress.ip_network(network)[1]), 22))  # a datagram socket: nothing is sent
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _subnet_of_group(settings: Settings) -> str | None:
    if settings.env is None:
        return None
    groups = client("autoscaling", settings).describe_auto_scaling_groups(AutoScalingGroupNames=[settings.group])
    subnets = [raw.get("VPCZoneIdentifier", "") for raw in groups["AutoScalingGroups"]]
    return subnets[0].split(",")[0].strip() or None if subnets else None


def _networks(settings: Settings, subnet: str | None) -> tuple[str, ...]:
    """Return the networks (CIDR) of the VPC that a builder would be in."""
    ec2 = client("ec2", settings)
    if subnet is None:
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    else:
        found: Sequence[dict[str, Any]] = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
        vpcs = ec2.describe_vpcs(VpcIds=[found[0]["VpcId"]])["Vpcs"]
    return tuple(
        part["CidrBlock"]
        for vpc in vpcs[:1]
        for part in vpc.get("CidrBlockAssociationSet", [{"CidrBlock": vpc["CidrBlock"]}])
    )


def _baked(raw: dict[str, Any]) -> Baked:
    return Baked(
        id=raw["ImageId"],
        name=raw["Name"],
        created=_time(raw["CreationDate"]),
        available=raw["State"] == "available",
        tags={tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])},
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
