"""What is written down before each act; and the number that autoscaling wants, beneath all that a release moved."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fabfile.plan import release as acts
from fabfile.plan.fleet import Instance, Lifecycle, Power
from fabfile.plan.ledger import demand, intend, maxima, note, own_maximum, settled, withdrawn
from fabfile.plan.release import Wait

from .fleets import NOW, attached, cutover, facts, marked, old, record, resting, shielded

PAUSED = frozenset({"AZRebalance"})


def test_writes_down_what_it_is_about_to_change_in_the_group() -> None:
    written = intend(acts.PrepareGroup(4, PAUSED), record(), facts(old(1), old(2), max=2))
    assert (written.prepared, written.raised_max, written.paused) == (True, 4, PAUSED)
    again = intend(acts.PrepareGroup(5, frozenset()), written, facts(old(1), old(2), max=4))
    assert (again.raised_max, again.paused) == (5, PAUSED)


def test_tells_a_maximum_that_somebody_set_from_its_own() -> None:
    two, three, four, five = (facts(old(1), old(2), max=maximum) for maximum in (2, 3, 4, 5))
    first = intend(acts.PrepareGroup(4, PAUSED), record(), two)
    assert own_maximum(first, four) == 2
    again = intend(acts.PrepareGroup(5, frozenset()), first, four)
    assert own_maximum(again, five) == 2
    set_by_somebody = intend(acts.PrepareGroup(5, frozenset()), first, three)
    assert own_maximum(set_by_somebody, five) == 3
    assert own_maximum(first, three) == 3, "nobody has made room in it yet"


def test_knows_each_maximum_of_its_own_whether_or_not_the_call_was_made() -> None:
    first = intend(acts.PrepareGroup(4, PAUSED), record(), facts(old(1), old(2), max=2))
    died = intend(acts.PrepareGroup(5, frozenset()), first, facts(old(1), old(2), max=4))
    assert maxima(died) == {4, 5}
    again = intend(acts.PrepareGroup(6, frozenset()), died, facts(old(1), old(2), max=4))
    assert maxima(again) == {4, 5, 6}
    six = facts(old(1), old(2), max=6)
    assert own_maximum(again, six) == 2, "the 4 that was still there was no wish of anybody's"
    assert maxima(record()) == set()


def test_does_not_write_down_as_its_own_what_was_suspended_already() -> None:
    look = facts(old(1), suspended=PAUSED)
    assert intend(acts.PrepareGroup(4, PAUSED), record(), look).paused == frozenset()


def test_writes_down_whom_it_moves() -> None:
    look = facts(old(1), old(2), attached(1), attached(2))
    assert intend(acts.Attach(("i-new2", "i-new1")), record(attached=("i-new1",)), look).attached == (
        "i-new1",
        "i-new2",
    )
    moved = intend(acts.EnterStandby(("i-old1",), "r1"), cutover(), look)
    assert moved.rested == ("i-old1",)
    assert moved.watched == ("i-new1", "i-new2")
    assert intend(acts.Drop(("i-old3",), shrink=True), record(), look).rested == ("i-old3",)
    assert intend(acts.Drop(("i-old3",), shrink=False), record(), look).rested == ()


def test_tells_those_it_recalls_apart_from_those_that_rested_before_it() -> None:
    look = facts(resting(1), old(2))
    written = intend(acts.ExitStandby(("i-old1", "i-new1")), record(rested=("i-old1",)), look)
    assert written.recalled == ("i-new1",)


def test_watches_nobody_on_the_way_back() -> None:
    look = facts(old(1), attached(1))
    assert intend(acts.EnterStandby(("i-new1",), "r1"), cutover(undo="sick"), look).watched == ()


def test_watches_only_what_it_started_itself_when_a_version_is_released_over_itself() -> None:
    same = replace(record().before, image_id="ami-2")
    look = facts(old(1, image_id="ami-2"), attached(1))
    assert intend(acts.EnterStandby(("i-old1",), "r1"), cutover(before=same), look).watched == ("i-new1",)


@pytest.mark.parametrize("act", [acts.Retire(("i-old1",)), acts.Detach(("i-old1",), "r1")])
def test_marks_the_point_of_no_return_once_and_never_on_the_way_back(act: acts.Act) -> None:
    look = facts(resting(1), attached(1))
    assert intend(act, record(), look).mark("committed") == NOW
    earlier = record(marks=marked("committed", 9))
    assert intend(act, earlier, look).mark("committed") == NOW - timedelta(seconds=9)
    assert intend(act, record(undo="sick"), look).mark("committed") is None


def test_remembers_when_a_wait_began() -> None:
    look = facts(old(1), attached(1))
    wait = Wait("somebody", NOW - timedelta(seconds=3), None, "warm#0")
    written = note(wait, record(), look)
    assert written.mark("warm#0") == NOW - timedelta(seconds=3)
    assert note(replace(wait, since=NOW), written, look) == written


@pytest.mark.parametrize(
    ("mark", "watched"),
    [("canary", ("i-new1",)), ("soak", ("i-new1",)), ("gate commit", ("i-new1",)), ("warm#0", ()), ("healthy#1", ())],
)
def test_watches_those_who_serve_when_it_begins_to_watch(mark: str, watched: tuple[str, ...]) -> None:
    look = facts(old(1), attached(1))
    assert note(Wait("", NOW, None, mark), record(), look).watched == watched
    assert note(Wait("", NOW, None, mark), record(undo="sick"), look).watched == ()


def test_needs_what_there_was_before_whatever_the_acts_did_to_the_number() -> None:
    assert demand(record(), facts(old(1), old(2))) == 2
    both = facts(shielded(1), shielded(2), attached(1), attached(2), desired=4)
    assert demand(cutover(), both) == 2
    rested = facts(resting(1), resting(2), attached(1), attached(2), desired=2)
    assert demand(cutover(rested=("i-old1", "i-old2")), rested) == 2


def test_follows_autoscaling_upwards_and_never_downwards() -> None:
    both = (shielded(1), shielded(2), attached(1), attached(2))
    assert demand(cutover(), facts(*both, desired=5)) == 3
    assert demand(cutover(), facts(*both, desired=3)) == 2


@pytest.mark.parametrize("undo", [None, "sick"])
def test_needs_as_many_as_a_minimum_that_somebody_raised_meanwhile(undo: str | None) -> None:
    both = facts(shielded(1), shielded(2), attached(1), attached(2), min=3)
    assert demand(cutover(undo=undo), both) == 3


def test_follows_nobody_above_the_maximum_that_the_group_had() -> None:
    tight = replace(record().before, max=3)
    both = (shielded(1), shielded(2), attached(1), attached(2))
    assert demand(cutover(before=tight, raised_max=9), facts(*both, desired=9, max=9)) == 3


def test_counts_the_place_of_an_instance_that_died_in_service_but_not_in_standby() -> None:
    dead = attached(2, power=Power.TERMINATED)
    assert demand(cutover(), facts(shielded(1), shielded(2), attached(1), dead, desired=4)) == 2
    assert demand(cutover(), facts(shielded(1), shielded(2), attached(1), desired=4)) == 2
    rested = cutover(rested=("i-old1", "i-old2"))
    assert demand(rested, facts(resting(1), attached(1), attached(2), desired=2)) == 2


def test_counts_nobody_who_is_on_the_way_into_standby() -> None:
    entering = resting(1, lifecycle=Lifecycle.ENTERING_STANDBY)
    fleet = (entering, shielded(2), attached(1), attached(2))
    assert demand(cutover(rested=("i-old1",)), facts(*fleet, desired=3)) == 2
    assert demand(cutover(rested=("i-old1",)), facts(*fleet, desired=4)) == 3


def test_takes_its_own_resizing_for_nobodys_wish() -> None:
    both = (shielded(1), shielded(2), attached(1), attached(2))
    before = facts(*both, desired=3)
    written = intend(acts.Resize(4), cutover(), before)
    assert demand(written, facts(*both, desired=4)) == 2
    assert demand(written, facts(*both, desired=6)) == 3, "two more were wished for, one less before"


def test_counts_its_own_resizing_when_it_is_seen_and_once() -> None:
    both = (shielded(1), shielded(2), attached(1), attached(2))
    wide, narrow = facts(*both, desired=5), facts(*both, desired=4)
    meant = intend(acts.Resize(4), cutover(), wide)
    assert demand(cutover(), wide) == demand(meant, wide) == demand(meant, narrow) == 3
    died = intend(acts.Protect(("i-old1",), protected=True), meant, wide)
    assert (died.trimmed, demand(died, wide)) == (0, 3), "the call was never made"
    done = intend(acts.Protect(("i-old1",), protected=True), meant, narrow)
    assert (done.trimmed, demand(done, narrow)) == (1, 3)
    later = intend(acts.Protect(("i-old2",), protected=True), done, narrow)
    assert (later.trimmed, demand(later, narrow)) == (1, 3)


def test_counts_its_own_resizing_for_certain_once_aws_has_done_it() -> None:
    both = (shielded(1), shielded(2), attached(1), attached(2))
    wide, narrow = facts(*both, desired=5), facts(*both, desired=4)
    done = settled(acts.Resize(4), intend(acts.Resize(4), cutover(), wide))
    assert (done.trimmed, done.resizing) == (1, None)
    assert demand(done, narrow) == 3
    assert demand(done, wide) == 4, "autoscaling has asked for one more since"
    assert settled(acts.Protect(("i-old1",), protected=True), cutover()) == cutover()


def test_counts_the_place_of_one_that_dies_after_it_came_back() -> None:
    look = facts(resting(1), resting(2), attached(1), attached(2), desired=2)
    act = acts.ExitStandby(("i-old1",))
    back = settled(act, intend(act, cutover(undo="sick", rested=("i-old1", "i-old2")), look))
    assert back.rested == ("i-old2",)
    dead = shielded(1, power=Power.TERMINATED)
    assert demand(back, facts(dead, resting(2), attached(1), attached(2), desired=3)) == 2


@pytest.mark.parametrize("serving", [Lifecycle.IN_SERVICE, Lifecycle.PENDING])
def test_strikes_out_whom_it_meant_to_put_into_standby_and_who_is_not_there(serving: Lifecycle) -> None:
    look = facts(shielded(1, lifecycle=serving), resting(2), attached(1), attached(2), desired=3)
    later = intend(acts.Untag(("i-new1",)), cutover(rested=("i-old1", "i-old2")), look)
    assert later.rested == ("i-old2",)
    assert demand(later, look) == 2


def test_remembers_whom_it_put_into_standby_until_they_are_gone() -> None:
    entering = resting(1, lifecycle=Lifecycle.ENTERING_STANDBY)
    look = facts(entering, resting(2), attached(1), attached(2))
    written = cutover(rested=("i-old1", "i-old2", "i-old3"))
    assert intend(acts.Untag(("i-new1",)), written, look).rested == ("i-old1", "i-old2", "i-old3")


def test_strikes_out_whom_it_meant_to_attach_and_who_is_still_outside() -> None:
    outside = attached(2, lifecycle=Lifecycle.OUTSIDE)
    look = facts(shielded(1), shielded(2), attached(1), outside, desired=3)
    later = intend(acts.Protect(("i-old1",), protected=True), cutover(), look)
    assert later.attached == ("i-new1",)
    again = intend(acts.Attach(("i-new2",)), later, look)
    assert again.attached == ("i-new1", "i-new2")


def test_remembers_whom_it_attached_when_it_has_taken_them_out_again() -> None:
    out = attached(1, lifecycle=Lifecycle.OUTSIDE, leaving="r1")
    look = facts(shielded(1), shielded(2), out, attached(2), desired=3)
    later = intend(acts.Terminate(("i-new1",)), cutover(undo="sick", rested=("i-new1",)), look)
    assert (later.attached, later.rested) == (("i-new1", "i-new2"), ("i-new1",))
    assert demand(later, look) == 2


@pytest.mark.parametrize(
    "act",
    [
        acts.EnterStandby(("i-old1",), "r1"),
        acts.ExitStandby(("i-old3",)),
        acts.Drop(("i-old1",), shrink=True),
    ],
)
def test_takes_back_whom_it_wrote_down_when_aws_refused_to_move_them(act: acts.Act) -> None:
    before = cutover()
    look = facts(shielded(1), shielded(2), resting(3, standby="r0"), attached(1), attached(2))
    written = intend(act, before, look)
    assert written != before
    taken_back = withdrawn(act, written, before, look)
    assert (taken_back.rested, taken_back.recalled) == (before.rested, before.recalled)


@pytest.mark.parametrize(
    ("act", "moved"),
    [
        (acts.EnterStandby(("i-old1",), "r1"), resting(1, lifecycle=Lifecycle.ENTERING_STANDBY)),
        (acts.EnterStandby(("i-old1",), "r1"), resting(1, power=Power.TERMINATED)),
        (acts.ExitStandby(("i-old3",)), old(3, lifecycle=Lifecycle.PENDING)),
        (acts.Drop(("i-old1",), shrink=True), old(1, lifecycle=Lifecycle.LEAVING)),
    ],
)
def test_takes_nobody_back_who_moved_before_the_answer_was_lost(act: acts.Act, moved: Instance) -> None:
    before = cutover()
    written = intend(act, before, facts(shielded(1), shielded(2), resting(3, standby="r0"), attached(1)))
    assert withdrawn(act, written, before, facts(shielded(2), moved, attached(1))) == written


@pytest.mark.parametrize(
    "act", [acts.Attach(("i-new3",)), acts.PrepareGroup(14, PAUSED), acts.Resize(3), acts.Detach(("i-old3",), "r1")]
)
def test_takes_nothing_else_back_since_part_of_it_may_be_done(act: acts.Act) -> None:
    before = cutover()
    look = facts(shielded(1), shielded(2), resting(3, standby="r0"), attached(1), attached(2))
    written = intend(act, before, look)
    assert written != before
    assert withdrawn(act, written, before, look) == written


def test_believes_what_it_sees_of_its_own_before_what_is_written() -> None:
    fleet = (shielded(1), resting(2), attached(1, release="r1"), attached(2, release="r1"))
    forgot = cutover(attached=("i-new1",), rested=())
    assert demand(forgot, facts(*fleet, desired=3)) == 2
    later = intend(acts.Protect(("i-old1",), protected=True), forgot, facts(*fleet, desired=3))
    assert (later.attached, later.rested) == (("i-new1", "i-new2"), ("i-old2",))


def test_needs_no_more_on_the_way_back_than_there_was() -> None:
    empty = replace(record().before, desired=0, min=0)
    assert demand(record(before=empty, wanted=1), facts(desired=0, min=0)) == 1
    assert demand(record(before=empty, wanted=1, undo="sick"), facts(desired=0, min=0)) == 0
