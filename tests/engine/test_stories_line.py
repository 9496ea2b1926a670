"""Stories of two at once: releases that met, builds that failed on a lock, a lock that nobody held any more.

Each test names where it happened to other people; the circumstance is theirs, the cloud is the simulated one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fabfile.engine.lock import Owner, held
from fabfile.engine.operate import state_of
from fabfile.engine.places import name_of
from fabfile.plan.outcome import NotRestored, Refusal, Superseded
from fabfile.plan.release import Ending, Kind
from fabfile.tools.ownership import this_process

from .conftest import Operator
from .stories import (
    add_image,
    assert_killed,
    assert_put_back,
    assert_serves,
    die,
    last_chapter,
    means,
    meanwhile,
    order,
    standing,
)

ACTS = ["BakeImage", "LaunchInstances", "Attach", "EnterStandby", "Detach", "RestoreGroup"]


def listeners(operator: Operator) -> list[Any]:
    """Read where the load balancer sends its requests."""
    elbv2 = operator.cloud.client("elbv2")
    arn = elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    return [raw["DefaultActions"] for raw in elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]]


@pytest.mark.parametrize("act", ACTS)
def test_two_releases_at_the_same_moment_do_not_meet(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """hashicorp/waypoint#765: two `up`s at nearly the same time, and the ALB had no listener; a third did not help."""
    add_image(operator, "2.5.0")
    before, told = standing(operator), listeners(operator)
    refused = list[Refusal]()

    def second() -> None:
        with pytest.raises(Refusal, match=r"ann is at it since .* \(release 2\.0\.0; .*--wait") as caught:
            order(operator, "2.5.0", who="bob")
        refused.append(caught.value)

    meanwhile(monkeypatch, act, second, after=False)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert [each.code for each in refused] == [2]
    assert_serves(operator, "2.0.0", 3, before)
    assert order(operator, "2.5.0", who="bob").ending is Ending.DONE
    assert_serves(operator, "2.5.0", 3, before)
    assert listeners(operator) == told
    assert operator.fewest_serving >= 3
    assert operator.cloud.traffic.failures == []


