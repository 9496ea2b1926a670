"""What the local cloud asks of its load balancers: a real haproxy, or a model of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True)
class Check:
    """A health check as ELB has it. An empty path asks only whether the port takes connections."""

    path: str
    port: int
    interval_s: float
    timeout_s: float
    healthy_threshold: int
    unhealthy_threshold: int
    codes: str = "200"


@dataclass(frozen=True)
class Member:
    """A registered instance. A draining one finishes its requests and gets no new ones."""

    instance_id: str
    address: str
    port: int
    draining: bool


@dataclass(frozen=True)
class Pool:
    """A target group, or a classic load balancer's instances, with the sockets that lead to it."""

    name: str
    listeners: tuple[tuple[str, int], ...]
    check: Check
    members: tuple[Member, ...]


class Seen(Enum):
    """What the balancer's own checks say of a member."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class MemberHealth:
    """Health of one member, ELB's reason code when it is not healthy, and how many requests it is serving."""

    seen: Seen
    reason: str
    description: str
    requests: int


class Balancers(Protocol):
    """Load balancers. :meth:`apply` is told everything each time and changes only what differs, losing no request."""

    def apply(self, pools: Sequence[Pool]) -> None:
        """Make the balancers serve exactly these pools."""

    def health(self) -> Mapping[tuple[str, str], MemberHealth]:
        """Health by (pool name, instance id)."""
