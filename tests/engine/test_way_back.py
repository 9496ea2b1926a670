"""Rollbacks from a fleet that was kept warm: in seconds, and at the size that is needed now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fabfile.engine.operate import Order, operate
from fabfile.localcloud.models import Behaviour
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Ending, Kind

from .conftest import Operator

OURS = {"headway:project": "shop"}


@pytest.fixture
def kept(operator: Operator) -> Operator:
    """Have 2.0.0 serve, with the three instances of 1.0.0 warm beside it."""
    operator.release_settings["keep_previous"] = True
    operator.release("2.0.0")
    assert len(operator.world.members("Standby")) == 3
    operator.screen.acts.clear()
    return operator


def want(operator: Operator, desired: int) -> None:
    operator.cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=operator.world.group, DesiredCapacity=desired
    )
    operator.cloud.until(lambda: len(operator.world.members()) == desired)
    operator.cloud.clock.sleep(30)


def test_starts_what_the_warm_fleet_lacks_today(kept: Operator) -> None:
    warm = set(kept.world.members("Standby"))
    want(kept, 5)
    assert kept.release("1.0.0", Kind.ROLLBACK).ending is Ending.DONE
    assert len(kept.world.members()) == 5
    assert warm < set(kept.world.members())
    assert kept.carried() == {"1.0.0"}


def test_leaves_nothing_in_standby_that_today_does_not_need(kept: Operator) -> None:
    warm = set(kept.world.members("Standby"))
    want(kept, 2)
    assert kept.release("1.0.0", Kind.ROLLBACK).ending is Ending.DONE
    kept.cloud.clock.sleep(60)
    assert set(kept.world.members()) < warm
    assert len(kept.world.members()) == 2
    standing = kept.world.members("Standby")
    assert {kept.cloud.hosts.version(each) for each in standing} == {"2.0.0"}
    assert kept.leftovers() == []


def test_serves_again_within_the_time_of_a_health_check(kept: Operator) -> None:
    began_s = kept.cloud.clock.elapsed_s
    kept.release("1.0.0", Kind.ROLLBACK)
    assert "LaunchInstances" not in kept.screen.acts
    # Registration, one passed check of each load balancer, and looks every two seconds; then 10 s of draining.
    assert kept.cloud.clock.elapsed_s - began_s < 40


def test_passes_by_warm_instances_that_no_longer_answer(kept: Operator) -> None:
    for each in kept.world.members("Standby"):
        kept.cloud.hosts.script(each, sick_s=0)
    assert kept.release("1.0.0", Kind.ROLLBACK).ending is Ending.DONE
    assert "LaunchInstances" in kept.screen.acts
    assert kept.carried() == {"1.0.0"}
    assert kept.fewest_serving >= 3
    assert {kept.cloud.hosts.version(each) for each in kept.world.members("Standby")} == {"2.0.0"}
    assert kept.leftovers() == []


def test_leaves_the_serving_fleet_alone_when_the_rollback_itself_fails(kept: Operator) -> None:
    serving = sorted(kept.world.members())
    kept.world.image("0.9.0", Behaviour(version="0.9.0", healthy_s=None), OURS)
    assert kept.release("0.9.0", Kind.ROLLBACK).ending is Ending.RESTORED
    assert sorted(kept.world.members()) == serving
    assert len(kept.world.members("Standby")) == 3
    assert kept.carried() == {"2.0.0"}


def test_asks_for_yes_before_it_goes_back_to_a_version_known_as_bad(operator: Operator) -> None:
    operator.release("2.0.0")
    operator.release("1.0.0", Kind.ROLLBACK)
    order = Order(Kind.ROLLBACK, "2.0.0", "ann")
    with pytest.raises(Refusal, match=r"2\.0\.0 was recorded as bad: ann rolled back from it .*--yes"):
        operate(operator.settings, order, operator.means)
    assert operator.carried() == {"1.0.0"}


def test_goes_back_at_a_moment_with_the_warm_fleet(kept: Operator) -> None:
    at = kept.cloud.clock.now() + timedelta(minutes=3)
    seen: list[float] = []
    kept.cloud.clock.when(
        lambda: "1.0.0" in kept.carried(), lambda: seen.append((kept.cloud.clock.now() - at).total_seconds())
    )
    assert kept.release("1.0.0", Kind.ROLLBACK, at=at).ending is Ending.DONE
    assert seen[0] >= 0
    assert "LaunchInstances" not in kept.screen.acts
