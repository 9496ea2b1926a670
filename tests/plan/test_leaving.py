"""The end of the road: old instances out for good, and every setting of the group as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabfile.plan import release as acts
from fabfile.plan.decide import decide
from fabfile.plan.fleet import Balancer, Facts, Health, Instance, Lifecycle, Power, Registration
from fabfile.plan.release import Done, Record, Stuck, Undone, Wait

from .fleets import NEW, attached, cutover, facts, goal, marked, old, record, resting, shielded, throughout

PAUSED = frozenset({"AZRebalance"})
FREE = (attached(1, protected=False), attached(2, protected=False))


def pointed(*fleet: object, **group: object) -> Facts:
    """See a fleet whose group launches the new version by now."""
    return facts(*fleet, **{"template": NEW, "pinned": "8", "max": 12, "desired": 2, **group})  # type: ignore[arg-type]


def served(**changes: object) -> Record:
    """Make a record of a release whose two new instances serve, with the old ones in Standby."""
    return replace(cutover(rested=("i-old1", "i-old2"), paused=PAUSED), **changes)  # type: ignore[arg-type]


def gone(**changes: object) -> Record:
    """Make a record of a release that has let its old instances go."""
    return replace(served(marks=marked("committed", 5)), **changes)  # type: ignore[arg-type]


def undone(**changes: object) -> Record:
    """Make a record of a release whose new instances rest on the way back."""
    back = cutover(undo="sick", rested=("i-new1", "i-new2"), paused=PAUSED)
    return replace(back, **changes)  # type: ignore[arg-type]


def test_lets_old_instances_go_by_name_once_they_rest() -> None:
    look = pointed(resting(1), resting(2), *FREE)
    assert decide(goal(), served(), look) == acts.Detach(("i-old1", "i-old2"), "r1")


def test_has_the_group_terminate_them_where_a_hook_waits_for_that() -> None:
    look = pointed(resting(1), resting(2), *FREE, end_hooks=("drain-logs",))
    assert decide(goal(), served(), look) == acts.Retire(("i-old1", "i-old2"))


def test_terminates_what_it_has_detached() -> None:
    out = [old(n, lifecycle=Lifecycle.OUTSIDE, leaving="r1") for n in (1, 2)]
    assert decide(goal(), gone(), pointed(*out, *FREE)) == acts.Terminate(("i-old1", "i-old2"))


def draining(look: Facts, *ids: str) -> Facts:
    """Have the load balancer still finish requests on some instances, in all looks."""

    def slower(balancer: Balancer) -> Balancer:
        slow = {instance_id: Registration(Health.DRAINING) for instance_id in ids}
        return replace(balancer, registrations={**balancer.registrations, **slow})

    return throughout(look, balancers=tuple(slower(each) for each in look.balancers))


def stray() -> Instance:
    """Make an old instance that left the group; it may be that somebody else took it out."""
    return old(1, lifecycle=Lifecycle.OUTSIDE, leaving="r1")


def test_terminates_nobody_outside_the_group_who_still_finishes_requests() -> None:
    look = draining(pointed(stray(), *FREE), "i-old1")
    decision = decide(goal(), gone(), look)
    assert isinstance(decision, Wait)
    assert (decision.name, decision.pending) == ("let go", ("i-old1",))
    assert decide(goal(), gone(), pointed(stray(), *FREE)) == acts.Terminate(("i-old1",))


def test_does_not_wait_for_ever_for_the_last_request() -> None:
    look = draining(pointed(stray(), *FREE), "i-old1")
    almost = gone(marks=(*marked("committed", 700), *marked("let go#4", 599)))
    assert isinstance(decide(goal(), almost, look), Wait)
    late = gone(marks=(*marked("committed", 700), *marked("let go#4", 600)))
    assert decide(goal(), late, look) == acts.Terminate(("i-old1",))


def test_lets_nobody_go_who_was_kept_warm_and_still_finishes_requests() -> None:
    spare = attached(3, lifecycle=Lifecycle.STANDBY, standby="r0", release="r0")
    decision = decide(goal(), gone(), draining(pointed(spare, *FREE), "i-new3"))
    assert isinstance(decision, Wait)
    assert (decision.name, decision.pending) == ("let go", ("i-new3",))
    assert decide(goal(), gone(), pointed(spare, *FREE)) == acts.Detach(("i-new3",), "r1")


def test_waits_for_no_requests_of_those_who_stay() -> None:
    look = draining(pointed(stray(), *FREE), "i-new1")
    assert decide(goal(), gone(), look) == acts.Terminate(("i-old1",))


def test_terminates_its_own_instances_that_stopped_and_no_others() -> None:
    ours = old(1, lifecycle=Lifecycle.OUTSIDE, leaving="r1", power=Power.STOPPED)
    theirs = old(9, lifecycle=Lifecycle.OUTSIDE, power=Power.STOPPED)
    assert decide(goal(), gone(), pointed(ours, theirs, *FREE)) == acts.Terminate(("i-old1",))


def test_keeps_the_previous_fleet_when_asked_and_lets_an_older_one_go() -> None:
    older = old(3, image_id="ami-0", lifecycle=Lifecycle.STANDBY, standby="r0")
    look = pointed(resting(1), resting(2), older, *FREE)
    assert decide(goal(keep_previous=True), served(), look) == acts.Detach(("i-old3",), "r1")


def test_keeps_on_the_way_back_what_was_warm_before_it() -> None:
    warm = [attached(n, lifecycle=Lifecycle.STANDBY, standby=by) for n, by in ((1, "r1"), (2, "r0"), (3, "r1"))]
    look = facts(shielded(1), shielded(2), *warm, max=12, desired=2)
    assert decide(goal(), undone(recalled=("i-new1",)), look) == acts.Detach(("i-new3",), "r1")


def test_removes_a_dead_instance_from_standby_if_it_put_it_there() -> None:
    dead = resting(1, power=Power.TERMINATED)
    look = pointed(dead, *FREE)
    assert decide(goal(), gone(), look) == acts.Retire(("i-old1",))
    somebodys = replace(dead, id="i-old9", standby=None)
    assert not isinstance(decide(goal(), gone(), pointed(somebodys, *FREE)), acts.Retire)


def test_removes_an_instance_from_standby_that_ec2_does_not_know_any_more() -> None:
    look = replace(pointed(*FREE), unseen=("i-old1",))
    known_too_late = gone(marks=(*marked("committed", 90), *marked("unseen#i-old1", 60)))
    assert decide(goal(), known_too_late, look) == acts.Retire(("i-old1",))


def test_is_not_done_while_an_old_instance_shuts_down() -> None:
    going = old(1, lifecycle=Lifecycle.OUTSIDE, leaving="r1", power=Power.SHUTTING_DOWN)
    decision = decide(goal(), gone(), pointed(going, *FREE))
    assert isinstance(decision, Wait)
    assert decision.what == "1 instance to terminate"


def test_waits_for_nobody_elses_instance_that_shuts_down() -> None:
    theirs = old(9, lifecycle=Lifecycle.OUTSIDE, power=Power.SHUTTING_DOWN)
    done = gone(prepared=False)
    assert isinstance(decide(goal(), done, pointed(theirs, *FREE)), Done)


def test_asks_a_person_when_one_of_ours_does_not_leave() -> None:
    held = old(1, lifecycle=Lifecycle.LEAVING, leaving="r1")
    look = pointed(held, *FREE)
    late = gone(marks=(*marked("committed", 700), *marked("retire#4", 601)))
    decision = decide(goal(), late, look)
    assert isinstance(decision, Stuck)
    assert decision.blamed == ("i-old1",)


def test_forgets_that_instances_in_service_were_ever_in_standby() -> None:
    recalled = [shielded(n, standby="r1") for n in (1, 2)]
    look = facts(*recalled, max=12)
    assert decide(goal(), undone(rested=("i-old1", "i-old2")), look) == acts.Untag(("i-old1", "i-old2"))


def test_forgets_it_of_those_as_well_that_are_still_on_their_way_back() -> None:
    recalled = attached(1, protected=False, lifecycle=Lifecycle.PENDING, standby="r0")
    look = pointed(recalled, FREE[1], max=10)
    assert decide(goal(), gone(), look) == acts.Untag(("i-new1",))


def test_takes_its_shield_away_but_not_that_of_others() -> None:
    look = pointed(attached(1), attached(2))
    assert decide(goal(), gone(), look) == acts.Protect(("i-new1", "i-new2"), protected=False)
    before = replace(record().before, protected=("i-new1",))
    assert decide(goal(), gone(before=before), look) == acts.Protect(("i-new2",), protected=False)
    shields = pointed(attached(1), attached(2), protects_new=True)
    assert not isinstance(decide(goal(), gone(), shields), acts.Protect)


def test_puts_the_maximum_back_and_resumes_what_it_paused() -> None:
    look = pointed(*FREE, suspended=PAUSED)
    assert decide(goal(), gone(), look) == acts.RestoreGroup(10, PAUSED)


def test_leaves_a_process_suspended_that_it_did_not_suspend() -> None:
    look = pointed(*FREE, suspended=frozenset({"AlarmNotification"}))
    assert decide(goal(), gone(), look) == acts.RestoreGroup(10, frozenset())


def test_leaves_a_process_alone_that_somebody_resumed() -> None:
    look = pointed(*FREE, max=10)
    assert isinstance(decide(goal(), gone(), look), Done)


def test_leaves_a_maximum_alone_that_somebody_set() -> None:
    look = pointed(*FREE, max=40, suspended=PAUSED)
    assert decide(goal(), gone(), look) == acts.RestoreGroup(None, PAUSED)


def test_puts_a_maximum_back_that_it_had_raised_before_it_died_while_it_raised_it_again() -> None:
    look = pointed(*FREE, max=12)
    died = gone(raised_max=14, raised=(12,))
    assert decide(goal(), died, look) == acts.RestoreGroup(10, frozenset())


def test_puts_no_maximum_back_that_was_high_enough_all_the_time() -> None:
    wide = gone(before=replace(record().before, max=12))
    assert isinstance(decide(goal(), wide, pointed(*FREE)), Done)


def test_puts_no_maximum_below_what_runs() -> None:
    fresh = [attached(n, protected=False) for n in range(11)]
    written = gone(attached=tuple(i.id for i in fresh), wanted=11)
    look = pointed(*fresh, desired=11)
    assert decide(goal(), written, look) == acts.RestoreGroup(11, frozenset())


def test_puts_the_number_back_when_a_policy_lowered_it_meanwhile() -> None:
    look = pointed(*FREE, desired=1)
    assert decide(goal(), gone(), look) == acts.Resize(2)


def crowded(**changes: object) -> Facts:
    """See three new instances in a group that is to have two."""
    third = attached(3, protected=False, release=None)
    return pointed(*FREE, third, **{"desired": 3, **changes})


def test_shrinks_the_group_only_when_all_serve_whom_it_might_keep() -> None:
    tight = gone(before=replace(record().before, max=2))
    decision = decide(goal(), tight, crowded(sick=("i-new2",)))
    assert isinstance(decision, Wait)
    assert (decision.name, decision.pending) == ("shrink", ("i-new2",))
    assert decide(goal(), tight, crowded()) == acts.Resize(2)


def test_shrinks_the_group_only_when_it_has_replaced_the_dead() -> None:
    tight = gone(before=replace(record().before, max=2))
    look = crowded()
    dead = attached(4, release=None, power=Power.TERMINATED)
    look = throughout(look, instances={**look.instances, dead.id: dead})
    decision = decide(goal(), tight, look)
    assert isinstance(decision, Wait)
    assert (decision.name, decision.pending) == ("shrink", ("i-new4",))


def test_does_not_wait_for_ever_to_shrink_the_group() -> None:
    tight = gone(before=replace(record().before, max=2))
    look = crowded(sick=("i-new2",))
    almost = replace(tight, marks=(*tight.marks, *marked("shrink#4", 299)))
    assert isinstance(decide(goal(), almost, look), Wait)
    late = replace(tight, marks=(*tight.marks, *marked("shrink#4", 300)))
    assert decide(goal(), late, look) == acts.Resize(2)


def test_waits_for_nobody_before_the_group_grows_again() -> None:
    look = pointed(*FREE, desired=1, sick=("i-new2",))
    assert decide(goal(), gone(), look) == acts.Resize(2)


def test_waits_for_a_dead_machine_to_be_replaced_before_the_group_shrinks() -> None:
    dead = attached(3, power=Power.TERMINATED)
    written = gone(attached=("i-new1", "i-new2", "i-new3"))
    waits = decide(goal(), written, pointed(*FREE, dead, desired=3))
    assert isinstance(waits, Wait)
    assert waits.pending == ("i-new3",)
    assert decide(goal(), written, pointed(*FREE, desired=3)) == acts.Resize(2)


def test_has_the_group_replace_whom_a_lowered_maximum_would_have_cost_it() -> None:
    assert decide(goal(), gone(wanted=3), pointed(*FREE, desired=2)) == acts.Resize(3)


def test_ends_where_everything_is_back() -> None:
    assert isinstance(decide(goal(), gone(), pointed(*FREE, max=10)), Done)
    fleet = [old(1), old(2)]
    assert isinstance(decide(goal(), undone(), facts(*fleet)), Undone)


def test_does_not_end_on_a_single_look() -> None:
    assert isinstance(decide(goal(), gone(), pointed(*FREE, max=10, looks=1)), Wait)


@pytest.mark.parametrize("undo", [None, "sick"])
def test_puts_nothing_back_that_it_never_changed(undo: str | None) -> None:
    look = facts(old(1), old(2), suspended=PAUSED, max=12) if undo else pointed(*FREE, suspended=PAUSED)
    untouched = record(undo=undo) if undo else record(marks=marked("committed", 5))
    assert isinstance(decide(goal(), untouched, look), Done | Undone)
