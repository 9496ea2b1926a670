"""Elastic Load Balancing as its pages describe it: target groups and classic load balancers of the simulated cloud."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    return provision_world(cloud, capacity=0)


@pytest.fixture
def elbv2(cloud: SimulatedCloud) -> Any:
    return cloud.client("elbv2")


@pytest.fixture
def elb(cloud: SimulatedCloud) -> Any:
    return cloud.client("elb")


def run(world: World, behaviour: Behaviour | None = None, *, subnet: str | None = None) -> str:
    """Run one instance until it is running; return its id."""
    if behaviour is not None:
        world.cloud.hosts.script_next(behaviour)
    ec2 = world.cloud.client("ec2")
    answer = ec2.run_instances(
        LaunchTemplate={"LaunchTemplateId": world.template_id},
        SubnetId=subnet or world.subnets[0],
        MinCount=1,
        MaxCount=1,
    )
    instance_id = str(answer["Instances"][0]["InstanceId"])
    world.cloud.clock.sleep(6)
    return instance_id


def target(world: World, instance_id: str) -> tuple[str, str, str]:
    """Return state, reason and description of a target."""
    answer = world.cloud.client("elbv2").describe_target_health(
        TargetGroupArn=world.target_group_arn, Targets=[{"Id": instance_id}]
    )
    health = answer["TargetHealthDescriptions"][0]["TargetHealth"]
    return health["State"], health.get("Reason", ""), health.get("Description", "")


def instance(world: World, instance_id: str) -> tuple[str, str, str]:
    """Return state, reason and description of an instance in the classic load balancer."""
    answer = world.cloud.client("elb").describe_instance_health(
        LoadBalancerName=world.load_balancer, Instances=[{"InstanceId": instance_id}]
    )
    health = answer["InstanceStates"][0]
    return health["State"], health["ReasonCode"], health["Description"]


def register(world: World, instance_id: str) -> None:
    world.cloud.client("elbv2").register_targets(TargetGroupArn=world.target_group_arn, Targets=[{"Id": instance_id}])
    world.cloud.client("elb").register_instances_with_load_balancer(
        LoadBalancerName=world.load_balancer, Instances=[{"InstanceId": instance_id}]
    )


def deregister(world: World, instance_id: str) -> None:
    world.cloud.client("elbv2").deregister_targets(TargetGroupArn=world.target_group_arn, Targets=[{"Id": instance_id}])
    world.cloud.client("elb").deregister_instances_from_load_balancer(
        LoadBalancerName=world.load_balancer, Instances=[{"InstanceId": instance_id}]
    )


# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
# https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_InstanceState.html


def test_a_target_is_registering_then_checked_then_healthy(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world, Behaviour(healthy_s=4))
    assert target(world, instance_id)[:2] == ("unused", "Target.NotRegistered")
    register(world, instance_id)
    assert target(world, instance_id)[:2] == ("initial", "Elb.RegistrationInProgress")
    assert instance(world, instance_id) == ("OutOfService", "ELB", "Instance registration is still in progress.")
    cloud.clock.sleep(2)
    assert target(world, instance_id)[:2] == ("initial", "Elb.InitialHealthChecking")
    cloud.clock.sleep(10)
    assert target(world, instance_id) == ("healthy", "", "")
    assert instance(world, instance_id) == ("InService", "N/A", "N/A")


def test_a_target_that_answers_with_an_error_is_unhealthy_with_the_code(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world, Behaviour(healthy_s=None))
    register(world, instance_id)
    cloud.clock.sleep(15)
    assert target(world, instance_id) == (
        "unhealthy",
        "Target.ResponseCodeMismatch",
        "Health checks failed with these codes: [503]",
    )
    state, reason, description = instance(world, instance_id)
    assert (state, reason) == ("OutOfService", "Instance")
    assert description.startswith("Instance has failed at least the UnhealthyThreshold")


def test_a_healthy_target_that_falls_sick_turns_unhealthy(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world)
    register(world, instance_id)
    cloud.until(lambda: target(world, instance_id)[0] == "healthy")
    cloud.hosts.script(instance_id, sick_s=0)
    assert cloud.until(lambda: target(world, instance_id)[0] == "unhealthy") >= 5  # threshold times interval
    cloud.hosts.script(instance_id, sick_s=None)
    assert cloud.until(lambda: target(world, instance_id)[0] == "healthy") >= 5


def test_a_target_group_without_a_listener_is_not_in_use(world: World, cloud: SimulatedCloud, elbv2: Any) -> None:
    instance_id = run(world)
    register(world, instance_id)
    (balancer,) = elbv2.describe_load_balancers()["LoadBalancers"]
    (listener,) = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    elbv2.delete_listener(ListenerArn=listener["ListenerArn"])
    cloud.clock.sleep(10)
    assert target(world, instance_id)[:2] == ("unused", "Target.NotInUse")
    assert cloud.balancers.pools[f"tg-{world.group}"].listeners == ()


def test_a_target_in_a_zone_that_is_not_enabled_gets_nothing(world: World, cloud: SimulatedCloud) -> None:
    ec2 = cloud.client("ec2")
    vpc_id = ec2.describe_subnets(SubnetIds=[world.subnets[0]])["Subnets"][0]["VpcId"]
    third = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.99.32.0/24", AvailabilityZone="us-east-1c")["Subnet"]
    instance_id = run(world, subnet=third["SubnetId"])
    register(world, instance_id)
    cloud.clock.sleep(10)
    assert target(world, instance_id)[:2] == ("unused", "Target.NotInUse")
    assert cloud.balancers.serving(f"tg-{world.group}") == frozenset()


def test_a_stopped_target_is_in_an_invalid_state(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world)
    register(world, instance_id)
    cloud.clock.sleep(10)
    cloud.client("ec2").stop_instances(InstanceIds=[instance_id])
    cloud.clock.sleep(10)
    assert target(world, instance_id)[:2] == ("unused", "Target.InvalidState")
    assert instance(world, instance_id) == ("OutOfService", "Instance", "Instance is in stopped state.")


def test_only_running_instances_can_be_registered(world: World, elbv2: Any) -> None:
    instance_id = run(world, Behaviour(boot_s=60))
    with pytest.raises(ClientError) as error:
        elbv2.register_targets(TargetGroupArn=world.target_group_arn, Targets=[{"Id": instance_id}])
    assert error.value.response["Error"]["Code"] == "InvalidTarget"


# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html


def test_a_target_shows_as_draining_for_the_whole_delay_even_when_idle(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world, Behaviour(drain_s=1))
    register(world, instance_id)
    cloud.until(lambda: target(world, instance_id)[0] == "healthy")
    deregister(world, instance_id)
    assert target(world, instance_id)[:2] == ("draining", "Target.DeregistrationInProgress")
    assert cloud.until(lambda: target(world, instance_id)[0] == "unused") == 10
    assert target(world, instance_id)[:2] == ("unused", "Target.NotRegistered")


def test_a_target_is_cut_off_when_its_delay_is_over(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world, Behaviour(drain_s=1000))
    register(world, instance_id)
    cloud.until(lambda: target(world, instance_id)[0] == "healthy")
    deregister(world, instance_id)
    cloud.clock.sleep(9)
    assert [member.draining for member in cloud.balancers.pools[f"tg-{world.group}"].members] == [True]
    cloud.clock.sleep(2)
    assert cloud.balancers.pools[f"tg-{world.group}"].members == ()


def test_a_draining_target_that_is_registered_again_serves_again(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world)
    register(world, instance_id)
    cloud.until(lambda: target(world, instance_id)[0] == "healthy")
    deregister(world, instance_id)
    cloud.clock.sleep(2)
    register(world, instance_id)
    assert target(world, instance_id)[0] == "initial"
    cloud.clock.sleep(30)
    assert target(world, instance_id)[0] == "healthy"
    assert instance(world, instance_id)[0] == "InService"


# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html


def test_deregistering_what_is_not_registered_is_no_error(world: World) -> None:
    deregister(world, run(world))


# https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html


def test_a_classic_load_balancer_lets_go_with_the_last_request(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world, Behaviour(drain_s=4))
    register(world, instance_id)
    cloud.until(lambda: instance(world, instance_id)[0] == "InService")
    deregister(world, instance_id)
    assert instance(world, instance_id) == ("InService", "N/A", "Instance deregistration currently in progress.")
    took_s = cloud.until(lambda: instance(world, instance_id)[0] == "OutOfService")
    assert 4 <= took_s < 10
    assert instance(world, instance_id)[2] == "Instance is not currently registered with the LoadBalancer."


def test_without_connection_draining_an_instance_is_gone_at_once(world: World, cloud: SimulatedCloud, elb: Any) -> None:
    elb.modify_load_balancer_attributes(
        LoadBalancerName=world.load_balancer, LoadBalancerAttributes={"ConnectionDraining": {"Enabled": False}}
    )
    instance_id = run(world)
    register(world, instance_id)
    cloud.until(lambda: instance(world, instance_id)[0] == "InService")
    deregister(world, instance_id)
    assert instance(world, instance_id)[0] == "OutOfService"


def test_registering_answers_with_all_registered_instances(world: World, elb: Any) -> None:
    first, second = run(world), run(world)
    register(world, first)
    answer = elb.register_instances_with_load_balancer(
        LoadBalancerName=world.load_balancer, Instances=[{"InstanceId": second}]
    )
    assert {each["InstanceId"] for each in answer["Instances"]} == {first, second}
    (described,) = elb.describe_load_balancers(LoadBalancerNames=[world.load_balancer])["LoadBalancerDescriptions"]
    assert {each["InstanceId"] for each in described["Instances"]} == {first, second}


def test_a_load_balancer_that_does_not_exist_is_named(world: World, elb: Any) -> None:
    with pytest.raises(ClientError) as error:
        elb.register_instances_with_load_balancer(LoadBalancerName="none", Instances=[{"InstanceId": "i-1"}])
    assert error.value.response["Error"]["Code"] == "LoadBalancerNotFound"


# Termination: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-register-targets.html


def test_a_terminated_instance_disappears_from_both_kinds(world: World, cloud: SimulatedCloud) -> None:
    instance_id = run(world)
    register(world, instance_id)
    cloud.until(lambda: target(world, instance_id)[0] == "healthy")
    cloud.client("ec2").terminate_instances(InstanceIds=[instance_id])
    cloud.clock.sleep(1)
    assert target(world, instance_id)[0] == "draining"
    cloud.clock.sleep(5)
    assert world.health() == {}
    assert world.classic_health() == {}


# What balancers are told


def test_load_balancers_get_addresses_of_their_own_and_pools_their_sockets_and_checks(
    world: World, cloud: SimulatedCloud, elb: Any, elbv2: Any
) -> None:
    instance_id = run(world)
    register(world, instance_id)
    cloud.clock.sleep(1)
    (application,) = elbv2.describe_load_balancers()["LoadBalancers"]
    (classic,) = elb.describe_load_balancers()["LoadBalancerDescriptions"]
    pools = cloud.balancers.pools
    assert application["DNSName"] != classic["DNSName"]
    assert pools[f"tg-{world.group}"].listeners == ((application["DNSName"], 80),)
    assert pools[f"clb-{world.load_balancer}"].listeners == ((classic["DNSName"], 80),)
    for pool in pools.values():
        (member,) = pool.members
        assert (member.instance_id, member.port, member.draining) == (instance_id, 8080, False)
        assert (pool.check.path, pool.check.port, pool.check.interval_s) == ("/health", 8080, 5)


def test_a_classic_load_balancer_with_two_instance_ports_has_a_pool_for_each(
    world: World, cloud: SimulatedCloud, elb: Any
) -> None:
    elb.create_load_balancer(
        LoadBalancerName="two",
        Listeners=[
            {"Protocol": "HTTP", "LoadBalancerPort": port, "InstanceProtocol": "HTTP", "InstancePort": to}
            for port, to in ((80, 8080), (81, 8080), (90, 9090))
        ],
        Subnets=list(world.subnets),
    )
    cloud.clock.sleep(1)
    pools = cloud.balancers.pools
    assert [port for _, port in pools["clb-two"].listeners] == [80, 81]
    assert [port for _, port in pools["clb-two-9090"].listeners] == [90]
    assert pools["clb-two"].check.path == ""  # without a health check: does the port take connections?


# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("deregistration_delay.timeout_seconds", "0"),
        ("deregistration_delay.timeout_seconds", "3600"),
        ("slow_start.duration_seconds", "30"),
        ("slow_start.duration_seconds", "900"),
        ("slow_start.duration_seconds", "0"),
    ],
)
def test_a_target_group_takes_delays_up_to_the_ends_of_their_ranges(
    world: World, elbv2: Any, key: str, value: str
) -> None:
    arn = world.target_group_arn
    elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[{"Key": key, "Value": value}])
    attributes = elbv2.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    assert {"Key": key, "Value": value} in attributes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("deregistration_delay.timeout_seconds", "3601"),
        ("deregistration_delay.timeout_seconds", "soon"),
        ("slow_start.duration_seconds", "29"),
        ("slow_start.duration_seconds", "901"),
    ],
)
def test_a_target_group_refuses_delays_beyond_their_ranges_and_changes_nothing(
    world: World, elbv2: Any, key: str, value: str
) -> None:
    arn = world.target_group_arn
    before = elbv2.describe_target_group_attributes(TargetGroupArn=arn)
    changes = [{"Key": "stickiness.enabled", "Value": "true"}, {"Key": key, "Value": value}]
    with pytest.raises(ClientError, match=rf"ValidationError.*'{key}' value '{value}' must be between"):
        elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=changes)
    after = elbv2.describe_target_group_attributes(TargetGroupArn=arn)
    assert after["Attributes"] == before["Attributes"]
