"""Many that want one lock, in virtual time: every call of S3 is a point at which any other may go first.

Each actor runs the real code in a thread of its own, of which only one ever runs. A seeded scheduler decides who, how
long a call takes, and whose machine falls asleep, dies, or gets no answer. So each seed is one history, and the same
one every time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from fabfile.engine.claim import Stopwatch, token_of
from fabfile.engine.line import Ticket, displaces
from fabfile.engine.lock import Lock, held
from fabfile.engine.waiting import Turn
from fabfile.plan.outcome import Refusal, Superseded
from fabfile.tools.ownership import Owner
from fabfile.tools.s3 import Listed, Stored

TTL_S = 8.0
LOCK = "prod/lock.json"


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class NoAnswerError(OSError):
    """S3 did not answer; whether the call arrived, nobody knows."""


@dataclass
class Odds:
    """How likely each mishap is at each call of S3."""

    killed: float = 0.0
    asleep: float = 0.0
    unheard: float = 0.0
    unanswered: float = 0.0
    interrupted: float = 0.0
    # From when to when S3 answers nobody.
    outage_s: tuple[float, float] = (0.0, 0.0)
    # The one call of actor 1 that goes wrong: its number, and whether it arrives all the same.
    only: tuple[int, bool] = (0, False)


@dataclass
class Thing:
    """An object in S3."""

    body: bytes
    etag: str
    modified_s: float


@dataclass
class Actor:
    """One that wants the lock."""

    number: int
    machine: str
    turn: Turn
    wait_s: float = float("inf")
    begins_s: float = 0.0
    acts: int = 3
    ending: str = ""
    slept: bool = False
    faulted: bool = False
    killed: bool = False
    key: str = ""
    interrupted: bool = False
    calls: int = 0
    looked_at: int = 0
    took_at: int | None = None
    entered_at: int | None = None
    arrived_at: int | None = None
    began_at: int | None = None
    ignored: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    wake_s: float = 0.0
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def mishap(self) -> bool:
        return self.slept or self.faulted or self.killed or self.interrupted


class World:
    """S3, the time, and whose move it is."""

    def __init__(self, seed: int, actors: list[Actor], odds: Odds) -> None:
        self.rng = Random(seed)  # noqa: S311 - repeatable, not secret
        self.actors = actors
        self.odds = odds
        self.now_s = 0.0
        self.things: dict[str, Thing] = {}
        self.violations: list[str] = []
        self.passed_over: list[Actor] = []
        self.current: Actor | None = None
        self.happened = 0
        self._writes = 0
        self._control = threading.Semaphore(0)

    def run(self) -> None:
        """Let everybody run until all have ended."""
        threads = []
        for actor in self.actors:
            if not actor.ending:
                actor.wake_s = actor.begins_s
                threads.append(threading.Thread(target=self._life, args=(actor,), daemon=True))
                threads[-1].start()
        while left := [actor for actor in self.actors if not actor.ending]:
            ready = [actor for actor in left if actor.wake_s <= self.now_s]
            if not ready:
                self.now_s = min(actor.wake_s for actor in left)
                continue
            if self.now_s > 10_000:
                raise AssertionError(f"never ends: {[(a.number, a.said[-1:]) for a in left]}")
            self.current = self.rng.choice(ready)
            self.current.go.release()
            self._control.acquire()
        for thread in threads:
            thread.join(10)

    def step(self) -> int:
        self.happened += 1
        return self.happened

    def sleep(self, seconds: float) -> None:
        """Let others run for a while."""
        actor = self.actor
        actor.wake_s = self.now_s + seconds
        self._control.release()
        actor.go.acquire()
        if actor.killed:
            raise Killed

    def nap(self) -> None:
        """Perhaps fall asleep."""
        if self.rng.random() < self.odds.asleep:
            self.actor.slept = True
            self.sleep(self.rng.uniform(0.3, 3) * TTL_S)

    def wait(self, seconds: float) -> None:
        """Sleep as the code under test asks for it, perhaps until Ctrl-C."""
        self.sleep(seconds)
        if self.rng.random() < self.odds.interrupted:
            self.actor.interrupted = True
            raise KeyboardInterrupt

    @property
    def actor(self) -> Actor:
        assert self.current is not None
        return self.current

    def call(self, answer: Callable[[], object]) -> object:
        """Carry out one call of S3, with whatever befalls it."""
        actor, odds = self.actor, self.odds
        if actor.killed:
            raise Killed
        actor.calls += 1
        self.nap()
        self.sleep(self.rng.choice((0.0, 0.05, 0.3)))
        chance = self.rng.random()
        only = actor.number == 1 and actor.calls == odds.only[0]
        if chance < odds.killed:
            actor.killed = True
            if self.rng.random() < 0.5:
                answer()
            raise Killed
        cut_off = odds.outage_s[0] <= self.now_s < odds.outage_s[1]
        if chance < odds.killed + odds.unheard or cut_off or (only and not odds.only[1]):
            actor.faulted = True
            raise NoAnswerError("unheard")
        found = answer()
        self.nap()
        if self.rng.random() < odds.unanswered or only:
            actor.faulted = True
            raise NoAnswerError("unanswered")
        return found

    def put(self, key: str, body: bytes) -> str:
        actor = self.actor
        self._writes += 1
        self.things[key] = Thing(body, f"e{self._writes}", self.now_s)
        if "/line/" in key and actor.arrived_at is None:
            actor.key, actor.arrived_at = key, self.step()
        if key == LOCK and actor.took_at is None:
            actor.took_at = self.step()
            self._take(actor)
        return self.things[key].etag

    def _take(self, me: Actor) -> None:
        """Note who stands in line that we saw and that goes before us: should we start, we have pushed in."""
        for other in self.actors:
            waits = other.key in self.things and not other.mishap and other.took_at is None
            if (
                waits
                and "" < me.key < other.key
                and (other.arrived_at or 0) < me.looked_at
                and displaces(_ticket_of(other), _ticket_of(me))
            ):
                me.ignored.append(other.number)

    def age_s(self, thing: Thing) -> float:
        """As S3 tells it: from times in whole seconds."""
        return float(int(self.now_s) - int(thing.modified_s))

    def lives(self, owner: Owner) -> bool | None:
        if owner.place != self.actor.machine:
            return None
        return not any(actor.number == owner.pid and (actor.killed or actor.ending) for actor in self.actors)

    def _life(self, actor: Actor) -> None:
        actor.go.acquire()
        actor.began_at = self.step()
        try:
            actor.ending = self._want_the_lock(actor) or "done"
        except Superseded as ended:
            actor.ending = f"superseded: {ended}"
        except Refusal as ended:
            actor.ending = f"refused: {ended}"
        except KeyboardInterrupt:
            actor.ending = "interrupted"
        except Killed:
            actor.ending = "killed"
        except Exception as error:
            actor.ending = f"failed: {error!r}"
        finally:
            self._control.release()

    def _want_the_lock(self, actor: Actor) -> str | None:
        who = f"p{actor.number}"
        clock = Stopwatch(lambda: self.now_s, self.wait)
        bucket: Any = WorldBucket(self)
        with held(
            bucket, "prod", who=who, doing=who, ttl_s=TTL_S, wait_s=actor.wait_s, turn=actor.turn, clock=clock
        ) as lock:
            lock.dismiss()
            self._enter(actor)
            beat_s = self.now_s
            for _ in range(actor.acts):
                self.sleep(self.rng.uniform(0, TTL_S / 4))
                if self.now_s - beat_s >= TTL_S / 4:
                    lock._renew()  # what the heartbeat's own thread does, here in its turn
                    beat_s = self.now_s
                self.nap()
                if lock.lost:
                    return "lost"
                self._act(actor, lock)
        return None

    def _act(self, actor: Actor, lock: Lock) -> None:
        """Touch the fleet: the lock in S3 must be ours, whatever happened meanwhile."""
        thing = self.things.get(LOCK)
        if thing is None or token_of(thing.body) != lock._owner.id:
            self.violations.append(f"{actor.number} acts without the lock")

    def _enter(self, me: Actor) -> None:
        """Note who must not start any more: they stood in line before we came, and we took their place."""
        me.entered_at = self.step()
        self.violations += [f"{me.number} did not let {number} go first" for number in me.ignored]
        if me in self.passed_over:
            self.violations.append(f"{me.number} starts although it was passed over")
        assert me.began_at
        for other in self.actors:
            older = other.key in self.things and (other.arrived_at or 0) < me.began_at
            if older and other.entered_at is None and displaces(_ticket_of(me), _ticket_of(other)):
                self.passed_over.append(other)


def _ticket_of(actor: Actor) -> Ticket:
    return Ticket("", f"p{actor.number}", "", actor.turn.kind, actor.turn.version, actor.turn.supersedes)


class WorldBucket:
    """What :class:`fabfile.tools.s3.Bucket` is to its callers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, key: str) -> Stored | None:
        def answer() -> Stored | None:
            thing = self._world.things.get(key)
            return Stored(thing.body, thing.etag, self._world.age_s(thing)) if thing else None

        return self._world.call(answer)  # type: ignore[return-value]

    def create(self, key: str, body: bytes) -> str | None:
        return self._world.call(  # type: ignore[return-value]
            lambda: None if key in self._world.things else self._world.put(key, body)
        )

    def replace(self, key: str, body: bytes, etag: str) -> str | None:
        return self._world.call(  # type: ignore[return-value]
            lambda: self._world.put(key, body) if self._is(key, etag) else None
        )

    def delete(self, key: str, etag: str) -> bool:
        return bool(self._world.call(lambda: self._is(key, etag) and bool(self._world.things.pop(key))))

    def listed(self, prefix: str) -> list[Listed]:
        def answer() -> list[Listed]:
            self._world.actor.looked_at = self._world.step()
            things = sorted(self._world.things.items())
            return [
                Listed(key, thing.etag, self._world.age_s(thing)) for key, thing in things if key.startswith(prefix)
            ]

        return self._world.call(answer)  # type: ignore[return-value]

    def _is(self, key: str, etag: str) -> bool:
        thing = self._world.things.get(key)
        return thing is not None and thing.etag == etag
