"""Every crash point: a release is killed before and after each call that it makes, and typed again, or put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Ending

from .branches import Branches
from .scenarios import MAIN, OTHERS, SCENARIOS
from .stage import Scenario, Stage, staged

READS = ("Describe", "Get", "List")
# A heartbeat that nobody on this machine can vouch for is believed for a minute.
SILENT_S = 65.0
# What may be left alone for that long: no moment passes, and nothing turns sick meanwhile.
PATIENT = ("plain", "soak", "batches", "rollback to a warm fleet", "mixed instances", "two groups")


class Killed(BaseException):
    """Stands for kill -9: whatever the dying process still asks for, it dies of."""


class Killer:
    """Kills the engine of a story at its calls, each time in a branch of its own.

    Between two points at which no call has had an effect and no time has passed the world is the same, and nothing of
    an engine outlives it: unless told to be thorough, such points are tried once.
    """

    def __init__(self, stage: Stage, branches: Branches, ways: tuple[str, ...], *, thorough: bool) -> None:
        self.way = ""
        self._stage = stage
        self._branches = branches
        self._ways = ways
        self._thorough = thorough
        self._dead = False
        self._number = self._effects = 0
        self._tried: set[tuple[float, int]] = set()
        stage.cloud.calls.before, stage.cloud.calls.after = self._before, self._after

    def bury(self) -> None:
        """Let the calls of another process pass."""
        self._stage.cloud.calls.before = self._stage.cloud.calls.after = lambda _name, _arguments: None

    def _before(self, name: str, _arguments: dict[str, Any]) -> None:
        self._die_once_dead()
        self._number += 1
        self._offer(f"before call {self._number}, {name}")

    def _after(self, name: str, _arguments: dict[str, Any]) -> None:
        self._die_once_dead()
        self._effects += not name.partition(":")[2].startswith(READS)
        self._offer(f"after call {self._number}, {name}")

    def _die_once_dead(self) -> None:
        if self._dead:
            raise Killed

    def _offer(self, moment: str) -> None:
        world = (self._stage.cloud.clock.elapsed_s, self._effects)
        if world in self._tried and not self._thorough:
            return
        self._tried.add(world)
        for way in self._ways:
            if self._branches.branch(f"{self._stage.scenario.name}, killed {moment}, then {way}"):
                self.way, self._dead = way, True
                raise Killed


def goes_on(stage: Stage) -> list[str]:
    """Type the same command on the same machine, where the dead process is known to be dead."""
    stage.start_anew()
    return finishes(stage)


def goes_on_elsewhere(stage: Stage) -> list[str]:
    """Type the same command on another machine, which has to wait until the lock's owner has been silent for long."""
    stage.start_anew(elsewhere=True)
    stage.cloud.clock.sleep(SILENT_S)
    return finishes(stage)


def puts_back(stage: Stage) -> list[str]:
    """Type `--abort`; where that comes too late, it says so, and the same command finishes."""
    stage.start_anew()
    begun = [stage.has_record(world) for world in stage.worlds]
    told = stage.told()
    # What has a chapter has ended, whether its record is gone yet or not.
    is_open = any(record and not chapter for record, chapter in zip(begun, told, strict=True))
    try:
        results = stage.abort()
    except Refusal as refusal:
        if "old instances are gone already; finish with" in str(refusal):
            return finishes(stage)
        if is_open or "no release in progress" not in str(refusal):
            return [f"refused: {refusal}"]
        return stage.why_not_final() if any(told) else stage.why_not_put_back([0] * len(told))
    wrong = [f"ended {each.ending}: {each.why}" for each in results if each.ending is not Ending.RESTORED]
    return wrong + stage.why_not_put_back([max(pair) for pair in zip(told, map(int, begun), strict=True)])


def finishes(stage: Stage) -> list[str]:
    """Type the same command, unless what it ordered is over already."""
    is_timed = any(each.at_s for each in stage.scenario.commands)
    # What has failed and is over would begin anew, and a moment that has gone by is refused.
    if any(stage.told()) and (is_timed or stage.scenario.ending is not Ending.DONE):
        return puts_back(stage)
    stage.perform()
    return stage.why_not_final()


WAYS: dict[str, Callable[[Stage], list[str]]] = {
    "goes on": goes_on,
    "goes on elsewhere": goes_on_elsewhere,
    "puts back": puts_back,
}


def kill_everywhere(scenario: Scenario, *ways: str, thorough: bool = False) -> Branches:
    """Tell a scenario, and from each of its points on what becomes of it when its engine is killed there."""
    with staged(scenario) as stage:
        branches = Branches()
        killer = Killer(stage, branches, ways, thorough=thorough)

        def judge(failure: BaseException | None) -> list[str]:
            killer.bury()
            return WAYS[killer.way](stage) if isinstance(failure, Killed) else ["what kills it was caught"]

        branches.tell(stage.perform, judge)
        killer.bury()
        branches.failures += [f"{scenario.name}, untouched: {wrong}" for wrong in stage.why_not_final()]
    return branches


@pytest.mark.parametrize("name", [each.name for each in MAIN])
@pytest.mark.parametrize("way", ["goes on", "puts back"])
def test_a_release_that_is_killed_anywhere(name: str, way: str, record_property: Callable[[str, object], None]) -> None:
    branches = kill_everywhere(SCENARIOS[name], way)
    record_property("crash points", branches.told)
    assert not branches.failures, branches.report()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [each.name for each in OTHERS])
@pytest.mark.parametrize("way", ["goes on", "puts back"])
def test_any_release_that_is_killed_anywhere(
    name: str, way: str, record_property: Callable[[str, object], None]
) -> None:
    branches = kill_everywhere(SCENARIOS[name], way)
    record_property("crash points", branches.told)
    assert not branches.failures, branches.report()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", PATIENT)
def test_a_release_that_goes_on_elsewhere(name: str, record_property: Callable[[str, object], None]) -> None:
    branches = kill_everywhere(SCENARIOS[name], "goes on elsewhere")
    record_property("crash points", branches.told)
    assert not branches.failures, branches.report()


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["goes on", "puts back"])
def test_a_release_that_is_killed_at_literally_every_call(
    way: str, record_property: Callable[[str, object], None]
) -> None:
    branches = kill_everywhere(SCENARIOS["plain"], way, thorough=True)
    record_property("crash points", branches.told)
    assert not branches.failures, branches.report()
