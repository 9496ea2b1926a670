"""Whatever happens in whatever order: never two owners, nobody lost, nothing left behind.

The histories are those of :mod:`.line_world`; a failing one comes again by its number.
"""

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

HISTORIES = 90


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


def check_ends_well(world: World) -> None:
    """Check what holds whatever happened: nobody acted without the lock, and who had no mishap was not lost."""
    assert not world.violations
    by_version = {actor.turn.version: actor for actor in world.actors}
    for actor in world.actors:
        word, _, rest = actor.ending.partition(": ")
        assert word in {"done", "superseded", "refused", "failed", "lost", "killed", "interrupted"}
        told = word == "superseded" or "ordered a rollback to" in rest
        if not actor.mishap:
            assert word == "done" or told, actor.ending
        if word == "lost" or "lost" in rest:
            assert actor.slept or actor.faulted, actor.ending
        if told:
            version = rest.split()[2] if word == "superseded" else rest.split(" to ")[1].split()[0]
            winner = by_version[version]
            assert actor.turn.kind is Kind.RELEASE
            assert winner.turn.supersedes or winner.turn.kind is Kind.ROLLBACK
            assert winner.took_at is not None
            assert actor.began_at is not None
            assert actor.began_at < (winner.arrived_at or winner.took_at), "a newer one gave way to an older one"


@pytest.mark.parametrize("supersedes", [False, True])
@pytest.mark.parametrize("seed", range(HISTORIES // 2))
def test_without_mishaps_each_has_its_turn_or_is_told_why_not(live: Any, seed: int, supersedes: bool) -> None:
    world = live(World(seed, crowd(seed, 5, supersedes=supersedes), Odds()))
    check_ends_well(world)
    assert not world.things
    done = {actor.turn.version for actor in world.actors if actor.ending == "done"}
    for actor in world.actors:
        if actor.ending.startswith("superseded"):
            assert actor.ending.split()[3] in done
        if actor.turn.kind is Kind.ROLLBACK:
            assert actor.ending == "done"


@pytest.mark.parametrize("seed", range(HISTORIES // 4))
def test_first_come_is_first_served(live: Any, seed: int) -> None:
    actors = [actor for actor in crowd(seed, 8) if actor.turn.kind is Kind.RELEASE]
    world = live(World(seed, actors, Odds()))
    assert {actor.ending for actor in actors} == {"done"}
    assert not world.things
    for one in actors:
        for other in actors:
            if one.arrived_at and other.began_at and one.arrived_at < other.began_at:
                assert one.entered_at < other.entered_at  # type: ignore[operator]


@pytest.mark.parametrize("supersedes", [False, True])
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_with_every_mishap_nobody_is_lost_and_nothing_stays_for_long(live: Any, seed: int, supersedes: bool) -> None:
    odds = Odds(killed=0.01, asleep=0.01, unheard=0.01, unanswered=0.01, interrupted=0.01)
    actors = crowd(seed, 5, supersedes=supersedes)
    world = live(World(seed, actors, odds))
    check_ends_well(world)
    # Long after, the next one finds the lock free, and leaves nothing.
    last = Actor(99, "elsewhere", Turn(Kind.RELEASE, "9.0.0"), begins_s=world.now_s + 10 * TTL_S)
    world.odds, world.actors = Odds(), [*actors, last]
    live(world)
    assert last.ending == "done"
    assert not world.things


@pytest.mark.parametrize("supersedes", [False, True])
@pytest.mark.parametrize("seed", range(HISTORIES // 2))
def test_ctrl_c_while_waiting_leaves_nothing(live: Any, seed: int, supersedes: bool) -> None:
    world = live(World(seed, crowd(seed, 5, supersedes=supersedes), Odds(interrupted=0.1)))
    check_ends_well(world)
    assert not world.things


@pytest.mark.parametrize("supersedes", [False, True])
@pytest.mark.parametrize("seed", range(HISTORIES // 2))
def test_an_outage_of_s3_loses_nobody_in_line(live: Any, seed: int, supersedes: bool) -> None:
    actors = crowd(seed, 5, supersedes=supersedes, machines=1_000)
    outage_s = (6.0, 6.0 + (0.5 + seed % 8 / 4) * TTL_S)
    world = live(World(seed, actors, Odds(outage_s=outage_s)))
    assert not world.violations
    for actor in actors:
        # Who came in the middle of it, or held the lock, may have failed; who waited has not.
        if actor.arrived_at is not None and actor.took_at is None:
            assert actor.ending.startswith("superseded") or "ordered a rollback" in actor.ending, actor.ending


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("number", range(1, 25))
@pytest.mark.parametrize("seed", range(HISTORIES // 30))
def test_one_call_that_s3_does_not_answer_costs_nobody_the_lock(
    live: Any, seed: int, number: int, arrives: bool
) -> None:
    actors = crowd(seed, 4, machines=1)
    world = live(World(seed, actors, Odds(only=(number, arrives))))
    check_ends_well(world)
    unlucky = actors[0]
    assert unlucky.ending.startswith(("done", "failed", "refused: p"))
    if unlucky.ending == "done" and not unlucky.faulted:
        assert not world.things
