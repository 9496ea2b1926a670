"""Whatever happens in whatever order: never two owners, nobody lost, nobody passed over silently, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from fabfile.engine import lock, waiting
from fabfile.engine.waiting import Turn
from fabfile.plan.release import Kind
from fabfile.tools import ownership

from .line_world import TTL_S, Actor, Odds, World

HISTORIES = 600


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a world in place of the real processes, clocks and chances."""

    def run(world: World) -> World:
        chances = Random(world.rng.random())  # noqa: S311 - repeatable, not secret
        monkeypatch.setattr(lock, "secrets", SimpleNamespace(token_hex=lambda n: f"{chances.getrandbits(8 * n):0{n}x}"))
        monkeypatch.setattr(waiting, "random", chances)
        monkeypatch.setattr(lock.Lock, "_beat", lambda _self: None)
        monkeypatch.setattr(
            ownership, "this_process", lambda: ownership.Owner(world.actor.number, world.actor.machine, 1)
        )
        monkeypatch.setattr(ownership, "lives", world.lives)
        world.run()
        return world

    yield run
    assert not [thread for thread in threading.enumerate() if thread.name == "headway-heartbeat"]


def crowd(seed: int, size: int, *, supersedes: bool = False, machines: int = 3) -> list[Actor]:
    """Make some that want to release or to roll back, about the same time."""
    rng = Random(seed)  # noqa: S311 - repeatable, not secret
    actors = []
    for number in range(1, size + 1):
        kind = Kind.ROLLBACK if rng.random() < 0.2 else Kind.RELEASE
        said: list[str] = []
        turn = Turn(kind, f"1.{number}.0", supersedes, said.append)
        machine, begins_s = f"m{rng.randrange(machines)}", rng.choice((0.0, 0.0, rng.uniform(0, 30)))
        actors.append(Actor(number, machine, turn, begins_s=begins_s, acts=rng.randrange(4), said=said))
    return actors


def endings(world: World) -> list[tuple[int, str]]:
    return [(actor.number, actor.ending) for actor in world.actors]


@pytest.mark.parametrize("supersedes", [False, True])
@pytest.mark.parametrize("seed", range(HISTORIES // 2))
def test_without_mishaps_each_has_its_turn_or_is_told_why_not(live: Any, seed: int, supersedes: bool) -> None:
    world = live(World(seed, crowd(seed, 5, supersedes=supersedes), Odds()))
    assert not world.violations
    assert not world.things
    done = {actor.turn.version for actor in world.actors if actor.ending == "done"}
    for actor in world.actors:
        word, _, rest = actor.ending.partition(": ")
        assert word in {"done", "superseded", "refused"}, actor.ending
        if word == "refused":
            assert "ordered a rollback to" in rest
        if word == "superseded":
            assert supersedes
            assert rest.split()[2] in done
        if actor.turn.kind is Kind.ROLLBACK:
            assert word == "done"


@pytest.mark.parametrize("seed", range(HISTORIES // 4))
def test_first_come_is_first_served(live: Any, seed: int) -> None:
    actors = [actor for actor in crowd(seed, 8) if actor.turn.kind is Kind.RELEASE]
    world = live(World(seed, actors, Odds()))
    assert {ending for _, ending in endings(world)} == {"done"}
    for one in actors:
        for other in actors:
            if one.arrived_at and other.began_at and one.arrived_at < other.began_at:
                assert one.entered_at < other.entered_at  # type: ignore[operator]


@pytest.mark.parametrize("supersedes", [False, True])
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_with_every_mishap_nobody_is_lost_and_nothing_stays(live: Any, seed: int, supersedes: bool) -> None:
    odds = Odds(killed=0.01, asleep=0.01, unheard=0.01, unanswered=0.01)
    actors = crowd(seed, 5, supersedes=supersedes)
    world = live(World(seed, actors, odds))
    assert not world.violations
    for actor in actors:
        word, _, rest = actor.ending.partition(": ")
        assert word in {"done", "superseded", "refused", "failed", "lost", "killed"}
        if not actor.mishap:
            assert word in {"done", "superseded"} or "ordered a rollback" in rest, actor.ending
        if word == "lost" or "lost" in rest:
            assert actor.slept or actor.faulted
    # Long after, the next one finds the lock free, and leaves nothing.
    last = Actor(99, "elsewhere", Turn(Kind.RELEASE, "9.0.0"), begins_s=world.now_s + 2 * TTL_S)
    world.odds, world.actors = Odds(), [*actors, last]
    live(world)
    assert last.ending == "done"
    assert not world.things
