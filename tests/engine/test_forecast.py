"""A plan: it touches nothing, and what it says is what a release then does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from botocore.client import BaseClient
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fabfile.engine.forecast import foresee
from fabfile.engine.operate import Order
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud, simulated_cloud
from fabfile.localcloud.world import provision_world
from fabfile.plan.forecast import Forecast
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Act, Done, Ending, Kind, Staged, Undone, Wish
from fabfile.show import plan, plan_json

from .conftest import Operator

READING = ("Describe", "Get", "List", "Head")


@contextmanager
def recorded(cloud: SimulatedCloud) -> Iterator[Counter[str]]:
    """Count the calls that are asked of the cloud, S3's too, by name."""
    before = len(cloud.calls)
    calls: Counter[str] = Counter()
    yield calls
    calls.update(cloud.calls[before:])


@contextmanager
def overheard() -> Iterator[Counter[str]]:
    """Count every call that boto3 makes in this process, whoever makes it, by name."""
    calls: Counter[str] = Counter()
    make = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: BaseClient, name: str, arguments: dict[str, Any]) -> Any:
        calls[f"{client.meta.service_model.service_name}:{name}"] += 1
        return make(client, name, arguments)

    with patch.object(BaseClient, "_make_api_call", note):
        yield calls


def is_reading(call: str) -> bool:
    return call.partition(":")[2].startswith(READING)


def changing(calls: Counter[str]) -> dict[str, int]:
    """Keep the calls that change a fleet: not those that read, nor what lock and record write to S3."""
    return {call: count for call, count in calls.items() if not is_reading(call) and not call.startswith("s3:")}


def foreseen(
    operator: Operator, version: str, kind: Kind = Kind.RELEASE, *, abort: bool = False, **wish: Any
) -> Forecast:
    """Ask for a plan, and prove that nothing but reading was done for it."""
    order = Order(kind, version, "ann", abort=abort, wish=Wish(**wish), bad=True)
    image_id = operator.world.image_ids.get(version)
    with recorded(operator.cloud) as calls:
        forecast = foresee(operator.settings, order, image_id, now=operator.cloud.clock.now, ask=operator._ask)
    assert {"s3:GetObject", "autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"} <= calls.keys()
    assert [call for call in calls if not is_reading(call)] == []
    return forecast


def acts_of(forecast: Forecast) -> list[str]:
    return [type(step.what).__name__ for step in forecast.steps if isinstance(step.what, Act)]


def carried_out(
    operator: Operator, version: str, kind: Kind = Kind.RELEASE, *, abort: bool = False, **wish: Any
) -> tuple[list[str], dict[str, int], Ending]:
    operator.screen.acts.clear()
    with recorded(operator.cloud) as calls:
        result = operator.release(version, kind, abort=abort, **wish)
    # To find an image that is there changes nothing, and is no step of a plan.
    return [act for act in operator.screen.acts if act != "BakeImage"], changing(calls), result.ending


def assert_as_foreseen(operator: Operator, version: str, kind: Kind = Kind.RELEASE, **wish: Any) -> Forecast:
    forecast = foreseen(operator, version, kind, **wish)
    acts, calls, ending = carried_out(operator, version, kind, **wish)
    assert acts == acts_of(forecast)
    assert calls == forecast.calls()
    assert isinstance(forecast.ending, {Ending.DONE: Done, Ending.RESTORED: Undone, Ending.STAGED: Staged}[ending])
    return forecast


def stop_after(operator: Operator, acts: int) -> None:
    """Stop releases softly once they have done so many acts."""
    operator.screen.acts.clear()
    operator.stop = lambda: len(operator.screen.acts) >= acts


def test_a_plan_only_reads_and_its_release_does_what_it_says(operator: Operator) -> None:
    forecast = assert_as_foreseen(operator, "2.0.0")
    assert forecast.peak == 6
    assert forecast.now == 3
    assert forecast.warnings == ()


def test_a_plan_only_reads_by_whatever_client_of_boto3() -> None:
    with simulated_cloud(seed=3) as cloud, overheard() as calls:
        world = provision_world(cloud, capacity=2)
        operator = Operator(cloud, world)
        world.image("2.0.0", Behaviour(version="2.0.0"), {"headway:project": "shop"})
        calls.clear()
        forecast = foreseen(operator, "2.0.0")
        plan.render(forecast)
        plan_json.render([forecast])
        assert calls.total() == len(cloud.calls)
        assert [call for call in calls if not is_reading(call)] == []
        operator.release("2.0.0", stage=True)
        assert [call for call in calls if not is_reading(call)]  # it is heard where there is something to hear
        calls.clear()
        foreseen(operator, "2.0.0")
        foreseen(operator, "", abort=True)
        assert calls.total()
        assert [call for call in calls if not is_reading(call)] == []


