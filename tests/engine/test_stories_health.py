"""Stories of health that was not there: what other deploy systems took for a reason to go on, and Headway does not.

Each test names where it happened to other people; the circumstance is theirs, the cloud is the simulated one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fabfile.engine.act import Hands
from fabfile.localcloud.faults import Fault
from fabfile.localcloud.models import Behaviour
from fabfile.plan.fleet import Balancer, Health, Registration
from fabfile.plan.outcome import NotRestored, Refusal
from fabfile.plan.release import Ending
from fabfile.show.ending import render
from fabfile.tools import elb

from .conftest import Operator
from .stories import (
    add_image,
    assert_over,
    assert_put_back,
    assert_restored,
    assert_serves,
    at_each_step,
    change_group,
    last_chapter,
    means,
    meanwhile,
    order,
    standing,
    trust_everyone,
    versions,
    watch_leaving,
    when,
)


def test_an_old_fleet_is_not_disabled_while_the_new_one_fails_its_health_checks(operator: Operator) -> None:
    """spinnaker/spinnaker#6973: a bad commit, and the old group was disabled while the new one failed in the ELB."""
    change_group(operator, HealthCheckGracePeriod=600)
    before, left = standing(operator), watch_leaving(operator)
    result = order(operator, "3.0.0", with_means=means(operator, ask=trust_everyone))
    assert_restored(result, "not healthy within 90 s", "unhealthy in shop-prod", "Target.ResponseCodeMismatch", "503")
    assert not left
    assert operator.fewest_serving >= 3
    assert_put_back(operator, before)
    assert last_chapter(operator).reason == "health"


def test_a_new_instance_that_the_group_itself_gives_up_on_ends_the_release_at_once(operator: Operator) -> None:
    """spinnaker/spinnaker#6973 with a short grace period: the group replaces what it finds unhealthy, without end."""
    change_group(operator, HealthCheckGracePeriod=30)
    before, began_s = standing(operator), operator.cloud.clock.elapsed_s
    result = order(operator, "3.0.0", with_means=means(operator, ask=trust_everyone))
    assert_restored(result, "shop-prod itself found new instance", "unhealthy in shop-prod", "503")
    assert result.record is not None
    assert len(result.record.launched) == 3
    assert operator.cloud.clock.elapsed_s - began_s < 120
    # What the group launched in place of it is of the old version, and goes as the group shrinks.
    operator.cloud.until(lambda: len(operator.world.members(None)) == 3)
    now = standing(operator)
    assert (now.sizes, now.suspended, now.template) == (before.sizes, before.suspended, before.template)
    assert operator.carried() == {"1.0.0"}
    assert operator.fewest_serving >= 3
    assert_over(operator)


def test_a_fleet_that_never_answers_gets_no_traffic_at_all(operator: Operator) -> None:
    """spinnaker/spinnaker#6973, seen earlier: what does not answer is not even shown to the load balancer."""
    before, seen = standing(operator), set[str]()
    at_each_step(operator, lambda: seen.update(operator.world.health()))
    assert_restored(operator.release("3.0.0"), "was not ready within 120 s", "503")
    assert seen == before.targets
    assert_put_back(operator, before)


def test_each_of_many_releases_leaves_nobody_behind_in_the_load_balancers(operator: Operator) -> None:
    """spinnaker/spinnaker#6367: every second deploy or so skipped disabling, and the old group stayed in the ELB."""
    before = standing(operator)
    for number in range(1, 6):
        version = f"2.{number}.0"
        add_image(operator, version)
        assert operator.release(version).ending is Ending.DONE
        assert_serves(operator, version, 3, before)
    assert operator.fewest_serving >= 3
    assert operator.cloud.traffic.failures == []


