"""Stories of the way back: what stayed suspended, shielded, half removed, or came back to the very same bad version.

Each test names where it happened to other people; the circumstance is theirs, the cloud is the simulated one.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fabfile.engine.loop import Result
from fabfile.engine.operate import journal_of
from fabfile.localcloud.faults import Fault
from fabfile.localcloud.models import Behaviour
from fabfile.plan.past import why_bad
from fabfile.plan.release import Ending, Kind
from fabfile.release import Outcome, conclude
from fabfile.show.ending import render

from .conftest import Operator
from .stories import (
    add_image,
    assert_killed,
    assert_over,
    assert_put_back,
    assert_restored,
    assert_serves,
    change_group,
    die,
    last_chapter,
    meanwhile,
    order,
    scale,
    standing,
    versions,
    watch_leaving,
)


def suspend(operator: Operator, *processes: str) -> None:
    operator.cloud.client("autoscaling").suspend_processes(
        AutoScalingGroupName=operator.world.group, ScalingProcesses=list(processes)
    )


def resume(operator: Operator, *processes: str) -> None:
    operator.cloud.client("autoscaling").resume_processes(
        AutoScalingGroupName=operator.world.group, ScalingProcesses=list(processes)
    )


def shield(operator: Operator, *ids: str) -> None:
    operator.cloud.client("autoscaling").set_instance_protection(
        AutoScalingGroupName=operator.world.group, InstanceIds=list(ids), ProtectedFromScaleIn=True
    )


def end_well(operator: Operator, _: pytest.MonkeyPatch) -> None:
    assert operator.release("2.0.0").ending is Ending.DONE


def fail(operator: Operator, _: pytest.MonkeyPatch) -> None:
    add_image(operator, "4.0.0", sick_s=40)
    assert_restored(operator.release("4.0.0", soak_s=60), "lost health")


def die_and_put_back(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        meanwhile(patch, "EnterStandby", die)
        assert_killed(operator, "2.0.0")
    assert operator.release("", abort=True).ending is Ending.RESTORED


def die_and_go_on(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        meanwhile(patch, "EnterStandby", die)
        assert_killed(operator, "2.0.0")
    end_well(operator, monkeypatch)


ENDINGS = [end_well, fail, die_and_put_back, die_and_go_on]
Way = Callable[[Operator, pytest.MonkeyPatch], None]


@pytest.mark.parametrize("ends", ENDINGS)
@pytest.mark.parametrize("before", [(), ("ScheduledActions",), ("AZRebalance", "AlarmNotification")])
def test_exactly_what_was_suspended_before_is_suspended_afterwards(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, before: tuple[str, ...], ends: Way
) -> None:
    """spinnaker/orca#3925: "if it was resumed it shall be suspended" left the wrong processes suspended."""
    if before:
        suspend(operator, *before)
    ends(operator, monkeypatch)
    assert standing(operator).suspended == set(before)
    assert_over(operator)


@pytest.mark.parametrize("ends", [end_well, fail])
def test_what_somebody_suspended_or_resumed_in_the_middle_stays_so(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, ends: Way
) -> None:
    """spinnaker/orca#3925: restored is what the release itself did, not what others did meanwhile."""
    suspend(operator, "ScheduledActions")

    def change_mind() -> None:
        suspend(operator, "AlarmNotification")
        resume(operator, "ScheduledActions")

    meanwhile(monkeypatch, "Attach", change_mind)
    ends(operator, monkeypatch)
    assert standing(operator).suspended == {"AlarmNotification"}


@pytest.mark.parametrize("ends", [fail, die_and_put_back])
def test_a_failed_release_stands_in_the_way_of_none(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, ends: Way
) -> None:
    """guardian/riff-raff#678: a failure left desired = max and scale-in protection, and blocked the next deploy."""
    before = standing(operator)
    ends(operator, monkeypatch)
    assert_put_back(operator, before)
    operator.fewest_serving = 3
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
    assert operator.fewest_serving >= 3


def test_what_another_tool_left_behind_stands_in_the_way_of_no_release(operator: Operator) -> None:
    """guardian/riff-raff#678, from the other side: the group is found at its maximum, with everybody shielded."""
    scale(operator, 6)
    shield(operator, *operator.world.members())
    before = standing(operator)
    assert_restored(operator.release("3.0.0"))
    assert_put_back(operator, before)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 6, before)
    assert operator.fewest_serving >= 6


def test_an_image_that_does_not_boot_leaves_nothing_to_clean_up_by_hand(operator: Operator) -> None:
    """terraform-aws-modules/terraform-aws-autoscaling#234: with a bad AMI the new group was left to be removed by hand.

    Asked for, and found nowhere (6): a failed release cleans up its own instances, and the old fleet is untouched.
    """
    add_image(operator, "4.0.0", dies_s=0)
    before, left = standing(operator), watch_leaving(operator)
    assert_restored(operator.release("4.0.0"), "they keep dying")
    assert not left
    assert_put_back(operator, before)
    assert operator.fewest_serving >= 3


