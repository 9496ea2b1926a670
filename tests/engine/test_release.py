"""Whole releases against the simulated cloud: what serves, what is left, what is put back."""

from __future__ import annotations

from typing import Any

import pytest

from fabfile.engine.act import Hands
from fabfile.engine.operate import journal_of
from fabfile.localcloud.faults import Fault
from fabfile.localcloud.models import Behaviour
from fabfile.plan.outcome import Refusal
from fabfile.plan.past import previous_version
from fabfile.plan.release import Ending, Kind

from .conftest import Operator


def group_settings(operator: Operator) -> dict[str, Any]:
    group = operator.world.describe_group()
    return {
        "min": group["MinSize"],
        "max": group["MaxSize"],
        "desired": group["DesiredCapacity"],
        "suspended": group["SuspendedProcesses"],
        "protected": [i["ProtectedFromScaleIn"] for i in group["Instances"]],
    }


def test_replaces_the_fleet_and_never_serves_with_fewer(operator: Operator) -> None:
    before = group_settings(operator)
    old = set(operator.world.members())
    result = operator.release("2.0.0")
    assert result.ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert operator.fewest_serving >= 3
    assert not old & set(operator.world.members(None))
    assert group_settings(operator) == before
    assert operator.leftovers() == []


def test_spreads_the_new_fleet_over_the_zones(operator: Operator) -> None:
    operator.release("2.0.0")
    zones = sorted(i["AvailabilityZone"] for i in operator.world.describe_group()["Instances"])
    assert abs(zones.count(zones[0]) - zones.count(zones[-1])) <= 1


def test_keeps_old_fleet_when_new_never_healthy(operator: Operator) -> None:
    before, old = group_settings(operator), sorted(operator.world.members())
    pinned = operator.world.describe_group()["LaunchTemplate"]["Version"]
    result = operator.release("3.0.0")
    assert result.ending is Ending.RESTORED
    assert "503" in result.why
    assert operator.carried() == {"1.0.0"}
    assert sorted(operator.world.members(None)) == old
    assert operator.world.describe_group()["LaunchTemplate"]["Version"] == pinned
    assert group_settings(operator) == before
    assert operator.leftovers() == []
    assert operator.fewest_serving >= 3


def test_restores_the_old_fleet_when_the_new_one_turns_sick_behind_the_load_balancer(operator: Operator) -> None:
    tags = {"headway:project": "shop"}
    operator.world.image("4.0.0", Behaviour(version="4.0.0", sick_s=40), tags)
    operator.release_settings["soak_s"] = 60
    before, old = group_settings(operator), sorted(operator.world.members())
    result = operator.release("4.0.0")
    assert result.ending is Ending.RESTORED
    assert operator.carried() == {"1.0.0"}
    assert sorted(operator.world.members(None)) == old
    assert group_settings(operator) == before
    assert operator.leftovers() == []


def test_rolls_back_to_the_version_before(operator: Operator) -> None:
    operator.release("2.0.0")
    journal = journal_of(operator.settings)
    assert previous_version(journal.history(), "2.0.0") == "1.0.0"
    result = operator.release("1.0.0", Kind.ROLLBACK)
    assert result.ending is Ending.DONE
    assert operator.carried() == {"1.0.0"}
    assert operator.fewest_serving >= 3


def test_rolls_back_in_the_time_of_a_health_check_when_the_old_fleet_was_kept(operator: Operator) -> None:
    operator.release_settings["keep_previous"] = True
    operator.release("2.0.0")
    kept = set(operator.world.members("Standby"))
    assert len(kept) == 3
    operator.screen.acts.clear()
    operator.release("1.0.0", Kind.ROLLBACK)
    assert "LaunchInstances" not in operator.screen.acts
    assert set(operator.world.members("InService")) == kept
    assert operator.carried() == {"1.0.0"}


def test_does_nothing_twice(operator: Operator) -> None:
    operator.release("2.0.0")
    operator.screen.acts.clear()
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.screen.acts == []