@pytest.mark.parametrize(
    "act_name",
    ["PrepareGroup", "Protect", "Attach", "PointGroup", "EnterStandby", "Detach", "Terminate", "RestoreGroup"],
)
def test_what_succeeded_without_having_done_anything_is_seen_and_done(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, act_name: str
) -> None:
    """spinnaker/spinnaker#1506: the task that scales the old group down "succeeded" with an empty output."""
    before, real, skipped = standing(operator), Hands.__dict__["do"], list[str]()

    def do(self: Hands, act: Any, record: Any) -> Any:
        if type(act).__name__ == act_name and not skipped:
            skipped.append(act_name)
            return record
        return real.__get__(self, Hands)(act, record)

    monkeypatch.setattr(Hands, "do", do)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert skipped
    assert_serves(operator, "2.0.0", 3, before)
    assert operator.fewest_serving >= 3


def test_only_as_many_old_instances_leave_as_new_ones_serve(operator: Operator) -> None:
    """spinnaker/spinnaker#2645: a rolling red/black at 25 % disabled the old group in its entirety."""
    before, seen = standing(operator), list[dict[str, int]]()
    at_each_step(operator, lambda: seen.append(versions(operator)))
    assert operator.release("2.0.0", batch=1).ending is Ending.DONE
    stages = list(dict.fromkeys((each.get("1.0.0", 0), each.get("2.0.0", 0)) for each in seen))
    assert stages == [(3, 0), (3, 1), (2, 1), (2, 2), (1, 2), (1, 3), (0, 3)]
    assert operator.fewest_serving >= 3
    assert_serves(operator, "2.0.0", 3, before)


