"""A forecast of a moment: it says no to what is too near, and to nothing that the settings leave time for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fabfile.plan import release as acts
from fabfile.plan.begin import begin
from fabfile.plan.fleet import Facts
from fabfile.plan.forecast import Forecast, Pace, foresee
from fabfile.plan.release import Done, Kind, Record, Undo, Wait
from tests.plan.fleets import NOW, facts, goal, old

PACE = Pace(drain_s=0, poll_s=1)


def begun(look: Facts) -> Record:
    made = begin(Kind.RELEASE, "2.0.0", look, release_id="r1", env="prod", who="ann")
    assert isinstance(made, Record)
    return made


def undone(record: Record) -> Record:
    return replace(record, undo="asked for", launched=("i-new1",), image_id="ami-2", template_version="2")


def foreseen_at(in_s: float, pace: Pace = PACE, **changes: object) -> Forecast:
    look = facts(old(1), old(2))
    asked = goal(at=NOW + timedelta(seconds=in_s), **changes)
    return foresee(asked, begun(look), look, pace)


def cutover_of(forecast: Forecast) -> float:
    return next((step.facts.at - NOW).total_seconds() for step in forecast.steps if isinstance(step.what, acts.Attach))


@pytest.mark.parametrize("migrates", [True, False])
@pytest.mark.parametrize("poll_s", [1, 5])
@pytest.mark.parametrize("warm_within_s", [1, 5, 20, 45, 60, 90, 120, 600])
def test_a_moment_that_leaves_the_time_which_settings_ask_for_is_no_failure(
    warm_within_s: float, poll_s: float, migrates: bool
) -> None:
    in_s = PACE.bake_s + warm_within_s + 60
    forecast = foreseen_at(in_s, Pace(drain_s=0, poll_s=poll_s), warm_within_s=warm_within_s, migrates=migrates)
    assert isinstance(forecast.ending, Done), forecast.ending
    assert any(isinstance(step.what, Wait) and step.what.name == "early" for step in forecast.steps)
    assert in_s <= cutover_of(forecast) < in_s + 30


def test_a_moment_that_is_too_near_for_what_is_to_be_done_is_a_failure() -> None:
    forecast = foreseen_at(PACE.bake_s + 10, warm_within_s=600)
    assert isinstance(forecast.ending, Undo | acts.Undone)
    assert "too late" in forecast.ending.reason or "were ready" in forecast.ending.reason


def test_a_moment_that_is_nearer_than_the_patience_but_not_too_near_is_no_failure() -> None:
    forecast = foreseen_at(PACE.bake_s + PACE.boot_s + 30, warm_within_s=600)
    assert isinstance(forecast.ending, Done), forecast.ending


def test_a_migration_lasts_no_longer_than_the_boot_that_it_runs_beside() -> None:
    look = facts(old(1), old(2))
    with_it, without = (foresee(goal(migrates=yes), begun(look), look, PACE) for yes in (True, False))
    assert abs(with_it.seconds - without.seconds) <= PACE.poll_s + PACE.call_s


def test_a_forecast_says_what_it_takes_a_fleet_with_little_patience_to_last() -> None:
    forecast = foreseen_at(600, warm_within_s=45)
    boots = [each.seconds for each in forecast.assumptions if "an instance starts" in each.what]
    assert boots == [22.5]


def test_the_steps_back_of_a_timed_release_are_not_shortened() -> None:
    look = facts(old(1), old(2))
    undoing = undone(begun(look))
    late, never = (foresee(goal(at=at), undoing, look, PACE).seconds for at in (NOW + timedelta(seconds=2), None))
    assert late == never
