"""The release as a decision: each story starts from facts, and says what must be done next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabfile.plan import release as acts
from fabfile.plan.begin import begin
from fabfile.plan.decide import decide
from fabfile.plan.fleet import Facts, Lifecycle
from fabfile.plan.forecast import Forecast, Pace, foresee
from fabfile.plan.predict import predict
from fabfile.plan.release import Done, Kind, Record, Refuse, Stuck, Undo, Undone, Wait

from .fleets import NEW, OLD, attached, cutover, facts, goal, marked, new, old, record, shielded


def story(forecast: Forecast) -> list[str]:
    return [type(step.what).__name__ for step in forecast.steps if isinstance(step.what, acts.Act)]


def start(look: Facts, version: str = "2.0.0", kind: Kind = Kind.RELEASE) -> Record:
    begun = begin(kind, version, look, release_id="r1", env="prod", who="ann")
    assert isinstance(begun, Record)
    return begun


def test_walks_the_whole_road_in_its_order() -> None:
    look = facts(old(1), old(2))
    forecast = foresee(goal(migrates=True), start(look), look, Pace(drain_s=30))
    assert story(forecast) == [
        "BakeImage",
        "WriteTemplateVersion",
        "LaunchInstances",
        "LaunchInstances",
        "Migrate",
        "PrepareGroup",
        "Protect",
        "Attach",
        "Protect",
        "PointGroup",
        "EnterStandby",
        "Detach",
        "Terminate",
        "Protect",
        "RestoreGroup",
    ]
    assert isinstance(forecast.ending, Done)
    assert forecast.peak == 4


def test_starts_a_first_fleet_of_the_capacity_that_the_group_asks_for() -> None:
    look = facts(desired=0, min=0, capacity=3)
    forecast = foresee(goal(), start(look), look, Pace(drain_s=0))
    launched = [s.what.count for s in forecast.steps if isinstance(s.what, acts.LaunchInstances)]
    assert sum(launched) == 3
    assert "EnterStandby" not in story(forecast)


def test_does_nothing_when_the_version_serves_already() -> None:
    look = facts(old(1))
    assert isinstance(begin(Kind.RELEASE, "1.0.0", look, release_id="r", env="prod", who="ann"), Done)


@pytest.mark.parametrize("process", ["Launch", "Terminate", "AddToLoadBalancer"])
def test_refuses_a_group_whose_needed_process_is_suspended(process: str) -> None:
    begun = begin(
        Kind.RELEASE, "2.0.0", facts(old(1), suspended=frozenset({process})), release_id="r", env="prod", who="ann"
    )
    assert isinstance(begun, Refuse)
    assert process in begun.reason
    assert "resume-processes" in begun.reason


def test_pins_a_group_on_latest_before_it_writes_a_version() -> None:
    look = facts(old(1), pinned="$Latest")
    assert decide(goal(), record(template_version=None), look) == acts.PinTemplate(OLD)


def test_launches_nothing_on_a_single_look() -> None:
    decision = decide(goal(), record(), facts(old(1), old(2), looks=1))
    assert isinstance(decision, Wait)


def test_asks_for_the_same_instances_again_when_a_crash_hid_the_first_answer() -> None:
    look = facts(old(1), old(2))
    first, again = decide(goal(), record(), look), decide(goal(), record(), look)
    assert isinstance(first, acts.LaunchInstances)
    assert first == again


def test_fills_the_emptier_zone_first() -> None:
    look = facts(old(1), old(2), new(2))
    decision = decide(goal(), record(), look)
    assert isinstance(decision, acts.LaunchInstances)
    assert decision.zone == "b"
    assert decision.count == 1


def test_keeps_what_autoscaling_added_meanwhile_on_the_new_version() -> None:
    look = facts(old(1), old(2), old(3), old(4))
    decision = decide(goal(), record(wanted=2), look)
    assert isinstance(decision, acts.LaunchInstances)
    assert decision.count == 2
    rest = decide(goal(), record(wanted=2), predict(decision, look))
    assert isinstance(rest, Wait | acts.LaunchInstances)


def test_gives_no_instance_to_the_group_before_it_answers() -> None:
    look = facts(old(1), old(2), new(1), new(2, answers=False, answer="503 no database"))
    assert isinstance(decide(goal(), record(), look), Wait)


def test_turns_back_when_a_new_instance_never_answers() -> None:
    look = facts(old(1), old(2), new(1), new(2, answers=False, answer="503 no database"))
    decision = decide(goal(), record(marks=marked("warm#0", 601)), look)
    assert isinstance(decision, Undo)
    assert "503 no database" in decision.reason
    assert decision.blamed == ("i-new2",)


def test_does_not_point_autoscaling_before_every_id_is_healthy_twice() -> None:
    prepared = cutover()
    fleet = (shielded(1), shielded(2), attached(1), attached(2))
    assert isinstance(decide(goal(), prepared, facts(*fleet, sick=("i-new2",))), Wait)
    assert isinstance(decide(goal(), prepared, facts(*fleet, looks=1)), Wait)
    assert decide(goal(), prepared, facts(*fleet)) == acts.PointGroup(NEW)


def test_counts_no_other_instance_in_place_of_a_sick_one() -> None:
    prepared = cutover()
    extra = new(3, lifecycle=Lifecycle.IN_SERVICE, release=None, protected=True)
    look = facts(shielded(1), shielded(2), attached(1), attached(2), extra, sick=("i-new2",))
    assert isinstance(decide(goal(), prepared, look), Wait)


def test_says_which_load_balancer_refuses_which_instance_when_it_turns_back() -> None:
    late = cutover(marks=marked("healthy#2", 301))
    look = facts(shielded(1), shielded(2), attached(1), attached(2), sick=("i-new2",))
    decision = decide(goal(), late, look)
    assert isinstance(decision, Undo)
    assert "i-new2 is unhealthy in shop-prod (Target.Timeout" in decision.reason


def test_takes_no_old_instance_out_while_a_new_one_is_sick() -> None:
    pointed = cutover()
    fleet = (shielded(1), shielded(2), attached(1), attached(2))
    look = facts(*fleet, sick=("i-new1",), template=NEW, pinned="8")
    assert isinstance(decide(goal(), pointed, look), Wait)


def test_leaves_instances_in_standby_that_somebody_else_put_there() -> None:
    foreign = old(9, lifecycle=Lifecycle.STANDBY, standby=None)
    look = facts(attached(1), attached(2), foreign, template=NEW, pinned="8")
    forecast = foresee(goal(), cutover(), look, Pace(drain_s=0))
    assert not [s for s in forecast.steps if isinstance(s.what, acts.Detach)]


def test_undoes_to_the_old_fleet_and_removes_only_its_own() -> None:
    undoing = record(
        prepared=True, raised_max=12, attached=("i-new1", "i-new2"), paused=frozenset({"AZRebalance"}), undo="sick"
    )
    look = facts(
        shielded(1), shielded(2), attached(1), attached(2), max=12, desired=4, suspended=frozenset({"AZRebalance"})
    )
    forecast = foresee(goal(), undoing, look, Pace(drain_s=0))
    retired = [s.what.ids for s in forecast.steps if isinstance(s.what, acts.Detach)]
    assert retired == [("i-new1", "i-new2")]
    assert story(forecast)[-1] == "RestoreGroup"
    assert isinstance(forecast.ending, Undone)


def test_brings_the_old_fleet_back_from_standby_before_the_new_one_goes() -> None:
    undoing = cutover(rested=("i-old1", "i-old2"), undo="alarm")
    resting = [old(n, lifecycle=Lifecycle.STANDBY, standby="r1", protected=True) for n in (1, 2)]
    look = facts(*resting, attached(1), attached(2), template=NEW, pinned="8")
    names = story(foresee(goal(), undoing, look, Pace(drain_s=0)))
    assert names[:2] == ["PointGroup", "ExitStandby"]
    assert names.index("ExitStandby") < names.index("EnterStandby")


def test_only_terminates_what_was_never_attached() -> None:
    look = facts(old(1), old(2), new(1), new(2))
    forecast = foresee(goal(), record(undo="never answered"), look, Pace(drain_s=0))
    assert story(forecast) == ["Terminate"]
    assert isinstance(forecast.ending, Undone)


def test_stops_for_a_person_when_only_the_new_fleet_can_serve() -> None:
    stuck = record(
        prepared=True, raised_max=12, attached=("i-new1", "i-new2"), undo="alarm", marks=marked("undo healthy#2", 301)
    )
    look = facts(shielded(1), shielded(2), attached(1), attached(2), sick=("i-old1", "i-old2"))
    assert isinstance(decide(goal(), stuck, look), Stuck)


def test_removes_a_new_fleet_that_serves_nobody_even_if_the_old_one_is_sick() -> None:
    late = record(
        prepared=True, raised_max=12, attached=("i-new1", "i-new2"), undo="sick", marks=marked("undo healthy#2", 301)
    )
    look = facts(shielded(1), shielded(2), attached(1), attached(2), sick=("i-old1", "i-new1", "i-new2"), desired=4)
    assert isinstance(decide(goal(), late, look), acts.EnterStandby)


def test_keeps_the_previous_fleet_in_standby_when_asked() -> None:
    look = facts(old(1), old(2))
    forecast = foresee(goal(keep_previous=True), start(look), look, Pace(drain_s=0))
    assert "Detach" not in story(forecast)
    assert isinstance(forecast.ending, Done)


def test_rolls_back_from_a_warm_fleet_without_starting_anything() -> None:
    warm = [new(n, lifecycle=Lifecycle.STANDBY, standby="r0", release="r0") for n in (1, 2)]
    look = facts(old(1), old(2), *warm)
    forecast = foresee(goal(), replace(start(look, kind=Kind.ROLLBACK), image_id="ami-2"), look, Pace(drain_s=0))
    assert "LaunchInstances" not in story(forecast)
    assert "ExitStandby" in story(forecast)
    assert isinstance(forecast.ending, Done)


def test_returns_a_warm_fleet_to_standby_when_its_rollback_is_undone() -> None:
    warm = [attached(n, standby="r0", release="r0") for n in (1, 2)]
    undoing = record(prepared=True, raised_max=12, recalled=("i-new1", "i-new2"), undo="alarm", kind=Kind.ROLLBACK)
    look = facts(shielded(1), shielded(2), *warm)
    names = story(foresee(goal(), undoing, look, Pace(drain_s=0)))
    assert "EnterStandby" in names
    assert "Detach" not in names


def test_leaves_a_maximum_alone_that_somebody_changed_meanwhile() -> None:
    look = facts(attached(1), attached(2), template=NEW, pinned="8", max=40)
    forecast = foresee(goal(), cutover(), look, Pace(drain_s=0))
    assert "RestoreGroup" not in story(forecast)


def test_never_turns_back_once_old_instances_were_let_go() -> None:
    committed = record(
        prepared=True,
        raised_max=12,
        attached=("i-new1", "i-new2"),
        marks=(*marked("committed", 10), *marked("steady#2", 999)),
    )
    look = facts(attached(1), attached(2), sick=("i-new1",), template=NEW, pinned="8")
    assert not isinstance(decide(goal(), committed, look), Undo)


def test_gives_up_after_five_failed_calls_and_turns_back() -> None:
    assert isinstance(decide(goal(), record(failures=5), facts(old(1))), Undo)


def test_moves_at_most_nineteen_ids_in_one_call() -> None:
    fleet = [old(n, protected=True) for n in range(30)]
    fresh = [attached(n) for n in range(30)]
    pointed = record(prepared=True, raised_max=80, wanted=30, attached=tuple(i.id for i in fresh))
    decision = decide(goal(), pointed, facts(*fleet, *fresh, template=NEW, pinned="8"))
    assert isinstance(decision, acts.EnterStandby)
    assert len(decision.ids) == 19
