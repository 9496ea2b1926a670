"""Load balancers as a real haproxy: what :class:`~.balancers.Balancers` asks for, for real.

Members come and go through haproxy's runtime API; only other sockets or checks make it reload, which loses nothing.
"""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .balancers import Check, Member, MemberHealth, Pool, Seen
from .haproxy_runtime import Haproxy, HaproxyError

_log = logging.getLogger(__name__)

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html#target-health-reason-codes
_INITIAL = ("Elb.InitialHealthChecking", "Initial health checks in progress")
_MISMATCH = "Target.ResponseCodeMismatch"
_TIMED_OUT = ("Target.Timeout", "Request timed out")
_FAILED = ("Target.FailedHealthChecks", "Health checks failed")
_PASSED = frozenset({"", "INI", "L4OK", "L6OK", "L7OK", "L7OKC"})
_TIMEOUTS = frozenset({"L4TOUT", "L6TOUT", "L7TOUT"})
_UNKNOWN = MemberHealth(Seen.INITIAL, "Elb.RegistrationInProgress", "Target registration is in progress", 0)

_IN_TURN = "100"
_NO_TURN = "0"


@dataclass(frozen=True)
class _Server:
    """A member as haproxy knows it."""

    pool: str
    name: str
    member: Member
    since: float
    was_healthy: bool = False
    failing: tuple[str, str] | None = None

    @property
    def path(self) -> str:
        return f"{_proxy(self.pool)}/{self.name}"


@dataclass(frozen=True)
class _Line:
    """A member in the configuration file."""

    name: str
    address: str
    port: int
    weight: str


@dataclass(frozen=True)
class _Section:
    """A pool in the configuration file."""

    name: str
    listeners: tuple[tuple[str, int], ...]
    check: Check
    check_words: str
    servers: tuple[_Line, ...]


