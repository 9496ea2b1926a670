"""What is called for each act, and in which order: a crash between two calls must leave nothing that nobody owns."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest

from fabfile.engine.act import Hands, NoCapacityError, Works
from fabfile.plan import release as acts
from fabfile.plan.fleet import LEAVING_TAG, RELEASE_TAG, STANDBY_TAG, Mix, Place
from fabfile.plan.settings import Settings
from fabfile.tools import autoscaling, ec2

from ..plan.fleets import NEW, OLD, record

Call = tuple[str, Any]
IDS = ("i-1", "i-2")
BLUEPRINT = ec2.Blueprint(NEW, "ami-2", interfaces=({"AssociatePublicIpAddress": True},))


class Diary:
    """The tools, which write down how they are called instead of calling AWS."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, Any] = {
            "read_template": BLUEPRINT,
            "run_instances": ["i-1"],
            "create_fleet": (["i-1"], ""),
            "migrate": None,
        }
        for tool in (autoscaling, ec2):
            for name, each in vars(tool).copy().items():
                if isinstance(each, FunctionType) and each.__module__ == tool.__name__:
                    monkeypatch.setattr(tool, name, self._recorder(name))

    def _recorder(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((name, (*arguments[1:], *named.values())))
            return self.answers.get(name)

        return call


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    return Diary(monkeypatch)


def hands() -> Hands:
    return Hands(Settings(), Works(bake=lambda version: f"ami-of-{version}", migrate=lambda _: None))


@pytest.mark.parametrize(
    ("act", "calls"),
    [
        (acts.PinTemplate(OLD), [("point_group", (OLD, False))]),
        (acts.PrepareGroup(9, frozenset({"AZRebalance"})), [("pause", ({"AZRebalance"},)), ("set_size", (9,))]),
        (acts.Protect(IDS, protected=True), [("protect_instances", (IDS, True))]),
        (acts.Attach(IDS), [("attach_instances", (IDS,))]),
        (acts.PointGroup(NEW), [("point_group", (NEW, False))]),
        (
            acts.EnterStandby(IDS, "r1"),
            [("tag_resources", (IDS, {STANDBY_TAG: "r1"})), ("enter_standby", (IDS,))],
        ),
        (acts.ExitStandby(IDS), [("exit_standby", (IDS,))]),
        (acts.Detach(IDS, "r1"), [("tag_resources", (IDS, {LEAVING_TAG: "r1"})), ("detach_instances", (IDS,))]),
        (acts.Retire(IDS), [("retire_instances", (IDS, False))]),
        (acts.Drop(IDS, shrink=True), [("retire_instances", (IDS, True))]),
        (acts.Drop(IDS, shrink=False), [("retire_instances", (IDS, False))]),
        (acts.Terminate(IDS), [("terminate_instances", (IDS,))]),
        (acts.RestoreGroup(4, frozenset({"AZRebalance"})), [("set_size", (4,)), ("resume", ({"AZRebalance"},))]),
        (acts.Resize(3), [("set_size", (3,))]),
        (acts.Untag(IDS), [("untag_resources", (IDS, (STANDBY_TAG,)))]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, acts.Act) else "",
)
def test_does_what_was_decided(diary: Diary, act: acts.Act, calls: list[Call]) -> None:
    assert hands().do(act, record()) == record()
    assert diary.calls == calls


def test_marks_what_it_starts_as_its_own_and_remembers_it(diary: Diary) -> None:
    mark = ("team", "shop")
    act = acts.LaunchInstances(1, "a", "subnet-a", NEW, "ami-2", "r1", "token", tags=(mark,))
    assert hands().do(act, record(launched=("i-0",))).launched == ("i-0", "i-1")
    [_, (name, (wanted,))] = diary.calls
    assert name == "run_instances"
    assert wanted.tags == {"team": "shop", RELEASE_TAG: "r1"}
    assert (wanted.blueprint, wanted.count, wanted.subnet, wanted.token) == (BLUEPRINT, 1, "subnet-a", "token")


def test_reads_once_what_a_template_version_says_and_launches_where_the_group_would(diary: Diary) -> None:
    act = acts.LaunchInstances(1, "a", "subnet-a", NEW, "ami-2", "r1", "token", place=Place("close"))
    same = hands()
    for _ in range(2):
        same.do(act, record())
    assert [name for name, _ in diary.calls] == ["read_template", "run_instances", "run_instances"]
    assert diary.calls[0] == ("read_template", (NEW.id, NEW.version))
    assert diary.calls[1][1][0].place == Place("close")


def test_asks_for_the_rest_of_a_fleet_by_another_name(diary: Diary) -> None:
    mix = Mix(0, 50, "prioritized", "lowest-price", None, "[]")
    act = acts.LaunchInstances(2, "a", "subnet-a", NEW, "ami-2", "r1", "token", mix=mix, spot=1)
    assert hands().do(act, record()).short == 0
    diary.answers["create_fleet"] = (["i-1"], "no spot capacity")
    short = hands().do(act, record())
    assert (short.launched, short.short) == (("i-1",), 1)
    diary.answers["create_fleet"] = ([], "no capacity")
    with pytest.raises(NoCapacityError, match="no capacity"):
        hands().do(act, record())


def test_remembers_what_other_stages_made(diary: Diary) -> None:
    diary.answers["write_template_version"] = "9"
    assert hands().do(acts.BakeImage("2.0.0"), record()).image_id == "ami-of-2.0.0"
    assert hands().do(acts.WriteTemplateVersion(OLD, "ami-2", "r1"), record()).template_version == "9"
    assert hands().do(acts.Migrate("2.0.0"), record()).migrated
