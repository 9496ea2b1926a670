"""Releases as an operator wished them: canary, batches, alarms, a moment, a staged fleet, a stop in the middle."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fabfile.engine.operate import Order, journal_of, operate
from fabfile.localcloud.models import Behaviour
from fabfile.plan.outcome import Refusal
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Ending, Kind
from fabfile.tools import ec2

from .conftest import Operator
from .stories import alarm, at_each_step, versions, when

OURS = {"headway:project": "shop"}


def is_as_before(operator: Operator, old: list[str]) -> bool:
    """Say whether the old fleet serves again, with the group's own settings and nothing of ours left."""
    group = operator.world.describe_group()
    protected = [i for i in group["Instances"] if i["ProtectedFromScaleIn"]]
    clean = not (group["SuspendedProcesses"] or protected or operator.leftovers()) and group["MaxSize"] == 6
    return clean and sorted(operator.world.members(None)) == old and operator.carried() == {"1.0.0"}


def test_serves_with_the_canary_alone_as_long_as_it_was_asked_to(operator: Operator) -> None:
    seen: list[tuple[dict[str, int], float]] = []
    at_each_step(operator, lambda: seen.append((versions(operator), operator.cloud.clock.elapsed_s)))
    assert operator.release("2.0.0", canary=1, canary_s=300).ending is Ending.DONE
    alone = [at for count, at in seen if count == {"1.0.0": 3, "2.0.0": 1}]
    assert alone[-1] - alone[0] >= 300
    assert operator.carried() == {"2.0.0"}
    assert operator.screen.acts.count("Attach") == 2
    assert operator.fewest_serving >= 3


def test_starts_no_more_than_the_canary_before_it_has_proven_itself(operator: Operator) -> None:
    operator.world.image("4.0.0", Behaviour(version="4.0.0", sick_s=60), OURS)
    old = sorted(operator.world.members())
    result = operator.release("4.0.0", canary=1, canary_s=300)
    assert result.ending is Ending.RESTORED
    assert result.record is not None
    assert len(result.record.launched) == 1
    assert is_as_before(operator, old)
    assert operator.fewest_serving >= 3


def test_puts_the_old_fleet_back_when_an_alarm_sounds_during_the_canary(operator: Operator) -> None:
    operator.release_settings["alarms"] = ["shop-errors"]
    alarm(operator.cloud, "shop-errors", "OK")
    old = sorted(operator.world.members())
    when(
        operator,
        lambda: "2.0.0" in versions(operator),
        lambda: alarm(operator.cloud, "shop-errors", "ALARM", "5 errors"),
    )
    result = operator.release("2.0.0", canary=1, canary_s=300)
    assert result.ending is Ending.RESTORED
    assert result.why == "alarm shop-errors sounds: 5 errors"
    assert is_as_before(operator, old)


def test_puts_the_old_fleet_back_when_an_alarm_sounds_during_the_soak(operator: Operator) -> None:
    operator.release_settings["alarms"] = ["shop-errors"]
    alarm(operator.cloud, "shop-errors", "INSUFFICIENT_DATA")
    old = sorted(operator.world.members())
    when(
        operator,
        lambda: len(operator.world.members("Standby")) == 3,
        lambda: alarm(operator.cloud, "shop-errors", "ALARM"),
    )
    assert operator.release("2.0.0", soak_s=600).ending is Ending.RESTORED
    assert is_as_before(operator, old)
    assert operator.fewest_serving >= 3


def test_goes_by_an_alarm_that_sounded_before_it_began(operator: Operator) -> None:
    operator.release_settings["alarms"] = ["shop-errors"]
    alarm(operator.cloud, "shop-errors", "ALARM")
    assert operator.release("2.0.0", soak_s=30).ending is Ending.DONE


def test_refuses_an_alarm_that_does_not_exist(operator: Operator) -> None:
    operator.release_settings["alarms"] = ["shop-erors"]
    with pytest.raises(Refusal, match=r"no CloudWatch alarm 'shop-erors'; correct headway\.release\.alarms"):
        operator.release("2.0.0")
    assert operator.screen.acts == []


