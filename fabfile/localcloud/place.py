"""Where one lab lives: its port, its network and its folder, from which every other name follows."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from ..plan.outcome import Refusal

if TYPE_CHECKING:
    from ..plan.settings import Settings

OWN_IMAGE = "self"


@dataclass(frozen=True)
class BaseImage:
    """A base AMI that the lab offers: the name and owner that a project's filter asks for."""

    name: str
    owner: str


@dataclass(frozen=True)
class Place:
    """One lab.

    :param port: of its API on this machine.
    :param network: of its VPC, such as ``10.99.0.0/16``.
    :param base_image: Docker image that its base AMIs are.
    :param boot_s: seconds added to each boot.
    :param region: the AWS region that it plays.
    :param images: base AMIs that it offers.
    """

    port: int
    network: str
    base_image: str
    boot_s: float
    region: str
    images: tuple[BaseImage, ...]

    @property
    def folder(self) -> Path:
        """Folder of its pid file, log and sockets."""
        return folder_of(self.port)

    @property
    def endpoint(self) -> str:
        """URL of its API for this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> str:
        """Address at which instances reach this machine."""
        return str(IPv4Network(self.network)[1])

    @property
    def docker_network(self) -> str:
        """Name of its Docker network."""
        return docker_network_of(self.port)

    @property
    def zones(self) -> dict[str, str]:
        """The network of each availability zone: a quarter of the VPC each."""
        first, second, *_ = IPv4Network(self.network).subnets(prefixlen_diff=2)
        return {f"{self.region}a": str(first), f"{self.region}b": str(second)}

    def database_address(self, number: int) -> str:
        """Address of a database: from the last quarter, where no instance is."""
        *_, last = IPv4Network(self.network).subnets(prefixlen_diff=2)
        return str(last[10 + number])

    def balancer_address(self, number: int) -> str:
        """Address of a load balancer: of this machine alone, and of no other lab on it.

        :param number: from 0.
        """
        return str(IPv4Address("127.0.0.0") + (self.port << 8) + number + 1)

    def differences(self, other: Place) -> list[str]:
        """Name the settings in which a lab cannot become another one while it runs."""
        names = ("network", "base_image", "region")
        return [f"{name} {getattr(self, name)}" for name in names if getattr(self, name) != getattr(other, name)]

    def save(self) -> None:
        """Write it down where the lab's process and ``lab.down`` find it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "lab.json").write_text(json.dumps(asdict(self)))


def place_for(all_settings: list[Settings]) -> Place:
    """Make the place that these envs' settings ask for; the first one's lab settings count.

    :raises Refusal: the network is none that a lab can live in.
    """
    first = all_settings[0]
    images = {
        BaseImage(_name_matching(each.bake.source_name), each.bake.source_owners[0])
        for each in all_settings
        if each.bake.source_owners
    }
    lab = first.lab
    reason = why_not_network(lab.network)
    if reason is not None:
        raise Refusal(f"headway.lab.network: {reason} (got {lab.network!r})")
    return Place(
        lab.port,
        lab.network,
        lab.base_image,
        lab.boot_s,
        first.region,
        tuple(sorted(images, key=lambda image: (image.name, image.owner))),
    )


def why_not_network(network: str) -> str | None:
    """Tell why a lab cannot live in a network, or None when it can.

    The sizes are a VPC's: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html; below /24 a quarter
    would be too small for two fleets.
    """
    try:
        parsed = IPv4Network(network)
    except ValueError as error:
        return f"must be an IPv4 network: {error}"
    if not parsed.is_private:
        return "must be a private network, such as 10.99.0.0/16"
    return None if 16 <= parsed.prefixlen <= 24 else "must be between /16 and /24"


def saved_place(port: int) -> Place | None:
    """Read the place of the lab at this port; None when there is none."""
    try:
        raw = json.loads((folder_of(port) / "lab.json").read_text())
    except (OSError, ValueError):
        return None
    return Place(**{**raw, "images": tuple(BaseImage(**image) for image in raw["images"])})


def folder_of(port: int) -> Path:
    """Folder of the lab at this port; by the XDG rules for state that outlives a program.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "headway" / f"lab-{port}"


def docker_network_of(port: int) -> str:
    """Name of the Docker network of the lab at this port."""
    return f"headway-lab-{port}"


def _name_matching(pattern: str) -> str:
    """Make a name that a project's name filter, with its stars and question marks, finds."""
    return pattern.replace("*", "lab").replace("?", "0")
