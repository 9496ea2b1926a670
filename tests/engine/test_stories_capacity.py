"""Stories of capacity: a minimum left pinned, a fleet that shrank or grew in the middle, room that was not there.

Each test names where it happened to other people; the circumstance is theirs, the cloud is the simulated one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fabfile.localcloud.faults import Fault
from fabfile.plan.release import Ending, Kind

from .conftest import Operator
from .stories import (
    Standing,
    add_image,
    assert_killed,
    assert_over,
    assert_put_back,
    assert_restored,
    assert_serves,
    at_each_step,
    change_group,
    die,
    meanwhile,
    scale,
    standing,
    watch_leaving,
    when,
)


def watch_sizes(operator: Operator) -> set[tuple[int, int]]:
    """Collect the minimum and the maximum that the group has from now on."""
    seen = set[tuple[int, int]]()

    def watch() -> None:
        group = operator.world.describe_group()
        seen.add((group["MinSize"], group["MaxSize"]))

    at_each_step(operator, watch)
    return seen


def desired(operator: Operator) -> int:
    return int(operator.world.describe_group()["DesiredCapacity"])


def add_policy(operator: Operator, name: str, adjustment: int) -> None:
    """Add a simple scaling policy, as a CloudWatch alarm listens to."""
    operator.cloud.client("autoscaling").put_scaling_policy(
        AutoScalingGroupName=operator.world.group,
        PolicyName=name,
        PolicyType="SimpleScaling",
        AdjustmentType="ChangeInCapacity",
        ScalingAdjustment=adjustment,
    )


def shrink_while_load_is_low(operator: Operator, needed: int, within_s: float = 20) -> list[int]:
    """Let a policy take one away whenever more than what the load needs have been in service for a while."""
    took, since_s = list[int](), [operator.cloud.clock.elapsed_s]

    def watch() -> None:
        now_s = operator.cloud.clock.elapsed_s
        if operator.serving() <= needed:
            since_s[0] = now_s
        elif now_s - since_s[0] >= within_s and desired(operator) > 1:
            since_s[0] = now_s
            took.append(desired(operator))
            change_group(operator, DesiredCapacity=took[-1] - 1)

    at_each_step(operator, watch)
    return took


def never_healthy(operator: Operator, _: pytest.MonkeyPatch) -> None:
    assert_restored(operator.release("3.0.0"), "was not ready within 120 s")


def sick_behind_the_load_balancer(operator: Operator, _: pytest.MonkeyPatch) -> None:
    add_image(operator, "4.0.0", sick_s=40)
    assert_restored(operator.release("4.0.0", soak_s=60), "lost health")


def without_capacity(operator: Operator, _: pytest.MonkeyPatch) -> None:
    operator.cloud.faults.refuse_capacity(fault=Fault())
    assert_restored(operator.release("2.0.0"), "InsufficientInstanceCapacity")
    operator.cloud.faults.without_capacity.clear()


def killed_and_put_back(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        meanwhile(patch, "EnterStandby", die)
        assert_killed(operator, "2.0.0")
    assert operator.release("", abort=True).ending is Ending.RESTORED


FAILURES = [never_healthy, sick_behind_the_load_balancer, without_capacity, killed_and_put_back]


@pytest.mark.parametrize("fails", FAILURES)
def test_no_failure_leaves_the_minimum_pinned(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, fails: Callable[[Operator, pytest.MonkeyPatch], None]
) -> None:
    """spinnaker/spinnaker#4812, spinnaker/orca#3181, spinnaker/orca#2756: min = desired, and never unpinned."""
    before, sizes = standing(operator), watch_sizes(operator)
    fails(operator, monkeypatch)
    assert {smallest for smallest, _ in sizes} == {1}, "the minimum is nobody's to touch, not even for a while"
    assert_put_back(operator, before)
    change_group(operator, DesiredCapacity=1)
    operator.cloud.until(lambda: len(operator.world.members(None)) == 1)


@pytest.mark.parametrize("batch", [None, 1])
def test_half_the_load_on_each_fleet_is_no_reason_to_lose_one(operator: Operator, batch: int | None) -> None:
    """spinnaker/orca#1997: doubled, each instance has half the load, and autoscaling shrinks the old group."""
    before, took = standing(operator), shrink_while_load_is_low(operator, 3)
    result = operator.release("2.0.0", batch=batch, canary=1, canary_s=60)
    assert result.ending is Ending.DONE
    assert took, "the policy was to act in the middle"
    assert_serves(operator, "2.0.0", 3, before)
    assert operator.fewest_serving >= 3
    assert operator.cloud.traffic.failures == []


