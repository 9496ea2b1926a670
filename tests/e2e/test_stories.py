"""Stories of releases under real load: whatever goes wrong meanwhile costs no request, and nothing is left behind.

Real instances behind a real haproxy answer 150 requests a second, slow ones always in flight; each failure counts. The
load never pauses from the first story to the last, so that what goes wrong between two of them is found too.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from fabfile.localcloud.load import LoadGenerator, Report, describe
from fabfile.localcloud.provision import CHECK_INTERVAL_S, CHECK_TIMEOUT_S, THRESHOLD
from tests.shared_lab import Lab

from .orders_in_memory import WHY
from .served_shop import BETTER, BROKEN, CAPACITY, GOOD, RATE, SLOW_IN_FLIGHT, Running, Shop, until

pytestmark = [pytest.mark.docker, pytest.mark.lab]

# A line of `fab release` that says what it is about to do.
ACT = r"^\d\d:\d\d:\d\d  (?!waiting|stopp)"
# So many of them has a release that nothing disturbs, at least; so many are done before its old instances go.
ACTS, REVERSIBLE_ACTS = 13, 10
# How long a load balancer may send requests to a machine that is dead.
UNNOTICED_S = CHECK_INTERVAL_S * THRESHOLD + CHECK_TIMEOUT_S


@pytest.fixture
def chance() -> random.Random:
    """Return chance that can be had again: HEADWAY_SEED gives its seed."""
    seed = os.environ.get("HEADWAY_SEED") or secrets.token_hex(4)
    print(f"HEADWAY_SEED={seed}")
    return random.Random(seed)  # noqa: S311 - chance, not secrecy


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
    began: datetime

    def release(self, version: str = "", *words: str, **variables: str) -> Running:
        return self.shop.fab("release", "--env=prod", f"--version={version or self.new}", *words, **variables)

    def lose_in_service(self, instance_id: str) -> None:
        """End a machine that serves, and assert that nothing but what was on its way to it is lost.

        That is the load balancer's to lose: it sends requests to a dead machine until its health check has noticed. A
        GET without an answer is sent again, by any HTTP client and by the lab's haproxy; a POST may not be.
        """
        assert self.load.mark().failed == 0
        self.shop.end_machine(instance_id)
        until(lambda: instance_id not in self.shop.living(), f"{instance_id} is gone for its group and its balancers")
        report = self.load.mark()
        print(f"{instance_id} died: {describe(report)}", *report.failures, sep="\n")
        its_share = RATE * min(report.seconds, UNNOTICED_S) / CAPACITY + SLOW_IN_FLIGHT
        assert report.failed + report.retried <= its_share
        # An answer that breaks off in the middle cannot be had again either.
        broken = (" POST ", "/slow", "IncompleteRead")
        assert [line for line in report.failures if not any(each in line for each in broken)] == []

    def assert_serves(self, version: str, ended: str, to: str, *, more: int = 0) -> Report:
        """Assert who serves, that settings are as before and nothing is left, what history says, and no request lost.

        :param more: instances that were added meanwhile.
        """
        assert self.shop.versions_served() == {version}
        count = self.settings["DesiredCapacity"] + more
        assert self.shop.settings() == {**self.settings, "DesiredCapacity": count}
        members = self.shop.members()
        assert len(members) == count
        until(lambda: self.shop.living() == members, f"only {members} live, not {self.shop.living()}", within_s=20)
        assert self.shop.containers() == members
        newest, *_ = self.shop.history()
        assert (newest["from_version"], newest["version"], newest["ending"]) == (self.old, to, ended)
        assert datetime.fromisoformat(newest["started_at"]) >= self.began
        report = self.load.mark()
        print(describe(report), *report.failures, sep="\n")
        assert report.failed == 0, report.failures
        return report


@pytest.fixture
def story(shop: Shop, load: LoadGenerator) -> Story:
    [old] = shop.versions_served()
    before = load.mark()
    assert before.failed == 0, before.failures
    return Story(shop, load, old, GOOD if old == BETTER else BETTER, shop.settings(), datetime.now(UTC))


def test_a_release_costs_no_request(story: Story) -> None:
    release = story.release()
    print(release.must_end_with(0))
    report = story.assert_serves(story.new, "done", story.new)
    assert set(report.versions) == {story.old, story.new}


def test_machines_that_die_without_traffic_cost_no_request(story: Story) -> None:
    """One dies while it warms, and is started anew; one dies in Standby, where nobody else would notice."""
    release = story.release("", "--soak=2s")
    release.must_say("waiting: 0 of 2 new instances answer")
    unborn = next(i for i in story.shop.living() if i not in story.shop.members())
    story.shop.end_machine(unborn)
    resting = release.must_say(r"drain 2 instances into Standby: (\S+)")[1]
    release.must_say("waiting: the new fleet to serve")
    story.shop.end_machine(resting)
    said = release.must_end_with(0)
    print(said)
    assert f"terminate 1 instance: {unborn}" in said
    assert f"retire 1 instance: {resting}" in said
    story.assert_serves(story.new, "done", story.new)


def test_an_old_machine_that_dies_while_it_serves_does_not_disturb_the_release(story: Story) -> None:
    victim = story.shop.members()[0]
    release = story.release()
    release.must_say(r"waiting: \d of 2 instances healthy")
    story.lose_in_service(victim)
    print(release.must_end_with(0))
    story.assert_serves(story.new, "done", story.new)


def test_a_new_machine_that_dies_once_it_serves_brings_the_old_fleet_back(story: Story) -> None:
    before = story.shop.members()
    release = story.release()
    victim = release.must_say(r"attach 2 instances: (\S+)")[1]
    release.must_say("waiting: 2 instances to finish requests")
    story.lose_in_service(victim)
    said = release.must_end_with(3)
    print(said)
    assert f"failed and put back: lost health: {victim}" in said
    assert "    console:\n" in said
    assert f"  now: {story.shop.group_name} serves {story.old} on {len(before)}" in said
    assert story.shop.members() == before
    story.assert_serves(story.old, "restored", story.new)


def test_a_version_that_is_never_healthy_leaves_the_old_fleet_alone_and_its_failure_names_the_cause(
    story: Story,
) -> None:
    before = story.shop.members()
    said = story.release(BROKEN, FABRIC_HEADWAY_RELEASE_WARM_WITHIN_S="8").must_end_with(3)
    print(said)
    cause = re.search(
        r"^failed and put back: (\S+) was not ready within 8 s: its health check answers: 503 .*", said, re.M
    )
    assert cause is not None
    assert WHY in cause[0]
    seen = said[cause.end() :]
    assert re.search(rf"\n  {cause[1]} {BROKEN} in \S+: running, not in {story.shop.group_name} yet\n", seen)
    assert "\n    GET /health on port 8080: 503 " in seen
    assert re.search(rf"\n    console:\n(      .*\n)*      .*ERROR no order can be taken: {WHY}\n", seen)
    assert f"\n  now: {story.shop.group_name} serves {story.old} on {len(before)}\n" in seen
    assert "\n  next: fab status --env=prod\n" in seen
    assert story.shop.members() == before
    report = story.assert_serves(story.old, "restored", BROKEN)
    assert set(report.versions) == {story.old}


def test_a_release_that_is_killed_anywhere_goes_on_by_the_same_command(story: Story, chance: random.Random) -> None:
    act, pause_s = chance.randint(1, ACTS), chance.uniform(0, 0.4)
    print(f"kill -9 {pause_s:.2f} s after act {act} was announced")
    release = story.release()
    assert release.wait_until_says(ACT, act)
    time.sleep(pause_s)  # into the call, or past it
    release.kill()
    print(release.said)
    print(story.release().must_end_with(0))
    story.assert_serves(story.new, "done", story.new)


def test_ctrl_c_stops_softly_says_where_it_stands_and_the_same_command_goes_on(
    story: Story, chance: random.Random
) -> None:
    act = chance.randint(2, REVERSIBLE_ACTS)
    print(f"Ctrl-C after act {act} was announced")
    release = story.release()
    assert release.wait_until_says(ACT, act)
    release.interrupt()
    said = release.must_end_with(130)
    print(said)
    assert re.search(r"^stopped (while it waited for|before the next step) .*$", said, re.M)
    assert f"\n  now: {story.shop.group_name} serves " in said
    assert "the same command goes on; or put back with: fab release --env=prod --abort\n" in said
    assert "Traceback" not in said
    print(story.release().must_end_with(0))
    story.assert_serves(story.new, "done", story.new)


def test_capacity_that_is_added_in_the_middle_is_kept_on_the_new_version(story: Story) -> None:
    release = story.release()
    release.must_say(r"waiting: \d of 2 instances healthy")
    wanted = story.shop.group()["DesiredCapacity"] + 1
    story.shop.aws("autoscaling").set_desired_capacity(
        AutoScalingGroupName=story.shop.group_name, DesiredCapacity=wanted
    )
    print(release.must_end_with(0))
    story.assert_serves(story.new, "done", story.new, more=1)
