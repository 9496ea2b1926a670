"""Before traffic: what is started, when, where and how often; and what makes a new instance fit for traffic."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fabfile.plan import release as acts
from fabfile.plan.decide import decide
from fabfile.plan.fleet import Facts, Gate, Lifecycle, Mix
from fabfile.plan.release import HEALTH, Goal, Record, Staged, Undo, Wait

from .fleets import (
    NEW,
    NOW,
    attached,
    cutover,
    facts,
    goal,
    marked,
    new,
    old,
    one_zone,
    record,
    resting,
    shielded,
    since,
    throughout,
)


def launch(written: Record, look: Facts, wanted: Goal | None = None) -> acts.LaunchInstances:
    decision = decide(wanted or goal(), written, look)
    assert isinstance(decision, acts.LaunchInstances), decision
    return decision


def warm(number: int, **changes: object) -> Facts:
    """See two old instances that serve, and a warm fleet of a release before ours that rests in Standby."""
    rested = [new(n, lifecycle=Lifecycle.STANDBY, standby="r0", release="r0", **changes) for n in range(number)]
    return facts(shielded(1), shielded(2), *rested)


def test_launches_nothing_while_looks_disagree_on_what_is_missing() -> None:
    look = since(facts(old(1), old(2), new(1)), facts(old(1), old(2), looks=1))
    assert isinstance(decide(goal(), record(), look), Wait)


def test_starts_nothing_once_old_instances_were_let_go() -> None:
    done = cutover(rested=("i-old1", "i-old2"), marks=marked("committed", 10))
    look = facts(attached(1), desired=2, template=NEW, pinned="8")
    assert not isinstance(decide(goal(), done, look), acts.LaunchInstances)


def test_gives_up_on_a_version_whose_instances_keep_dying() -> None:
    dead = tuple(f"i-dead{n}" for n in range(9))
    decision = decide(goal(), record(launched=dead), facts(old(1), old(2)))
    assert isinstance(decision, Undo)
    assert decision.cause == HEALTH
    assert "9 instances were started, and they keep dying" in decision.reason
    assert isinstance(decide(goal(), record(launched=dead[:8]), facts(old(1), old(2))), acts.LaunchInstances)


def test_terminates_what_was_started_beyond_what_is_needed() -> None:
    look = facts(old(1), old(2), new(1), new(2), new(3))
    assert decide(goal(), record(), look) == acts.Terminate(("i-new3",))


def test_never_terminates_as_surplus_what_was_handed_to_the_group() -> None:
    look = facts(old(1), old(2), new(1), new(2), new(3))
    assert decide(goal(), record(attached=("i-new3",)), look) == acts.Terminate(("i-new2",))


def test_terminates_no_surplus_that_a_single_look_has() -> None:
    three = facts(old(1), old(2), new(1), new(2), new(3), looks=1)
    look = since(facts(old(1), old(2), new(1), new(2)), three)
    assert not isinstance(decide(goal(), record(), look), acts.Terminate)


def test_starts_the_canary_alone() -> None:
    look = facts(old(1), old(2), subnets=one_zone())
    assert launch(record(), look).count == 2
    assert launch(record(), look, goal(canary=1, canary_s=60)).count == 1


def test_starts_one_batch_and_the_next_only_when_that_one_has_replaced_another() -> None:
    first = facts(old(1), old(2), subnets=one_zone())
    assert launch(record(), first, goal(batch=1)).count == 1
    rested = old(1, lifecycle=Lifecycle.STANDBY, standby="r1", protected=True)
    written = cutover(attached=("i-new1",), rested=("i-old1",))
    serving = facts(rested, shielded(2), attached(1), subnets=one_zone(), template=NEW, pinned="8")
    assert launch(written, serving, goal(batch=1)).count == 1


def test_brings_back_from_standby_only_what_does_not_fail_to_answer() -> None:
    assert isinstance(decide(goal(), record(prepared=True), warm(2)), acts.ExitStandby)
    assert isinstance(decide(goal(), record(prepared=True), warm(2, answers=False)), acts.LaunchInstances)


def test_migrates_before_it_brings_anybody_back_from_standby() -> None:
    assert decide(goal(migrates=True), record(prepared=True), warm(2)) == acts.Migrate("2.0.0")
    migrated = record(prepared=True, migrated=True)
    assert isinstance(decide(goal(migrates=True), migrated, warm(2)), acts.ExitStandby)


def test_recalls_an_old_instance_that_drains_rather_than_start_another() -> None:
    draining = resting(2, lifecycle=Lifecycle.ENTERING_STANDBY)
    look = facts(shielded(1), draining, attached(1), attached(2), max=12, desired=3)
    undoing = cutover(rested=("i-old2",), undo="sick")
    decision = decide(goal(), undoing, look)
    assert isinstance(decision, Wait)
    assert decision.pending == ("i-old2",)
    late = cutover(rested=("i-old2",), undo="sick", marks=marked(decision.mark, 601))
    assert isinstance(decide(goal(), late, look), acts.LaunchInstances)


def test_starts_only_what_the_warm_fleet_lacks() -> None:
    look = facts(old(1), old(2), new(1, lifecycle=Lifecycle.STANDBY, standby="r0", release="r0"), subnets=one_zone())
    held = throughout(look, shut={Gate.CUTOVER: "others to be warm"})
    assert launch(record(), held).count == 1


@pytest.mark.parametrize(
    ("wish", "ends"), [({"stage": True}, Staged), ({"at": NOW + timedelta(seconds=300)}, Wait), ({}, Wait)]
)
def test_keeps_a_warm_fleet_in_standby_until_it_may_serve(wish: dict[str, object], ends: type) -> None:
    look = warm(2) if wish else throughout(warm(2), shut={Gate.CUTOVER: "others to be warm"})
    assert isinstance(decide(goal(**wish), record(), look), ends)


def test_starts_nothing_in_a_zone_that_had_no_capacity() -> None:
    look = facts(old(1), old(2))
    assert launch(record(), look).zone == "a"
    decision = launch(record(barren=("a",)), look)
    assert (decision.zone, decision.count) == ("b", 2)


def test_spreads_the_new_fleet_over_the_zones() -> None:
    first = launch(record(wanted=3), facts(old(1), old(2)))
    assert (first.zone, first.count) == ("a", 2)
    rest = launch(record(wanted=3), facts(old(1), old(2), new(2), new(4)))
    assert (rest.zone, rest.count) == ("b", 1)


def test_never_asks_for_other_instances_by_a_token_that_was_used() -> None:
    fleet = (shielded(1), shielded(2))
    first = launch(record(), facts(*fleet, subnets=one_zone()))
    after_a_death = launch(record(launched=("i-new1",)), facts(*fleet, subnets=one_zone()))
    unrecorded = launch(record(), facts(*fleet, new(1), subnets=one_zone()))
    fell_short = launch(record(short=1), facts(*fleet, subnets=one_zone()))
    assert after_a_death.token == unrecorded.token, "what was started is known by its tag as well"
    assert len({first.token, after_a_death.token, fell_short.token}) == 3


def test_asks_on_the_way_back_by_tokens_of_its_own() -> None:
    started = ("i-new1", "i-new2")
    ahead = launch(cutover(launched=started), facts(shielded(1), shielded(2), attached(1), subnets=one_zone()))
    back = launch(
        cutover(launched=started, undo="sick"), facts(shielded(1), attached(1), attached(2), subnets=one_zone())
    )
    assert ahead.token != back.token


def test_starts_at_most_a_hundred_in_one_call() -> None:
    assert launch(record(wanted=250), facts(old(1), subnets=one_zone())).count == 100


def test_counts_the_spot_instances_that_it_has() -> None:
    half = Mix(0, 50, "prioritized", "lowest-price", None, "[]")
    look = facts(old(1), old(2), subnets=one_zone(), mix=half)
    assert launch(record(), look).spot == 1
    look = facts(old(1), old(2), new(1, spot=True), subnets=one_zone(), mix=half)
    assert launch(record(), look).spot == 0


@pytest.mark.parametrize("cold", [{"checks_pass": False}, {"answers": None}, {"answers": False}])
def test_waits_for_each_instance_to_be_fit_for_traffic(cold: dict[str, object]) -> None:
    decision = decide(goal(), record(), facts(old(1), old(2), new(1), new(2, **cold)))
    assert isinstance(decision, Wait)
    assert decision.pending == ("i-new2",)


def test_migrates_once_before_traffic_and_never_on_the_way_back() -> None:
    look = facts(old(1), old(2), new(1), new(2))
    assert decide(goal(migrates=True), record(), look) == acts.Migrate("2.0.0")
    assert isinstance(decide(goal(migrates=True), record(migrated=True), look), acts.PrepareGroup)
    assert isinstance(decide(goal(migrates=True), record(undo="sick"), look), acts.Terminate)


def test_is_staged_only_when_looks_agree_that_all_are_warm() -> None:
    look = facts(old(1), old(2), new(1), new(2), looks=1)
    assert isinstance(decide(goal(stage=True), record(), since(look, look)), Staged)
    cold = facts(old(1), old(2), new(1), new(2, answers=False))
    assert isinstance(decide(goal(stage=True), record(), since(cold, look)), Wait)


def test_refuses_a_cutover_whose_fleet_is_not_complete_at_its_minute() -> None:
    look = facts(old(1), old(2), new(1), new(2, answers=False, answer="503"))
    decision = decide(goal(at=NOW - timedelta(seconds=1)), record(), look)
    assert isinstance(decision, Undo)
    assert decision.reason.startswith("only 1 of 2 new instances were ready at ")
    assert decision.blamed == ("i-new2",)


def test_refuses_a_cutover_whose_minute_went_by() -> None:
    look = facts(old(1), old(2), new(1), new(2))
    decision = decide(goal(at=NOW - timedelta(seconds=31)), record(), look)
    assert isinstance(decision, Undo)
    assert "went by 31 s ago: too late to cut over" in decision.reason
    assert not isinstance(decide(goal(at=NOW - timedelta(seconds=29)), record(), look), Undo)


def test_is_not_too_late_when_it_waited_for_the_other_groups() -> None:
    look = facts(old(1), old(2), new(1), new(2))
    written = record(marks=marked("gate cutover", 40))
    assert not isinstance(decide(goal(at=NOW - timedelta(seconds=31)), written, look), Undo)


def test_prepares_the_group_in_the_last_minute_and_no_sooner() -> None:
    look = facts(old(1), old(2), new(1), new(2))
    early = decide(goal(at=NOW + timedelta(seconds=300)), record(), look)
    assert isinstance(early, Wait)
    assert early.wake == NOW + timedelta(seconds=240)
    assert isinstance(decide(goal(at=NOW + timedelta(seconds=30)), record(), look), acts.PrepareGroup)


def test_hands_nothing_to_the_group_before_its_minute() -> None:
    look = facts(shielded(1), shielded(2), new(1), new(2), max=12)
    ready = record(prepared=True, raised_max=12)
    decision = decide(goal(at=NOW + timedelta(seconds=30)), ready, look)
    assert isinstance(decision, Wait)
    assert decision.wake == NOW + timedelta(seconds=30)
    assert isinstance(decide(goal(at=NOW), ready, look), acts.Attach)


def test_starts_a_timed_fleet_no_sooner_than_it_must() -> None:
    decision = decide(goal(at=NOW + timedelta(seconds=3600)), record(), facts(old(1), old(2)))
    assert isinstance(decision, Wait)
    assert decision.wake == NOW + timedelta(seconds=3000)
    assert isinstance(
        decide(goal(at=NOW + timedelta(seconds=600)), record(), facts(old(1), old(2))), acts.LaunchInstances
    )


def test_cuts_over_at_its_minute_with_what_is_warm_and_starts_the_rest_later() -> None:
    ready = record(prepared=True, raised_max=20)
    look = facts(shielded(1), shielded(2), shielded(3), new(1), new(2), max=20)
    assert decide(goal(at=NOW), ready, look) == acts.Attach(("i-new1", "i-new2"))
    look = facts(shielded(1), shielded(2), shielded(3), new(1), new(2), new(3, answers=False), max=20)
    assert decide(goal(at=NOW), ready, look) == acts.Attach(("i-new1", "i-new2"))


def test_waits_for_the_other_groups_with_a_warm_fleet() -> None:
    look = facts(shielded(1), shielded(2), new(1), new(2), max=12)
    ready = record(prepared=True, raised_max=12)
    assert isinstance(decide(goal(), ready, look), acts.Attach)
    decision = decide(goal(), ready, throughout(look, shut={Gate.CUTOVER: "shop-eu to be warm"}))
    assert isinstance(decision, Wait)
    assert decision.what == "shop-eu to be warm"