def test_a_plan_of_what_serves_already_says_so(operator: Operator) -> None:
    forecast = foreseen(operator, "1.0.0")
    assert plan.render(forecast) == "1.0.0 already serves shop-prod on 3 instances: nothing to do"
    assert json.loads(plan_json.render([forecast]))["groups"][0]["ending"]["kind"] == "nothing to do"


@pytest.mark.parametrize("acts", [1, 4, 7, 11, 13])
def test_a_plan_of_a_release_that_was_stopped_says_what_is_left_of_it(operator: Operator, acts: int) -> None:
    stop_after(operator, acts)
    assert operator.release("2.0.0").ending is Ending.STOPPED
    operator.stop = lambda: False
    assert_as_foreseen(operator, "2.0.0")


@pytest.mark.parametrize("acts", [1, 4, 7, 9])
def test_a_plan_of_an_abort_says_what_puts_everything_back(operator: Operator, acts: int) -> None:
    stop_after(operator, acts)
    assert operator.release("2.0.0").ending is Ending.STOPPED
    operator.stop = lambda: False
    forecast = assert_as_foreseen(operator, "", abort=True)
    assert isinstance(forecast.ending, Undone)
    assert operator.carried() == {"1.0.0"}


def test_a_plan_of_an_abort_brings_the_drained_fleet_back(operator: Operator) -> None:
    stop_after(operator, 10)
    assert operator.release("2.0.0").ending is Ending.STOPPED
    operator.stop = lambda: False
    operator.cloud.clock.sleep(30)
    forecast = assert_as_foreseen(operator, "", abort=True)
    assert acts_of(forecast)[:2] == ["PointGroup", "ExitStandby"]
    assert "LaunchInstances" not in acts_of(forecast)


def test_refuses_to_plan_an_abort_of_nothing(operator: Operator) -> None:
    with pytest.raises(Refusal, match="no release in progress"):
        foreseen(operator, "", abort=True)


def test_a_plan_of_a_rollback_to_a_warm_fleet_starts_nothing(operator: Operator) -> None:
    operator.release_settings["keep_previous"] = True
    operator.release("2.0.0")
    forecast = assert_as_foreseen(operator, "1.0.0", Kind.ROLLBACK)
    assert "LaunchInstances" not in acts_of(forecast)
    assert forecast.peak == forecast.now == 6


def test_a_plan_of_a_moment_holds_the_warm_fleet_until_it(operator: Operator) -> None:
    at = operator.cloud.clock.now() + timedelta(minutes=10)
    forecast = assert_as_foreseen(operator, "2.0.0", at=at)
    held = [step for step in forecast.steps if getattr(step.what, "wake", None) == at]
    assert held
    assert forecast.seconds > 600


def test_a_plan_of_a_staged_fleet_and_of_the_release_that_uses_it(operator: Operator) -> None:
    assert_as_foreseen(operator, "2.0.0", stage=True)
    used = assert_as_foreseen(operator, "2.0.0", stage=False)
    assert "LaunchInstances" not in acts_of(used)


def test_a_plan_puts_a_staged_fleet_of_another_version_back_first(operator: Operator) -> None:
    operator.world.image("4.0.0", Behaviour(version="4.0.0"), {"headway:project": "shop"})
    operator.release("2.0.0", stage=True)
    forecast = assert_as_foreseen(operator, "4.0.0")
    assert acts_of(forecast)[0] == "Terminate"


def test_warns_of_a_freeze_that_a_release_would_be_refused_for(operator: Operator) -> None:
    operator.release_settings["freeze"] = ["Mon - Sun UTC: for ever"]
    forecast = foreseen(operator, "2.0.0")
    assert "for ever" in forecast.warnings[0]
    with pytest.raises(Refusal, match="for ever"):
        operator.release("2.0.0")
    assert "no mercy" in foreseen(operator, "2.0.0", override="no mercy").warnings[0]


def test_warns_of_a_freeze_that_a_staged_fleet_would_not_be_cut_over_in(operator: Operator) -> None:
    operator.release("2.0.0", stage=True)
    operator.release_settings["freeze"] = ["Mon - Sun UTC: for ever"]
    assert "for ever" in foreseen(operator, "2.0.0").warnings[0]
    past = operator.cloud.clock.now() - timedelta(hours=1)
    with pytest.raises(Refusal, match="has gone by"):
        foreseen(operator, "2.0.0", at=past)


def test_warns_that_a_group_which_follows_the_latest_version_will_be_pinned(operator: Operator) -> None:
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName="shop-prod",
        LaunchTemplate={"LaunchTemplateId": operator.world.template_id, "Version": "$Latest"},
    )
    forecast = assert_as_foreseen(operator, "2.0.0")
    assert "follows $Latest" in forecast.warnings[0]
    assert acts_of(forecast)[0] == "PinTemplate"


