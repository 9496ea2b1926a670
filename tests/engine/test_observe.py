"""What is taken for a fact when AWS answers late, with gaps, or with yesterday's world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from fabfile.engine.observe import Observer
from fabfile.plan.fleet import LEAVING_TAG, RELEASE_TAG, Facts, Gate, Image, Instance, Lifecycle, Power
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Record
from fabfile.plan.settings import Settings
from fabfile.tools import autoscaling, ec2, elb
from fabfile.tools.autoscaling import GroupFacts, Hooks, Membership
from fabfile.tools.ec2 import Blueprint

from ..plan.fleets import NOW, OLD, facts, marked, new, old, record

SERVING = Membership(Lifecycle.IN_SERVICE, healthy=True, protected=False)


class World:
    """What each tool would answer now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members: dict[str, Membership] = {}
        self.known: dict[str, Instance] = {}
        self.passing: set[str] = set()
        self.answers: dict[str, bool] = {}
        self.tags: Mapping[str, str] = {}
        self.retained: tuple[str, ...] = ()
        self.asked_checks: list[list[str]] = []
        self.now = NOW
        monkeypatch.setattr(autoscaling, "read_group", self._read_group)
        monkeypatch.setattr(ec2, "read_instances", self._read_instances)
        monkeypatch.setattr(ec2, "read_passing", self._read_passing)
        monkeypatch.setattr(ec2, "read_images", lambda _: {"ami-1": Image("ami-1", "1.0.0")})
        monkeypatch.setattr(elb, "read_balancers", lambda *_: ())

    def _read_group(self, *_: object) -> GroupFacts:
        return GroupFacts(
            facts().group, Blueprint(OLD, "ami-1"), dict(self.members), (), (), (), Hooks(), self.retained
        )

    def _read_instances(self, _: Settings, _ids: object, tagged: Mapping[str, str]) -> dict[str, Instance]:
        self.tags = tagged
        return {
            key: replace(i, lifecycle=Lifecycle.OUTSIDE, checks_pass=False, answers=None)
            for key, i in self.known.items()
        }

    def _read_passing(self, _: Settings, ids: list[str]) -> set[str]:
        self.asked_checks.append(ids)
        return self.passing & set(ids)

    def ask(self, addresses: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
        return {key: (self.answers.get(key, True), "200") for key in addresses}

    def has(self, *instances: Instance) -> None:
        self.known = {i.id: i for i in instances}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def observer(world: World) -> Observer:
    return Observer(Settings(), lambda: world.now, world.ask)


def look(observer: Observer, written: Record | None = None) -> Facts:
    return observer.look(written or record())


def test_keeps_what_it_knew_of_an_instance_that_one_answer_left_out(world: World, observer: Observer) -> None:
    world.members = {"i-old1": SERVING, "i-old2": SERVING}
    world.has(old(1), old(2))
    look(observer)
    world.has(old(1))
    seen = look(observer)
    assert seen.instances["i-old2"].image_id == "ami-1"
    assert seen.instances["i-old2"].lifecycle is Lifecycle.IN_SERVICE
    assert seen.unseen == ()


def test_names_whom_the_group_lists_and_ec2_never_knew_unless_they_leave(world: World, observer: Observer) -> None:
    leaving = Membership(Lifecycle.LEAVING, healthy=False, protected=False)
    world.members = {"i-old1": SERVING, "i-ghost": SERVING, "i-gone": leaving}
    world.has(old(1))
    assert look(observer).unseen == ("i-ghost",)


def test_has_whom_it_started_in_the_picture_before_ec2_lists_them(world: World, observer: Observer) -> None:
    written = record(launched=("i-new1",))
    assert "i-new1" not in look(observer, written).instances
    observer.expect({"i-new1"}, "ami-2", "r1")
    newborn = look(observer, written).instances["i-new1"]
    assert (newborn.power, newborn.release, newborn.image_id) == (Power.PENDING, "r1", "ami-2")
    assert not newborn.is_warm
    world.has(new(1))
    assert look(observer, written).instances["i-new1"].power is Power.RUNNING


def test_has_nobody_in_the_picture_whom_the_group_retains(world: World, observer: Observer) -> None:
    world.members, world.retained = {"i-old1": SERVING}, ("i-old2",)
    world.has(old(1), old(2))
    seen = look(observer, record(launched=("i-old2",)))
    assert (set(seen.instances), seen.retained) == ({"i-old1"}, ("i-old2",))


def test_takes_the_groups_word_for_who_is_in_it(world: World, observer: Observer) -> None:
    sick = Membership(Lifecycle.STANDBY, healthy=False, protected=True)
    world.members = {"i-old1": sick}
    world.has(old(1), new(1))
    seen = look(observer).instances
    assert (seen["i-old1"].lifecycle, seen["i-old1"].group_healthy, seen["i-old1"].protected) == (
        Lifecycle.STANDBY,
        False,
        True,
    )
    assert seen["i-new1"].lifecycle is Lifecycle.OUTSIDE


def test_asks_for_status_checks_before_traffic_and_until_they_pass(world: World, observer: Observer) -> None:
    world.members = {"i-old1": SERVING}
    world.has(old(1), new(1), new(2, power=Power.PENDING))
    seen = look(observer).instances
    assert (seen["i-old1"].checks_pass, seen["i-new1"].checks_pass, seen["i-new2"].checks_pass) == (True, False, False)
    world.passing = {"i-new1"}
    assert look(observer).instances["i-new1"].checks_pass
    assert look(observer).instances["i-new1"].checks_pass
    assert world.asked_checks == [["i-new1"], ["i-new1"]]


def test_asks_those_that_might_serve_soon_and_nobody_else(world: World, observer: Observer) -> None:
    world.members = {"i-old1": SERVING, "i-old2": Membership(Lifecycle.STANDBY, healthy=True, protected=False)}
    world.has(old(1), old(2), new(1), new(2, power=Power.PENDING))
    world.answers = {"i-new1": False}
    seen = look(observer).instances
    assert [seen[i].answers for i in ("i-old1", "i-old2", "i-new1", "i-new2")] == [None, True, False, None]


def test_leaves_it_to_the_load_balancer_whether_one_without_an_ipv4_address_is_well(world: World) -> None:
    world.has(new(1, address=""))
    balancers = read_settings(
        {"name": "shop", "release": {"health": {"via": "balancer"}}, "envs": {"prod": {}}}, "prod"
    )
    seen = look(Observer(balancers, lambda: NOW)).instances["i-new1"]
    assert (seen.answers, seen.answer) == (True, "left to the load balancer")
    assert look(Observer(Settings(), lambda: NOW)).instances["i-new1"].answers is None


def test_remembers_as_many_looks_as_facts_must_hold_for(world: World, observer: Observer) -> None:
    for second in range(6):
        world.now = NOW + timedelta(seconds=second)
        seen = look(observer)
    confirmations = Settings().release.confirmations
    times = [each.at for each in seen.looks()]
    assert times[:confirmations] == [NOW + timedelta(seconds=5 - n) for n in range(confirmations)]
    assert len(times) == confirmations + 1


def test_looks_for_its_own_and_for_those_on_their_way_out_once_there_are_any(world: World, observer: Observer) -> None:
    look(observer)
    assert world.tags == {RELEASE_TAG: "r1"}
    leaving = {RELEASE_TAG: "r1", LEAVING_TAG: "r1"}
    look(observer, record(marks=marked("committed", 1)))
    assert world.tags == leaving
    look(observer, record(undo="sick"))
    assert world.tags == leaving


def test_does_not_know_the_version_of_an_image_that_is_not_ours(world: World, observer: Observer) -> None:
    world.members = {"i-new1": SERVING}
    world.has(new(1))
    seen = look(observer)
    assert (seen.version_of("ami-1"), seen.version_of("ami-2")) == ("1.0.0", "?")


def test_shows_which_gates_are_shut(observer: Observer) -> None:
    assert observer.look(record(), {Gate.COMMIT: "shop-eu to serve"}).shut == {Gate.COMMIT: "shop-eu to serve"}
