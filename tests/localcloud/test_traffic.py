"""The simulated cloud counts the requests that fail, as clients would."""

from __future__ import annotations

from typing import Any

import pytest

from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    return provision_world(cloud, capacity=2)


def whys(cloud: SimulatedCloud) -> set[str]:
    return {failure.why for failure in cloud.traffic.failures}


def enter_standby(world: World, instance_ids: list[str]) -> Any:
    return world.cloud.client("autoscaling").enter_standby(
        AutoScalingGroupName=world.group, InstanceIds=instance_ids, ShouldDecrementDesiredCapacity=True
    )


def test_no_request_fails_while_instances_drain_into_standby(world: World, cloud: SimulatedCloud) -> None:
    enter_standby(world, world.members()[:1])
    cloud.clock.sleep(60)
    assert cloud.traffic.failures == []
    assert set(cloud.traffic.fewest.values()) == {1}


def test_requests_fail_when_nobody_serves(world: World, cloud: SimulatedCloud) -> None:
    cloud.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=world.group, MinSize=0)
    enter_standby(world, world.members())
    cloud.clock.sleep(5)
    assert whys(cloud) == {"nobody serves"}


def test_requests_fail_at_an_instance_that_dies_in_service(world: World, cloud: SimulatedCloud) -> None:
    cloud.hosts.kill(world.members()[0])
    cloud.clock.sleep(30)
    assert "no good answer" in whys(cloud)


def test_requests_fail_at_an_instance_that_is_terminated_behind_its_groups_back(
    world: World, cloud: SimulatedCloud
) -> None:
    cloud.client("ec2").terminate_instances(InstanceIds=world.members()[:1])
    cloud.clock.sleep(30)
    assert cloud.traffic.failures != []


def test_requests_that_outlast_the_draining_time_are_cut_off(cloud: SimulatedCloud) -> None:
    world = provision_world(cloud, capacity=2, behaviour=Behaviour(drain_s=30), delay_s=10)
    enter_standby(world, world.members()[:1])
    cloud.clock.sleep(60)
    assert whys(cloud) == {"cut off while it drained"}


def test_a_pool_counts_from_its_first_healthy_instance(cloud: SimulatedCloud) -> None:
    provision_world(cloud, capacity=0)
    cloud.clock.sleep(60)
    assert cloud.traffic.failures == []
