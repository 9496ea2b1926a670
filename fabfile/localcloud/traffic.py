"""Requests to model load balancers: at each step every serving instance gets one, and every draining one has some.

What a load balancer does with a request, and so what is lost:

* It goes to a healthy registered instance. Where there is none, an application load balancer sends it to the unhealthy
  ones (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html: it fails
  open), a classic one answers 503
  (https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/ts-elb-error-message.html).
* It is not sent a second time: an instance that closes the connection makes a 502, what it answers is passed on
  (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html).
* One in flight is cut off when its instance is killed, or outlasts the deregistration delay
  (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .clock import VirtualClock
from .models import ModelBalancers, ModelHosts

NOBODY = "nobody serves"
NO_ANSWER = "no good answer"
KILLED = "killed with a request in flight"
CUT_OFF = "cut off while it drained"
OUTDATED = "a version that the database is past"
FAILS_OPEN = "tg-"  # how the pools of target groups are named


@dataclass(frozen=True)
class Failure:
    """A request that failed: when, through which pool, at which instance (none when nobody serves), and why."""

    at_s: float
    pool: str
    instance_id: str
    why: str


class Traffic:
    """What clients meet. A pool counts from the moment at which it first had an instance that serves.

    ``schema`` is the oldest version that the database can still serve: a request that reaches an older one fails, while
    its health check may well pass. Empty for any.
    """

    def __init__(self, clock: VirtualClock, hosts: ModelHosts, balancers: ModelBalancers) -> None:
        self._clock = clock
        self._hosts = hosts
        self._balancers = balancers
        self._opened: set[str] = set()
        self._served: dict[str, frozenset[str]] = {}
        self._silent: set[tuple[str, str]] = set()  # by pool and instance: whose machine was gone at the step before
        self._finishing: dict[tuple[str, str], float] = {}
        self.schema = ""
        self.requests = 0
        self.failures: list[Failure] = []
        self.fewest: dict[str, int] = {}  # by pool: the fewest instances that ever served since it opened

    def flow(self) -> None:
        """Let one request come in through every pool to each instance that serves."""
        found: dict[str, str] = {}  # by instance: why a request fails there, looked up once for all pools
        for name in self._balancers.pools:
            serving = self._balancers.serving(name)
            if serving:
                self._opened.add(name)
            if name not in self._opened:
                continue
            self.fewest[name] = min(self.fewest.get(name, len(serving)), len(serving))
            for instance_id in sorted(self._served.get(name, frozenset()) - serving):
                if self._hosts.status(instance_id) is None and (name, instance_id) not in self._silent:
                    self._fail(name, instance_id, KILLED)
            self._send(name, serving, found)
            self._served[name] = serving
        self._finish()

    def _send(self, pool: str, serving: frozenset[str], found: dict[str, str]) -> None:
        takers = serving or (self._balancers.unhealthy(pool) if pool.startswith(FAILS_OPEN) else serving)
        if not takers:
            self.requests += 1
            self._fail(pool, "", NOBODY)
        self.requests += len(takers)
        before = self._served.get(pool, frozenset())
        failing = []
        for instance_id in takers:
            why = found.get(instance_id)
            if why is None:
                why = found[instance_id] = self._why_lost(instance_id)
            if why:
                failing.append(instance_id)
        for instance_id in sorted(failing):
            is_gone = self._hosts.status(instance_id) is None
            is_killed = is_gone and instance_id in before and (pool, instance_id) not in self._silent
            self._fail(pool, instance_id, KILLED if is_killed else found[instance_id])
            if is_gone:
                self._silent.add((pool, instance_id))

    def _why_lost(self, instance_id: str) -> str:
        if self._hosts.status(instance_id) != 200:
            return NO_ANSWER
        if self.schema and _number(self._hosts.version(instance_id)) < _number(self.schema):
            return OUTDATED
        return ""

    def _finish(self) -> None:
        """Let draining instances answer their last requests, if they are still there to do so."""
        now_s = self._clock.elapsed_s
        finishing = self._balancers.finishing()
        for (pool, instance_id), until_s in sorted(self._finishing.items()):
            is_dropped = (pool, instance_id) not in finishing
            if until_s > now_s and (is_dropped or self._hosts.status(instance_id) is None):
                self._fail(pool, instance_id, CUT_OFF)
        self._finishing = {key: until_s for key, until_s in finishing.items() if self._hosts.status(key[1]) is not None}

    def _fail(self, pool: str, instance_id: str, why: str) -> None:
        self.failures.append(Failure(self._clock.elapsed_s, pool, instance_id, why))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version))