def test_an_image_that_is_not_there_changes_nothing(operator: Operator) -> None:
    """terraform-aws-modules/terraform-aws-autoscaling#234, where EC2 does not even know the AMI."""
    operator.world.image_ids["4.0.0"] = "ami-0123456789abcdef0"
    before = standing(operator)
    result = operator.release("4.0.0")
    assert_restored(result, "InvalidAMIID", "ami-0123456789abcdef0")
    assert_put_back(operator, before)
    assert operator.fewest_serving >= 3


def test_only_our_own_instances_go_with_a_failed_release(operator: Operator) -> None:
    """Asked for, and found nowhere (6): others of the same image, or that somebody put in Standby, are not ours."""
    cloud, world = operator.cloud, operator.world
    ran = cloud.client("ec2").run_instances(ImageId=world.image_ids["3.0.0"], MinCount=1, MaxCount=1)
    stranger = ran["Instances"][0]["InstanceId"]
    mine = world.members()[0]
    cloud.client("autoscaling").enter_standby(
        AutoScalingGroupName=world.group, InstanceIds=[mine], ShouldDecrementDesiredCapacity=True
    )
    cloud.until(lambda: mine in world.members("Standby") and mine not in world.health())
    before = standing(operator)
    assert_restored(operator.release("3.0.0"))
    assert standing(operator) == before
    assert operator.leftovers() == [stranger]
    assert operator.release("2.0.0").ending is Ending.DONE
    assert world.members("Standby") == [mine]
    assert operator.leftovers() == [stranger]


@pytest.mark.parametrize("pinned", ["1", "$Latest", "$Default"])
@pytest.mark.parametrize("ends", [fail, die_and_put_back])
def test_what_the_group_launches_after_a_failed_release_is_the_version_that_serves(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, pinned: str, ends: Way
) -> None:
    """hashicorp/terraform-provider-aws#34189: auto-rollback "returned" to the same bad version, for ever.

    And hashicorp/terraform-provider-aws#29830: it was rejected where no desired configuration was given.
    """
    change_group(operator, LaunchTemplate={"LaunchTemplateId": operator.world.template_id, "Version": pinned})
    ends(operator, monkeypatch)
    lost = operator.world.members()[0]
    operator.cloud.hosts.kill(lost)
    operator.cloud.until(lambda: operator.serving() == 3 and lost not in operator.world.members(None))
    change_group(operator, DesiredCapacity=5)
    operator.cloud.until(lambda: operator.serving() == 5)
    assert versions(operator) == {"1.0.0": 5}


@pytest.mark.parametrize("pinned", ["$Latest", "$Default"])
def test_what_the_group_launches_before_a_version_has_proven_itself_is_the_one_that_serves(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, pinned: str
) -> None:
    """hashicorp/terraform-provider-aws#34189: the group itself was moved to the new version before it was healthy."""
    change_group(operator, LaunchTemplate={"LaunchTemplateId": operator.world.template_id, "Version": pinned})
    meanwhile(monkeypatch, "LaunchInstances", lambda: change_group(operator, DesiredCapacity=5))
    assert_restored(operator.release("3.0.0"), "was not ready")
    assert versions(operator, None) == {"1.0.0": 5}
    assert operator.serving() == 5


def test_a_version_that_failed_is_not_what_is_rolled_back_to(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hashicorp/terraform-provider-aws#34189: history knows the bad version, and asks before it is gone back to."""
    fail(operator, monkeypatch)
    reason = why_bad(journal_of(operator.settings).history(), "4.0.0")
    assert reason is not None
    assert "4.0.0 was recorded as bad" in reason


def sick(operator: Operator) -> None:
    """Let what rests in Standby be sick."""
    for instance_id in operator.world.members("Standby"):
        operator.cloud.hosts.script(instance_id, sick_s=0)


def sick_once_it_serves(operator: Operator) -> None:
    """Let what rests in Standby answer, and fall sick as soon as it is back in service."""
    now_s = operator.cloud.clock.elapsed_s
    for instance_id in operator.world.members("Standby"):
        since_s = operator.cloud.hosts.machines[instance_id].since_s
        operator.cloud.hosts.script(instance_id, sick_s=now_s - since_s + 3)


def not_to_be_moved(operator: Operator) -> None:
    """Let nothing leave Standby."""
    operator.cloud.faults.fail("ExitStandby", "InternalFailure", fault=Fault())


@pytest.mark.parametrize("trouble", [sick, not_to_be_moved])
def test_what_serves_is_not_disabled_when_the_fleet_before_cannot_be_enabled(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[Operator], None]
) -> None:
    """Netflix/asgard#594: the rollback disabled the next group although enabling the previous one had failed."""
    operator.release_settings["keep_previous"] = True
    assert operator.release("2.0.0").ending is Ending.DONE
    operator.cloud.hosts.images[operator.world.image_ids["1.0.0"]] = Behaviour(version="1.0.0", healthy_s=None)
    trouble(operator)
    left = watch_leaving(operator)
    result = operator.release("1.0.0", Kind.ROLLBACK)
    assert result.ending is Ending.RESTORED
    assert not left
    assert operator.fewest_serving >= 3
    assert operator.carried() == {"2.0.0"}
    assert versions(operator) == {"2.0.0": 3}
    assert last_chapter(operator).ending is Ending.RESTORED
    assert_over_but_standby(operator)


