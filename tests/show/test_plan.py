"""The plan of a release, as a person reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fabfile.plan import release as acts
from fabfile.plan.fleet import Facts, Group, Template
from fabfile.plan.forecast import Assumption, Ending, Forecast, Step, Subject
from fabfile.plan.release import Act, Done, Kind, Staged, Undo, Undone, Wait
from fabfile.show.plan import render

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TEMPLATE = Template("lt-1", "7")
FACTS = Facts(NOW, Group("shop-prod", 1, 4, 2, TEMPLATE, "7", frozenset(), {}), {}, (), {}, "ami-1")
SUBJECT = Subject(Kind.RELEASE, "prod", "shop-prod", "2.0.0", "1.0.0")


def step(what: Act | Wait, *calls: str, seconds: float = 1) -> Step:
    return Step(what, FACTS, calls, seconds, reads=3)


def wait(name: str, come: int = 0, wake: datetime | None = None) -> Wait:
    return Wait("1 of 2", NOW, NOW + timedelta(seconds=9), f"{name}#{come}", wake=wake)


def forecast(*steps: Step, ending: Ending | None = None, peak: int = 4, **more: object) -> Forecast:
    seconds = sum(each.seconds for each in steps)
    return Forecast(tuple(steps), peak, seconds, ending or Done("2.0.0 serves"), now=2, **more)  # type: ignore[arg-type]


def lines_of(drawn: Forecast) -> list[str]:
    return render(drawn, ZoneInfo("Europe/Berlin")).splitlines()


def numbered(drawn: Forecast) -> list[str]:
    return [line.strip() for line in lines_of(drawn) if line[:3].strip().isdigit() or line.strip().startswith("…")]


def launch(zone: str, count: int) -> Step:
    act = acts.LaunchInstances(count, zone, "subnet", TEMPLATE, "ami-2", "r1", "t")
    return step(act, "ec2:RunInstances")


def test_numbers_the_acts_and_says_each_wait_once() -> None:
    drawn = forecast(
        step(Wait("another look", NOW, None, "look")),
        step(acts.Attach(("i-1",)), "autoscaling:AttachInstances"),
        step(wait("healthy"), seconds=30),
        step(acts.Protect(("i-1",), protected=True), "autoscaling:SetInstanceProtection"),
        step(wait("healthy"), seconds=5),
        step(acts.Retire(("i-2",)), "autoscaling:TerminateInstanceInAutoScalingGroup"),
    )
    assert numbered(drawn) == [
        "1. attach 1 instance: i-1",
        "2. wait until every one of them is healthy in every load balancer (about 35 s)",
        "3. shield 1 instance from scale-in",
        "4. retire 1 instance: i-2",
    ]


def test_takes_the_calls_of_one_thing_together() -> None:
    first, second = tuple(f"i-{n:02}" for n in range(19)), tuple(f"i-{n}" for n in range(19, 30))
    drawn = forecast(
        launch("a", 2),
        launch("b", 1),
        step(acts.Attach(first), "autoscaling:AttachInstances"),
        step(acts.Attach(second), "autoscaling:AttachInstances"),
    )
    assert numbered(drawn) == [
        "1. start 3 instances of ami-2: 2 in a, 1 in b (2 calls)",
        "2. attach 30 instances: i-00 i-01 i-02 i-03 and 26 more (2 calls)",
    ]


def test_shields_and_stops_shielding_are_two_things() -> None:
    drawn = forecast(step(acts.Protect(("i-1",), protected=True)), step(acts.Protect(("i-2",), protected=False)))
    assert len(numbered(drawn)) == 2


def test_does_not_name_instances_that_are_still_to_be_started() -> None:
    assert numbered(forecast(step(acts.Attach(("(a 1)", "(a 2)"))))) == ["1. attach 2 instances"]


def test_tells_a_batch_once_and_how_often_it_comes_again() -> None:
    batches = [
        each
        for come in range(5)
        for each in (
            launch("a", 3),
            step(wait("warm", come), seconds=60),
            step(acts.Attach((f"i-{come}",)), "autoscaling:AttachInstances"),
        )
    ]
    drawn = forecast(step(acts.WriteTemplateVersion(TEMPLATE, "ami-2", "t")), *batches, step(wait("drain"), seconds=9))
    assert numbered(drawn) == [
        "1. write a template version: 7 with ami-2",
        "2. start 3 instances of ami-2 in a",
        "3. wait until every new instance runs, passes its checks and answers (about 1 min)",
        "4. attach 1 instance: i-0",
        "… 2 to 4 again, 4 times",
        "5. wait until the old ones have finished their requests (about 9 s)",
    ]


def test_says_how_long_it_watches_and_until_when_it_holds() -> None:
    drawn = forecast(
        step(wait("canary"), seconds=300),
        step(wait("at", wake=NOW + timedelta(hours=1)), seconds=3300),
        step(wait("soak"), seconds=5400),
    )
    assert numbered(drawn) == [
        "1. watch the canary serve beside the whole old fleet for 5 min",
        "2. hold the warm fleet until 2026-11-24 11:00:00 CET",
        "3. watch the new fleet serve for 1 h 30 min, with the old one still warm",
    ]


def test_has_words_for_a_wait_that_it_does_not_know() -> None:
    assert numbered(forecast(step(wait("something new")))) == ["1. wait for 1 of 2 (about 1 s)"]


def test_sums_up_what_it_costs_and_what_the_estimate_rests_on() -> None:
    drawn = forecast(
        launch("a", 2),
        step(wait("warm"), seconds=89),
        assumptions=(Assumption("an instance answers", 60),),
    )
    assert lines_of(drawn)[-6:] == [
        "at the peak  4 instances, 2 more than now",
        "calls        1 that change something, and about 6 that only read",
        "             ec2: 1 RunInstances",
        "about        1 min 30 s",
        "             if an instance answers within 1 min",
        "in the end   2.0.0 serves",
    ]


def test_says_what_it_is_about_and_warns_before_anything_else() -> None:
    drawn = forecast(launch("a", 2), subject=SUBJECT, warnings=("frozen until Monday",))
    assert lines_of(drawn)[:3] == [
        "release 2.0.0 to shop-prod (prod), which runs 1.0.0",
        "  mind: frozen until Monday",
        "It would, touching nothing now:",
    ]


def test_says_how_it_would_end() -> None:
    for ending, said in (
        (Done("2.0.0 serves"), "2.0.0 serves"),
        (Staged("2.0.0 is warm"), "2.0.0 is warm"),
        (Undone("put back by ann"), "everything is as it was before"),
        (Undo("only 0 of 3 were ready at 09:00:00"), "it would fail: only 0 of 3 were ready at 09:00:00"),
    ):
        assert lines_of(forecast(launch("a", 2), ending=ending))[-1] == f"in the end   {said}"


def test_says_when_there_is_nothing_to_do() -> None:
    done = Done("2.0.0 already serves", changed=False)
    assert render(Forecast((), 2, 0, done)) == "2.0.0 already serves: nothing to do"
