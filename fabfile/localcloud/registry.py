"""Who is registered with a target group or a classic load balancer, and how far each has come.

Elastic Load Balancing's two generations keep the same book with other words; this is the book.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .balancers import Member, MemberHealth, Seen
from .instances import Instance

if TYPE_CHECKING:
    from .cloud import Cloud


@dataclass
class Registration:
    """One registered instance.

    :param draining_until_s: when it was deregistered, the moment at which that ends.
    :param told: the balancer serves as this registration says.
    :param seen: what the balancer has said since it was told.
    """

    instance_id: str
    port: int
    draining_until_s: float | None = None
    told: bool = False
    seen: MemberHealth | None = None

    @property
    def draining(self) -> bool:
        """Whether it was deregistered and finishes its requests."""
        return self.draining_until_s is not None

    @property
    def is_idle(self) -> bool:
        """Whether it drains and its last request has been answered."""
        return self.draining and self.seen is not None and self.seen.requests == 0


class Registry:
    """The book of one target group or classic load balancer.

    :param pool: name of the balancer's pool.
    """

    def __init__(self, cloud: Cloud, pool: str) -> None:
        self._cloud = cloud
        self.pool = pool
        self.entries: dict[str, Registration] = {}
        self._changes = 0
        self._told: dict[Any, tuple[tuple[int, int], tuple[Member, ...]]] = {}
        self._quiet_since: tuple[int, int] | None = None

    def register(self, instance_id: str, port: int) -> None:
        """Enter an instance, or take back its deregistration."""
        entry = self.entries.get(instance_id)
        if entry is None or entry.draining or entry.port != port:
            self._changes += 1
            self.entries[instance_id] = Registration(instance_id, port)

    def deregister(self, instance_id: str, delay_s: float) -> bool:
        """Let an instance drain for at most this long; tell whether it was registered."""
        entry = self.entries.get(instance_id)
        if entry is None:
            return False
        self._changes += 1
        if delay_s <= 0:
            del self.entries[instance_id]
        elif not entry.draining:
            self.entries[instance_id] = Registration(instance_id, entry.port, self._cloud.time_s() + delay_s)
        return True

    def has_let_go(self, instance_id: str) -> bool:
        """Tell whether an instance has no request any more, or no more time for one."""
        entry = self.entries.get(instance_id)
        return entry is None or entry.is_idle

    def is_unhealthy(self, instance_id: str) -> bool:
        """Tell whether an instance that should serve fails its health checks."""
        entry = self.entries.get(instance_id)
        return bool(entry and not entry.draining and entry.seen and entry.seen.seen is Seen.UNHEALTHY)

    def is_healthy(self, instance_id: str) -> bool:
        """Tell whether an instance passes its health checks and serves."""
        entry = self.entries.get(instance_id)
        return bool(entry and not entry.draining and entry.seen and entry.seen.seen is Seen.HEALTHY)

    def hear(self, health: Mapping[tuple[str, str], MemberHealth]) -> None:
        """Note what the balancer says of those it was told about."""
        for entry in self.entries.values():
            if entry.told:
                entry.seen = health.get((self.pool, entry.instance_id), entry.seen)

    def expire(self, *, idle_is_over: bool) -> None:
        """Strike out who is gone: terminated, or drained for long enough.

        :param idle_is_over: whether draining ends with the last request, or only with its time.
        """
        stamp = self._stamp()
        if stamp == self._quiet_since:
            return
        now_s, drain = self._cloud.time_s(), False
        for entry in list(self.entries.values()):
            until_s = entry.draining_until_s
            drained = until_s is not None and (now_s >= until_s or (idle_is_over and entry.is_idle))
            instance = self._cloud.instances.get(entry.instance_id)
            if drained or instance is None or instance.state == "terminated":
                del self.entries[entry.instance_id]
                self._changes += 1
            else:
                drain = drain or until_s is not None
        self._quiet_since = None if drain else self._stamp()

    def members(self, *, port: int | None = None, zones: frozenset[str | None] | None = None) -> tuple[Member, ...]:
        """Return the members as the balancer is to serve them; the same tuple for as long as nothing changes.

        :param port: the port of all of them, instead of each one's own.
        :param zones: the zones that the balancer serves; None for all.
        """
        stamp, known = self._stamp(), self._told.get((port, zones))
        if known is not None and known[0] == stamp:
            return known[1]
        members = tuple(
            Member(entry.instance_id, instance.private_ip or "", port or entry.port, entry.draining)
            for entry, instance in self._with_instances()
            if instance.state in ("running", "stopping", "shutting-down")
            and (zones is None or instance.availability_zone in zones)
        )
        self._told[port, zones] = (stamp, members)
        return members

    def going(self) -> list[str]:
        """Return the registered instances that shut down and do not drain yet."""
        if self._stamp() == self._quiet_since:
            return []
        return [
            entry.instance_id
            for entry, instance in self._with_instances()
            if instance.state == "shutting-down" and not entry.draining
        ]

    def _stamp(self) -> tuple[int, int]:
        """Return what is another whenever a registration or the state of an instance has changed."""
        return self._changes, self._cloud.changes

    def _with_instances(self) -> list[tuple[Registration, Instance]]:
        known = self._cloud.instances
        return [(entry, known[entry.instance_id]) for entry in self.entries.values() if entry.instance_id in known]
