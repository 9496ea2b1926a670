"""Five stories of releases under real load: what goes wrong meanwhile costs no request, and nothing is left behind.

Real instances behind a real haproxy answer 150 requests a second, slow ones always in flight; each failure counts.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fabfile.localcloud.load import LoadGenerator, Report, describe
from tests.shared_lab import Lab

from .served_shop import BETTER, BROKEN, CAPACITY, GOOD, RATE, Running, Shop, until

pytestmark = [pytest.mark.docker, pytest.mark.lab]

ACT = r"^\d\d:\d\d:\d\d  (?!waiting)"
ACTS = 11
IN_FLIGHT = 20


@pytest.fixture
def chance() -> random.Random:
    """Return chance that can be had again: HEADWAY_SEED gives its seed."""
    seed = os.environ.get("HEADWAY_SEED") or secrets.token_hex(4)
    print(f"HEADWAY_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Iterator[Shop]:
    made = Shop(lab)
    try:
        made.set_up()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def load(shop: Shop) -> Iterator[LoadGenerator]:
    with shop.loaded() as generator:
        yield generator


@dataclass(frozen=True)
class Story:
    """A release from the version that serves to the other one, and what must be true after it."""

    shop: Shop
    load: LoadGenerator
    old: str
    new: str
    settings: dict[str, Any]
    past: int

    def release(self, version: str = "", *words: str, **variables: str) -> Running:
        return self.shop.fab("release", "--env=prod", f"--version={version or self.new}", *words, **variables)

    def assert_serves(self, version: str, ended: str, to: str, *, count: int = CAPACITY, lost: int = 0) -> Report:
        """Assert who serves, that nothing is left, what history says, and that at most so many requests were lost."""
        assert self.shop.versions_served() == {version}
        assert self.shop.settings() == {**self.settings, "DesiredCapacity": count}
        members = self.shop.members()
        assert len(members) == count
        until(lambda: self.shop.living() == members, f"only {members} live, not {self.shop.living()}")
        assert self.shop.containers() == members
        chapters = self.shop.history()
        assert len(chapters) == self.past + 1
        newest = chapters[0]
        assert (newest["from_version"], newest["version"], newest["ending"]) == (self.old, to, ended)
        report = self.load.mark()
        print(describe(report))
        assert report.failed <= lost, f"{describe(report)}\n" + "\n".join(report.failures)
        return report


@pytest.fixture
def story(shop: Shop, load: LoadGenerator) -> Story:
    [old] = shop.versions_served()
    before = load.mark()
    assert before.failed == 0, before.failures
    return Story(shop, load, old, GOOD if old == BETTER else BETTER, shop.settings(), len(shop.history()))


def test_a_release_costs_no_request(story: Story) -> None:
    release = story.release()
    print(release.must_end_with(0))
    report = story.assert_serves(story.new, "done", story.new)
    assert set(report.versions) == {story.old, story.new}


def test_machines_that_die_without_traffic_cost_no_request(story: Story) -> None:
    """One dies while it warms, and is started anew; one dies in Standby, where nobody else would notice."""
    release = story.release("", "--soak=3s")
    release.must_say("waiting: 0 of 2 new instances answer")
    unborn = next(i for i in story.shop.living() if i not in story.shop.members())
    story.shop.end_machine(unborn)
    resting = release.must_say(r"drain 2 instances into Standby: (\S+)")[1]
    release.must_say("waiting: the new fleet to serve")
    story.shop.end_machine(resting)
    print(release.must_end_with(0))
    story.assert_serves(story.new, "done", story.new)
    assert unborn not in story.shop.members()


def test_an_old_machine_that_dies_while_it_serves_does_not_disturb_the_release(story: Story) -> None:
    victim = story.shop.members()[0]
    release = story.release()
    release.must_say(r"waiting: \d of 2 instances healthy")
    story.shop.end_machine(victim)
    print(release.must_end_with(0))
    story.assert_serves(story.new, "done", story.new, lost=IN_FLIGHT)


def test_a_new_machine_that_dies_once_it_serves_brings_the_old_fleet_back(story: Story) -> None:
    before = story.shop.members()
    release = story.release()
    victim = release.must_say(r"attach 2 instances: (\S+)")[1]
    release.must_say("waiting: 2 instances to finish requests")
    story.shop.end_machine(victim)
    said = release.must_end_with(3)
    print(said)
    assert f"failed and put back: lost health: {victim}" in said
    assert story.shop.members() == before
    story.assert_serves(story.old, "restored", story.new, lost=IN_FLIGHT)


def test_capacity_that_is_added_in_the_middle_is_kept_on_the_new_version(story: Story) -> None:
    release = story.release()
    release.must_say(r"waiting: \d of 2 instances healthy")
    wanted = story.shop.group()["DesiredCapacity"] + 1
    story.shop.aws("autoscaling").set_desired_capacity(
        AutoScalingGroupName=story.shop.group_name, DesiredCapacity=wanted
    )
    print(release.must_end_with(0))
    story.assert_serves(story.new, "done", story.new, count=CAPACITY + 1)


def test_a_version_that_is_never_healthy_leaves_the_old_fleet_alone_and_its_failure_names_the_cause(
    story: Story,
) -> None:
    before = story.shop.members()
    said = story.release(BROKEN, FABRIC_HEADWAY_RELEASE_WARM_WITHIN_S="10").must_end_with(3)
    print(said)
    assert story.shop.members() == before
    report = story.assert_serves(story.old, "restored", BROKEN)
    assert set(report.versions) == {story.old}


def test_a_killed_release_goes_on_by_the_same_command(story: Story, chance: random.Random) -> None:
    act = chance.randint(1, ACTS)
    pause_s = chance.uniform(0, 0.4)
    print(f"kill -9 {pause_s:.2f} s after act {act}")
    release = story.release()
    release.wait_until_says(ACT, act)
    threading.Event().wait(pause_s)
    release.kill()
    print(release.said)
    print(story.release().must_end_with(0))
    story.assert_serves(story.new, "done", story.new)


def test_ctrl_c_stops_softly_says_where_it_stands_and_the_same_command_goes_on(
    story: Story, chance: random.Random
) -> None:
    act = chance.randint(1, ACTS)
    release = story.release()
    assert release.wait_until_says(ACT, act)
    release.interrupt()
    said = release.must_end_with(130)
    print(said)
    print(story.release().must_end_with(0))
    story.assert_serves(story.new, "done", story.new)
