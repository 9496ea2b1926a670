"""What an AWS account has before anyone uses it: a default VPC, and base images to start from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .place import BaseImage, Place


def prepare(place: Place) -> None:
    """Give the account the lab's network as its default VPC, one default subnet in each of two zones, and base AMIs.

    An instance that is started without a subnet lands in a default one, which must be where its machine can be:
    https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc.html.
    """
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.ec2.models import ec2_backends

    backend: Any = ec2_backends[DEFAULT_ACCOUNT_ID][place.region]
    for subnet in backend.describe_subnets():
        backend.delete_subnet(subnet.id)
    backend.delete_vpc(backend.default_vpc.id)
    vpc = backend.create_vpc(place.network, is_default=True)
    backend.default_vpc = vpc
    vpc.add_tag("Name", "lab")
    for zone, network in place.zones.items():
        subnet = backend.create_subnet(vpc.id, network, availability_zone=zone)
        subnet.map_public_ip_on_launch = False  # no address here is public
        subnet.add_tag("Name", f"lab-{zone}")
    for image in place.images:
        backend.add_image(_id_of(image), image.name, {}, owner_id=None if image.owner == "self" else image.owner)


def _id_of(image: BaseImage) -> str:
    """Make an AMI id that stays the same from one lab to the next, so that image caches keep their worth."""
    return "ami-" + hashlib.sha256(f"{image.owner}/{image.name}".encode()).hexdigest()[:17]