def test_replaces_in_batches_and_never_runs_more_than_one_batch_beyond_the_fleet(operator: Operator) -> None:
    most = 0

    def watch() -> None:
        nonlocal most
        most = max(most, len(operator.world.members()))

    at_each_step(operator, watch)
    assert operator.release("2.0.0", batch=1).ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert most == 4
    assert operator.screen.acts.count("EnterStandby") == 3
    assert operator.fewest_serving >= 3
    assert operator.leftovers() == []


def test_puts_all_batches_back_when_a_later_one_fails(operator: Operator) -> None:
    old = sorted(operator.world.members())
    operator.cloud.hosts.script_next(Behaviour(version="2.0.0"), Behaviour(version="2.0.0", healthy_s=None))
    result = operator.release("2.0.0", batch=1)
    assert result.ending is Ending.RESTORED
    assert is_as_before(operator, old)
    assert operator.fewest_serving >= 3


def test_cuts_over_within_two_seconds_of_the_minute(operator: Operator) -> None:
    at = operator.cloud.clock.now() + timedelta(minutes=20)
    first: list[float] = []
    when(
        operator,
        lambda: len(operator.world.members(None)) > 3,
        lambda: first.append((operator.cloud.clock.now() - at).total_seconds()),
    )
    assert operator.release("2.0.0", at=at).ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert 0 <= first[0] <= 2


def test_starts_a_timed_fleet_no_sooner_than_it_needs_to_be_ready(operator: Operator) -> None:
    at = operator.cloud.clock.now() + timedelta(minutes=30)
    born: list[float] = []
    when(
        operator,
        lambda: bool(operator.leftovers()),
        lambda: born.append((at - operator.cloud.clock.now()).total_seconds()),
    )
    operator.release_settings["poll_s"] = 60
    assert operator.release("2.0.0", at=at).ending is Ending.DONE
    assert born[0] <= 120 + 60


def test_refuses_the_cutover_when_the_warm_up_is_late(operator: Operator) -> None:
    operator.world.image("5.0.0", Behaviour(version="5.0.0", boot_s=100), OURS)
    old = sorted(operator.world.members())
    at = operator.cloud.clock.now() + timedelta(seconds=60)
    result = operator.release("5.0.0", at=at)
    assert result.ending is Ending.RESTORED
    assert "only 0 of 3 new instances were ready at" in result.why
    assert any("is in danger" in each for each in operator.screen.waits)  # said before the minute
    assert is_as_before(operator, old)


def test_refuses_a_cutover_whose_minute_went_by_while_nobody_was_there(operator: Operator) -> None:
    at = operator.cloud.clock.now() + timedelta(seconds=90)
    stops = iter([False] * 12 + [True] * 100)
    operator.stop = lambda: next(stops)
    assert operator.release("2.0.0", at=at).ending is Ending.STOPPED
    operator.stop = lambda: False
    operator.cloud.clock.sleep(600)
    result = operator.release("2.0.0")
    assert result.ending is Ending.RESTORED
    assert "too late" in result.why or "were ready" in result.why
    assert operator.carried() == {"1.0.0"}


def test_refuses_a_moment_that_has_gone_by(operator: Operator) -> None:
    with pytest.raises(Refusal, match="has gone by"):
        operator.release("2.0.0", at=operator.cloud.clock.now() - timedelta(seconds=1))


def test_stages_a_fleet_that_a_later_release_uses(operator: Operator) -> None:
    result = operator.release("2.0.0", stage=True)
    assert result.ending is Ending.STAGED
    staged = set(operator.leftovers())
    assert len(staged) == 3
    assert operator.carried() == {"1.0.0"}
    operator.screen.acts.clear()
    assert operator.release("2.0.0").ending is Ending.DONE
    assert "LaunchInstances" not in operator.screen.acts
    assert set(operator.world.members()) == staged


def test_puts_a_staged_fleet_aside_for_another_version(operator: Operator) -> None:
    operator.release("2.0.0", stage=True)
    staged = set(operator.leftovers())
    operator.world.image("2.5.0", Behaviour(version="2.5.0"), OURS)
    assert operator.release("2.5.0").ending is Ending.DONE
    assert operator.carried() == {"2.5.0"}
    assert not staged & set(operator.world.members(None))
    assert operator.leftovers() == []


