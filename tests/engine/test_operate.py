"""From an order to a release: what it goes on with, what it is refused for, and how it is to go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fabfile.engine.operate import Order, goal_of, is_in_the_way, resumed, why_not_begin
from fabfile.plan.outcome import Refusal
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Kind, Wish
from fabfile.plan.settings import Settings

from ..plan.fleets import NOW, facts, marked, old, record

ABORT = Order(Kind.RELEASE, "", "bob", abort=True)
AGAIN = Order(Kind.RELEASE, "2.0.0", "bob")


def settings(**release: object) -> Settings:
    return read_settings({"name": "shop", "release": release, "envs": {"prod": {}}}, "prod")


def why_not(order: Order, **release: object) -> str | None:
    look = facts(old(1), launch_hooks=("configure",) if "launch_hooks" in release else ())
    journal: Any = None
    return why_not_begin(settings(**release), order, journal, look)


def test_goes_on_with_fresh_patience() -> None:
    waited = record(failures=4, marks=(*marked("warm#0", 999), *marked("committed", 5)), staged=True)
    going = resumed(waited, AGAIN)
    assert (going.failures, going.marks, going.staged) == (0, marked("committed", 5), False)


def test_goes_on_with_no_other_order_than_the_one_that_was_begun() -> None:
    for other in (replace(AGAIN, version="3.0.0"), replace(AGAIN, kind=Kind.ROLLBACK)):
        with pytest.raises(Refusal, match=r"release of 2\.0\.0 in prod by ann is unfinished"):
            resumed(record(), other)


def test_puts_back_on_request_until_old_instances_are_gone() -> None:
    assert resumed(record(), ABORT).undo == "put back by bob"
    assert resumed(record(undo="sick"), ABORT).undo == "sick"
    with pytest.raises(Refusal, match="old instances are gone already"):
        resumed(record(marks=marked("committed", 5)), ABORT)


def test_goes_on_as_was_wished_before_except_for_what_is_wished_now() -> None:
    before = record(wish=Wish(batch=2, canary=1, stage=True))
    assert resumed(before, replace(AGAIN, wish=Wish(canary=0))).wish == Wish(batch=2, canary=0)


def test_puts_a_staged_fleet_aside_for_another_version_only() -> None:
    staged = record(staged=True)
    other = replace(AGAIN, version="3.0.0")
    assert is_in_the_way(staged, other)
    assert not is_in_the_way(staged, AGAIN)
    assert not is_in_the_way(staged, ABORT)
    assert not is_in_the_way(record(), other)
    assert not is_in_the_way(replace(staged, undo="sick"), other)


def test_goes_as_is_wished_or_as_the_settings_say() -> None:
    release = settings(soak_s=60, canary=2, canary_s=30, batch=4, keep_previous=True)
    goal = goal_of(release, record())
    assert (goal.soak_s, goal.canary, goal.canary_s, goal.batch, goal.keep_previous) == (60, 2, 30, 4, True)
    goal = goal_of(release, record(wish=Wish(soak_s=0, canary=0, canary_s=5, batch=1, at=NOW, stage=True)))
    assert (goal.soak_s, goal.canary, goal.canary_s, goal.batch, goal.at, goal.stage) == (0, 0, 5, 1, NOW, True)


def test_a_rollback_is_in_no_mood_for_canaries_and_never_migrates() -> None:
    raw = {"name": "shop", "database": {"url": "env:SHOP_DATABASE"}, "release": {"canary": 2, "batch": 3}}
    migrated = read_settings({**raw, "envs": {"prod": {}}}, "prod")
    assert goal_of(migrated, record()).migrates
    back = goal_of(migrated, record(kind=Kind.ROLLBACK, wish=Wish(canary=2)))
    assert (back.migrates, back.canary, back.batch) == (False, 0, None)


def test_begins_nothing_that_could_not_end_well() -> None:
    assert why_not(AGAIN) is None
    late = replace(AGAIN, wish=Wish(at=NOW - timedelta(seconds=1)))
    assert "has gone by" in (why_not(late) or "")
    assert "no CloudWatch alarm '5xx'" in (why_not(AGAIN, alarms=["5xx"]) or "")
    assert "hook configure" in (why_not(AGAIN, launch_hooks="refuse") or "")
    assert why_not(AGAIN, launch_hooks="skip") is None
