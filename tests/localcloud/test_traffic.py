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
    assert whys(cloud) == {"killed with a request in flight"}


def test_requests_fail_at_an_instance_that_is_terminated_behind_its_groups_back(
    world: World, cloud: SimulatedCloud
) -> None:
    cloud.client("ec2").terminate_instances(InstanceIds=world.members()[:1])
    cloud.clock.sleep(30)
    assert cloud.traffic.failures != []


def test_a_request_in_flight_is_lost_with_the_machine_that_is_terminated(world: World, cloud: SimulatedCloud) -> None:
    victim = world.members()[0]
    cloud.client("ec2").terminate_instances(InstanceIds=[victim])
    cloud.clock.sleep(30)
    killed = [each for each in cloud.traffic.failures if each.why == "killed with a request in flight"]
    assert {each.instance_id for each in killed} == {victim}
    assert len(killed) == len(cloud.balancers.pools)


def test_an_application_that_answers_with_errors_loses_requests_until_it_is_found_unhealthy(
    world: World, cloud: SimulatedCloud
) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html."""
    cloud.hosts.script(world.members()[0], sick_s=0)
    cloud.clock.sleep(11)
    assert whys(cloud) == {"no good answer"}
    before = len(cloud.traffic.failures)
    cloud.clock.sleep(20)
    assert len(cloud.traffic.failures) == before


def test_an_application_load_balancer_fails_open_and_a_classic_one_does_not(
    world: World, cloud: SimulatedCloud
) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html."""
    cloud.client("autoscaling").suspend_processes(AutoScalingGroupName=world.group)
    members = world.members()
    for instance_id in members:
        cloud.hosts.script(instance_id, sick_s=0)
    cloud.clock.sleep(30)
    for instance_id in members:
        cloud.hosts.script(instance_id, sick_s=None)
    cloud.traffic.failures.clear()
    cloud.clock.sleep(2)  # well again, and not yet found healthy
    assert {(each.pool.split("-")[0], each.why) for each in cloud.traffic.failures} == {("clb", "nobody serves")}


def test_requests_fail_at_a_version_that_the_database_is_past(world: World, cloud: SimulatedCloud) -> None:
    cloud.traffic.schema = "1.0.0"
    cloud.clock.sleep(5)
    assert cloud.traffic.failures == []
    cloud.traffic.schema = "1.10.0"
    cloud.clock.sleep(5)
    assert whys(cloud) == {"a version that the database is past"}


def test_the_requests_that_came_in_are_counted(world: World, cloud: SimulatedCloud) -> None:
    before = cloud.traffic.requests
    cloud.clock.sleep(10)
    assert cloud.traffic.requests - before == 10 * len(cloud.balancers.pools) * len(world.members())


def test_requests_that_outlast_the_draining_time_are_cut_off(cloud: SimulatedCloud) -> None:
    world = provision_world(cloud, capacity=2, behaviour=Behaviour(drain_s=30), delay_s=10)
    enter_standby(world, world.members()[:1])
    cloud.clock.sleep(60)
    assert whys(cloud) == {"cut off while it drained"}


def test_a_pool_counts_from_its_first_healthy_instance(cloud: SimulatedCloud) -> None:
    provision_world(cloud, capacity=0)
    cloud.clock.sleep(60)
    assert cloud.traffic.failures == []
