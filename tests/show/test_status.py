"""An env at a glance: every instance, every load balancer, the release in progress."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

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
from fabfile.plan.release import Before, Kind, Record
from fabfile.plan.serving import what_serves
from fabfile.show.status import render

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TEMPLATE = Template("lt-1", "7")


def instance(instance_id: str, image_id: str, lifecycle: Lifecycle, power: Power = Power.RUNNING) -> Instance:
    return Instance(instance_id, image_id, "us-east-1a", "10.0.0.1", power, checks_pass=True, lifecycle=lifecycle)


def fleet(*instances: Instance, sick: str = "", suspended: frozenset[str] = frozenset()) -> Facts:
    health = {
        i.id: Registration(Health.UNHEALTHY, "Target.Timeout") if i.id == sick else Registration(Health.HEALTHY)
        for i in instances
        if i.lifecycle is Lifecycle.IN_SERVICE
    }
    return Facts(
        at=NOW,
        group=Group("shop-prod", 1, 4, 2, TEMPLATE, "7", suspended, {}),
        instances={i.id: i for i in instances},
        balancers=(Balancer("shop-prod", "target group", health), Balancer("shop-classic", "classic", health)),
        images={"ami-1": Image("ami-1", "1.0.0"), "ami-2": Image("ami-2", "2.0.0")},
        template_image="ami-1",
    )


def test_counts_only_what_is_healthy_everywhere() -> None:
    facts = fleet(
        instance("i-1", "ami-1", Lifecycle.IN_SERVICE), instance("i-2", "ami-2", Lifecycle.IN_SERVICE), sick="i-2"
    )
    assert what_serves(facts) == "shop-prod serves 1.0.0 on 1"


def test_says_so_when_nothing_serves() -> None:
    assert what_serves(fleet()) == "nothing serves in shop-prod"


def test_shows_each_instance_with_its_version_and_the_reason_of_each_load_balancer() -> None:
    facts = fleet(
        instance("i-1", "ami-1", Lifecycle.IN_SERVICE), instance("i-2", "ami-2", Lifecycle.IN_SERVICE), sick="i-2"
    )
    text = render(facts, None, None, ("http://one",))
    assert "address  http://one" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["i-1", "1.0.0", "us-east-1a", "InService", "healthy", "healthy"] in rows
    assert ["i-2", "2.0.0", "us-east-1a", "InService", *["unhealthy", "Target.Timeout"] * 2] in rows


def test_shows_a_zonal_shift_of_an_instance_that_is_healthy_all_the_same() -> None:
    """The page: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/zonal-shift.html."""
    facts = fleet(instance("i-1", "ami-1", Lifecycle.IN_SERVICE))
    shifted = {"i-1": Registration(Health.HEALTHY, override="zonal_shift_active")}
    text = render(replace(facts, balancers=(Balancer("shop-prod", "target group", shifted),)), None, None, ())
    assert ["i-1", "1.0.0", "us-east-1a", "InService", "healthy", "zonal_shift_active"] in [
        line.split() for line in text.splitlines()
    ]


def test_leaves_out_what_is_gone() -> None:
    gone = instance("i-9", "ami-1", Lifecycle.OUTSIDE, Power.TERMINATED)
    assert "i-9" not in render(fleet(gone), None, None, ())


def test_shows_paused_processes() -> None:
    assert "paused   AZRebalance" in render(fleet(suspended=frozenset({"AZRebalance"})), None, None, ())


def test_shows_the_release_in_progress_and_that_nobody_is_at_it() -> None:
    before = Before(1, 4, 2, frozenset(), TEMPLATE, "ami-1", ())
    record = Record("r1", "prod", Kind.RELEASE, "2.0.0", "1.0.0", "ann", NOW, before, 2, undo="sick")
    text = render(fleet(), record, None, ())
    assert "release of 2.0.0 by ann since 2026-11-24 09:00:00Z, being undone: sick; nobody is at it" in text