def test_refuses_another_version_while_one_is_unfinished(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_at(monkeypatch, 5, after=True)
    with pytest.raises(Killed):
        operator.release("2.0.0")
    monkeypatch.undo()
    with pytest.raises(Refusal, match=r"unfinished.*--abort"):
        operator.release("3.0.0")


def test_puts_back_on_request(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    before, old = group_settings(operator), sorted(operator.world.members())
    kill_at(monkeypatch, 9, after=True)
    with pytest.raises(Killed):
        operator.release("2.0.0")
    monkeypatch.undo()
    result = operator.release("", abort=True)
    assert result.ending is Ending.RESTORED
    assert sorted(operator.world.members(None)) == old
    assert group_settings(operator) == before
    assert operator.leftovers() == []


def test_refuses_to_put_back_when_nothing_is_in_progress(operator: Operator) -> None:
    with pytest.raises(Refusal, match="no release in progress"):
        operator.release("", abort=True)


def test_goes_on_when_a_zone_has_no_capacity_for_a_while(operator: Operator) -> None:
    operator.cloud.faults.refuse_capacity(fault=Fault(times=2))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert operator.screen.failures


def test_puts_everything_back_when_capacity_never_comes(operator: Operator) -> None:
    before, old = group_settings(operator), sorted(operator.world.members())
    operator.cloud.faults.refuse_capacity(fault=Fault())
    result = operator.release("2.0.0")
    assert result.ending is Ending.RESTORED
    assert sorted(operator.world.members(None)) == old
    assert group_settings(operator) == before


def test_replaces_a_new_instance_that_dies_before_it_serves(operator: Operator) -> None:
    operator.cloud.hosts.script_next(Behaviour(version="2.0.0", dies_s=10))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert len(operator.world.members()) == 3
    assert operator.leftovers() == []


def test_starts_a_first_fleet_in_an_empty_group(operator: Operator) -> None:
    autoscaling = operator.cloud.client("autoscaling")
    name = operator.world.group
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, DesiredCapacity=0)
    autoscaling.create_or_update_tags(
        Tags=[
            {
                "ResourceId": name,
                "ResourceType": "auto-scaling-group",
                "Key": "headway:capacity",
                "Value": "4",
                "PropagateAtLaunch": False,
            }
        ]
    )
    operator.cloud.until(lambda: not operator.world.members(None))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert len(operator.world.members()) == 4


def test_keeps_capacity_that_autoscaling_adds_in_the_middle(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Hands.__dict__["do"]
    asked = False

    def scale_out(self: Hands, act: Any, record: Any) -> Any:
        nonlocal asked
        if type(act).__name__ == "Attach" and not asked:
            asked = True
            desired = operator.world.describe_group()["DesiredCapacity"]
            operator.cloud.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=operator.world.group, DesiredCapacity=desired + 1
            )
        return real.__get__(self, Hands)(act, record)

    monkeypatch.setattr(Hands, "do", scale_out)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert len(operator.world.members()) == 4


def test_writes_down_who_and_when_and_how_it_ended(operator: Operator) -> None:
    operator.release("2.0.0")
    operator.release("3.0.0")
    chapters = list(journal_of(operator.settings).history())
    assert [(c.version, c.from_version, c.ending, c.who) for c in chapters] == [
        ("3.0.0", "2.0.0", Ending.RESTORED, "ann"),
        ("2.0.0", "1.0.0", Ending.DONE, "ann"),
    ]


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> None:
    """Let the process die at the `number`-th act: before its call, or after it and before it is written down."""
    real = Hands.__dict__["do"]
    count = 0

    def dying(self: Hands, act: Any, record: Any) -> Any:
        nonlocal count
        count += 1
        if count == number and not after:
            raise Killed
        done = real.__get__(self, Hands)(act, record)
        if count == number:
            raise Killed
        return done

    monkeypatch.setattr(Hands, "do", dying)


@pytest.mark.parametrize("after", [False, True], ids=["before-the-call", "after-the-call"])
@pytest.mark.parametrize("number", range(1, 14))
def test_completes_when_killed_at_any_act_and_run_again(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    before = group_settings(operator)
    kill_at(monkeypatch, number, after=after)
    with pytest.raises(Killed):
        operator.release("2.0.0")
    monkeypatch.undo()
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert operator.fewest_serving >= 3
    assert group_settings(operator) == before
    assert operator.leftovers() == []


@pytest.mark.parametrize("after", [False, True], ids=["before-the-call", "after-the-call"])
@pytest.mark.parametrize("number", range(1, 6))
def test_puts_back_when_killed_at_any_act_of_a_failing_release_and_run_again(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    before, old = group_settings(operator), sorted(operator.world.members())
    kill_at(monkeypatch, number, after=after)
    with pytest.raises(Killed):
        operator.release("3.0.0")
    monkeypatch.undo()
    assert operator.release("3.0.0").ending is Ending.RESTORED
    assert sorted(operator.world.members(None)) == old
    assert group_settings(operator) == before
    assert operator.leftovers() == []
