"""Releases while others act on the same group: policies, schedules, people, a network that loses answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fabfile.engine import observe
from fabfile.engine.act import Hands
from fabfile.engine.forecast import foresee
from fabfile.engine.operate import Order, journal_of, serving_version
from fabfile.localcloud.models import Behaviour
from fabfile.plan.past import previous_version
from fabfile.plan.release import Done, Ending, Kind, Undone
from fabfile.tools import autoscaling, health

from .conftest import Operator

OURS = {"headway:project": "shop"}


class Killed(BaseException):
    """Stands for kill -9."""


def at(monkeypatch: pytest.MonkeyPatch, act_name: str, happens: Callable[[], None], *, after: bool = True) -> None:
    """Let something happen once, right before or after the first act of a kind; more than 150 acts are a loop."""
    real = Hands.__dict__["do"]
    pending, count = True, 0

    def do(self: Hands, act: Any, record: Any) -> Any:
        nonlocal pending, count
        count += 1
        if count > 150:
            raise Killed("a loop")
        now = pending and type(act).__name__ == act_name
        pending = pending and not now
        if now and not after:
            happens()
        done = real.__get__(self, Hands)(act, record)
        if now and after:
            happens()
        return done

    monkeypatch.setattr(Hands, "do", do)


def die() -> None:
    raise Killed


def want(operator: Operator, desired: int, **sizes: int) -> None:
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=operator.world.group, DesiredCapacity=desired, **sizes
    )


def sicken(operator: Operator, version: str) -> None:
    for instance_id in operator.world.members(None):
        if operator.cloud.hosts.version(instance_id) == version:
            operator.cloud.hosts.script(instance_id, sick_s=0)


def is_clean(operator: Operator, maximum: int = 6) -> bool:
    """Say whether the group has its own settings again and nothing of ours is left."""
    group = operator.world.describe_group()
    protected = [i for i in group["Instances"] if i["ProtectedFromScaleIn"]]
    standby = operator.world.members("Standby")
    suspended = group["SuspendedProcesses"]
    return not (suspended or protected or standby or operator.leftovers()) and group["MaxSize"] == maximum


def test_survives_a_scale_in_while_both_fleets_serve(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "PointGroup", lambda: want(operator, 3), after=False)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert operator.fewest_serving >= 3
    assert is_clean(operator)


def test_survives_a_scale_out_that_takes_the_room_it_made(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "Attach", lambda: want(operator, 8))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert is_clean(operator)


def test_never_leaves_more_than_the_groups_own_maximum(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.release_settings["soak_s"] = 60
    at(monkeypatch, "EnterStandby", lambda: want(operator, 9))
    assert operator.release("2.0.0").ending is Ending.DONE
    operator.cloud.clock.sleep(60)
    assert len(operator.world.members()) <= 6
    assert is_clean(operator)


def test_recalls_the_old_fleet_although_autoscaling_filled_the_group(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_and_die() -> None:
        want(operator, 6)
        die()

    at(monkeypatch, "EnterStandby", fill_and_die)
    with pytest.raises(Killed):
        operator.release("2.0.0")
    monkeypatch.undo()
    assert operator.release("", abort=True).ending is Ending.RESTORED
    assert operator.carried() == {"1.0.0"}
    assert operator.fewest_serving >= 3
    assert is_clean(operator)


def test_comes_back_in_seconds_when_the_new_fleet_turns_sick_while_the_old_one_drains(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for instance_id in operator.world.members():
        operator.cloud.hosts.script(instance_id, drain_s=60)
    at(monkeypatch, "EnterStandby", lambda: sicken(operator, "2.0.0"))
    began_s = operator.cloud.clock.elapsed_s
    down: list[float] = []

    def watch() -> None:
        if operator.serving() == 0:
            down.append(operator.cloud.clock.elapsed_s)

    operator.cloud.clock.at_each_step(watch)
    result = operator.release("2.0.0")
    assert result.ending is Ending.RESTORED
    assert operator.carried() == {"1.0.0"}
    assert len(down) < 60, f"nothing served for {len(down)} s after {began_s} s"


def empty(operator: Operator) -> None:
    """Make the group what it is before a first release: empty, its template on an image that serves nothing."""
    want(operator, 0, MinSize=0)
    operator.cloud.until(lambda: not operator.world.members(None))
    operator.cloud.hosts.images[operator.world.image_ids["1.0.0"]] = Behaviour(version="base", healthy_s=None)


def test_leaves_an_empty_group_empty_when_its_first_release_fails(operator: Operator) -> None:
    empty(operator)
    assert operator.release("3.0.0").ending is Ending.RESTORED
    assert operator.world.members(None) == []
    assert is_clean(operator)


def test_leaves_an_empty_group_empty_when_its_first_release_is_aborted(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(operator)
    at(monkeypatch, "Attach", die)
    with pytest.raises(Killed):
        operator.release("2.0.0")
    monkeypatch.undo()
    assert operator.release("", abort=True).ending is Ending.RESTORED
    assert operator.world.members(None) == []
    assert is_clean(operator)


def test_makes_a_mixed_fleet_one_and_never_loops_when_that_fails(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = operator.world
    version = operator.cloud.client("ec2").create_launch_template_version(
        LaunchTemplateId=world.template_id, SourceVersion="1", LaunchTemplateData={"ImageId": world.image_ids["2.0.0"]}
    )["LaunchTemplateVersion"]["VersionNumber"]
    client = operator.cloud.client("autoscaling")
    client.update_auto_scaling_group(
        AutoScalingGroupName=world.group,
        LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": str(version)},
    )
    for instance_id in world.members()[:2]:
        client.terminate_instance_in_auto_scaling_group(InstanceId=instance_id, ShouldDecrementDesiredCapacity=False)
    operator.cloud.until(lambda: len(world.members()) == 3 and operator.carried() == {"1.0.0", "2.0.0"})
    old = sorted(world.members())
    operator.cloud.hosts.images[world.image_ids["2.0.0"]] = Behaviour(version="2.0.0", healthy_s=None)
    at(monkeypatch, "never", die)
    assert operator.release("2.0.0").ending is Ending.RESTORED
    assert sorted(world.members(None)) == old
    assert is_clean(operator)


def test_leaves_an_instance_in_standby_that_a_person_put_there_after_an_undone_release(operator: Operator) -> None:
    operator.release_settings["soak_s"] = 60
    operator.world.image("4.0.0", Behaviour(version="4.0.0", sick_s=40), OURS)
    assert operator.release("4.0.0").ending is Ending.RESTORED
    mine = operator.world.members()[0]
    operator.cloud.client("autoscaling").enter_standby(
        AutoScalingGroupName=operator.world.group, InstanceIds=[mine], ShouldDecrementDesiredCapacity=True
    )
    operator.cloud.until(lambda: mine in operator.world.members("Standby"))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.world.members("Standby") == [mine]


def test_keeps_a_maximum_that_a_schedule_set_in_the_middle(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "EnterStandby", lambda: want(operator, 2, MaxSize=2))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert is_clean(operator, maximum=2)


def test_pauses_what_works_against_it_although_the_first_call_failed(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls, paused = autoscaling.pause, 0, []

    def pause(settings: Any, processes: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("throttled")
        real(settings, processes)

    monkeypatch.setattr(autoscaling, "pause", pause)
    at(monkeypatch, "EnterStandby", lambda: paused.extend(operator.world.describe_group()["SuspendedProcesses"]))
    assert operator.release("2.0.0").ending is Ending.DONE
    assert [each["ProcessName"] for each in paused] == ["AZRebalance"]
    assert is_clean(operator)


def test_goes_further_back_with_each_rollback(operator: Operator) -> None:
    operator.world.image("2.5.0", Behaviour(version="2.5.0"), OURS)
    operator.release("2.0.0")
    operator.release("2.5.0")
    journal = journal_of(operator.settings)
    assert previous_version(journal.history(), "2.5.0") == "2.0.0"
    operator.release("2.0.0", Kind.ROLLBACK)
    assert previous_version(journal.history(), "2.0.0") == "1.0.0"


def test_knows_from_history_what_serves_when_its_image_is_gone(operator: Operator) -> None:
    operator.release("2.0.0")
    operator.cloud.client("ec2").deregister_image(ImageId=operator.world.image_ids["2.0.0"])
    facts = observe.look_once(operator.settings)
    assert facts.version_of(facts.template_image) == "?"
    journal = journal_of(operator.settings)
    serving = serving_version(journal, facts)
    assert serving == "2.0.0"
    assert previous_version(journal.history(), serving) == "1.0.0"


@pytest.mark.parametrize("act", ["LaunchInstances", "Attach", "EnterStandby", "Detach"])
def test_foresees_what_is_left_of_a_killed_release_and_of_undoing_it(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    at(monkeypatch, act, die)
    with pytest.raises(Killed):
        operator.release("2.0.0")
    monkeypatch.undo()
    monkeypatch.setattr(health, "ask_all", lambda addresses, *_: operator._ask(addresses))
    ahead = foresee(operator.settings, Order(Kind.RELEASE, "2.0.0", "ann"), operator.world.image_ids["2.0.0"])
    assert isinstance(ahead.ending, Done)
    if act != "Detach":
        back = foresee(operator.settings, Order(Kind.RELEASE, "", "ann", abort=True), None)
        assert isinstance(back.ending, Undone)
