"""Requests to model load balancers: at each step every serving instance gets one, and every draining one has some."""

from __future__ import annotations

from dataclasses import dataclass

from .clock import VirtualClock
from .models import ModelBalancers, ModelHosts

NOBODY = "nobody serves"
NO_ANSWER = "no good answer"
CUT_OFF = "cut off while it drained"


@dataclass(frozen=True)
class Failure:
    """A request that failed: when, through which pool, at which instance (none when nobody serves), and why."""

    at_s: float
    pool: str
    instance_id: str
    why: str


class Traffic:
    """What clients meet. A pool counts from the moment at which it first had an instance that serves."""

    def __init__(self, clock: VirtualClock, hosts: ModelHosts, balancers: ModelBalancers) -> None:
        self._clock = clock
        self._hosts = hosts
        self._balancers = balancers
        self._opened: set[str] = set()
        self._served: dict[str, frozenset[str]] = {}
        self._finishing: dict[tuple[str, str], float] = {}
        self.failures: list[Failure] = []
        self.fewest: dict[str, int] = {}  # by pool: the fewest instances that ever served since it opened

    def flow(self) -> None:
        """Let one request come in through every pool to each instance that serves."""
        for name in self._balancers.pools:
            serving = self._balancers.serving(name)
            if serving:
                self._opened.add(name)
            if name not in self._opened:
                continue
            self.fewest[name] = min(self.fewest.get(name, len(serving)), len(serving))
            if not serving:
                self._fail(name, "", NOBODY)
            vanished = {each for each in self._served.get(name, ()) if self._hosts.status(each) is None}
            for instance_id in sorted(serving | vanished):
                if self._hosts.status(instance_id) != 200:
                    self._fail(name, instance_id, NO_ANSWER)
            self._served[name] = serving
        self._finish()

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
