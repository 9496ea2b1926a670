"""What the local cloud asks of the machines behind its instances: real Docker containers, or a model of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Power(Enum):
    """How far a machine is, as EC2 names it."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    GONE = "terminated"


@dataclass(frozen=True)
class HostSpec:
    """A machine to start: its ids, its place in the network, and what cloud-init would be told."""

    instance_id: str
    image_id: str
    address: str
    user_data: str
    public_key: str | None
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class HostState:
    """What a machine is: its power, and whether EC2's status checks would pass."""

    power: Power
    checks_pass: bool


class Hosts(Protocol):
    """Machines. Every method returns at once; :meth:`states` tells how far things are."""

    def start(self, spec: HostSpec) -> None:
        """Create and boot a machine, or boot a stopped one again."""

    def stop(self, instance_id: str) -> None:
        """Power off, keeping the disk."""

    def terminate(self, instance_id: str) -> None:
        """Shut down (services get their stop signal) and destroy."""

    def states(self) -> dict[str, HostState]:
        """State of every machine by instance id; one that is not named is gone."""

    def save_image(self, instance_id: str, image_id: str) -> None:
        """Make an image of a stopped machine's disk; blocks until it is there."""

    def delete_image(self, image_id: str) -> None:
        """Forget an image."""

    def console(self, instance_id: str) -> str:
        """Tail of what the machine printed while booting."""