def test_what_served_is_back_when_the_fleet_before_falls_sick_as_soon_as_it_serves(operator: Operator) -> None:
    """Netflix/asgard#594, a moment later: the previous one was enabled, and fails right after."""
    operator.release_settings.update(keep_previous=True, soak_s=60)
    assert operator.release("2.0.0").ending is Ending.DONE
    sick_once_it_serves(operator)
    result = operator.release("1.0.0", Kind.ROLLBACK)
    assert_restored(result, "lost health")
    assert versions(operator) == {"2.0.0": 3}
    assert operator.serving() == 3
    assert_over_but_standby(operator)


def assert_over_but_standby(operator: Operator) -> None:
    """Assert that nothing runs beside the group, and that no settings of the release are left."""
    now = standing(operator)
    assert operator.leftovers() == []
    assert not now.suspended
    assert now.sizes == (1, 6, 3)


@pytest.mark.parametrize(
    "act",
    ["WriteTemplateVersion", "LaunchInstances", "PrepareGroup", "Protect", "Attach", "PointGroup", "EnterStandby"],
)
@pytest.mark.parametrize("after", [False, True], ids=["before-the-call", "after-the-call"])
def test_all_of_a_groups_state_is_put_back_after_a_crash(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, act: str, after: bool
) -> None:
    """Asked for, and found nowhere (1): a snapshot of all state, and a recovery from it after a crash."""
    suspend(operator, "ScheduledActions")
    shield(operator, operator.world.members()[1])
    before = standing(operator)
    with monkeypatch.context() as patch:
        meanwhile(patch, act, die, after=after)
        assert_killed(operator, "2.0.0")
    result = operator.release("", abort=True)
    assert result.ending is Ending.RESTORED
    assert "put back; shop-prod serves 1.0.0 on 3" in render("prod", [result], asked_to_undo=True)
    assert_put_back(operator, before)
    assert operator.fewest_serving >= 3


def test_a_failure_names_its_cause_in_all_its_parts(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, and found nowhere (4): scaling activity, the load balancer's reason and the console, together."""
    add_image(operator, "4.0.0", sick_s=60)
    operator.release_settings["soak_s"] = 120

    def break_launches() -> None:
        operator.cloud.faults.refuse_capacity(fault=Fault(times=4))
        change_group(operator, DesiredCapacity=4)

    meanwhile(monkeypatch, "EnterStandby", break_launches)
    result = order(operator, "4.0.0")
    assert result.ending is Ending.RESTORED
    text = render("prod", [result], asked_to_undo=False)
    told = last_chapter(operator)
    for word in (
        "Target.ResponseCodeMismatch",
        "503",
        "GET /health on port 8080",
        "console:",
        "booting ami-",
        "do not have sufficient",
    ):
        assert word in text, text
        assert word in "\n".join((told.why, *told.evidence))
    assert "now: shop-prod serves 1.0.0 on " in text
    assert "fab status --env=prod" in text
    assert told.reason == "health"


@pytest.mark.parametrize(
    ("version", "code", "words"),
    [("2.0.0", 0, "2.0.0 serves shop-prod on 3 instances"), ("3.0.0", 3, "failed and put back")],
)
def test_a_release_returns_when_it_is_over_and_its_exit_code_is_the_verdict(
    operator: Operator, capsys: pytest.CaptureFixture[str], version: str, code: int, words: str
) -> None:
    """hashicorp/terraform-provider-aws#42355 (asked for, 10): a refresh that blocks until its final verdict."""
    result = operator.release(version)
    in_transit = [state for _, state in standing(operator).members if state != "InService"]
    assert in_transit == []
    assert_over(operator)
    got, text = verdict(operator, result, capsys)
    assert got == code
    assert words in text


def verdict(operator: Operator, result: Result, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code of a release and what a person is told."""
    from invoke.exceptions import Exit

    try:
        conclude(operator.settings, Outcome([result], 0))
    except Exit as ended:
        return ended.code, str(ended.message)
    return 0, capsys.readouterr().out
