"""Fleets of hundreds: calls by the nineteen, looks by the page."""

from __future__ import annotations

from collections import Counter

import pytest

from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import simulated_cloud
from fabfile.localcloud.world import provision_world
from fabfile.plan.release import Ending
from fabfile.tools import aws

from .conftest import Operator

OURS = {"headway:project": "shop"}


def release_of(capacity: int) -> tuple[Counter[str], Operator, float]:
    """Release to a fleet of a size; returns the calls by action, the operator, and the virtual seconds it took."""
    aws._client.cache_clear()
    with simulated_cloud(seed=7, direct=True) as cloud:
        world = provision_world(cloud, capacity=capacity)
        cloud.client("ec2").create_tags(
            Resources=[world.image_ids["1.0.0"]], Tags=[{"Key": "headway:project", "Value": "shop"}]
        )
        world.image("2.0.0", Behaviour(version="2.0.0"), OURS)
        operator = Operator(cloud, world)
        asked_before, began_s = len(cloud.calls), cloud.clock.elapsed_s
        assert operator.release("2.0.0").ending is Ending.DONE
        took_s = cloud.clock.elapsed_s - began_s
        calls = Counter(cloud.calls[asked_before:])
        assert operator.carried() == {"2.0.0"}
        assert operator.fewest_serving >= capacity
        assert operator.leftovers() == []
        assert len(world.members()) == capacity
        return calls, operator, took_s


@pytest.fixture(scope="module")
def small() -> Counter[str]:
    return release_of(4)[0]


def test_calls_grow_with_the_nineteenth_of_the_fleet(small: Counter[str]) -> None:
    calls, _, _ = release_of(190)
    for action in ("AttachInstances", "EnterStandby", "DetachInstances"):
        assert [n for name, n in calls.items() if name.endswith(action)] == [10]
    assert not [n for name, n in calls.items() if name.endswith("TerminateInstanceInAutoScalingGroup")]
    assert sum(calls.values()) <= 10 * sum(small.values())