def test_warns_of_instances_that_the_group_retains(operator: Operator) -> None:
    autoscaling, group, kept = operator.cloud.client("autoscaling"), "shop-prod", operator.world.members()[0]
    autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=group,
        LifecycleHookName="bye",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=30,
    )
    policy = {"RetentionTriggers": {"TerminateHookAbandon": "retain"}}
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=group, InstanceLifecyclePolicy=policy)
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=kept, ShouldDecrementDesiredCapacity=False)
    operator.cloud.until(lambda: kept in operator.world.members("Terminating:Retained"))
    [warning] = (each for each in foreseen(operator, "2.0.0").warnings if "retained" in each)
    assert warning.startswith("1 instance retained by shop-prod (Terminating:Retained)")
    assert kept in warning


def test_warns_of_instances_that_are_not_healthy_now(operator: Operator) -> None:
    sick = operator.world.members()[0]
    operator.cloud.client("elb").deregister_instances_from_load_balancer(
        LoadBalancerName="shop-prod-classic", Instances=[{"InstanceId": sick}]
    )
    assert any(sick in warning for warning in foreseen(operator, "2.0.0").warnings)


def test_knows_how_long_load_balancers_let_old_instances_finish(operator: Operator) -> None:
    assert [each.seconds for each in foreseen(operator, "2.0.0").assumptions if "let go" in each.what] == [10]


def test_its_estimate_of_calls_that_read_is_right_where_its_assumptions_are(operator: Operator) -> None:
    forecast = foreseen(operator, "2.0.0")
    began_s = operator.cloud.clock.elapsed_s
    with recorded(operator.cloud) as calls:
        operator.release("2.0.0")
    read = sum(count for call, count in calls.items() if is_reading(call) and not call.startswith("s3:"))
    # As many a second as it says, whatever the seconds: how long things take is only assumed.
    a_second = read / (operator.cloud.clock.elapsed_s - began_s)
    assert forecast.reads() / forecast.seconds == pytest.approx(a_second, rel=0.5)


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate), derandomize=False)
@given(
    capacity=st.sampled_from((1, 2, 3, 5, 8, 13, 21, 45)),
    zones=st.integers(1, 3),
    confirmations=st.integers(1, 3),
    keep=st.booleans(),
    wish=st.fixed_dictionaries(
        {},
        optional={
            "batch": st.integers(1, 7),
            "canary": st.integers(1, 3),
            "canary_s": st.sampled_from((10, 60)),
            "soak_s": st.sampled_from((0, 60)),
        },
    ),
)
def test_releases_of_random_fleets_are_as_foreseen(
    capacity: int, zones: int, confirmations: int, keep: bool, wish: dict[str, Any]
) -> None:
    with simulated_cloud(seed=capacity, direct=True) as cloud:
        world = provision_world(cloud, capacity=capacity, min_size=0)
        ours = {"headway:project": "shop"}
        world.image("2.0.0", Behaviour(version="2.0.0"), ours)
        ec2 = cloud.client("ec2")
        ec2.create_tags(Resources=[world.image_ids["1.0.0"]], Tags=[{"Key": k, "Value": v} for k, v in ours.items()])
        if zones != 2:
            _spread(cloud, world.subnets, zones)
        operator = Operator(cloud, world, confirmations=confirmations, keep_previous=keep)
        assert_as_foreseen(operator, "2.0.0", **wish)
        assert operator.carried() == {"2.0.0"}
        assert_as_foreseen(operator, "1.0.0", Kind.ROLLBACK)


def _spread(cloud: SimulatedCloud, subnets: tuple[str, ...], zones: int) -> None:
    """Give the group one zone or three, and leave its instances where they are."""
    autoscaling, ec2 = cloud.client("autoscaling"), cloud.client("ec2")
    autoscaling.suspend_processes(AutoScalingGroupName="shop-prod", ScalingProcesses=["AZRebalance"])
    vpc = ec2.describe_subnets(SubnetIds=[subnets[0]])["Subnets"][0]["VpcId"]
    made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.99.77.0/24", AvailabilityZone="us-east-1c")["Subnet"]
    chosen = [*subnets, made["SubnetId"]]
    for balancer in cloud.client("elbv2").describe_load_balancers()["LoadBalancers"]:
        cloud.client("elbv2").set_subnets(LoadBalancerArn=balancer["LoadBalancerArn"], Subnets=chosen)
    cloud.client("elb").attach_load_balancer_to_subnets(LoadBalancerName="shop-prod-classic", Subnets=chosen[2:])
    autoscaling.update_auto_scaling_group(AutoScalingGroupName="shop-prod", VPCZoneIdentifier=",".join(chosen[:zones]))
