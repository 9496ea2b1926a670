"""Stories of load balancers that are not as a release would have them: each is seen, or refused at the start.

Pages followed: target health
(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html) and the attributes of
target groups (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html).
"""

from __future__ import annotations

from typing import Any

import pytest

from fabfile.engine.observe import Observer
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Ending

from ..plan.fleets import record
from .conftest import Operator
from .stories import assert_put_back, assert_serves, standing


def add_target_group(operator: Operator) -> str:
    """Have the group register its instances with a target group that no listener leads to; return its ARN."""
    subnet = operator.cloud.client("ec2").describe_subnets(SubnetIds=[operator.world.subnets[0]])["Subnets"][0]
    arn = operator.cloud.client("elbv2").create_target_group(
        Name="idle", Protocol="HTTP", Port=8080, VpcId=subnet["VpcId"], HealthCheckPath="/health"
    )["TargetGroups"][0]["TargetGroupArn"]
    delay(operator, arn, drain=20)
    operator.cloud.client("autoscaling").attach_load_balancer_target_groups(
        AutoScalingGroupName=operator.world.group, TargetGroupARNs=[arn]
    )
    operator.cloud.clock.sleep(60)
    return str(arn)


def lead_to(operator: Operator, arn: str) -> None:
    """Give the load balancer a listener that forwards to a target group."""
    elbv2 = operator.cloud.client("elbv2")
    elbv2.create_listener(
        LoadBalancerArn=elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"],
        Protocol="HTTP",
        Port=81,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
    )
    operator.cloud.clock.sleep(60)


def delay(operator: Operator, arn: str, **seconds: int) -> None:
    """Set the delays of a target group by the first word of their names."""
    names = {"drain": "deregistration_delay.timeout_seconds", "slow_start": "slow_start.duration_seconds"}
    attributes: list[dict[str, Any]] = [{"Key": names[key], "Value": str(value)} for key, value in seconds.items()]
    operator.cloud.client("elbv2").modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes)


def test_a_target_group_that_no_listener_uses_is_refused_and_served_once_one_does(operator: Operator) -> None:
    """Target.NotInUse: its instances are `unused` for as long as one waits for them to turn healthy."""
    arn = add_target_group(operator)
    before = standing(operator)
    with pytest.raises(Refusal, match=r"target group idle sends shop-prod nothing .*have a listener forward to it"):
        operator.release("2.0.0")
    assert operator.screen.acts == []
    assert_put_back(operator, before)
    lead_to(operator, arn)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)


def test_a_zone_of_the_group_that_no_load_balancer_has_enabled_is_refused_by_name(operator: Operator) -> None:
    """Target.NotInUse: who is started there would never get a request."""
    elbv2, ec2 = operator.cloud.client("elbv2"), operator.cloud.client("ec2")
    (balancer,) = elbv2.describe_load_balancers()["LoadBalancers"]
    third = ec2.create_subnet(VpcId=balancer["VpcId"], CidrBlock="10.99.32.0/24", AvailabilityZone="us-east-1c")
    subnets = [operator.world.subnets[0], third["Subnet"]["SubnetId"]]
    elbv2.set_subnets(LoadBalancerArn=balancer["LoadBalancerArn"], Subnets=subnets)
    operator.cloud.clock.sleep(5)
    before = standing(operator)
    with pytest.raises(Refusal, match=r"sends nothing to us-east-1b, .*enable us-east-1b for its load balancer"):
        operator.release("2.0.0")
    assert operator.screen.acts == []
    assert_put_back(operator, before)


def test_the_delays_of_all_target_groups_are_known_and_the_longest_of_each_counts(operator: Operator) -> None:
    """Slow start: a healthy target gets a growing share of the requests, and its full share only at the end."""

    def delays() -> tuple[float, float]:
        look = Observer(operator.settings, operator.cloud.clock.now).look(record())
        return look.drain_s, look.slow_start_s

    assert delays()[1] == 0
    other = add_target_group(operator)
    delay(operator, operator.world.target_group_arn, drain=30, slow_start=120)
    delay(operator, other, drain=900, slow_start=60)
    assert delays() == (900, 120)


def test_old_instances_serve_until_a_slow_start_is_over(operator: Operator) -> None:
    """A target in slow start gets a share that grows from nothing over 30 to 900 seconds."""
    delay(operator, operator.world.target_group_arn, slow_start=90)
    before = standing(operator)
    serving: list[int] = []  # one number a second
    operator.cloud.clock.at_each_step(lambda: serving.append(operator.serving()))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert serving.count(6) >= 90
    assert_serves(operator, "2.0.0", 3, before)


def test_a_delay_longer_than_our_own_patience_ends_no_release(operator: Operator) -> None:
    """A target is `draining` for its whole delay, at most 3600 s, even when nothing is on its way to it."""
    delay(operator, operator.world.target_group_arn, drain=3000)
    before = standing(operator)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
