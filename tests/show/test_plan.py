"""The plan of a release, as a person reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fabfile.plan import release as acts
from fabfile.plan.fleet import Facts, Group, Template
from fabfile.plan.forecast import Forecast, Step
from fabfile.plan.release import Act, Done, Wait
from fabfile.show.plan import render

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
FACTS = Facts(NOW, Group("shop-prod", 1, 4, 2, Template("lt-1", "7"), "7", frozenset(), {}), {}, (), {}, "ami-1")


def step(what: Act | Wait, *calls: str) -> Step:
    return Step(what, FACTS, calls, 1)


def wait(mark: str) -> Wait:
    return Wait("1 of 2", NOW, NOW + timedelta(seconds=9), mark)


def test_numbers_the_acts_and_says_each_wait_once() -> None:
    steps = (
        step(wait("look")),
        step(acts.Attach(("i-1",)), "autoscaling:AttachInstances"),
        step(wait("healthy")),
        step(wait("healthy")),
        step(acts.Retire(("i-2",)), "autoscaling:TerminateInstanceInAutoScalingGroup"),
    )
    lines = render(Forecast(steps, 4, 65, Done("done"))).splitlines()
    assert lines[1:4] == [
        "  1. attach 1 instance: i-1",
        "  2. wait until every one of them is healthy in every load balancer",
        "  3. retire 1 instance: i-2",
    ]
    assert "at the peak  4 instances" in lines
    assert "about        1 min 5 s" in lines


def test_says_when_there_is_nothing_to_do() -> None:
    assert (
        render(Forecast((), 2, 0, Done("2.0.0 already serves", changed=False))) == "2.0.0 already serves: nothing to do"
    )
