"""Evidence put in order: whom to look at, what to say first, what to say once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fabfile.plan.evidence import (
    Activity,
    Evidence,
    Finding,
    Standing,
    Unit,
    Verdict,
    blame,
    explain,
    finding_of,
    fold,
    tail,
    why_not_this_host,
    with_verdict,
)
from fabfile.plan.fleet import (
    Balancer,
    Facts,
    Group,
    Health,
    Image,
    Instance,
    Lifecycle,
    Power,
    Registration,
    Template,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = "GET /health on port 8080"
HEALTHY = Registration(Health.HEALTHY)
SICK = Registration(Health.UNHEALTHY, "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]")


def instance(number: int, **changes: object) -> Instance:
    one = Instance(
        id=f"i-{number}",
        image_id="ami-new",
        zone="eu-west-1a",
        address=f"10.0.0.{number}",
        power=Power.RUNNING,
        checks_pass=True,
        lifecycle=Lifecycle.IN_SERVICE,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def facts(*instances: Instance, web: dict[str, Registration] | None = None) -> Facts:
    return Facts(
        at=NOW,
        group=Group("shop", 0, 9, 3, Template("lt-1", "2"), "2", frozenset(), {}),
        instances={each.id: each for each in instances},
        balancers=(Balancer("web", "target group", web or {}),),
        images={"ami-new": Image("ami-new", "2.0.0")},
        template_image="ami-new",
    )


def unit(**changes: object) -> Unit:
    one = Unit("shop.service", "loaded", "failed", "failed", "exit-code", 3, 5)
    return replace(one, **changes)  # type: ignore[arg-type]


def test_three_are_looked_at_one_for_each_way_of_failing_first() -> None:
    world = facts(
        *(instance(n) for n in range(1, 7)),
        web={**{f"i-{n}": SICK for n in range(1, 5)}, "i-5": HEALTHY, "i-6": Registration(Health.INITIAL)},
    )
    assert blame(world, ("i-1", "i-2", "i-3", "i-4", "i-6", "i-gone")) == ("i-1", "i-6", "i-gone")
    assert blame(world, ("i-1", "i-1", "i-2")) == ("i-1", "i-2")


def test_where_nobody_is_blamed_those_are_looked_at_that_visibly_fail() -> None:
    world = facts(
        instance(1),
        instance(2),
        instance(3, answers=False, lifecycle=Lifecycle.OUTSIDE),
        instance(4, answers=False, checks_pass=False, lifecycle=Lifecycle.OUTSIDE),  # it boots
        instance(5, power=Power.SHUTTING_DOWN),
        web={"i-1": HEALTHY, "i-2": SICK, "i-5": SICK},
    )
    assert blame(world, ()) == ("i-2", "i-3")


def test_a_finding_names_the_check_and_its_answer_and_the_load_balancers_reason() -> None:
    world = facts(instance(1, checks_pass=False, group_healthy=False), web={"i-1": SICK})
    found = finding_of("i-1", world, (False, "503 no\n migration DB_PASS=hunter2"), ASKED)
    assert (found.zone, found.version, found.state) == ("eu-west-1a", "2.0.0", "running, InService in shop")
    assert found.failed == (
        "EC2 status checks: not passed",
        f"{ASKED}: 503 no migration DB_PASS=***",
        "shop holds it for unhealthy, and will replace it",
    )
    (standing,) = found.standings
    assert str(standing) == (
        "web: unhealthy (Target.ResponseCodeMismatch: Health checks failed with these codes: [503])"
    )


def test_what_answers_us_and_not_the_load_balancer_hints_at_what_lies_between() -> None:
    world = facts(instance(1), web={"i-1": Registration(Health.UNHEALTHY, "Target.Timeout", "Request timed out")})
    assert "security group" in finding_of("i-1", world, (True, "200 ok"), ASKED).hint
    assert finding_of("i-1", world, (False, "503"), ASKED).hint == ""
    assert finding_of("i-1", facts(instance(1), web={"i-1": HEALTHY}), (True, "200"), ASKED).hint == ""


def test_where_the_load_balancers_word_is_taken_no_answer_is_made_up() -> None:
    world = facts(instance(1, answers=True, answer="left to the load balancer"), web={"i-1": SICK})
    found = finding_of("i-1", world, None, "")
    assert (found.failed, found.hint) == ((), "")


def test_an_instance_that_is_gone_is_still_a_finding() -> None:
    assert finding_of("i-9", facts(), None, ASKED).state == "EC2 does not list it any more"


def test_ec2s_own_word_names_the_check_that_fails_and_why_it_ended() -> None:
    found = finding_of("i-1", facts(instance(1, checks_pass=False, power=Power.RUNNING)), None, ASKED)
    verdict = Verdict("Server.SpotInstanceTermination: Spot capacity", ("instance status check: impaired",))
    better = with_verdict(found, verdict)
    assert better.failed == ("instance status check: impaired",)
    assert better.state.endswith("; EC2: Server.SpotInstanceTermination: Spot capacity")
    assert with_verdict(found, Verdict("", ())) == found


def test_a_unit_says_how_it_ended_and_how_often_it_was_started() -> None:
    assert str(unit()) == "shop.service: failed (failed, exit-code), its process ended with 3, started again 5 times"
    assert str(unit(active="active", sub="running", result="success", exit_code=0, restarts=0)) == (
        "shop.service: active (running)"
    )
    assert str(unit(load="not-found")) == "shop.service: there is no such unit"


def test_the_cause_says_what_explains_it_best() -> None:
    sick = Finding("i-1", "", "", "", unit=unit(restarts=0))
    why = "shop.service: failed (failed, exit-code), its process ended with 3"
    assert explain("i-1 was not ready", [sick], ["x"]) == f"i-1 was not ready; {why}"
    assert explain("not healthy", [sick], ["x"]) == f"not healthy; {why} on i-1"
    assert explain("gave up", [], ["no capacity"]) == "gave up; the group: no capacity"
    assert explain("gave up\n at postgres://a:b@c/", [], []) == "gave up at postgres://a:***@c/"


def test_what_a_group_repeats_is_said_once_with_how_often() -> None:
    text = "We currently do not have sufficient t3.small capacity."
    described = f"Launching a new EC2 instance.  Status Reason: {text}"
    said = [Activity(NOW - timedelta(minutes=n), "Failed", described, text) for n in range(3)]
    other = Activity(NOW - timedelta(minutes=9), "MidLifecycleAction", "Launching a new EC2 instance: i-0a", "")
    assert fold([*said, other]) == (
        f"12:00:00Z Failed (3 times since 11:58:00Z): Launching a new EC2 instance. - {text}",
        "11:51:00Z MidLifecycleAction: Launching a new EC2 instance: i-0a",
    )
    many = [Activity(NOW, "Failed", "", f"error {letter}") for letter in "abcdefg"]
    assert fold(many)[-1] == "and 2 more"
    assert len(fold(many)) == 6


def test_two_that_say_the_same_say_it_once() -> None:
    first = Finding("i-1", "a", "2.0.0", "running", journal=("12:00:01 ip-10-0-0-1 shop[17]: no table",))
    second = replace(first, instance_id="i-2", journal=("12:00:03 ip-10-0-0-2 shop[19]: no table",))
    third = replace(first, instance_id="i-3", journal=("12:00:03 ip-10-0-0-3 shop[19]: no disk",))
    lines = Evidence("it failed", (first, second, third)).lines
    assert "  journal: says the same as that of i-1" in lines
    assert sum("no table" in line for line in lines) == 1
    assert any("no disk" in line for line in lines)


def test_lines_stand_in_the_order_of_what_helps_most() -> None:
    finding = Finding(
        "i-1",
        "eu-west-1a",
        "2.0.0",
        "running, InService in shop",
        failed=(f"{ASKED}: 503",),
        standings=(Standing("web", Health.UNHEALTHY, "Target.Timeout"), Standing("api", Health.HEALTHY)),
        unit=unit(restarts=0, exit_code=0),
        journal=("no table",),
        console=("login:",),
        unread=("console: nothing",),
    )
    assert Evidence("it failed", (finding,), 4, ("no capacity",), ("journals: no",)).lines == (
        "it failed",
        "i-1 2.0.0 in eu-west-1a: running, InService in shop",
        "  GET /health on port 8080: 503",
        "  web: unhealthy (Target.Timeout)",
        "  shop.service: failed (failed, exit-code)",
        "  journal:",
        "    no table",
        "  console:",
        "    login:",
        "  not read: console: nothing",
        "4 more instances blamed, not looked at",
        "the group's own failures:",
        "  no capacity",
        "not read: journals: no",
    )


def test_a_tail_has_the_last_lines_that_say_something() -> None:
    assert tail("a\n\n  \nb\nTOKEN=x\n", 2) == ("b", "TOKEN=***")
    assert tail(("a", "b"), 1) == ("b",)


def test_a_host_is_believed_unless_the_console_shows_other_keys() -> None:
    begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
    console = f"boot\n{begin}\r\nssh-ed25519 AAAAC3Nza\r\nC1lZDI1 root@host\r\n{end}\r\nlogin:"
    assert why_not_this_host(console, "AAAAC3NzaC1lZDI1") is None
    assert why_not_this_host(console, "AAAAother") is not None
    assert why_not_this_host("boot\nlogin:", "AAAAother") is None
    assert why_not_this_host(f"boot\n{begin}\nssh-ed25519 AAAA", "AAAAother") is None
