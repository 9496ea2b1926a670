"""A cloud small enough to be in every state that it can be in: an immutable value with rules.

The rules are those of the corrected local cloud (fabfile/localcloud), whose modules name the pages of AWS that they
follow; here without time. Whatever takes a while there is one or two steps here, and a step may come at any moment or
never within a deadline. Chunks, grace periods and back-off are left out: two or three instances never meet them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from fabfile.plan.fleet import (
    Alarm,
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

OLD, NEW = "old", "new"
VERSIONS = {OLD: "1.0.0", NEW: "2.0.0"}
IMAGE_OF_TEMPLATE = {"1": OLD, "2": NEW}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REBALANCE = "AZRebalance"

PENDING, RUNNING, SHUTTING_DOWN, TERMINATED = "pending", "running", "shutting-down", "terminated"
OUTSIDE, JOINING, IN_SERVICE, ENTERING, STANDBY, DETACHING, LEAVING = (
    "outside",
    "Pending",
    "InService",
    "EnteringStandby",
    "Standby",
    "Detaching",
    "Terminating",
)
ABSENT, INITIAL, HEALTHY, UNHEALTHY, DRAINING = "absent", "initial", "healthy", "unhealthy", "draining"
COUNTED = (JOINING, IN_SERVICE)


class Box(NamedTuple):
    """One machine. Words instead of enums: a string knows its hash, and a state is hashed a million times.

    :param foreign: somebody else put it where it is, and nobody but them may move it.
    """

    num: int
    image: str
    zone: str = "a"
    power: str = RUNNING
    life: str = IN_SERVICE
    health: str = HEALTHY
    protected: bool = False
    release: str | None = None
    standby: str | None = None
    leaving: str | None = None
    foreign: bool = False

    @property
    def id(self) -> str:
        """Its id, as AWS and the record have it."""
        return f"i-{self.num:02d}"


class Cloud(NamedTuple):
    """All that AWS knows. `tokens` are the launches that were asked for: a repeat is answered with the first one."""

    boxes: tuple[Box, ...]
    min: int
    max: int
    desired: int
    template: str = "1"
    paused: bool = False
    tokens: tuple[tuple[str, int, tuple[int, ...]], ...] = ()
    sick: bool = False
    alarm: bool = False

    def box(self, instance_id: str) -> Box | None:
        """Return a machine by its id."""
        num = int(instance_id[2:])
        for box in self.boxes:
            if box.num == num:
                return box
        return None

    def serving(self) -> int:
        """Count the machines that requests reach and that can answer them."""
        return sum(
            box.health == HEALTHY and box.power == RUNNING and not (self.sick and box.image == NEW)
            for box in self.boxes
        )

    def seen_serving(self) -> int:
        """Count the machines that serve as far as anybody can see."""
        return sum(box.health == HEALTHY and box.power == RUNNING for box in self.boxes)

    def with_box(self, box: Box) -> Cloud:
        """Return this cloud with one machine changed."""
        return self._replace(boxes=tuple(box if each.num == box.num else each for each in self.boxes))


class Nature(NamedTuple):
    """What does not change in a world.

    :param new_works: the new version turns healthy.
    :param balanced: the load balancer finds it healthy as well.
    :param alarms: an alarm is watched.
    :param elb_checks: the group replaces what its load balancer finds unhealthy (health check type ELB).
    :param forgetful: EC2 does not list what is terminated.
    """

    zones: tuple[str, ...] = ("a",)
    new_works: bool = True
    balanced: bool = True
    alarms: bool = False
    elb_checks: bool = False
    forgetful: bool = False


def works(box: Box, cloud: Cloud, nature: Nature) -> bool:
    """Whether the application on a running machine answers its health check."""
    return box.image == OLD or (nature.new_works and not cloud.sick)


# One step of time.


def tick(cloud: Cloud, nature: Nature, taken: frozenset[int]) -> Cloud:
    """Let everything go one step further; the same object when nothing is to come.

    :param taken: numbers of machines that a record still speaks of, which a new machine cannot have.
    """
    moved = tuple(step_box(box, cloud, nature) for box in cloud.boxes)
    if any(box is not before for box, before in zip(moved, cloud.boxes, strict=True)):
        cloud = cloud._replace(boxes=_listed(moved, nature))
    return step_group(cloud, nature, taken)


def uneven_ticks(cloud: Cloud, nature: Nature, taken: frozenset[int]) -> Iterator[tuple[str, Cloud]]:
    """Yield the steps in which only the first machine gets further, or only the group does something."""
    moved = tuple(step_box(box, cloud, nature) for box in cloud.boxes)
    changed = [n for n, box in enumerate(moved) if box is not cloud.boxes[n]]
    if not changed:
        return
    if len(changed) > 1:
        first = changed[0]
        boxes = (*cloud.boxes[:first], moved[first], *cloud.boxes[first + 1 :])
        yield f"time, for {cloud.boxes[first].id} alone", cloud._replace(boxes=_listed(boxes, nature))
    group = step_group(cloud, nature, taken)
    if group is not cloud:
        yield "time, for the group alone", group


def _listed(boxes: tuple[Box | None, ...], nature: Nature) -> tuple[Box, ...]:
    return tuple(
        box for box in boxes if box and not (nature.forgetful and box.power == TERMINATED and box.life == OUTSIDE)
    )


_ARRIVES = {ENTERING: STANDBY, DETACHING: OUTSIDE}


def step_box(box: Box, cloud: Cloud, nature: Nature) -> Box | None:
    """Let a machine and its place in the group go one step further; the same object when nothing is to come."""
    if box.power == SHUTTING_DOWN:
        return box._replace(power=TERMINATED, health=ABSENT)
    if box.power == TERMINATED:
        return _step_of_dead(box)
    if box.power == PENDING:
        return box._replace(power=RUNNING)
    if box.life == IN_SERVICE:
        return _step_of_serving(box, cloud, nature)
    if box.life == JOINING:
        return box._replace(life=IN_SERVICE, health=INITIAL)
    if box.life == LEAVING:
        return box._replace(power=SHUTTING_DOWN)
    if box.life in _ARRIVES:
        return box._replace(life=_ARRIVES[box.life])
    return box._replace(health=ABSENT) if box.health == DRAINING else box


def _step_of_dead(box: Box) -> Box | None:
    if box.life in COUNTED:
        return box._replace(life=LEAVING, health=ABSENT)
    if box.life == ENTERING:
        return box._replace(life=STANDBY, health=ABSENT)
    if box.life in (LEAVING, DETACHING):
        # EC2 lists it for another hour; a look sees it there by a release's tag.
        listed = box.release or box.leaving
        return box._replace(life=OUTSIDE, health=ABSENT, protected=False) if listed else None
    return box._replace(health=ABSENT) if box.health != ABSENT else box


def _step_of_serving(box: Box, cloud: Cloud, nature: Nature) -> Box:
    if works(box, cloud, nature) and (box.image == OLD or nature.balanced):
        return box if box.health == HEALTHY else box._replace(health=HEALTHY)
    if box.health != UNHEALTHY:
        return box._replace(health=UNHEALTHY)
    alone = not any(each.life == LEAVING for each in cloud.boxes)
    first = next(each.num for each in cloud.boxes if each.life == IN_SERVICE and each.health == UNHEALTHY)
    if nature.elb_checks and alone and first == box.num:
        return leave(box)
    return box


def leave(box: Box) -> Box:
    """Begin to terminate a member: out of the load balancers first."""
    return box._replace(life=LEAVING, health=ABSENT if box.health == ABSENT else DRAINING)


def step_group(cloud: Cloud, nature: Nature, taken: frozenset[int]) -> Cloud:
    """Let the group meet its desired capacity: launch what is missing, or terminate what is too many."""
    counted = [box for box in cloud.boxes if box.life in COUNTED]
    missing = cloud.desired - len(counted)
    if missing > 0:
        image = IMAGE_OF_TEMPLATE[cloud.template]
        filled = Counter(box.zone for box in counted)
        for num in free_numbers(cloud, taken, missing):
            zone = min(nature.zones, key=lambda each: (filled[each], each))
            filled[zone] += 1
            box = Box(num, image, zone, power=PENDING, life=JOINING, health=ABSENT)
            cloud = cloud._replace(boxes=in_order((*cloud.boxes, box)))
        return cloud
    # The default policy: whatever has the oldest template version, and there the oldest machine.
    victims = sorted((box for box in counted if not box.protected), key=lambda box: (box.image == NEW, box.num))
    for victim in victims[: max(-missing, 0)]:
        cloud = cloud.with_box(leave(victim))
    return cloud


def free_numbers(cloud: Cloud, taken: frozenset[int], count: int) -> list[int]:
    """Return numbers for new machines. One that nobody speaks of is as good as one that never was."""
    used = {box.num for box in cloud.boxes}.union(taken, *(nums for _, _, nums in cloud.tokens))
    free: list[int] = []
    num = 1
    while len(free) < count:
        if num not in used:
            free.append(num)
        num += 1
    return free


def in_order(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
    """Sort machines, so that equal clouds are equal."""
    return tuple(sorted(boxes, key=lambda box: box.num))


# What a look at it shows.

_IMAGES = {f"ami-{image}": Image(f"ami-{image}", version) for image, version in VERSIONS.items()}
_LIVES = {each: Lifecycle(each) for each in (OUTSIDE, JOINING, IN_SERVICE, ENTERING, STANDBY)}
_LIVES |= {DETACHING: Lifecycle.LEAVING, LEAVING: Lifecycle.LEAVING}
_POWERS = {each: Power(each) for each in (PENDING, RUNNING, SHUTTING_DOWN, TERMINATED)}
_REGISTRATIONS = {each: Registration(Health(each)) for each in (INITIAL, HEALTHY, UNHEALTHY, DRAINING)}
_TEMPLATES = {each: Template("lt-1", each) for each in IMAGE_OF_TEMPLATE}
_instances: dict[tuple[Box, bool], Instance] = {}
_groups: dict[tuple[object, ...], Group] = {}


def facts_of(cloud: Cloud, nature: Nature) -> Facts:
    """Return what a look shows: every member, and every machine of ours outside."""
    instances: dict[str, Instance] = {}
    registrations: dict[str, Registration] = {}
    for box in cloud.boxes:
        answers = works(box, cloud, nature)
        instance = _instances.get((box, answers))
        if instance is None:
            instance = _instances[box, answers] = _instance(box, answers)
        instances[instance.id] = instance
        if box.health != ABSENT:
            registrations[instance.id] = _REGISTRATIONS[box.health]
    key = (cloud.min, cloud.max, cloud.desired, cloud.template, cloud.paused, nature.zones)
    group = _groups.get(key)
    if group is None:
        group = _groups[key] = _group(cloud, nature)
    return Facts(
        at=NOW,
        group=group,
        instances=instances,
        balancers=(Balancer("web", "target group", registrations),),
        images=_IMAGES,
        template_image=f"ami-{IMAGE_OF_TEMPLATE[cloud.template]}",
        alarms={"errors": Alarm(cloud.alarm)} if nature.alarms else {},
    )


def _instance(box: Box, answers: bool) -> Instance:
    asked = box.power == RUNNING and box.life in (OUTSIDE, STANDBY)
    return Instance(
        id=box.id,
        image_id=f"ami-{box.image}",
        zone=box.zone,
        address=f"10.0.0.{box.num}",
        power=_POWERS[box.power],
        checks_pass=box.power == RUNNING,
        lifecycle=_LIVES[box.life],
        protected=box.protected,
        release=box.release,
        standby=box.standby,
        leaving=box.leaving,
        answers=answers if asked else None,
    )


def _group(cloud: Cloud, nature: Nature) -> Group:
    return Group(
        name="web",
        min=cloud.min,
        max=cloud.max,
        desired=cloud.desired,
        template=_TEMPLATES[cloud.template],
        pinned=cloud.template,
        suspended=frozenset({REBALANCE} if cloud.paused else ()),
        subnets={zone: f"subnet-{zone}" for zone in nature.zones},
    )
