"""Small fleets to decide about: old and new instances, what AWS says of them, and what was written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

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
from fabfile.plan.release import Before, Goal, Kind, Record

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
OLD = Template("lt-1", "7")
NEW = Template("lt-1", "8")


def goal(**changes: object) -> Goal:
    patient = Goal("2.0.0", 2, 600, 300, 600, 0, keep_previous=False, migrates=False)
    return replace(patient, **changes)  # type: ignore[arg-type]


def old(number: int, **changes: object) -> Instance:
    instance = Instance(
        id=f"i-old{number}",
        image_id="ami-1",
        zone="ab"[number % 2],
        address=f"10.0.0.{number}",
        power=Power.RUNNING,
        checks_pass=True,
        lifecycle=Lifecycle.IN_SERVICE,
    )
    return replace(instance, **changes)  # type: ignore[arg-type]


def new(number: int, **changes: object) -> Instance:
    fresh = replace(
        old(number), id=f"i-new{number}", image_id="ami-2", release="r1", lifecycle=Lifecycle.OUTSIDE, answers=True
    )
    return replace(fresh, **changes)  # type: ignore[arg-type]


def facts(*instances: Instance, sick: tuple[str, ...] = (), looks: int = 2, **group: object) -> Facts:
    """Build facts in which whatever is in service is healthy, unless it is named sick; seen `looks` times."""
    serving = [i for i in instances if i.lifecycle is Lifecycle.IN_SERVICE]
    settings = Group(
        name="shop-prod",
        min=1,
        max=10,
        desired=len(serving),
        template=OLD,
        pinned="7",
        suspended=frozenset(),
        subnets={"a": "subnet-a", "b": "subnet-b"},
    )
    health = {
        i.id: Registration(
            Health.UNHEALTHY if i.id in sick else Health.HEALTHY, "Target.Timeout" if i.id in sick else ""
        )
        for i in serving
    }
    look = Facts(
        at=NOW,
        group=replace(settings, **group),  # type: ignore[arg-type]
        instances={i.id: i for i in instances},
        balancers=(Balancer("shop-prod", "target group", health),),
        images={"ami-1": Image("ami-1", "1.0.0"), "ami-2": Image("ami-2", "2.0.0")},
        template_image="ami-1",
    )
    for _ in range(looks - 1):
        look = replace(look, before=look)
    return look


def record(**changes: object) -> Record:
    before = Before(1, 10, 2, frozenset(), OLD, "ami-1", ())
    running = Record(
        "r1", "prod", Kind.RELEASE, "2.0.0", "1.0.0", "ann", NOW, before, 2, image_id="ami-2", template_version="8"
    )
    return replace(running, **changes)  # type: ignore[arg-type]


def cutover(**changes: object) -> Record:
    """Make a record in which two new instances are in the group already."""
    return replace(record(prepared=True, raised_max=12, attached=("i-new1", "i-new2")), **changes)  # type: ignore[arg-type]


def marked(name: str, ago_s: float) -> tuple[tuple[str, datetime], ...]:
    return ((name, NOW - timedelta(seconds=ago_s)),)


def attached(number: int, **changes: object) -> Instance:
    """Make a new instance that serves in the group."""
    serving = new(number, lifecycle=Lifecycle.IN_SERVICE, protected=True)
    return replace(serving, **changes)  # type: ignore[arg-type]


def shielded(number: int, **changes: object) -> Instance:
    """Make an old instance that serves, and that scale-in may not take."""
    return replace(old(number, protected=True), **changes)  # type: ignore[arg-type]


def since(earlier: Facts, later: Facts) -> Facts:
    """Make `later` the look that follows `earlier`."""
    return replace(later, before=replace(earlier, before=None))


def resting(number: int, **changes: object) -> Instance:
    """Make an old instance that our release put into Standby."""
    standing = replace(old(number), lifecycle=Lifecycle.STANDBY, standby="r1", protected=True)
    return replace(standing, **changes)  # type: ignore[arg-type]


def throughout(look: Facts, **changes: object) -> Facts:
    """Change something in a look and in all the looks before it."""
    before = throughout(look.before, **changes) if look.before else None
    return replace(look, before=before, **changes)  # type: ignore[arg-type]


def one_zone() -> dict[str, str]:
    return {"a": "subnet-a"}
