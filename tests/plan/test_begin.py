"""The start of a release: what is refused, and what is written down before anything is touched."""

from __future__ import annotations

from dataclasses import replace

from fabfile.plan.begin import begin
from fabfile.plan.fleet import Alarm, Facts, Lifecycle
from fabfile.plan.release import Done, Kind, Record, Refuse

from .fleets import OLD, facts, new, old


def start(look: Facts, version: str = "2.0.0") -> Record | Done | Refuse:
    return begin(Kind.RELEASE, version, look, release_id="r1", env="prod", who="ann")


def begun(look: Facts) -> Record:
    record = start(look)
    assert isinstance(record, Record)
    return record


def test_writes_the_group_down_as_it_is() -> None:
    suspended = frozenset({"AZRebalance"})
    look = facts(old(1, protected=True), old(2), min=1, max=4, suspended=suspended)
    before = begun(look).before
    assert (before.min, before.max, before.desired, before.suspended) == (1, 4, 2, suspended)
    assert (before.template, before.image_id, before.protected) == (OLD, "ami-1", ("i-old1",))


def test_asks_for_as_many_as_serve_now_or_as_the_group_wants() -> None:
    assert begun(facts(old(1), old(2), old(3), desired=2)).wanted == 3
    assert begun(facts(old(1), old(2), desired=4)).wanted == 4
    assert begun(facts(desired=0, min=0, capacity=5)).wanted == 5
    assert begun(facts(desired=0, min=0)).wanted == 1


def test_writes_down_which_alarms_sound_already() -> None:
    look = replace(facts(old(1)), alarms={"5xx": Alarm(True), "cpu": Alarm(False)})
    assert begun(look).deaf == ("5xx",)


def test_does_not_take_a_mixed_fleet_for_released() -> None:
    serving = new(1, lifecycle=Lifecycle.IN_SERVICE)
    look = replace(facts(serving, old(2)), template_image="ami-2")
    assert isinstance(start(look), Record)
    assert isinstance(start(replace(facts(serving), template_image="ami-2")), Done)


def test_does_not_take_a_fleet_for_released_whose_group_launches_another_version() -> None:
    assert isinstance(start(facts(new(1, lifecycle=Lifecycle.IN_SERVICE))), Record)


def test_refuses_what_it_cannot_release_to() -> None:
    refused = start(facts(old(1), unsupported="launch configurations cannot be versioned"))
    assert refused == Refuse("launch configurations cannot be versioned")