class HaproxyBalancers:
    """Every load balancer of one lab in one haproxy. Safe to use from many threads."""

    def __init__(self, folder: Path) -> None:
        """Start an haproxy without any pool.

        :param folder: where its configuration, sockets and log live.
        :raises HaproxyError: haproxy is missing, or the folder's path is too long.
        """
        self._haproxy = Haproxy(folder)
        self._lock = threading.Lock()
        self._shape: dict[str, tuple[tuple[tuple[str, int], ...], Check]] = {}
        self._servers: dict[tuple[str, str], _Server] = {}
        self._leaving: set[str] = set()
        self._numbers = itertools.count(1)
        self._haproxy.load(self._configuration({}))

    def apply(self, pools: Sequence[Pool]) -> None:
        """Make the balancers serve exactly these pools; when it returns, no member that drains gets a new request.

        :raises HaproxyError: a socket is taken, or a check makes no sense; what ran before goes on.
        """
        with self._lock:
            self._reshape(pools)
            wanted = {(pool.name, member.instance_id): member for pool in pools for member in pool.members}
            checks = {pool.name: pool.check for pool in pools}
            for key, server in list(self._servers.items()):
                self._adjust(key, server, wanted.get(key))
            for key, member in wanted.items():
                if key not in self._servers:
                    self._add(key[0], member, checks[key[0]])
            self._delete_leaving()

    def health(self) -> Mapping[tuple[str, str], MemberHealth]:
        """Health by (pool name, instance id), from haproxy's own checks."""
        with self._lock:
            try:
                rows = {(row["pxname"], row["svname"]): row for row in self._haproxy.servers()}
                self._delete_leaving()
            except HaproxyError as error:  # it died; the next apply() starts it again
                _log.warning("health: %s", error)
                return dict.fromkeys(self._servers, _UNKNOWN)
            finishing = _requests_by_server(self._haproxy.servers_of_old_workers())
            found: dict[tuple[str, str], MemberHealth] = {}
            for key, server in self._servers.items():
                row = rows.get((_proxy(server.pool), server.name))
                found[key] = self._judge(key, server, row, finishing.get(server.path, 0)) if row else _UNKNOWN
            return found

    def close(self) -> None:
        """End haproxy, with all its connections."""
        with self._lock:
            self._haproxy.stop()

    def _reshape(self, pools: Sequence[Pool]) -> None:
        """Reload when sockets or checks differ (or haproxy died), with the members it has: none counts as new."""
        shape = {pool.name: (pool.listeners, pool.check) for pool in pools}
        alive = self._haproxy.is_running()
        if alive and shape == self._shape:
            return
        if not alive:
            self._servers.clear()
        staying = {key: server for key, server in self._servers.items() if key[0] in shape}
        self._haproxy.load(self._configuration(shape, staying))
        self._shape = shape
        self._servers = staying
        self._leaving.clear()

    def _adjust(self, key: tuple[str, str], server: _Server, wanted: Member | None) -> None:
        if wanted == server.member:
            return
        if wanted is not None and wanted == replace(server.member, draining=True):
            self._haproxy.change(f"set server {server.path} state drain")
            self._servers[key] = replace(server, member=wanted)
            return
        # One that comes back, or has another address, proves itself anew: ELB, too, starts with initial checks then.
        self._haproxy.change(f"set server {server.path} state maint", f"shutdown sessions server {server.path}")
        self._leaving.add(server.path)
        del self._servers[key]

    def _add(self, pool: str, member: Member, check: Check) -> None:
        """Register a member that gets no traffic before enough checks passed: haproxy by itself would begin with up."""
        server = _Server(pool, f"{member.instance_id}.{next(self._numbers)}", member, time.monotonic())
        address = f"{member.address}:{member.port}"
        self._haproxy.change(f"add server {server.path} {address} weight {_NO_TURN} {_check_words(check)}")
        self._servers[pool, member.instance_id] = server
        self._haproxy.change(
            f"enable health {server.path}",
            f"set server {server.path} state ready",
            f"set server {server.path} health down",
            f"set server {server.path} weight {_IN_TURN}",
        )
        if member.draining:
            self._haproxy.change(f"set server {server.path} state drain")

    def _delete_leaving(self) -> None:
        """Delete servers that left; haproxy keeps one as long as a connection to it is open, so ask again later."""
        for path in list(self._leaving):
            answer = self._haproxy.command(f"del server {path}")
            if "deleted" in answer or "No such server" in answer:
                self._leaving.discard(path)

    def _judge(self, key: tuple[str, str], server: _Server, row: Mapping[str, str], finishing: int) -> MemberHealth:
        requests = int(row["scur"] or 0) + int(row["qcur"] or 0) + finishing
        if row["status"].startswith(("UP", "DRAIN", "NOLB")):
            self._servers[key] = replace(server, was_healthy=True, failing=None)
            return MemberHealth(Seen.HEALTHY, "", "", requests)
        check = self._shape[server.pool][1]
        judged_after_s = check.unhealthy_threshold * check.interval_s
        judged = server.was_healthy or time.monotonic() - server.since > judged_after_s
        failing = _reason(row, server.failing) if judged else None
        self._servers[key] = replace(server, failing=failing)
        if failing is None and not server.was_healthy:
            return MemberHealth(Seen.INITIAL, *_INITIAL, requests)
        return MemberHealth(Seen.UNHEALTHY, *(failing or _FAILED), requests)

    def _configuration(
        self,
        shape: Mapping[str, tuple[tuple[tuple[str, int], ...], Check]],
        servers: Mapping[tuple[str, str], _Server] | None = None,
    ) -> str:
        from jinja2 import Environment, StrictUndefined

        sections = []
        for name, (listeners, check) in shape.items():
            own = [server for server in (servers or {}).values() if server.pool == name]
            lines = tuple(_line(server) for server in own)
            sections.append(_Section(_proxy(name), listeners, check, _check_words(check), lines))
        rules = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - not HTML
        return rules.from_string(_template()).render(pools=sections, folder=self._haproxy.folder) + "\n"


def _line(server: _Server) -> _Line:
    member = server.member
    return _Line(server.name, member.address, member.port, _NO_TURN if member.draining else _IN_TURN)


def _check_words(check: Check) -> str:
    return (
        f"check port {check.port} inter {int(check.interval_s * 1000)}ms "
        f"rise {check.healthy_threshold} fall {check.unhealthy_threshold}"
    )


def _reason(row: Mapping[str, str], before: tuple[str, str] | None) -> tuple[str, str] | None:
    """Find ELB's words for the last check; those from ``before`` when it passed, or when its code is gone."""
    result, code = row["check_status"].removeprefix("* "), row["check_code"]
    if result == "L7STS":
        said = (_MISMATCH, f"Health checks failed with these codes: [{code}]")
        return said if code not in {"", "0"} else before or _FAILED  # a running check has no code yet
    if result in _PASSED:
        return before
    return _TIMED_OUT if result in _TIMEOUTS else _FAILED


def _requests_by_server(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    requests: dict[str, int] = {}
    for row in rows:
        path = f"{row['pxname']}/{row['svname']}"
        requests[path] = requests.get(path, 0) + int(row["scur"] or 0)
    return requests


def _proxy(pool: str) -> str:
    """Name a pool as haproxy allows it: an ARN has slashes."""
    return re.sub(r"[^A-Za-z0-9._:-]", "_", pool)


def _template() -> str:
    """Text of the configuration's template: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "templates", package.parent / "templates"):
        if (folder / "haproxy.cfg").exists():
            return (folder / "haproxy.cfg").read_text()
    raise HaproxyError("templates/haproxy.cfg is missing: install Headway again")
