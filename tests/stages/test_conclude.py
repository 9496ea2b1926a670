"""How a release of several groups ends: one exit code for all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabfile.engine.loop import Result
from fabfile.plan.outcome import Failed, NotRestored, Restored
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Ending
from fabfile.release import Outcome, conclude

from ..plan.fleets import facts, old, record

SETTINGS = read_settings({"name": "shop", "envs": {"prod": {}}}, "prod")


def result(ending: Ending) -> Result:
    return Result(ending, f"it is {ending.value}", record(), facts(old(2)))


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        (Ending.DONE, Ending.RESTORED, NotRestored),
        (Ending.RESTORED, Ending.STAGED, NotRestored),
        (Ending.RESTORED, Ending.RESTORED, Restored),
        (Ending.DONE, Ending.NOT_RESTORED, NotRestored),
        (Ending.DONE, Ending.STOPPED, Failed),
    ],
)
def test_no_two_groups_of_different_endings_are_as_they_were(
    one: Ending, other: Ending, outcome: type[Exception]
) -> None:
    with pytest.raises(outcome) as ended:
        conclude(SETTINGS, Outcome([result(one), result(other)], 2))
    assert type(ended.value) is outcome


def test_one_that_served_the_version_already_is_as_it_was() -> None:
    idle = replace(result(Ending.DONE), record=None)
    with pytest.raises(Restored):
        conclude(SETTINGS, Outcome([idle, result(Ending.RESTORED)], 0))
