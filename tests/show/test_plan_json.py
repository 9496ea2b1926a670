"""The plan of a release, as a machine reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from fabfile.plan import release as acts
from fabfile.plan.fleet import Facts, Group, Template
from fabfile.plan.forecast import Assumption, Forecast, Step, Subject
from fabfile.plan.release import Act, Done, Kind, Undone, Wait
from fabfile.show.plan_json import render

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TEMPLATE = Template("lt-1", "7")
FACTS = Facts(NOW, Group("shop-prod", 1, 4, 2, TEMPLATE, "7", frozenset(), {}), {}, (), {}, "ami-1")


def step(what: Act | Wait, *calls: str, seconds: float = 1) -> Step:
    return Step(what, FACTS, calls, seconds, reads=3)


FORECAST = Forecast(
    steps=(
        step(acts.LaunchInstances(2, "a", "s", TEMPLATE, "ami-2", "r1", "t"), "ec2:RunInstances"),
        step(acts.LaunchInstances(1, "b", "s", TEMPLATE, "ami-2", "r1", "t"), "ec2:RunInstances"),
        step(Wait("0 of 3", NOW, None, "warm#0"), seconds=60),
        step(acts.EnterStandby(("i-1", "i-2"), "r1"), "ec2:CreateTags", "autoscaling:EnterStandby"),
    ),
    peak=6,
    seconds=63,
    ending=Done("2.0.0 serves"),
    now=3,
    assumptions=(Assumption("an instance answers", 60),),
    warnings=("frozen until Monday",),
    subject=Subject(Kind.RELEASE, "prod", "shop-prod", "2.0.0", "1.0.0"),
)


def test_is_one_document_of_a_form_that_is_kept() -> None:
    assert json.loads(render([FORECAST])) == {
        "format": 1,
        "env": "prod",
        "kind": "release",
        "groups": [
            {
                "group": "shop-prod",
                "from": "1.0.0",
                "to": "2.0.0",
                "steps": [
                    {
                        "number": 1,
                        "kind": "launch_instances",
                        "wait": None,
                        "text": "start 3 instances of ami-2: 2 in a, 1 in b",
                        "instances": 3,
                        "ids": [],
                        "api_calls": {"ec2:RunInstances": 2},
                        "starts_after_s": 0,
                        "seconds": 2,
                    },
                    {
                        "number": 2,
                        "kind": "wait",
                        "wait": "warm",
                        "text": "wait until every new instance runs, passes its checks and answers",
                        "instances": None,
                        "ids": [],
                        "api_calls": {},
                        "starts_after_s": 2,
                        "seconds": 60,
                    },
                    {
                        "number": 3,
                        "kind": "enter_standby",
                        "wait": None,
                        "text": "drain 2 instances into Standby: i-1 i-2",
                        "instances": 2,
                        "ids": ["i-1", "i-2"],
                        "api_calls": {"ec2:CreateTags": 1, "autoscaling:EnterStandby": 1},
                        "starts_after_s": 62,
                        "seconds": 1,
                    },
                ],
                "instances_now": 3,
                "peak_instances": 6,
                "calls": {"autoscaling:EnterStandby": 1, "ec2:CreateTags": 1, "ec2:RunInstances": 2},
                "read_calls": 12,
                "seconds": 63,
                "assumptions": [{"what": "an instance answers", "seconds": 60}],
                "ending": {"kind": "done", "text": "2.0.0 serves"},
                "warnings": ["frozen until Monday"],
            }
        ],
    }


def test_is_the_same_for_the_same_plan() -> None:
    assert render([FORECAST]) == render([FORECAST])


def test_has_all_groups_of_an_env() -> None:
    both = json.loads(render([FORECAST, FORECAST]))
    assert [each["group"] for each in both["groups"]] == ["shop-prod", "shop-prod"]


def test_tells_an_abort_from_a_release() -> None:
    subject = Subject(Kind.RELEASE, "prod", "shop-prod", "2.0.0", "1.0.0", abort=True)
    document = json.loads(render([Forecast((), 3, 0, Undone("put back by ann"), now=3, subject=subject)]))
    assert document["kind"] == "abort"
    assert document["groups"][0]["ending"]["kind"] == "restored"


def test_ids_that_aws_has_not_given_yet_are_left_out_and_counted() -> None:
    attach = step(acts.Attach(("(a 1)", "(a 2)")), "autoscaling:AttachInstances")
    (only,) = json.loads(render([Forecast((attach,), 3, 1, Done("x"))]))["groups"][0]["steps"]
    assert (only["instances"], only["ids"]) == (2, [])
