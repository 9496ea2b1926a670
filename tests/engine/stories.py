"""What the failure stories have in common: things that happen meanwhile, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fabfile.engine.act import Hands
from fabfile.engine.lock import read_owner
from fabfile.engine.loop import Result
from fabfile.engine.operate import Means, Order, journal_of, operate, state_of
from fabfile.engine.places import name_of
from fabfile.engine.witness import Witness, in_turn
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.plan.past import Chapter
from fabfile.plan.release import Ending, Kind, Wish

from .conftest import Operator

OURS = {"headway:project": "shop"}
# A release of three instances takes a tenth of these.
MOST_ACTS = 200


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


def die() -> None:
    raise Killed


@dataclass(frozen=True)
class Standing:
    """All of a group that a release moves: its settings, who is in it, and who is registered with load balancers."""

    sizes: tuple[int, int, int]
    suspended: frozenset[str]
    template: str
    members: frozenset[tuple[str, str]]
    protected: frozenset[str]
    targets: frozenset[str]
    classic: frozenset[str]


def standing(operator: Operator) -> Standing:
    """Read how a group stands."""
    group = operator.world.describe_group()
    return Standing(
        sizes=(group["MinSize"], group["MaxSize"], group["DesiredCapacity"]),
        suspended=frozenset(each["ProcessName"] for each in group["SuspendedProcesses"]),
        template=str(group["LaunchTemplate"]["Version"]),
        members=frozenset((each["InstanceId"], each["LifecycleState"]) for each in group["Instances"]),
        protected=frozenset(each["InstanceId"] for each in group["Instances"] if each["ProtectedFromScaleIn"]),
        targets=frozenset(operator.world.health()),
        classic=frozenset(operator.world.classic_health()),
    )


def assert_put_back(operator: Operator, before: Standing, version: str = "1.0.0") -> None:
    """Assert that everything stands as it did, that the old version serves, and that nothing of ours is left."""
    assert standing(operator) == before
    assert operator.carried() == {version}
    assert_over(operator)


def assert_serves(operator: Operator, version: str, count: int, before: Standing) -> None:
    """Assert that a version serves alone on so many instances, with the settings of before, and nothing is left."""
    now = standing(operator)
    assert operator.carried() == {version}
    assert operator.serving() == count
    assert len(now.members) == len(operator.world.members()) == count
    assert now.targets == now.classic == frozenset(operator.world.members())
    assert (now.sizes[0], now.sizes[1]) == (before.sizes[0], before.sizes[1])
    assert now.sizes[2] == count
    assert now.suspended == before.suspended
    assert not now.protected
    assert_over(operator)


def assert_over(operator: Operator) -> None:
    """Assert that no instance, no record and no lock is left."""
    assert operator.leftovers() == []
    assert journal_of(operator.settings).read() is None
    assert read_owner(state_of(operator.settings), name_of(operator.settings), ttl_s=60) is None


def last_chapter(operator: Operator) -> Chapter:
    """Return what history says of the newest release."""
    return next(journal_of(operator.settings).history())


def means(operator: Operator, **changes: Any) -> Means:
    """Return an operator's means, with a witness for failures, changed where the story asks for it."""
    ask = operator.cloud.ask
    return replace(operator.means, witness=lambda each: Witness(each, ask=ask, spread=in_turn), **changes)


def order(
    operator: Operator, version: str, kind: Kind = Kind.RELEASE, *, with_means: Means | None = None, **given: Any
) -> Result:
    """Carry out an order by somebody else's means, or in somebody else's name."""
    whole = {"who": "ann", "bad": True, "wish": Wish(), **given}
    return operate(operator.settings, Order(kind, version, **whole), with_means or means(operator))


def trust_everyone(addresses: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
    """Leave health to the load balancers, as `release.health.via: balancer` does."""
    return dict.fromkeys(addresses, (True, "left to the load balancer"))


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, act_name: str, happens: Callable[[], None], *, after: bool = True
) -> None:
    """Let something happen once, right after the first act of a kind, or right before it."""
    real = Hands.__dict__["do"]
    pending, count = True, 0

    def do(self: Hands, act: Any, record: Any) -> Any:
        nonlocal pending, count
        count += 1
        assert count <= MOST_ACTS, "it goes in circles"
        now = pending and type(act).__name__ == act_name
        pending = pending and not now
        if now and not after:
            happens()
        done = real.__get__(self, Hands)(act, record)
        if now and after:
            happens()
        return done

    monkeypatch.setattr(Hands, "do", do)


def at_each_step(operator: Operator, happens: Callable[[], None]) -> None:
    """Let something happen whenever time has passed."""
    operator.cloud.clock.at_each_step(happens)


def watch_leaving(operator: Operator) -> set[str]:
    """Collect the instances of today's fleet that leave service from now on, be it for a moment."""
    fleet, left = set(operator.world.members()), set[str]()
    at_each_step(operator, lambda: left.update(fleet - set(operator.world.members())))
    return left


def when(operator: Operator, condition: Callable[[], bool], happens: Callable[[], None]) -> None:
    """Let something happen once, at the first moment at which a condition holds."""
    operator.cloud.clock.when(condition, happens)


def change_group(operator: Operator, **changes: Any) -> None:
    """Change a group as anybody may, by UpdateAutoScalingGroup."""
    operator.cloud.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=operator.world.group, **changes)


def scale(operator: Operator, desired: int, **sizes: int) -> None:
    """Scale a group and wait until it has come to rest."""
    change_group(operator, DesiredCapacity=desired, **sizes)
    operator.cloud.until(lambda: operator.serving() == desired == len(operator.world.members(None)))
    operator.fewest_serving = desired


def add_image(operator: Operator, version: str, **behaviour: Any) -> str:
    """Publish a version whose machines behave so."""
    return operator.world.image(version, Behaviour(version=version, **behaviour), OURS)


def alarm(cloud: SimulatedCloud, name: str, state: str, reason: str = "1 datapoint was over the threshold") -> None:
    """Have a CloudWatch alarm that is in a state, for a reason."""
    client = cloud.client("cloudwatch")
    client.put_metric_alarm(
        AlarmName=name,
        Namespace="shop",
        MetricName="errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    client.set_alarm_state(AlarmName=name, StateValue=state, StateReason=reason)


def versions(operator: Operator, state: str | None = "InService") -> dict[str, int]:
    """Count the members in a lifecycle state by the version that they run."""
    found: dict[str, int] = {}
    for instance_id in operator.world.members(state):
        if instance_id in operator.cloud.hosts.machines:
            version = operator.cloud.hosts.version(instance_id)
            found[version] = found.get(version, 0) + 1
    return found


def assert_killed(operator: Operator, version: str, **wish: Any) -> None:
    """Release, and see it killed on the way."""
    with pytest.raises(Killed):
        operator.release(version, **wish)


def assert_restored(result: Result, *words: str) -> None:
    """Assert that a release failed, was put back, and says why in these words."""
    assert result.ending is Ending.RESTORED
    for word in words:
        assert word in result.why, result.why
