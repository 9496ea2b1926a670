"""Waiting and giving up; and how often a look must say the same before it is believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fabfile.plan.decide import decide
from fabfile.plan.fleet import Health, Registration, holds
from fabfile.plan.release import Stuck, Undo, Wait
from fabfile.plan.sides import new_side, old_side
from fabfile.plan.waiting import give_up, is_over, wait_for, why_unhealthy

from .fleets import NOW, attached, cutover, facts, goal, marked, old, record, shielded, since


def test_a_wait_is_over_when_its_time_is() -> None:
    look = facts(old(1))
    wait = wait_for("somebody", "warm", 60, record(marks=marked("warm#0", 59)), look, [])
    assert wait.until == NOW + timedelta(seconds=1)
    assert not is_over(wait, look)
    assert is_over(wait_for("somebody", "warm", 60, record(marks=marked("warm#0", 60)), look, []), look)
    assert not is_over(replace(wait, until=None), look)


def test_progress_gives_new_patience() -> None:
    look = facts(old(1))
    waited = record(marks=marked("healthy#1", 500), attached=("i-new1",))
    assert wait_for("", "healthy", 60, waited, look, []).since == NOW - timedelta(seconds=500)
    for more in ({"attached": ("i-new1", "i-new2")}, {"rested": ("i-old1",)}, {"recalled": ("i-old1",)}):
        assert wait_for("", "healthy", 60, replace(waited, **more), look, []).since == NOW


def test_gives_up_forward_by_turning_back_and_where_there_is_no_way_back_by_asking_a_person() -> None:
    look = facts(old(1), attached(1))
    assert give_up(new_side(record(), look), record(), "sick", [attached(1)]) == Undo("sick", ("i-new1",))
    undoing, committed = record(undo="sick"), record(marks=marked("committed", 5))
    assert give_up(old_side(undoing, look), undoing, "sick", [old(1)]) == Stuck("sick", ("i-old1",))
    assert give_up(new_side(committed, look), committed, "sick", [attached(1)]) == Stuck("sick", ("i-new1",))


def test_says_where_an_instance_is_not_healthy() -> None:
    look = facts(old(1))
    other = replace(look.balancers[0], name="shop-eu", registrations={"i-old1": Registration(Health.UNHEALTHY, "X")})
    assert why_unhealthy(old(1), look) == "i-old1 is InService in shop-prod"
    assert why_unhealthy(old(1), replace(look, balancers=(*look.balancers, other))) == (
        "i-old1 is unhealthy in shop-eu (X: )"
    )


def test_says_that_an_instance_that_is_not_healthy_is_under_a_zonal_shift_too() -> None:
    """The page: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AdministrativeOverride.html."""
    look = facts(old(1))

    def why(reason: str) -> str:
        shifted = Registration(Health.UNHEALTHY, reason, "late" if reason else "", "zonal_shift_active")
        balancer = replace(look.balancers[0], registrations={"i-old1": shifted})
        return why_unhealthy(old(1), replace(look, balancers=(balancer,)))

    assert why("Target.Timeout") == "i-old1 is unhealthy in shop-prod (Target.Timeout: late; zonal_shift_active)"
    assert why("") == "i-old1 is unhealthy in shop-prod (zonal_shift_active)"


def test_believes_what_each_of_so_many_looks_says() -> None:
    one = facts(old(1), looks=1)
    assert not holds(one, 2, lambda _: True)
    assert holds(since(one, one), 2, lambda _: True)
    changed = since(facts(old(2), looks=1), one)
    assert not holds(changed, 2, lambda look: "i-old1" in look.instances)
    assert holds(changed, 1, lambda look: "i-old1" in look.instances)


def test_waits_a_while_for_ec2_to_know_whom_the_group_lists() -> None:
    look = replace(facts(shielded(1), shielded(2), attached(1), attached(2), desired=5), unseen=("i-else",))
    decision = decide(goal(), cutover(), look)
    assert isinstance(decision, Wait)
    assert decision.pending == ("i-else",)
    late = cutover(marks=marked("unseen#i-else", 60))
    assert not isinstance(decide(goal(), late, look), Wait)


@pytest.mark.parametrize(("undo", "failures", "ends"), [(None, 4, False), (None, 5, True), ("sick", 9, False)])
def test_turns_back_when_calls_keep_failing(undo: str | None, failures: int, ends: bool) -> None:
    decision = decide(goal(), record(undo=undo, failures=failures, trouble="throttled"), facts(old(1), old(2)))
    assert isinstance(decision, Undo) is ends


def test_asks_a_person_when_calls_keep_failing_on_the_way_back_or_past_the_point_of_no_return() -> None:
    look = facts(shielded(1), shielded(2), attached(1), attached(2))
    back = decide(goal(), cutover(undo="sick", failures=10, trouble="throttled"), look)
    assert isinstance(back, Stuck)
    assert "putting back failed 10 times: throttled" in back.reason
    committed = cutover(failures=5, trouble="throttled", marks=marked("committed", 1))
    assert isinstance(decide(goal(), committed, look), Stuck)


def test_never_turns_back_past_the_point_of_no_return() -> None:
    fleet = (attached(1), attached(2, group_healthy=False))
    look = facts(*fleet, sick=("i-new2",))
    watched = cutover(watched=("i-new1", "i-new2"), rested=("i-old1", "i-old2"))
    assert isinstance(decide(goal(), watched, look), Undo)
    committed = replace(watched, marks=marked("committed", 1))
    assert not isinstance(decide(goal(), committed, look), Undo)