def test_rolls_back_although_another_version_is_staged(operator: Operator) -> None:
    operator.release("2.0.0")
    operator.world.image("2.5.0", Behaviour(version="2.5.0"), OURS)
    operator.release("2.5.0", stage=True)
    assert operator.release("1.0.0", Kind.ROLLBACK).ending is Ending.DONE
    assert operator.carried() == {"1.0.0"}
    assert operator.leftovers() == []


def test_puts_a_staged_fleet_back_on_request(operator: Operator) -> None:
    old = sorted(operator.world.members())
    operator.release("2.0.0", stage=True)
    assert operator.release("", abort=True).ending is Ending.RESTORED
    assert is_as_before(operator, old)


def test_replaces_a_staged_instance_that_died_meanwhile(operator: Operator) -> None:
    operator.release("2.0.0", stage=True)
    operator.cloud.hosts.kill(operator.leftovers()[0])
    operator.cloud.clock.sleep(30)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert versions(operator) == {"2.0.0": 3}
    assert operator.fewest_serving >= 3


@pytest.mark.parametrize("looks", [1, 4, 8, 12, 16, 20, 24])
def test_stops_softly_wherever_it_is_and_goes_on_by_the_same_command(operator: Operator, looks: int) -> None:
    operator.stop_after(looks)
    result = operator.release("2.0.0")
    assert result.ending in (Ending.STOPPED, Ending.DONE)
    operator.stop = lambda: False
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
    assert operator.fewest_serving >= 3
    assert operator.leftovers() == []


def test_refuses_to_release_in_a_freeze_window_and_writes_down_who_did_all_the_same(operator: Operator) -> None:
    operator.release_settings["freeze"] = ["2000-01-01 - 2999-01-01 UTC: the audit"]
    with pytest.raises(Refusal, match="the audit"):
        operator.release("2.0.0")
    assert operator.release("2.0.0", override="the checkout is down").ending is Ending.DONE
    assert next(journal_of(operator.settings).history()).override == "the checkout is down"
    assert operator.release("1.0.0", Kind.ROLLBACK).ending is Ending.DONE


def test_refuses_a_group_whose_launching_hook_would_not_run(operator: Operator) -> None:
    operator.cloud.client("autoscaling").put_lifecycle_hook(
        AutoScalingGroupName=operator.world.group,
        LifecycleHookName="register",
        LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING",
    )
    with pytest.raises(Refusal, match=r"hook register .*launch_hooks: skip"):
        operator.release("2.0.0")
    operator.release_settings["launch_hooks"] = "skip"
    assert operator.release("2.0.0").ending is Ending.DONE


def test_has_the_group_terminate_old_instances_where_a_hook_waits_for_them(operator: Operator) -> None:
    operator.cloud.client("autoscaling").put_lifecycle_hook(
        AutoScalingGroupName=operator.world.group,
        LifecycleHookName="farewell",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=30,
        DefaultResult="CONTINUE",
    )
    assert operator.release("2.0.0").ending is Ending.DONE
    assert "Retire" in operator.screen.acts
    assert "Detach" not in operator.screen.acts
    operator.cloud.until(lambda: len(operator.world.members(None)) == 3)
    assert operator.leftovers() == []


FROZEN = ["2000-01-01 - 2999-01-01 UTC: the audit"]


@pytest.fixture
def warm(operator: Operator) -> Operator:
    """Have 1.0.0 serve, with 2.0.0 staged beside it."""
    operator.world.image("2.5.0", Behaviour(version="2.5.0"), OURS)
    operator.release("2.0.0", stage=True)
    assert len(operator.leftovers()) == 3
    return operator


def is_staged(operator: Operator) -> bool:
    record = journal_of(operator.settings).read()
    return record is not None and record.staged and len(operator.leftovers()) == 3


def test_a_frozen_order_leaves_the_staged_fleet_of_another_version_alone(warm: Operator) -> None:
    warm.release_settings["freeze"] = FROZEN
    with pytest.raises(Refusal, match="the audit"):
        warm.release("2.5.0")
    assert is_staged(warm)