@pytest.mark.parametrize("act", ["LaunchInstances", "Attach", "EnterStandby", "Detach"])
def test_two_that_both_believe_in_their_lock_are_told_apart_by_the_record(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """hashicorp/waypoint#765, where even the lock does not help: one was asleep for longer than it lasts."""
    before = standing(operator)
    bucket = state_of(operator.settings)
    key = f"{name_of(operator.settings)}/lock.json"

    def take_over() -> None:
        stored = bucket.read(key)
        assert stored is not None
        bucket.delete(key, stored.etag)
        assert order(operator, "2.0.0", who="bob").ending is Ending.DONE

    meanwhile(monkeypatch, act, take_over)
    with pytest.raises(NotRestored, match=r"another process .*fab status"):
        operator.release("2.0.0")
    assert_serves(operator, "2.0.0", 3, before)
    assert operator.fewest_serving >= 3


class Build:
    """Somebody who holds the lock, and gives it back when another says that it waits."""

    def __init__(self, operator: Operator) -> None:
        self._lock = held(
            state_of(operator.settings), name_of(operator.settings), who="ann", doing="release 1.9.0", ttl_s=30
        )
        self._lock.__enter__()
        self.said = list[str]()

    def end(self, text: str) -> None:
        """Take what is said for the sign to end."""
        if not self.said:
            self._lock.__exit__(None, None, None)
        self.said.append(text)


def waiting(operator: Operator, version: str, say: Callable[[str], None], **given: Any) -> Any:
    """Order a release that waits in line."""
    return order(operator, version, with_means=means(operator, say=say), wait_s=60, **given)


def test_a_build_waits_for_the_one_before_it(operator: Operator) -> None:
    """antiwork/gumroad#6292: the lock failed fast, 11 of 30 builds failed, and none of them was tried again."""
    operator.release_settings["lock_ttl_s"] = 4
    before, build = standing(operator), Build(operator)
    assert waiting(operator, "2.0.0", build.end, who="bob").ending is Ending.DONE
    assert "ann is at it since" in build.said[0]
    assert "next in line" in build.said[0]
    assert_serves(operator, "2.0.0", 3, before)


def test_a_build_of_an_older_commit_gives_way_to_the_newer_one(operator: Operator) -> None:
    """antiwork/gumroad#6292 (asked for, 7): of the builds that wait, only the newest need be deployed."""
    operator.release_settings.update(lock_ttl_s=16, supersede=True)
    add_image(operator, "2.5.0")
    before, build, results = standing(operator), Build(operator), list[Any]()

    def newer(_: str) -> None:
        if not results:
            results.append(None)
            results.append(waiting(operator, "2.5.0", build.end, who="cem"))

    with pytest.raises(Superseded, match=r"superseded by 2\.5\.0 of cem") as caught:
        waiting(operator, "2.0.0", newer, who="bob")
    assert caught.value.code == 0
    assert results[1].ending is Ending.DONE
    assert_serves(operator, "2.5.0", 3, before)
    assert last_chapter(operator).who == "cem"


def leave_lock(operator: Operator, process: str, beat: datetime) -> None:
    """Leave the lock as somebody left it who was killed."""
    owner = Owner("ann", process, "release 2.0.0", beat.isoformat(), beat.isoformat())
    assert state_of(operator.settings).create(
        f"{name_of(operator.settings)}/lock.json", json.dumps(asdict(owner)).encode()
    )


@pytest.mark.parametrize("abort", [False, True])
def test_a_release_whose_process_is_gone_keeps_nobody_out(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, abort: bool
) -> None:
    """remind101/empire#904: a release was stuck, and a lock was suspected that nobody held any more.

    Asked for, and found nowhere (7): a lock that knows whether its owner lives.
    """
    before = standing(operator)
    with monkeypatch.context() as patch:
        meanwhile(patch, "Attach", die)
        assert_killed(operator, "2.0.0")
    leave_lock(operator, str(replace(this_process(), pid=2**22 + 1)), datetime.now(UTC))
    result = operator.release("" if abort else "2.0.0", abort=abort)
    if abort:
        assert result.ending is Ending.RESTORED
        assert_put_back(operator, before)
    else:
        assert result.ending is Ending.DONE
        assert_serves(operator, "2.0.0", 3, before)
    assert operator.fewest_serving >= 3


def test_a_lock_of_another_machine_that_beats_is_respected_and_named(operator: Operator) -> None:
    """remind101/empire#904, the other half: who is alive is not pushed aside, and it is said who that is."""
    leave_lock(operator, "1@another-boot.4026531836+1", datetime.now(UTC) - timedelta(seconds=5))
    before = standing(operator)
    with pytest.raises(Refusal, match=r"ann is at it since .*its heartbeat is \d+ s old") as caught:
        operator.release("2.0.0")
    assert caught.value.code == 2
    assert operator.screen.acts == []
    assert standing(operator) == before


def test_a_rollback_does_not_wait_behind_builds(operator: Operator) -> None:
    """antiwork/gumroad#6292 (asked for, 7): the way back goes before what is in line."""
    operator.release_settings["lock_ttl_s"] = 16
    operator.release("2.0.0")
    add_image(operator, "2.5.0")
    before, build, results = standing(operator), Build(operator), list[Any]()

    def back(_: str) -> None:
        if not results:
            results.append(None)
            results.append(waiting(operator, "1.0.0", build.end, who="cem", kind=Kind.ROLLBACK))

    with pytest.raises(Refusal, match=r"cem ordered a rollback to 1\.0\.0"):
        waiting(operator, "2.5.0", back, who="bob")
    assert results[1].ending is Ending.DONE
    assert_serves(operator, "1.0.0", 3, before)