def test_a_policy_that_shrinks_the_group_does_not_slow_a_rollback(operator: Operator) -> None:
    """spinnaker/orca#1290: in a rollback the same shrinking made the restored group too small, and it timed out."""
    operator.release("2.0.0")
    before, began_s = standing(operator), operator.cloud.clock.elapsed_s
    took = shrink_while_load_is_low(operator, 3, within_s=1)
    assert operator.release("1.0.0", Kind.ROLLBACK, batch=1).ending is Ending.DONE
    assert took
    assert operator.cloud.clock.elapsed_s - began_s < 300
    assert_serves(operator, "1.0.0", 3, before)
    assert operator.fewest_serving >= 3


def test_a_policy_that_shrinks_the_group_does_not_keep_a_failed_release_from_going_back(operator: Operator) -> None:
    """spinnaker/orca#1290, on the way back of a release that failed by itself."""
    add_image(operator, "4.0.0", sick_s=80)
    before = standing(operator)
    took = shrink_while_load_is_low(operator, 3)
    assert_restored(operator.release("4.0.0", canary=1, canary_s=300), "unhealthy")
    assert took
    assert operator.fewest_serving >= 3
    assert_put_back(operator, before)


def test_a_resize_during_a_rollback_terminates_nothing_that_serves(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spinnaker/spinnaker#4895: a rollback and somebody's resize: a cached minimum of 0 took the live 30 away."""
    scale(operator, 30, MaxSize=60)
    operator.release_settings["keep_previous"] = True
    assert operator.release("2.0.0").ending is Ending.DONE
    meanwhile(monkeypatch, "ExitStandby", lambda: change_group(operator, MinSize=0))
    assert operator.release("1.0.0", Kind.ROLLBACK).ending is Ending.DONE
    assert operator.fewest_serving >= 30
    operator.cloud.clock.sleep(300)
    assert operator.serving() == 30
    assert operator.carried() == {"1.0.0"}
    now = standing(operator)
    assert now.sizes == (0, 60, 30), "the minimum is as its owner has set it meanwhile"
    assert operator.leftovers() == []


@pytest.mark.parametrize("act", ["LaunchInstances", "Attach", "PointGroup", "EnterStandby", "Detach"])
def test_a_traffic_spike_is_answered_in_the_middle_of_a_release(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """guardian/riff-raff#1342, guardian/riff-raff#1345: alarms were off in each deploy, and a traffic spike an outage.

    Asked for, and found nowhere (2): block scale-in alone, and keep what was scaled out on the new version.
    """
    add_policy(operator, "out", 2)
    before, wanted, suspended = standing(operator), list[int](), set[str]()
    at_each_step(operator, lambda: suspended.update(standing(operator).suspended))

    def spike() -> None:
        already = desired(operator)
        operator.cloud.sound_alarm("out")
        wanted.append(desired(operator) - already)

    meanwhile(monkeypatch, act, spike)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert suspended <= {"AZRebalance"}, "alarms, launches and replacements go on all the while"
    assert wanted == [2]
    operator.cloud.until(lambda: operator.serving() == 5, within_s=60)
    assert_serves(operator, "2.0.0", 5, before)
    assert operator.fewest_serving >= 3


@pytest.mark.parametrize("fails", FAILURES)
def test_a_failed_release_leaves_alarms_that_work(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, fails: Callable[[Operator, pytest.MonkeyPatch], None]
) -> None:
    """guardian/riff-raff#1342: after a deploy that failed nothing scaled any more, possibly for hours."""
    add_policy(operator, "out", 2)
    fails(operator, monkeypatch)
    operator.cloud.sound_alarm("out")
    operator.cloud.until(lambda: operator.serving() == 5)
    assert operator.carried() == {"1.0.0"}


@pytest.mark.parametrize("to", [5, 2])
def test_a_release_that_starts_while_the_group_scales_is_not_refused_for_it(operator: Operator, to: int) -> None:
    """guardian/riff-raff#471: the deploy began while the group was scaling, and a single check aborted it."""
    before = standing(operator)
    change_group(operator, DesiredCapacity=to)
    assert operator.release("2.0.0").ending is Ending.DONE
    operator.cloud.until(lambda: len(operator.world.members(None)) == len(operator.world.members()))
    assert_serves(operator, "2.0.0", max(to, len(operator.world.members())), before)
    assert operator.fewest_serving >= min(to, 3)


@pytest.mark.parametrize("batch", [None, 1, 2])
@pytest.mark.parametrize("count", [4, 6])
def test_more_than_half_of_the_maximum_can_be_released(operator: Operator, count: int, batch: int | None) -> None:
    """guardian/dotcom-rendering#6525: with more than half the maximum running there was no way to deploy.

    Asked for, and found nowhere (3): raise the maximum for as long as it takes, or work in batches; always put back.
    """
    scale(operator, count)
    before, sizes = standing(operator), watch_sizes(operator)
    assert operator.release("2.0.0", batch=batch).ending is Ending.DONE
    assert_serves(operator, "2.0.0", count, before)
    assert max(largest for _, largest in sizes) <= 6 + (batch or count)
    assert operator.fewest_serving >= count


def test_a_raised_maximum_is_put_back_when_the_release_fails_or_dies(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """guardian/dotcom-rendering#6525, asked for (3): the room that was made goes, however the release ends."""
    scale(operator, 6)
    before = standing(operator)
    with monkeypatch.context() as patch:
        meanwhile(patch, "PrepareGroup", die)
        assert_killed(operator, "2.0.0")
    assert standing(operator).sizes[1] > 6
    assert operator.release("", abort=True).ending is Ending.RESTORED
    assert_put_back(operator, before)


@pytest.mark.parametrize(("count", "batch"), [(1, None), (3, None), (3, 1)])
def test_no_old_instance_goes_before_its_replacement_is_up(operator: Operator, count: int, batch: int | None) -> None:
    """ansible/ansible#35993 (mended by ansible/ansible#36679): the old one was terminated before a new one was up."""
    scale(operator, count, MinSize=count)
    before, left, up = standing(operator), watch_leaving(operator), list[int]()
    when(operator, lambda: bool(left), lambda: up.append(operator.serving()))
    assert operator.release("2.0.0", batch=batch).ending is Ending.DONE
    assert up[0] >= count
    assert operator.fewest_serving >= count
    assert operator.cloud.traffic.failures == []
    assert_serves(operator, "2.0.0", count, before)


@pytest.mark.parametrize("wish", [{}, {"batch": 1}, {"canary": 1, "canary_s": 30}], ids=["whole", "batch", "canary"])
def test_no_new_instance_is_replaced_by_another_new_one(operator: Operator, wish: dict[str, Any]) -> None:
    """ansible/ansible#28087: `replace_all_instances` went on to replace the instances that it had just started."""
    started = set[str]()
    at_each_step(operator, lambda: started.update(operator.cloud.hosts.machines))
    old = set(operator.world.members())
    assert operator.release("2.0.0", **wish).ending is Ending.DONE
    assert started - old == set(operator.world.members())
    assert len(started - old) == 3


def test_a_fleet_that_is_scaled_out_is_released_as_it_is_and_can_shrink_again(operator: Operator) -> None:
    """CMSgov/beneficiary-fhir-data#2560: the new group's minimum was the scaled-out capacity, and stayed so."""
    scale(operator, 5)
    before = standing(operator)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 5, before)
    change_group(operator, DesiredCapacity=1)
    operator.cloud.until(lambda: len(operator.world.members(None)) == 1)
    before = standing(operator)
    operator.fewest_serving = 1
    assert operator.release("1.0.0").ending is Ending.DONE
    assert_serves(operator, "1.0.0", 1, before)


def test_the_capacity_does_not_climb_from_release_to_release(operator: Operator) -> None:
    """coinbase/odin#52: what was added for the release stayed, and the desired capacity ratcheted up."""
    before = standing(operator)
    for number in range(4):
        version = f"2.1.{number}"
        add_image(operator, version)
        assert operator.release(version).ending is Ending.DONE
        assert_serves(operator, version, 3, before)
        assert operator.release("3.0.0").ending is Ending.RESTORED
        assert_serves(operator, version, 3, before)


def test_a_release_does_not_drop_to_the_size_that_is_configured(operator: Operator) -> None:
    """cloudposse/terraform-aws-ec2-autoscale-group#66: a deploy reset a scaled-out group to its configured size."""
    tag = {"ResourceId": operator.world.group, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    operator.cloud.client("autoscaling").create_or_update_tags(Tags=[{**tag, "Key": "headway:capacity", "Value": "2"}])
    scale(operator, 5)
    before: Standing = standing(operator)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.fewest_serving >= 5
    assert_serves(operator, "2.0.0", 5, before)
    assert_over(operator)