def test_an_instance_that_a_hook_holds_in_pending_wait_is_no_capacity(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spinnaker/spinnaker#2940: the pipeline went on while the instance was in Pending:Wait."""
    operator.release_settings.update(launch_hooks="skip", healthy_within_s=300)
    add_hook(operator, timeout_s=60)
    held, gone = list[str](), list[dict[str, int]]()

    def grow() -> None:
        change_group(operator, DesiredCapacity=operator.world.describe_group()["DesiredCapacity"] + 1)

    at_each_step(operator, lambda: held.extend(operator.world.members("Pending:Wait")))
    meanwhile(monkeypatch, "PointGroup", grow)
    before = standing(operator)
    when(operator, lambda: "Detach" in operator.screen.acts, lambda: gone.append(versions(operator)))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert held, "the hook was to hold one"
    assert gone == [{"2.0.0": 4}]
    assert_serves(operator, "2.0.0", 4, before)


def test_a_group_whose_hook_prepares_instances_is_refused_before_anything_is_touched(operator: Operator) -> None:
    """spinnaker/spinnaker#2940, the other half: attached instances run no hook, so nobody may believe that they did."""
    add_hook(operator, timeout_s=60)
    before = standing(operator)
    with pytest.raises(Refusal, match=r"hook warm-up .* but not on those that a release attaches"):
        operator.release("2.0.0")
    assert operator.screen.acts == []
    assert_put_back(operator, before)


def test_a_load_balancer_api_that_throttles_for_a_while_only_costs_time(operator: Operator) -> None:
    """spinnaker/spinnaker#4466: with thousands of instances the ELB API throttled, and the stage never saw health."""
    before, began_s = standing(operator), operator.cloud.clock.elapsed_s
    for action in ("elbv2:DescribeTargetHealth", "elb:DescribeInstanceHealth"):
        operator.cloud.faults.throttle(action, Fault(odds=0.4))
        operator.cloud.faults.throttle(action, Fault(since_s=began_s + 20, until_s=began_s + 320))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
    assert operator.fewest_serving >= 3


def test_a_load_balancer_api_that_throttles_for_ever_ends_the_wait_and_not_the_fleet(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spinnaker/spinnaker#4466: it waited for ever; here it ends, says so, and the same command goes on later."""
    before, began_s = standing(operator), operator.cloud.clock.elapsed_s
    throttle = Fault()
    meanwhile(monkeypatch, "Attach", lambda: operator.cloud.faults.throttle("elbv2:DescribeTargetHealth", throttle))
    with pytest.raises(NotRestored, match=r"AWS cannot be read: .*Rate exceeded.*the same command goes on"):
        operator.release("2.0.0")
    assert operator.cloud.clock.elapsed_s - began_s < 3600
    assert operator.carried() >= {"1.0.0"}
    assert set(operator.world.members()) >= {each for each, _ in before.members}
    throttle.until_s = operator.cloud.clock.elapsed_s
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
    assert operator.fewest_serving >= 3


def test_one_instance_that_never_turns_healthy_does_not_hold_a_release_for_ever(operator: Operator) -> None:
    """spinnaker/spinnaker#4466: one healthy instance was missing, and the stage waited for it without end."""
    before, began_s = standing(operator), operator.cloud.clock.elapsed_s
    operator.cloud.hosts.script_next(Behaviour(version="2.0.0", healthy_s=None))
    assert_restored(operator.release("2.0.0"), "was not ready within 120 s", "503")
    assert operator.cloud.clock.elapsed_s - began_s < 300
    assert_put_back(operator, before)


def test_a_release_without_capacity_says_why_no_instance_was_launched(operator: Operator) -> None:
    """spinnaker/deck#3053: "why are instances not launching" had to be added to the screen."""
    before = standing(operator)
    operator.cloud.faults.refuse_capacity(fault=Fault())
    result = order(operator, "2.0.0")
    assert_restored(result, "InsufficientInstanceCapacity", "do not have sufficient")
    assert "do not have sufficient" in render("prod", [result], asked_to_undo=False)
    assert "do not have sufficient" in last_chapter(operator).why
    assert_put_back(operator, before)


def test_the_groups_own_word_for_health_is_not_enough_in_its_grace_period(operator: Operator) -> None:
    """ansible/ansible-modules-core#383: "Healthy" in the grace period, though not InService in the ELB."""
    change_group(operator, HealthCheckGracePeriod=7200)
    before, left, words = standing(operator), watch_leaving(operator), set[str]()

    def listen() -> None:
        for each in operator.world.describe_group()["Instances"]:
            if operator.world.health().get(each["InstanceId"]) == "unhealthy":
                words.add(each["HealthStatus"])

    at_each_step(operator, listen)
    assert_restored(order(operator, "3.0.0", with_means=means(operator, ask=trust_everyone)), "not healthy within")
    assert words == {"Healthy"}, "the group was to speak well of what the load balancer refuses"
    assert not left
    assert operator.fewest_serving >= 3
    assert_put_back(operator, before)


def test_no_old_instance_leaves_before_the_new_targets_are_healthy(operator: Operator) -> None:
    """hashicorp/terraform#8655: the old group was deleted before the ALB's targets were healthy."""
    add_image(operator, "4.0.0", healthy_s=70)
    before, health = standing(operator), list[dict[str, str]]()
    when(operator, lambda: "EnterStandby" in operator.screen.acts, lambda: health.append(operator.world.health()))
    assert order(operator, "4.0.0", with_means=means(operator, ask=trust_everyone)).ending is Ending.DONE
    assert [health[0][each] for each in operator.world.members()] == ["healthy"] * 3
    assert operator.fewest_serving >= 3
    assert_serves(operator, "4.0.0", 3, before)


def test_no_old_instance_leaves_while_the_classic_load_balancer_has_a_new_one_out_of_service(
    operator: Operator,
) -> None:
    """hashicorp/terraform#2717: old instances were destroyed while the new ones were OutOfService."""
    operator.release_settings["healthy_within_s"] = 300
    slow = {"Interval": 60, "Timeout": 5, "HealthyThreshold": 2, "UnhealthyThreshold": 2}
    operator.cloud.client("elb").configure_health_check(
        LoadBalancerName=operator.world.load_balancer, HealthCheck={"Target": "HTTP:8080/health", **slow}
    )
    add_image(operator, "4.0.0", healthy_s=40)
    before, apart, classic = standing(operator), list[str](), list[dict[str, str]]()

    def compare() -> None:
        first, second = operator.world.health(), operator.world.classic_health()
        apart.extend(each for each in first if first[each] == "healthy" and second.get(each) == "OutOfService")

    at_each_step(operator, compare)
    when(
        operator,
        lambda: "EnterStandby" in operator.screen.acts,
        lambda: classic.append(operator.world.classic_health()),
    )
    assert order(operator, "4.0.0", with_means=means(operator, ask=trust_everyone)).ending is Ending.DONE
    assert apart, "the two load balancers were to disagree for a while"
    assert [classic[0][each] for each in operator.world.members()] == ["InService"] * 3
    assert operator.fewest_serving >= 3
    assert_serves(operator, "4.0.0", 3, before)


def test_health_that_comes_and_goes_between_two_looks_is_none(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for, and found nowhere (5): health as these ids, in every load balancer, several reads in a row."""
    change_group(operator, HealthCheckGracePeriod=600)
    before, left, real, looks = standing(operator), watch_leaving(operator), elb.read_balancers, 0

    def read(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return real(*given) if looks % 2 else flattered(real(*given))

    monkeypatch.setattr(elb, "read_balancers", read)
    assert_restored(order(operator, "3.0.0", with_means=means(operator, ask=trust_everyone)), "not healthy within 90 s")
    assert looks > 30
    assert not left
    monkeypatch.undo()
    assert_put_back(operator, before)


def test_healthy_strangers_are_not_counted_for_our_own(operator: Operator) -> None:
    """Asked for, and found nowhere (5): as many healthy targets as there should be, and none of them ours."""
    change_group(operator, HealthCheckGracePeriod=600)
    strangers = start_strangers(operator, 3)
    before, left = standing(operator), watch_leaving(operator)
    assert sorted(operator.world.health().values()) == ["healthy"] * 6
    result = order(operator, "3.0.0", with_means=means(operator, ask=trust_everyone))
    assert_restored(result, "not healthy within 90 s", "unhealthy in shop-prod")
    assert not left
    assert standing(operator) == before
    assert sorted(operator.leftovers()) == sorted(strangers)


def add_hook(operator: Operator, timeout_s: int) -> None:
    """Have the group hold each instance that it launches."""
    operator.cloud.client("autoscaling").put_lifecycle_hook(
        AutoScalingGroupName=operator.world.group,
        LifecycleHookName="warm-up",
        LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING",
        HeartbeatTimeout=timeout_s,
        DefaultResult="CONTINUE",
    )


def flattered(balancers: tuple[Balancer, ...]) -> tuple[Balancer, ...]:
    """Have load balancers say the best of everybody, as one lucky read may."""
    return tuple(
        replace(each, registrations=dict.fromkeys(each.registrations, Registration(Health.HEALTHY)))
        for each in balancers
    )


def start_strangers(operator: Operator, count: int) -> list[str]:
    """Start healthy instances that are none of ours and register them with the load balancers by hand."""
    cloud, world = operator.cloud, operator.world
    ran = cloud.client("ec2").run_instances(
        ImageId=world.image_ids["1.0.0"], MinCount=count, MaxCount=count, SubnetId=world.subnets[0]
    )
    ids = [each["InstanceId"] for each in ran["Instances"]]
    cloud.until(lambda: all(cloud.hosts.status(each) == 200 for each in ids))
    cloud.client("elbv2").register_targets(
        TargetGroupArn=world.target_group_arn, Targets=[{"Id": each} for each in ids]
    )
    cloud.client("elb").register_instances_with_load_balancer(
        LoadBalancerName=world.load_balancer, Instances=[{"InstanceId": each} for each in ids]
    )
    cloud.until(lambda: sorted(world.health().values()) == ["healthy"] * (3 + count))
    cloud.until(lambda: sorted(world.classic_health().values()) == ["InService"] * (3 + count))
    return ids
