"""Who is old, who is new, and who is none of our business."""

from __future__ import annotations

from dataclasses import replace

from fabfile.plan.fleet import Instance, Lifecycle, Power, Template
from fabfile.plan.sides import count_missing, is_settled, new_side, old_side

from .fleets import OLD, attached, cutover, facts, marked, new, old, record, resting


def ids(instances: tuple[Instance, ...]) -> list[str]:
    return [i.id for i in instances]


def test_tells_old_from_new_by_the_image() -> None:
    launched_by_the_group = attached(3, release=None)
    side = new_side(record(), facts(old(1), new(1), launched_by_the_group))
    assert ids(side.stay) == ["i-new1", "i-new3"]
    assert ids(side.leave) == ["i-old1"]


def test_tells_old_from_new_by_the_release_when_a_version_is_released_over_itself() -> None:
    same = record(before=replace(record().before, image_id="ami-2"))
    side = new_side(same, facts(old(1, image_id="ami-2"), old(2), new(1)))
    assert ids(side.stay) == ["i-new1"]
    assert ids(side.leave) == ["i-old1", "i-old2"]


def test_the_way_back_is_the_same_fleet_seen_from_the_other_side() -> None:
    look = facts(old(1), new(1))
    ahead, back = new_side(record(), look), old_side(record(), look)
    assert (ahead.stay, ahead.leave) == (back.leave, back.stay)
    assert (ahead.template, ahead.image_id) == (Template("lt-1", "8"), "ami-2")
    assert (back.template, back.image_id) == (OLD, "ami-1")


def test_has_nothing_to_do_with_what_a_person_put_into_standby() -> None:
    side = new_side(record(), facts(old(1), old(2, lifecycle=Lifecycle.STANDBY), resting(3)))
    assert ids(side.leave) == ["i-old1", "i-old3"]


def test_has_nothing_to_do_with_strangers_outside_the_group() -> None:
    stranger = new(9, release="r9")
    left = old(3, lifecycle=Lifecycle.OUTSIDE, leaving="r1")
    somebodys = old(4, lifecycle=Lifecycle.OUTSIDE, leaving="r0")
    side = new_side(record(), facts(old(1), new(1), stranger, left, somebodys))
    assert ids(side.stay) == ["i-new1"]
    assert ids(side.leave) == ["i-old1", "i-old3"]


def test_counts_nobody_who_is_dead_or_on_the_way_out() -> None:
    dead = attached(2, power=Power.TERMINATED)
    leaving = attached(3, lifecycle=Lifecycle.LEAVING)
    side = new_side(record(), facts(old(1), attached(1), dead, leaving))
    assert ids(side.stay) == ["i-new1"]


def test_counts_only_those_that_serve_or_are_about_to() -> None:
    entering = resting(2, lifecycle=Lifecycle.ENTERING_STANDBY)
    look = facts(old(1), entering, resting(3, standby="r0"), desired=1)
    side = old_side(record(undo="sick"), look)
    assert ids(side.active) == ["i-old1"]
    assert count_missing(side, record(undo="sick"), look) == 1
    assert ids(new_side(record(), facts(new(1), attached(2))).outside) == ["i-new1"]


def test_is_not_ours_to_build_once_old_ones_are_gone_or_new_ones_never_came() -> None:
    look = facts(old(1), attached(1))
    assert not is_settled(new_side(cutover(), look), cutover())
    committed = cutover(marks=marked("committed", 1))
    assert is_settled(new_side(committed, look), committed)
    undoing = cutover(undo="sick")
    assert not is_settled(old_side(undoing, look), undoing)
    assert is_settled(old_side(undoing, facts(old(1), new(1))), undoing)
