"""Histories that nobody thought of: operators, autoscaling, failures and crashes in any order.

Whatever happens, capacity stays, no request is lost by our doing, every release ends, and the group's own settings come
back. What the environment breaks by itself (a machine that dies, a version that turns sick) is its own damage.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from fabfile.engine.operate import journal_of
from fabfile.localcloud.faults import Fault
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import simulated_cloud
from fabfile.localcloud.traffic import NOBODY
from fabfile.localcloud.world import provision_world
from fabfile.plan.outcome import NotRestored, Refusal
from fabfile.plan.release import Kind
from fabfile.tools import aws

from .conftest import Operator

OURS = {"headway:project": "shop"}
GOOD = ("1.0.0", "2.0.0", "2.5.0")
BAD = "3.0.0"
LONGEST_S = 3 * 3600
FLAKY = (
    "AttachInstances",
    "EnterStandby",
    "ExitStandby",
    "DetachInstances",
    "RunInstances",
    "CreateLaunchTemplateVersion",
    "UpdateAutoScalingGroup",
    "SetInstanceProtection",
    "SuspendProcesses",
    "ResumeProcesses",
    "TerminateInstances",
    "CreateTags",
    "s3:PutObject",
)
READS = ("DescribeAutoScalingGroups", "DescribeInstances", "elbv2:DescribeTargetHealth", "elb:DescribeInstanceHealth")
WISHES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"canary": 1, "canary_s": 40.0},
    {"batch": 1},
    {"soak_s": 60.0},
    {"stage": True},
)


class Killed(BaseException):
    """Stands for kill -9."""


class Endless(BaseException):
    """A release that does not end."""


class Story(RuleBasedStateMachine):
    """One history."""

    @initialize(
        capacity=st.integers(3, 4),
        confirmations=st.integers(1, 2),
        keep=st.booleans(),
    )
    def begin(self, capacity: int, confirmations: int, keep: bool) -> None:
        aws._client.cache_clear()
        self.stack = ExitStack()
        self.cloud = self.stack.enter_context(simulated_cloud(seed=7, direct=True))
        world = provision_world(self.cloud, capacity=capacity, max_size=capacity * 3)
        self.cloud.client("ec2").create_tags(
            Resources=[world.image_ids["1.0.0"]], Tags=[{"Key": "headway:project", "Value": "shop"}]
        )
        for version in ("2.0.0", "2.5.0"):
            world.image(version, Behaviour(version=version), OURS)
        world.image(BAD, Behaviour(version=BAD, healthy_s=None), OURS)
        self.operator = Operator(self.cloud, world, confirmations=confirmations, keep_previous=keep)
        self.capacity = self.maximum = capacity
        self.maximum = capacity * 3
        self.keep = keep
        self.hurt: set[str] = set()
        self.lowered = 0
        self.standing_by: set[str] = set()
        self.kills = self.rests = 0
        self.crowded = False
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.deadline_s = 0.0
        self.told: list[str] = []

        def watch() -> None:
            now_s = self.cloud.clock.elapsed_s
            if self.deadline_s and now_s > self.deadline_s:
                raise Endless(self.told)
            for at_s, happens in [each for each in self.due if each[0] <= now_s]:
                self.due.remove((at_s, happens))
                with suppress(ClientError):  # what goes wrong goes wrong for them as well
                    happens()

        self.cloud.clock.at_each_step(watch)

    def later(self, in_s: int, happens: Callable[[], None]) -> None:
        self.due.append((self.cloud.clock.elapsed_s + in_s, happens))

    # What the environment does, now or in the middle of the next release.

    @precondition(lambda self: not self.kills)
    @rule(in_s=st.integers(0, 150), which=st.integers(0, 7))
    def a_machine_dies(self, in_s: int, which: int) -> None:
        self.kills += 1

        def happens() -> None:
            members = sorted(self.operator.world.members(None)) + sorted(self.operator.leftovers())
            if members:
                victim = members[which % len(members)]
                self.hurt.add(victim)
                self.cloud.hosts.kill(victim)

        self.later(in_s, happens)

    @rule(in_s=st.integers(0, 150), by=st.sampled_from([-1, 1, 2]))
    def autoscaling_acts(self, in_s: int, by: int) -> None:
        def happens() -> None:
            group = self.operator.world.describe_group()
            wanted = max(group["MinSize"], min(group["DesiredCapacity"] + by, group["MaxSize"]))
            lower = max(group["DesiredCapacity"] - wanted, 0)
            self.cloud.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=self.operator.world.group, DesiredCapacity=wanted
            )
            self.lowered += lower

        self.later(in_s, happens)

    @rule(in_s=st.integers(0, 150), more=st.integers(1, 3))
    def a_person_raises_the_maximum(self, in_s: int, more: int) -> None:
        def happens() -> None:
            maximum = self.operator.world.describe_group()["MaxSize"] + more
            self.cloud.client("autoscaling").update_auto_scaling_group(
                AutoScalingGroupName=self.operator.world.group, MaxSize=maximum
            )
            self.maximum = maximum

        self.later(in_s, happens)

    @precondition(lambda self: not self.rests)
    @rule(in_s=st.integers(0, 150))
    def a_person_puts_an_instance_into_standby(self, in_s: int) -> None:
        self.rests += 1

        def happens() -> None:
            members = sorted(self.operator.world.members())
            try:
                self.cloud.client("autoscaling").enter_standby(
                    AutoScalingGroupName=self.operator.world.group,
                    InstanceIds=members[:1],
                    ShouldDecrementDesiredCapacity=True,
                )
            except (ClientError, IndexError):
                return
            self.standing_by.add(members[0])
            self.lowered += 1

        self.later(in_s, happens)

    @rule(action=st.sampled_from(FLAKY), skip=st.integers(0, 3), code=st.sampled_from(["fail", "lose", "throttle"]))
    def a_call_goes_wrong(self, action: str, skip: int, code: str) -> None:
        fault = Fault(times=1, skip=skip)
        if code == "fail":
            self.cloud.faults.fail(action, "InternalFailure", fault=fault, status=400)
        elif code == "lose":
            self.cloud.faults.lose_answer(action, fault)
        else:
            self.cloud.faults.throttle(action, Fault(times=7, skip=skip))

    @rule(action=st.sampled_from(READS), skip=st.integers(0, 30), age_s=st.integers(1, 20))
    def a_read_is_stale(self, action: str, skip: int, age_s: int) -> None:
        self.cloud.faults.stale(action, Fault(times=1, skip=skip), age_s=age_s)

    @rule(zone=st.sampled_from(["*", "us-east-1a"]), times=st.integers(1, 4))
    def a_zone_has_no_capacity(self, zone: str, times: int) -> None:
        self.crowded = True
        self.cloud.faults.refuse_capacity(zone, Fault(times=times))

    @rule(seconds=st.integers(1, 120))
    def time_passes(self, seconds: int) -> None:
        self.cloud.clock.sleep(seconds)

    # What operators do.

    @rule(
        version=st.sampled_from([*GOOD, BAD]),
        kind=st.sampled_from([Kind.RELEASE, Kind.RELEASE, Kind.ROLLBACK]),
        wish=st.sampled_from(WISHES),
        dies_at=st.one_of(st.none(), st.integers(1, 250)),
        after=st.booleans(),
    )
    def somebody_releases(
        self, version: str, kind: Kind, wish: dict[str, Any], dies_at: int | None, after: bool
    ) -> None:
        wish = wish if kind is Kind.RELEASE else {}
        self.order(
            lambda: self.operator.release(version, kind, **wish), f"{kind.value} {version} {wish}", dies_at, after
        )

    @rule(dies_at=st.one_of(st.none(), st.integers(1, 250)), after=st.booleans(), abort=st.booleans())
    def somebody_goes_on(self, dies_at: int | None, after: bool, abort: bool) -> None:
        record = journal_of(self.operator.settings).read()
        if record is not None:
            self.order(lambda: self.go_on(abort), f"go on, abort={abort}", dies_at, after)

    def go_on(self, abort: bool) -> Any:
        record = journal_of(self.operator.settings).read()
        if record is None:
            return None
        return self.operator.release("" if abort else record.version, record.kind, abort=abort)

    def order(self, do: Callable[[], Any], what: str, dies_at: int | None = None, after: bool = False) -> Any:
        """Give an order; what it ends with, or None where it was refused or its process died."""
        self.told.append(f"{what}, dies {'after' if after else 'before'} call {dies_at}" if dies_at else what)
        counter = 0

        def count(_name: str, _arguments: dict[str, Any]) -> None:
            nonlocal counter
            counter += 1
            if counter == dies_at:
                raise Killed

        hook = "after" if after else "before"
        nothing = getattr(self.cloud.calls, hook)
        if dies_at is not None:
            setattr(self.cloud.calls, hook, count)
        self.deadline_s = self.cloud.clock.elapsed_s + LONGEST_S
        try:
            result = do()
            self.told.append(f"-> {result.ending.value}: {result.why}" if result else "-> nothing")
            return result
        except (Refusal, NotRestored, ClientError, Killed) as error:
            self.told.append(f"-> {type(error).__name__}: {error}")
            if isinstance(error, Killed):
                self.bury()
            return None
        finally:
            self.deadline_s = 0.0
            setattr(self.cloud.calls, hook, nothing)
            self.hold()

    def bury(self) -> None:
        """Let go of what a dead process holds: that others take it over at once is told where locks are tested."""
        s3 = self.cloud.client("s3")
        for raw in s3.list_objects_v2(Bucket="state").get("Contents", []):
            if "/lock.json" in raw["Key"] or "/line/" in raw["Key"]:
                s3.delete_object(Bucket="state", Key=raw["Key"])

    # What must be true.

    def hold(self) -> None:
        """Whatever has happened: nothing of it is our damage."""
        # A group that became uneven evens itself out, and takes the newcomer for healthy sooner than clients do.
        uneven = bool(self.lowered or self.hurt or self.crowded)
        floor = self.capacity - self.lowered - len(self.hurt) - uneven
        ours = [
            each
            for each in self.cloud.traffic.failures
            if each.instance_id not in self.hurt and not (each.why == NOBODY and floor <= 0)
        ]
        assert not ours, (ours[:3], self.told)
        assert self.operator.fewest_serving >= floor, (self.operator.fewest_serving, floor, self.told)

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        try:
            self.settle()
        finally:
            self.stack.close()
            aws._client.cache_clear()

    def settle(self) -> None:
        """Let the weather be fine: everything comes to an end, and is in order then."""
        self.due.clear()
        for faults in vars(self.cloud.faults).values():
            if isinstance(faults, dict):
                faults.clear()
        for attempt in range(4):
            if journal_of(self.operator.settings).read() is None:
                break
            abort = attempt >= 2
            self.order(partial(self.go_on, abort), f"in the end, abort={abort}")
        assert journal_of(self.operator.settings).read() is None, self.told
        self.cloud.clock.sleep(240)
        group = self.operator.world.describe_group()
        standby = {i["InstanceId"] for i in group["Instances"] if i["LifecycleState"] == "Standby"}
        serving = [i for i in group["Instances"] if i["LifecycleState"] == "InService"]
        assert not group["SuspendedProcesses"], self.told
        assert not [i for i in serving if i["ProtectedFromScaleIn"]], self.told
        assert group["MaxSize"] == self.maximum, (group["MaxSize"], self.maximum, self.told)
        assert len(serving) == group["DesiredCapacity"], self.told
        assert len(self.operator.carried()) == 1, (self.operator.carried(), self.told)
        assert self.operator.carried() <= {*GOOD}, self.told
        assert not self.operator.leftovers(), (self.operator.leftovers(), self.told)
        if not self.keep:
            assert standby <= self.standing_by, (standby, self.told)
        bucket = self.cloud.client("s3").list_objects_v2(Bucket="state").get("Contents", [])
        left = [raw["Key"] for raw in bucket if "/history/" not in raw["Key"]]
        assert not left, (left, self.told)
        self.hold()


def tell(part: int, histories: int) -> int:
    """Tell so many histories, the same for each part every time; returns how many were told."""
    told = 0

    class Counted(Story):
        def teardown(self) -> None:
            nonlocal told
            told += 1
            super().teardown()

    run_state_machine_as_test(
        seed(part)(Counted),
        settings=settings(
            max_examples=histories,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    return told


@pytest.mark.parametrize("part", range(4))
def test_every_history_ends_well(part: int, record_property: Callable[[str, object], None]) -> None:
    record_property("histories", tell(part, 30))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(100, 180))
def test_every_one_of_very_many_histories_ends_well(part: int, record_property: Callable[[str, object], None]) -> None:
    record_property("histories", tell(part, 250))
