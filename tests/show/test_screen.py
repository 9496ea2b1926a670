"""What an operator reads while a fleet changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fabfile.plan import release as acts
from fabfile.plan.fleet import Facts, Group, Template
from fabfile.show.screen import PlainScreen, describe

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TEMPLATE = Template("lt-1", "7")
GROUP = Group("shop-prod", 1, 4, 2, TEMPLATE, "7", frozenset(), {"a": "subnet-a"})
FACTS = Facts(NOW, GROUP, {}, (), {}, "ami-1")


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (acts.BakeImage("2.0.0"), "find or bake the AMI of 2.0.0"),
        (acts.PinTemplate(TEMPLATE), "pin shop-prod to template version 7, the one it uses"),
        (acts.WriteTemplateVersion(TEMPLATE, "ami-2", "t"), "write a template version: 7 with ami-2"),
        (
            acts.LaunchInstances(1, "a", "subnet-a", TEMPLATE, "ami-2", "r1", "t"),
            "start 1 instance of template version 7 in a",
        ),
        (acts.Migrate("2.0.0"), "migrate the database for 2.0.0"),
        (
            acts.PrepareGroup(6, frozenset({"AZRebalance"})),
            "make room in shop-prod: maximum 4 to 6, pause AZRebalance",
        ),
        (acts.Protect(("i-1", "i-2"), protected=True), "shield 2 instances from scale-in"),
        (acts.Protect(("i-1",), protected=False), "stop shielding 1 instance from scale-in"),
        (acts.Attach(("i-1",)), "attach 1 instance: i-1"),
        (acts.PointGroup(TEMPLATE), "point autoscaling at template version 7"),
        (acts.EnterStandby(("i-1",), "r1"), "drain 1 instance into Standby: i-1"),
        (acts.ExitStandby(("i-1",)), "bring 1 instance back from Standby: i-1"),
        (
            acts.Retire(tuple(f"i-{n}" for n in range(1, 7))),
            "retire 6 instances: i-1 i-2 i-3 i-4 and 2 more",
        ),
        (acts.Terminate(("i-1",)), "terminate 1 instance: i-1"),
        (acts.RestoreGroup(4, frozenset({"AZRebalance"})), "put shop-prod back: maximum 4, resume AZRebalance"),
        (acts.Resize(3), "set shop-prod's desired capacity to what is there: 2 to 3"),
        (acts.Untag(("i-1",)), "forget that 1 instance in service were in Standby: i-1"),
    ],
)
def test_says_each_act_in_one_line(act: acts.Act, line: str) -> None:
    assert describe(act, FACTS) == line


def test_has_words_for_every_act_there_is() -> None:
    for act in acts.Act.__subclasses__():
        assert describe.dispatch(act) is not describe.dispatch(object)


def test_says_what_it_waits_for_once_for_each_state_of_it() -> None:
    lines: list[str] = []
    screen = PlainScreen(lambda: NOW, lines.append)
    half = acts.Wait("1 of 2 healthy", NOW, NOW + timedelta(seconds=60), "healthy")
    screen.waiting(half, FACTS)
    screen.waiting(half, FACTS)
    screen.waiting(acts.Wait("2 of 2 healthy", NOW, None, "healthy"), FACTS)
    assert [line.partition("  ")[2].partition(" (")[0] for line in lines] == [
        "waiting: 1 of 2 healthy",
        "waiting: 2 of 2 healthy",
    ]


def test_says_why_it_turns_back() -> None:
    lines: list[str] = []
    PlainScreen(lambda: NOW, lines.append).turning_back("i-1 is unhealthy in shop-prod", FACTS, ("i-1",))
    assert lines[0].endswith("putting back: i-1 is unhealthy in shop-prod")


def test_a_terminal_without_a_letter_gets_it_spelled_out() -> None:
    written: list[str] = []

    def write(text: str) -> None:
        text.encode("ascii")
        written.append(text)

    PlainScreen(lambda: NOW, write).say("é is missing")
    assert written[0].endswith("\\xe9 is missing")