def test_an_order_for_a_bad_version_leaves_the_staged_fleet_alone(operator: Operator) -> None:
    operator.world.image("2.5.0", Behaviour(version="2.5.0"), OURS)
    operator.release("2.0.0")
    operator.release("1.0.0", Kind.ROLLBACK)
    operator.release("2.5.0", stage=True)
    with pytest.raises(Refusal, match="recorded as bad"):
        operate(operator.settings, Order(Kind.ROLLBACK, "2.0.0", "ann"), operator.means)
    assert is_staged(operator)


def test_cuts_no_staged_fleet_over_in_a_freeze_window_unless_somebody_says_why(warm: Operator) -> None:
    warm.release_settings["freeze"] = FROZEN
    with pytest.raises(Refusal, match="the audit"):
        warm.release("2.0.0")
    assert is_staged(warm)
    assert warm.release("2.0.0", override="the checkout is down").ending is Ending.DONE
    assert next(journal_of(warm.settings).history()).override == "the checkout is down"


def test_puts_a_staged_fleet_back_in_a_freeze_window(warm: Operator) -> None:
    warm.release_settings["freeze"] = FROZEN
    assert warm.release("", abort=True).ending is Ending.RESTORED


def test_moves_no_moment_into_a_freeze_window_or_into_the_past(operator: Operator) -> None:
    now = operator.cloud.clock.now()
    operator.stop_after(2)
    operator.release("2.0.0", at=now + timedelta(hours=1))
    operator.stop = lambda: False
    tomorrow = now + timedelta(days=1)
    operator.release_settings["freeze"] = [f"{tomorrow:%Y-%m-%d} - {tomorrow:%Y-%m-%d} UTC: the audit"]
    for moment, why in ((tomorrow.replace(hour=12), "the audit"), (now - timedelta(hours=1), "has gone by")):
        with pytest.raises(Refusal, match=why):
            operator.release("2.0.0", at=moment)
    assert operator.release("2.0.0", at=now + timedelta(hours=2)).ending is Ending.DONE


@pytest.mark.parametrize("looks", [1, 2])
def test_a_stop_while_a_staged_fleet_is_put_aside_is_no_refusal_and_the_same_command_goes_on(
    warm: Operator, looks: int
) -> None:
    warm.stop_after(looks)
    assert warm.release("2.5.0").ending is Ending.STOPPED
    warm.stop = lambda: False
    assert warm.release("2.5.0").ending is Ending.DONE
    assert warm.carried() == {"2.5.0"}
    assert warm.leftovers() == []


def test_a_staged_fleet_that_cannot_be_put_aside_is_no_refusal(warm: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise RuntimeError("UnauthorizedOperation")

    monkeypatch.setattr(ec2, "terminate_instances", deny)
    result = warm.release("2.5.0")
    assert result.ending is Ending.NOT_RESTORED
    assert "UnauthorizedOperation" in result.why


def test_stages_nothing_that_serves_in_part_already(operator: Operator) -> None:
    operator.stop = lambda: "Attach" in operator.screen.acts
    operator.release("2.0.0")
    operator.stop = lambda: False
    with pytest.raises(Refusal, match=r"2\.0\.0 serves in part already.*go on with: fab release --env=prod"):
        operator.release("2.0.0", stage=True)
    assert operator.release("2.0.0").ending is Ending.DONE


@pytest.mark.parametrize("looks", [1, 14])
def test_takes_no_record_of_another_env_for_its_own(operator: Operator, looks: int) -> None:
    """Two envs whose groups have one name, such as in two regions, and one place in S3."""
    operator.stop_after(looks)
    operator.release("2.0.0")
    release = {**operator.release_settings, "group": "shop-prod"}
    raw = {"name": "shop", "release": release, "envs": {"prod": {}, "eu": {}}}
    for order in (Order(Kind.RELEASE, "2.0.0", "eve"), Order(Kind.RELEASE, "", "eve", abort=True)):
        with pytest.raises(Refusal, match=r"release of 2\.0\.0 in prod by ann is unfinished.*--env=prod"):
            operate(read_settings(raw, "eu"), order, operator.means)
    operator.stop = lambda: False
    assert operator.release("2.0.0").ending is Ending.DONE
