"""Looks at one group while others act: real threads, and no cloud."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fabfile.engine.convoy import Convoy
from fabfile.engine.lookout import FRESH_S, Lookout
from fabfile.engine.loop import Clock, Result
from fabfile.engine.observe import Observer
from fabfile.plan.fleet import Facts, Gate
from fabfile.plan.release import Ending, Record
from fabfile.plan.settings import Settings

from ..plan.fleets import facts, old, record

PATIENCE_S = 10.0


class Region:
    """What is to be seen of a region, and a lookout that sees it."""

    def __init__(self) -> None:
        self.now = facts(old(1)).at
        self.looks = 0
        self.sees: Callable[[], None] = lambda: None
        self.lookout = Lookout(Settings(), lambda: self.now)

    def look(self, shut: Mapping[Gate, str] | None) -> Facts:
        self.looks += 1
        self.sees()
        return replace(facts(old(1)), at=self.now, shut=shut or {})


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    regions = [Region(), Region()]

    def look(observer: Observer, record: Record | None = None, shut: Mapping[Gate, str] | None = None) -> Facts:
        region = next(each for each in regions if each.lookout is observer)
        observer._last = region.look(shut)
        return observer._last

    monkeypatch.setattr(Observer, "look", look)
    return regions


@pytest.fixture
def region(regions: list[Region]) -> Region:
    return regions[0]


def test_takes_the_look_that_was_begun_with_the_gates_of_now(region: Region) -> None:
    region.lookout.look_ahead(record())
    assert region.lookout.has_looked(PATIENCE_S)
    seen = region.lookout.look(record(), {Gate.COMMIT: "west"})
    assert (region.looks, seen.shut) == (1, {Gate.COMMIT: "west"})
    assert region.lookout.last is seen
    region.lookout.look(record())
    assert region.looks == 2


def test_looks_anew_where_the_look_that_was_begun_says_nothing_of_now(region: Region) -> None:
    region.lookout.look_ahead(record())
    region.lookout.look(record(undo="sick"))
    assert region.looks == 2
    region.lookout.look_ahead(record())
    assert region.lookout.has_looked(PATIENCE_S)
    region.now += timedelta(seconds=FRESH_S)
    assert region.lookout.look(record()).at == region.now
    assert region.looks == 4


def test_fails_as_the_look_did_that_was_begun(region: Region) -> None:
    def fail() -> None:
        raise RuntimeError("RequestTimeout")

    region.sees = fail
    region.lookout.look_ahead(record())
    with pytest.raises(RuntimeError, match="RequestTimeout"):
        region.lookout.look(record())


class Walk:
    """A loop that only looks, so many times."""

    def __init__(self, region: Region, looks: int, log: Callable[[], None]) -> None:
        self.record: Record | None = None
        self.decision: object = None
        self._region, self._looks, self._log = region, looks, log

    def steps(self, record: Record) -> Generator[float, None, Result]:
        for _ in range(self._looks):
            seen = self._region.lookout.look(record)
            self._log()
            yield 0.0
        return Result(Ending.DONE, "", record, seen)


def test_a_slow_region_keeps_no_other_one_waiting(regions: list[Region]) -> None:
    """The slow one answers only once the other one has ended: in turns, that would be never."""
    slow, fast = regions
    has_ended = threading.Event()
    log: list[str] = []

    def answer() -> None:
        if slow.looks > 1:
            has_ended.wait(PATIENCE_S)

    def log_fast() -> None:
        log.append("fast")
        if log.count("fast") == 4:
            has_ended.set()

    slow.sees = answer
    clock = Clock(lambda: datetime.now(UTC), lambda _: None)
    convoy = Convoy(clock, together=False, ahead=True)
    walks: list[Any] = [Walk(slow, 2, lambda: log.append("slow")), Walk(fast, 4, log_fast)]
    for name, walk, region in zip(("slow", "fast"), walks, (slow, fast), strict=True):
        convoy.join(name, walk, record(), region.lookout)
    assert [result.ending for result in convoy.run()] == [Ending.DONE, Ending.DONE]
    assert log == ["slow", "fast", "fast", "fast", "fast", "slow"]
