"""From the first new instance that serves to the last old one that does not: in which order, and on whose word."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fabfile.plan import release as acts
from fabfile.plan.decide import decide
from fabfile.plan.fleet import Alarm, Balancer, Facts, Gate, Health, Instance, Lifecycle, Power, Registration
from fabfile.plan.release import ALARM, HEALTH, Record, Stuck, Undo, Wait

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

BOTH = (shielded(1), shielded(2), attached(1), attached(2))


def pointed(*fleet: Instance, **group: object) -> Facts:
    """See a fleet whose group launches the new version by now."""
    return facts(*fleet, **{"template": NEW, "pinned": "8", "max": 12, **group})  # type: ignore[arg-type]


def said_of(look: Facts, instance_id: str, health: Health, where: str = "shop-prod") -> Facts:
    """Have one load balancer say something of one instance, in all looks."""

    def changed(balancer: Balancer) -> Balancer:
        if balancer.name != where:
            return balancer
        return replace(balancer, registrations={**balancer.registrations, instance_id: Registration(health)})

    return throughout(look, balancers=tuple(changed(each) for each in look.balancers))


def served(**changes: object) -> Record:
    """Make a record of a release whose two new instances serve, seen to be healthy, with the old ones in Standby."""
    return replace(
        cutover(rested=("i-old1", "i-old2"), watched=("i-new1", "i-new2"), marks=marked("soak", 5)),
        **changes,  # type: ignore[arg-type]
    )


def test_makes_room_and_pauses_before_it_moves_anything_into_the_group() -> None:
    look = facts(old(1), old(2), new(1), new(2), max=2)
    assert decide(goal(), record(), look) == acts.PrepareGroup(max=4, pause=frozenset({"AZRebalance"}))


def test_pauses_nothing_that_is_suspended_already() -> None:
    look = facts(old(1), old(2), new(1), new(2), suspended=frozenset({"AZRebalance"}))
    assert decide(goal(), record(), look) == acts.PrepareGroup(max=12, pause=frozenset())


def test_makes_room_again_when_autoscaling_grew_into_it() -> None:
    ready = record(prepared=True, raised_max=4)
    look = facts(shielded(1), shielded(2), new(1), new(2), new(3), max=4, desired=3)
    assert decide(goal(), ready, look) == acts.PrepareGroup(max=6, pause=frozenset())


def test_raises_the_maximum_that_it_wrote_down_before_it_died() -> None:
    look = facts(shielded(1), shielded(2), new(1), new(2))
    assert decide(goal(), record(prepared=True, raised_max=12), look) == acts.PrepareGroup(12, frozenset())


def test_leaves_a_maximum_that_somebody_lowered_as_long_as_there_is_room() -> None:
    look = facts(shielded(1), shielded(2), new(1), new(2), max=8)
    assert isinstance(decide(goal(), record(prepared=True, raised_max=12), look), acts.Attach)


def test_never_lowers_the_maximum_while_it_makes_room() -> None:
    ready = record(prepared=True, raised_max=12, paused=frozenset({"AZRebalance"}))
    look = facts(shielded(1), shielded(2), new(1), new(2), max=12)
    assert decide(goal(), ready, look) == acts.PrepareGroup(max=12, pause=frozenset({"AZRebalance"}))


def test_shields_both_fleets_while_the_traffic_moves() -> None:
    look = pointed(old(1), old(2), attached(1, protected=False), attached(2))
    assert decide(goal(), cutover(), look) == acts.Protect(("i-new1", "i-old1", "i-old2"), protected=True)


def test_shields_nobody_any_more_when_the_old_fleet_is_gone() -> None:
    done = served(marks=marked("committed", 5))
    look = pointed(attached(1), attached(2))
    assert decide(goal(), done, look) == acts.Protect(("i-new1", "i-new2"), protected=False)
    free = pointed(attached(1, protected=False), attached(2, protected=False))
    assert not isinstance(decide(goal(), done, free), acts.Protect)


def test_hands_the_canary_alone_to_the_group_although_the_whole_fleet_is_warm() -> None:
    look = facts(shielded(1), shielded(2), new(1), new(2), max=12)
    ready = record(prepared=True, raised_max=12)
    wish = goal(canary=1, canary_s=60, at=NOW)
    assert decide(wish, ready, look) == acts.Attach(("i-new1",))
    assert decide(goal(at=NOW), ready, look) == acts.Attach(("i-new1", "i-new2"))


def test_says_how_many_are_there_before_it_adds_to_a_group_that_wants_fewer() -> None:
    look = facts(shielded(1), shielded(2), new(1), new(2), max=12, desired=1)
    assert decide(goal(), record(prepared=True, raised_max=12), look) == acts.Resize(2)


def test_says_no_higher_number_than_the_maximum_allows() -> None:
    look = facts(*BOTH, new(3), max=2, desired=1)
    assert decide(goal(), cutover(wanted=3), look) == acts.Resize(2)


def test_trusts_no_single_look_at_health() -> None:
    healthy = pointed(*BOTH, template=replace(NEW, version="7"), looks=1)
    sick = facts(*BOTH, sick=("i-new2",), looks=1)
    assert isinstance(decide(goal(), cutover(), since(sick, healthy)), Wait)
    assert isinstance(decide(goal(), cutover(), since(healthy, healthy)), acts.PointGroup)


def test_asks_every_load_balancer() -> None:
    look = facts(*BOTH, max=12)
    second = replace(look.balancers[0], name="shop-classic")
    look = throughout(look, balancers=(*look.balancers, second))
    assert isinstance(decide(goal(), cutover(), look), acts.PointGroup)
    look = said_of(look, "i-new2", Health.INITIAL, where="shop-classic")
    assert isinstance(decide(goal(), cutover(), look), Wait)


def test_takes_nobody_for_healthy_whom_the_group_does_not_have_in_service_yet() -> None:
    joining = attached(2, lifecycle=Lifecycle.PENDING)
    look = said_of(facts(shielded(1), shielded(2), attached(1), joining, max=12), "i-new2", Health.HEALTHY)
    assert isinstance(decide(goal(), cutover(), look), Wait)


def test_does_not_wait_on_the_way_back_for_more_than_is_needed() -> None:
    undoing = cutover(undo="sick")
    extra = old(3, protected=True)
    look = facts(shielded(1), shielded(2), extra, attached(1), attached(2), sick=("i-old3",), max=12, desired=4)
    decision = decide(goal(), undoing, look)
    assert isinstance(decision, acts.EnterStandby)
    assert decision.ids == ("i-new1", "i-new2")


def test_gives_up_on_an_instance_that_does_not_turn_healthy_in_time() -> None:
    look = facts(*BOTH, sick=("i-new2",), max=12)
    assert isinstance(decide(goal(), cutover(marks=marked("healthy#2", 299)), look), Wait)
    late = decide(goal(), cutover(marks=marked("healthy#2", 300)), look)
    assert isinstance(late, Undo)
    assert late.cause == HEALTH


def canary(**changes: object) -> Record:
    return replace(record(prepared=True, raised_max=12, attached=("i-new1",)), **changes)  # type: ignore[arg-type]


def test_waits_for_the_canary_to_prove_itself() -> None:
    look = facts(shielded(1), shielded(2), attached(1), max=12, subnets=one_zone())
    wish = goal(canary=1, canary_s=60)
    watching = decide(wish, canary(marks=marked("canary", 59)), look)
    assert isinstance(watching, Wait)
    assert watching.wake == NOW + timedelta(seconds=1)
    assert isinstance(decide(wish, canary(marks=marked("canary", 60)), look), acts.LaunchInstances)
    assert isinstance(decide(wish, canary(), look), Wait)


def test_takes_no_old_instance_out_beside_a_canary() -> None:
    look = pointed(shielded(1), shielded(2), attached(1))
    wish = goal(canary=1, canary_s=60)
    assert isinstance(decide(wish, canary(marks=marked("canary", 30)), look), Wait)


def test_points_autoscaling_at_the_new_version_before_old_instances_go() -> None:
    assert decide(goal(), cutover(), facts(*BOTH, max=12)) == acts.PointGroup(NEW)
    assert isinstance(decide(goal(), cutover(), pointed(*BOTH)), acts.EnterStandby)


def test_takes_as_many_old_instances_out_as_new_ones_serve() -> None:
    look = pointed(shielded(1), shielded(2), attached(1), desired=3)
    written = record(prepared=True, raised_max=12, attached=("i-new1",))
    decision = decide(goal(batch=1), written, look)
    assert decision == acts.EnterStandby(("i-old1",), "r1")


def test_takes_an_old_instance_out_that_does_not_serve_before_one_that_does() -> None:
    look = pointed(shielded(1), shielded(2), shielded(3), attached(1), sick=("i-old2",), desired=4)
    written = record(prepared=True, raised_max=12, attached=("i-new1",), wanted=3)
    assert decide(goal(batch=1), written, look) == acts.EnterStandby(("i-old2",), "r1")


def test_leaves_no_zone_without_anybody_while_it_goes_by_batches() -> None:
    """A network load balancer sends a zone's requests to that zone's instances alone."""
    written = record(prepared=True, raised_max=12, attached=("i-new2",))
    look = pointed(shielded(1, zone="a"), shielded(2, zone="b"), attached(2, zone="b"), desired=3)
    assert decide(goal(batch=1), written, look) == acts.EnterStandby(("i-old2",), "r1")
    look = pointed(shielded(1, zone="a"), shielded(2, zone="b"), attached(2, zone="a"), desired=3)
    assert decide(goal(batch=1), written, look) == acts.EnterStandby(("i-old1",), "r1")


def test_keeps_the_old_fleet_until_a_slow_start_is_over() -> None:
    slow = throughout(pointed(*BOTH), slow_start_s=90)
    starting = decide(goal(), cutover(), slow)
    assert isinstance(starting, Wait)
    assert (starting.name, starting.wake) == ("ramp", NOW + timedelta(seconds=90))
    assert isinstance(decide(goal(), cutover(marks=marked("ramp#2", 89)), slow), Wait)
    assert isinstance(decide(goal(), cutover(marks=marked("ramp#2", 90)), slow), acts.EnterStandby)
    back = throughout(facts(*BOTH, max=12), slow_start_s=90)
    assert isinstance(decide(goal(), cutover(undo="sick"), back), acts.EnterStandby), "nobody waits on the way back"


def test_has_as_much_patience_with_last_requests_as_the_load_balancer() -> None:
    look = said_of(pointed(resting(1), resting(2), attached(1), attached(2)), "i-old1", Health.DRAINING)
    late = served(marks=marked("drain#4", 3000))
    assert isinstance(decide(goal(), late, look), Undo)
    patient = decide(goal(), late, throughout(look, drain_s=3000))
    assert isinstance(patient, Wait)
    assert patient.until == NOW + timedelta(seconds=60)


def test_raises_the_number_first_where_standby_would_take_it_below_the_minimum() -> None:
    look = pointed(*BOTH, desired=2, min=2)
    assert decide(goal(), cutover(), look) == acts.Resize(4)


def test_makes_room_for_what_is_there_where_somebody_lowered_the_maximum_below_it() -> None:
    lowered = pointed(*BOTH, desired=2, min=2, max=3)
    assert decide(goal(), cutover(), lowered) == acts.PrepareGroup(max=4, pause=frozenset())
    assert decide(goal(), cutover(), pointed(*BOTH, desired=2, min=2, max=4)) == acts.Resize(4)
    assert isinstance(decide(goal(), cutover(), pointed(*BOTH, desired=3, min=1, max=3)), acts.EnterStandby)


def test_lets_nobody_go_who_still_finishes_requests() -> None:
    look = said_of(pointed(resting(1), resting(2), attached(1), attached(2)), "i-old1", Health.DRAINING)
    decision = decide(goal(), served(), look)
    assert isinstance(decision, Wait)
    assert decision.pending == ("i-old1",)
    drained = said_of(look, "i-old1", Health.UNUSED)
    assert isinstance(decide(goal(), served(), drained), acts.Detach)


def test_waits_for_the_last_request_before_it_soaks_and_turns_back_when_that_takes_too_long() -> None:
    look = said_of(pointed(resting(1), resting(2), attached(1), attached(2)), "i-old1", Health.DRAINING)
    draining = decide(goal(soak_s=60), served(marks=()), look)
    assert isinstance(draining, Wait)
    assert (draining.name, draining.until) == ("drain", NOW + timedelta(seconds=600))
    soaking = decide(goal(soak_s=60), served(marks=()), said_of(look, "i-old1", Health.UNUSED))
    assert isinstance(soaking, Wait)
    assert soaking.name == "soak"
    late = decide(goal(soak_s=60), served(marks=marked("drain#4", 600)), look)
    assert isinstance(late, Undo)
    assert late.reason == "i-old1 did not leave the load balancers within 600 s"


def test_waits_for_instances_on_their_way_into_standby() -> None:
    entering = resting(1, lifecycle=Lifecycle.ENTERING_STANDBY)
    decision = decide(goal(), served(), pointed(entering, resting(2), attached(1), attached(2)))
    assert isinstance(decision, Wait)
    assert decision.pending == ("i-old1",)


@pytest.mark.parametrize(("minimum", "shrinks"), [(1, True), (4, False)])
def test_drops_what_never_came_into_service_without_going_below_the_minimum(minimum: int, shrinks: bool) -> None:
    fresh = [attached(n) for n in (1, 2, 3, 4)]
    look = pointed(resting(1), resting(2), old(3, lifecycle=Lifecycle.PENDING), *fresh, desired=4, min=minimum)
    written = served(attached=tuple(i.id for i in fresh), marks=marked("drain#6", 599))
    assert isinstance(decide(goal(), written, look), Wait)
    written = replace(written, marks=marked("drain#6", 601))
    assert decide(goal(), written, look) == acts.Drop(("i-old3",), shrink=shrinks)


def test_soaks_with_the_old_fleet_still_warm() -> None:
    look = pointed(resting(1), resting(2), attached(1), attached(2))
    assert isinstance(decide(goal(soak_s=60), served(), look), Wait)
    assert isinstance(decide(goal(soak_s=60), served(marks=marked("soak", 60)), look), acts.Detach)


def test_lets_old_instances_go_only_when_all_groups_serve() -> None:
    look = pointed(resting(1), resting(2), attached(1), attached(2))
    shut = throughout(look, shut={Gate.COMMIT: "shop-eu to serve the new version"})
    assert isinstance(decide(goal(), served(), shut), Wait)
    assert isinstance(decide(goal(), served(), look), acts.Detach)


def test_turns_back_when_health_is_lost_in_as_many_looks_as_it_takes_to_believe() -> None:
    fleet = (resting(1), resting(2), attached(1), attached(2))
    sick = pointed(*fleet, sick=("i-new1",), looks=1)
    well = pointed(*fleet, looks=1)
    decision = decide(goal(soak_s=60), served(), since(sick, sick))
    assert isinstance(decision, Undo)
    assert decision.reason == "lost health: i-new1 is unhealthy in shop-prod (Target.Timeout: )"
    assert isinstance(decide(goal(soak_s=60), served(), since(well, sick)), Wait)


def large(sick: tuple[str, ...] = (), gone: int = 0) -> Facts:
    """See twenty new instances that serve, with twenty old ones in Standby."""
    fresh = [attached(n) if n >= gone else attached(n, power=Power.TERMINATED) for n in range(20)]
    return pointed(*[resting(n) for n in range(20)], *fresh, sick=sick, max=80)


def of_twenty() -> Record:
    fresh = tuple(f"i-new{n}" for n in range(20))
    return served(wanted=20, attached=fresh, watched=fresh, rested=tuple(f"i-old{n}" for n in range(20)))


def test_does_not_blame_a_version_for_one_machine_of_twenty() -> None:
    assert not isinstance(decide(goal(soak_s=60), of_twenty(), large(gone=1)), Undo)
    assert isinstance(decide(goal(soak_s=60), of_twenty(), large(gone=2)), Undo)


def test_blames_a_version_for_one_that_runs_and_is_sick() -> None:
    assert isinstance(decide(goal(soak_s=60), of_twenty(), large(sick=("i-new7",))), Undo)


def test_does_not_blame_a_version_for_an_instance_that_a_person_rests() -> None:
    look = pointed(resting(1), resting(2), attached(1), attached(2, lifecycle=Lifecycle.STANDBY))
    assert not isinstance(decide(goal(soak_s=60), served(), look), Undo)


def test_turns_back_when_the_group_itself_finds_a_new_instance_unhealthy() -> None:
    look = facts(shielded(1), shielded(2), attached(1), attached(2, group_healthy=False), sick=("i-new2",), max=12)
    decision = decide(goal(), cutover(), look)
    assert isinstance(decision, Undo)
    assert decision.cause == HEALTH
    assert "itself found new instance i-new2 unhealthy: i-new2 is unhealthy in shop-prod" in decision.reason


def test_does_not_blame_a_version_for_one_machine_of_twenty_that_the_group_gives_up() -> None:
    def given_up(number: int, sick: tuple[str, ...] = ()) -> Facts:
        fresh = [attached(n, group_healthy=n >= number) for n in range(20)]
        return pointed(*[resting(n) for n in range(20)], *fresh, sick=sick, max=80)

    assert not isinstance(decide(goal(soak_s=60), of_twenty(), given_up(1)), Undo)
    assert isinstance(decide(goal(soak_s=60), of_twenty(), given_up(1, sick=("i-new0",))), Undo)
    two = decide(goal(soak_s=60), of_twenty(), given_up(2))
    assert isinstance(two, Undo)
    assert two.cause == "", "no load balancer says anything against the version"


def test_does_not_blame_a_version_when_the_group_replaces_a_machine_that_died() -> None:
    dead = attached(2, group_healthy=False, power=Power.TERMINATED)
    look = facts(shielded(1), shielded(2), attached(1), dead, max=12)
    assert not isinstance(decide(goal(), cutover(), look), Undo)


def alarmed(look: Facts, *, sounds: bool = True) -> Facts:
    return throughout(look, alarms={"5xx": Alarm(sounds, "7 of 9 datapoints")})


def test_turns_back_when_an_alarm_sounds_while_there_is_a_way_back() -> None:
    look = pointed(*BOTH)
    decision = decide(goal(), cutover(), alarmed(look))
    assert isinstance(decision, Undo)
    assert (decision.reason, decision.cause) == ("alarm 5xx sounds: 7 of 9 datapoints", ALARM)
    assert isinstance(decide(goal(), cutover(), alarmed(look, sounds=False)), acts.EnterStandby)


def test_believes_no_alarm_that_only_one_look_heard() -> None:
    look = pointed(*BOTH, looks=1)
    once = since(alarmed(look, sounds=False), alarmed(look))
    assert not isinstance(decide(goal(), cutover(), once), Undo)


def test_goes_by_an_alarm_that_sounded_before_or_before_anything_new_serves() -> None:
    assert not isinstance(decide(goal(), cutover(deaf=("5xx",)), alarmed(pointed(*BOTH))), Undo)
    look = alarmed(facts(old(1), old(2), new(1), new(2)))
    assert not isinstance(decide(goal(), record(), look), Undo)


def test_hears_no_alarm_when_there_is_no_way_back() -> None:
    committed = cutover(marks=marked("committed", 1))
    assert not isinstance(decide(goal(), committed, alarmed(pointed(*BOTH))), Undo)


def test_aims_autoscaling_back_before_it_recalls_the_old_fleet() -> None:
    look = pointed(resting(1), resting(2), attached(1), attached(2))
    decision = decide(goal(), served(undo="alarm"), look)
    assert decision == acts.PointGroup(record().before.template)


def test_recalls_all_that_it_put_into_standby_and_nothing_else() -> None:
    another = old(3, lifecycle=Lifecycle.STANDBY, standby="r0")
    look = facts(resting(1), resting(2, answers=False), another, attached(1), attached(2), max=12)
    assert decide(goal(), served(undo="alarm"), look) == acts.ExitStandby(("i-old1", "i-old2"))


def test_shields_who_serves_before_it_recalls_anybody() -> None:
    look = facts(resting(1), resting(2), attached(1, protected=False), attached(2), max=12)
    assert decide(goal(), served(undo="alarm"), look) == acts.Protect(("i-new1",), protected=True)


def returning(**changes: object) -> Record:
    """Make a record of a release whose new instances are gone on the way back, and whose old ones were recalled."""
    return replace(served(undo="alarm", rested=("i-old1", "i-old2", "i-new1", "i-new2")), **changes)  # type: ignore[arg-type]


def test_has_nothing_as_it_was_before_those_it_took_out_serve_again() -> None:
    back = (shielded(1, standby="r1"), shielded(2, standby="r1"))
    look = facts(*back, sick=("i-old2",), max=12)
    decision = decide(goal(), returning(), look)
    assert isinstance(decision, Wait)
    assert (decision.name, decision.pending) == ("undo return", ("i-old2",))
    assert decide(goal(), returning(), facts(*back, max=12)) == acts.Untag(("i-old1", "i-old2"))
    joining = facts(back[0], shielded(2, standby="r1", lifecycle=Lifecycle.PENDING), max=12)
    assert isinstance(decide(goal(), returning(), joining), Wait)


def test_does_not_wait_for_ever_for_one_that_does_not_serve_again() -> None:
    look = facts(shielded(1, standby="r1"), shielded(2, standby="r1"), sick=("i-old2",), max=12)
    assert isinstance(decide(goal(), returning(marks=marked("undo return#6", 299)), look), Wait)
    late = decide(goal(), returning(marks=marked("undo return#6", 300)), look)
    assert late == acts.Untag(("i-old1", "i-old2"))


def test_waits_on_the_way_back_for_nobody_whom_it_did_not_take_out() -> None:
    look = facts(old(1), old(2), sick=("i-old2",), max=12)
    assert isinstance(decide(goal(), returning(), look), acts.RestoreGroup)


def test_asks_a_person_when_the_way_back_fails_as_well() -> None:
    look = facts(shielded(1), shielded(2), attached(1), attached(2), sick=("i-old1", "i-old2"), max=12)
    assert isinstance(decide(goal(), cutover(undo="alarm", marks=marked("undo healthy#2", 299)), look), Wait)
    assert isinstance(decide(goal(), cutover(undo="alarm", marks=marked("undo healthy#2", 301)), look), Stuck)
