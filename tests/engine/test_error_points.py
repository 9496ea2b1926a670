"""Every error point: each call of a release meets each error that AWS documents for it, once and for ever."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from fabfile.plan.outcome import NotRestored, Refusal
from fabfile.plan.release import Ending

from .branches import Branches
from .documented import Error, Sort, errors_of, is_read, one_of_each_sort
from .scenarios import SCENARIOS
from .stage import Scenario, Stage, staged
from .test_crash_points import finishes, puts_back

# Stories in which nothing happens by itself that an error's long wait would bring forward.
STRUCK = (
    "plain",
    "canary and soak",
    "never healthy",
    "batches",
    "keep the old fleet",
    "rollback to a warm fleet",
    "rollback to a version without a fleet",
    "mixed instances",
    "a hook for the old ones",
    "two groups",
)


@dataclass(frozen=True)
class Reach:
    """How many of a scenario's error points are told.

    :param calls: which calls of an action: its ``first``, each ``between`` two things that were done, or ``all``.
    :param all_errors: whether each error is met, or one of each sort.
    """

    calls: str = "first"
    all_errors: bool = False


class Striker:
    """Lets errors meet the calls of a story, each in a branch of its own."""

    def __init__(self, stage: Stage, branches: Branches, reach: Reach, *, once: bool) -> None:
        self._error: Error | None = None
        self._stage = stage
        self._branches = branches
        self._reach = reach
        self._once = once
        self._number = self._effects = 0
        self._met: set[tuple[str, int]] = set()
        stage.cloud.calls.before, stage.cloud.calls.after = self._before, self._after

    def rest(self) -> None:
        """Let calls pass from now on, and have AWS answer as it should again."""
        calls, faults = self._stage.cloud.calls, self._stage.cloud.faults
        calls.before = calls.after = lambda _name, _arguments: None
        faults.failing.clear()
        faults.losing.clear()

    @property
    def met(self) -> Error:
        """What was met, in a branch."""
        assert self._error is not None
        return self._error

    def _before(self, name: str, _arguments: dict[str, Any]) -> None:
        self._number += 1
        if self._branches.is_child or not self._is_new(name):
            return
        errors = errors_of(name)
        for error in errors if self._reach.all_errors else one_of_each_sort(errors):
            when = "once" if self._once else "for ever"
            if self._branches.branch(f"{self._stage.scenario.name}, call {self._number}, {name}: {error} {when}"):
                self._error = error
                error.strike(self._stage.cloud.faults, name, once=self._once)
                return

    def _after(self, name: str, _arguments: dict[str, Any]) -> None:
        self._effects += not is_read(name)

    def _is_new(self, name: str) -> bool:
        calls = self._reach.calls
        key = (name, {"first": 0, "between": self._effects, "all": self._number}[calls])
        is_new = key not in self._met
        self._met.add(key)
        return is_new


def strike_everywhere(scenario: Scenario, reach: Reach, *, once: bool) -> Branches:
    """Tell a scenario, and from each of its points on what becomes of it when a call meets an error there."""
    with staged(scenario) as stage:
        branches = Branches()
        striker = Striker(stage, branches, reach, once=once)

        def judge(failure: BaseException | None) -> list[str]:
            striker.rest()
            return (judge_once if once else judge_for_ever)(stage, striker.met, failure)

        branches.tell(stage.perform, judge)
        striker.rest()
        branches.failures += [f"{scenario.name}, untouched: {wrong}" for wrong in stage.why_not_final()]
    return branches


def judge_once(stage: Stage, error: Error, failure: BaseException | None) -> list[str]:
    """Say what is wrong after a call has met an error once: nothing may come of it."""
    if failure is None:
        _take_over(stage)
        return stage.why_not_final()
    # Before anything is touched a command may end with the error; then it can be typed again.
    if touched := why_touched(stage, failure, error):
        return touched
    stage.start_anew()
    stage.perform()
    return stage.why_not_final()


def judge_for_ever(stage: Stage, error: Error, failure: BaseException | None) -> list[str]:
    """Say what is wrong after all calls of an action have met an error."""
    if failure is None:
        endings = {each.ending for each in stage.results}
        if endings == {stage.scenario.ending}:
            _take_over(stage)
            return stage.why_not_final()
        if endings == {Ending.RESTORED}:
            wrong = [each.why for each in stage.results if not _is_named(error, each.why)]
            return [*(f"the reason does not name it: {why}" for why in wrong), *stage.why_not_put_back()]
        said = "; ".join(each.why for each in stage.results if each.ending is Ending.NOT_RESTORED)
    else:
        if not any(stage.told()) and not any(stage.has_record(world) for world in stage.worlds):
            return why_touched(stage, failure, error) or _told_on(stage)
        if not isinstance(failure, NotRestored):
            return [f"ended with {type(failure).__name__}: {failure}"]
        said = str(failure)
    wrong = [] if _is_named(error, said) else [f"the reason does not name it: {said}"]
    fewest, lost = stage.operator.fewest_serving, stage.lost()
    if lost or fewest < stage.scenario.fewest:
        wrong.append(f"{fewest} served, lost {lost[:3]}")
    return wrong + _told_on(stage)


def why_touched(stage: Stage, failure: BaseException, error: Error) -> list[str]:
    """Return what is wrong with a command that failed before anything was touched."""
    if not isinstance(failure, Exception):
        return [f"ended with {type(failure).__name__}"]
    wrong = [] if _is_named(error, str(failure)) else [f"the message does not name it: {failure}"]
    for world, before in zip(stage.worlds, stage.before, strict=True):
        now = stage.see(world)
        wrong += [f"{failure}, and touched: {now}"] if now != before else []
    records = [world.group for world in stage.worlds if stage.has_record(world)]
    if error.sort is Sort.LOST:  # it may have been written down before the answer was lost; it goes on from there
        return wrong
    return wrong + [f"{failure}, and left a record of {group}" for group in records]


def _take_over(stage: Stage) -> None:
    """Let the next command have a lock that could not be given back."""
    stage.start_anew()
    with suppress(Refusal):
        stage.abort()


def _told_on(stage: Stage) -> list[str]:
    """Say what is wrong once the fault is lifted: with the same command, and with --abort."""
    inner = Branches()
    if inner.branch("then the same command"):
        stage.start_anew()
        inner.end(lambda: _again(stage))
    if inner.branch("then --abort"):
        inner.end(lambda: puts_back(stage))
    return inner.failures


def _again(stage: Stage) -> list[str]:
    """Type the same command. What had turned back before it was stuck goes on turning back."""
    if all(stage.told()):
        return finishes(stage)
    turned = any(record.undo for record in stage.records())
    try:
        results = stage.perform()
    except Refusal as refusal:
        return [f"refused: {refusal}"]
    if turned and {each.ending for each in results} == {Ending.RESTORED}:
        return stage.why_not_put_back([max(count, 1) for count in stage.told()])
    return stage.why_not_final()


def _is_named(error: Error, said: str) -> bool:
    if error.message:
        return error.message in said
    return error.code in said or ("closed" in said or "InternalFailure" in said)


@pytest.mark.parametrize("once", [True, False], ids=["once", "for ever"])
def test_a_release_whose_calls_meet_errors(once: bool, record_property: Callable[[str, object], None]) -> None:
    branches = strike_everywhere(SCENARIOS["plain"], Reach(), once=once)
    record_property("error points", branches.told)
    assert not branches.failures, branches.report()


@pytest.mark.exhaustive
@pytest.mark.parametrize("once", [True, False], ids=["once", "for ever"])
@pytest.mark.parametrize("name", STRUCK)
def test_any_release_whose_calls_meet_any_error(
    name: str, once: bool, record_property: Callable[[str, object], None]
) -> None:
    branches = strike_everywhere(SCENARIOS[name], Reach(calls="between", all_errors=True), once=once)
    record_property("error points", branches.told)
    assert not branches.failures, branches.report()


@pytest.mark.exhaustive
def test_a_release_of_which_literally_every_call_meets_any_error(
    record_property: Callable[[str, object], None],
) -> None:
    branches = strike_everywhere(SCENARIOS["plain"], Reach(calls="all", all_errors=True), once=True)
    record_property("error points", branches.told)
    assert not branches.failures, branches.report()
