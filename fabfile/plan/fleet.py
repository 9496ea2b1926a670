"""What AWS says about a fleet right now: facts, by identity, and nothing that we merely believe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice

RELEASE_TAG = "headway:release"
STANDBY_TAG = "headway:standby"
LEAVING_TAG = "headway:leaving"
CAPACITY_TAG = "headway:capacity"
VERSION_TAG = "headway:version"
PROJECT_TAG = "headway:project"


class Power(Enum):
    """EC2's instance states (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html)."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


class Lifecycle(Enum):
    """Where an instance is in its group's life, hooks and warm pools folded in.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
    """

    OUTSIDE = "outside"
    PENDING = "Pending"
    IN_SERVICE = "InService"
    ENTERING_STANDBY = "EnteringStandby"
    STANDBY = "Standby"
    LEAVING = "Terminating"


# Whom the desired capacity counts, and who is out of service for a while
# (https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html).
COUNTED = (Lifecycle.IN_SERVICE, Lifecycle.PENDING)
RESTING = (Lifecycle.ENTERING_STANDBY, Lifecycle.STANDBY)


class Health(Enum):
    """What one load balancer thinks of one instance."""

    ABSENT = "absent"
    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"


@dataclass(frozen=True)
class Instance:
    """One machine. `answers` is the application's own word: None while it was not asked."""

    id: str
    image_id: str
    zone: str
    address: str
    power: Power
    checks_pass: bool
    lifecycle: Lifecycle
    group_healthy: bool = True
    protected: bool = False
    release: str | None = None
    standby: str | None = None
    answers: bool | None = None
    answer: str = ""
    spot: bool = False
    leaving: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it exists and is not on its way out."""
        return self.power in (Power.PENDING, Power.RUNNING) and self.lifecycle is not Lifecycle.LEAVING

    @property
    def is_warm(self) -> bool:
        """Whether it could serve at once: it runs, passes its checks and answers."""
        return self.power is Power.RUNNING and self.checks_pass and self.answers is True

    @property
    def in_group(self) -> bool:
        """Whether the group counts it, or keeps it in Standby."""
        return self.lifecycle is not Lifecycle.OUTSIDE


@dataclass(frozen=True)
class Registration:
    """Health of an instance in a load balancer, with the load balancer's own reason.

    :param override: the state of the zonal shift that it is under whatever its health is, empty for none
        (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AdministrativeOverride.html).
    """

    health: Health
    reason: str = ""
    description: str = ""
    override: str = ""


@dataclass(frozen=True)
class Balancer:
    """A target group or a classic load balancer that the group registers its instances with."""

    name: str
    kind: str
    registrations: Mapping[str, Registration]

    def health_of(self, instance_id: str) -> Health:
        """Return what this load balancer says of an instance; ABSENT where it does not know it."""
        registration = self.registrations.get(instance_id)
        return registration.health if registration else Health.ABSENT


@dataclass(frozen=True)
class Template:
    """A launch template and the version that is meant, always a number."""

    id: str
    version: str


@dataclass(frozen=True)
class Place:
    """What a group asks for wherever it launches, beside subnet and zone; empty fields ask for nothing.

    :param placement_group: its name.
    :param reservations: EC2's Capacity Reservation preference.
    :param reservation: the id of the one reservation to launch into, or the ARN of the one group of them.
    """

    placement_group: str = ""
    reservations: str = ""
    reservation: str = ""


ANYWHERE = Place()


@dataclass(frozen=True)
class Mix:
    """A group's mixed-instances policy: which types, and how many of them on demand.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-mixed-instances-groups.html

    :param on_demand_base: instances that are on demand before any is spot.
    :param on_demand_percent: of every hundred above the base, so many are on demand.
    :param types: the policy's overrides, in JSON as the API has them.
    """

    on_demand_base: int
    on_demand_percent: int
    on_demand_strategy: str
    spot_strategy: str
    spot_max_price: str | None
    types: str

    def spot_of(self, total: int) -> int:
        """Return how many of a fleet are spot; a share that does not come out even is on demand's."""
        above = max(total - self.on_demand_base, 0)
        return above * (100 - self.on_demand_percent) // 100


class Gate(Enum):
    """A point where a release that is one of several waits for the others."""

    CUTOVER = "cutover"
    COMMIT = "commit"

    @property
    def mark(self) -> str:
        """How a wait at this gate is named."""
        return f"gate {self.value}"


@dataclass(frozen=True)
class Alarm:
    """A CloudWatch alarm, by its state and its own words for it."""

    sounds: bool
    reason: str = ""


@dataclass(frozen=True)
class Group:
    """An Auto Scaling group's own settings."""

    name: str
    min: int
    max: int
    desired: int
    template: Template
    pinned: str
    suspended: frozenset[str]
    subnets: Mapping[str, str]
    capacity: int | None = None
    protects_new: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    unsupported: str | None = None
    mix: Mix | None = None
    launch_hooks: tuple[str, ...] = ()
    end_hooks: tuple[str, ...] = ()
    place: Place = ANYWHERE


@dataclass(frozen=True)
class Image:
    """An AMI of ours and the version that it carries."""

    id: str
    version: str


@dataclass(frozen=True)
class Facts:
    """One look at the world. `before` is the look before this one, so that a fact can be asked to hold.

    :param alarms: by name, those that the settings name.
    :param unseen: ids that the group lists and EC2 does not know: one of them answered with yesterday's world.
    :param retained: instances that the group has let go of and keeps for somebody to look at: no part of this fleet.
    :param shut: gates that are not open yet, each with what it waits for.
    :param drain_s: how long load balancers let a leaving instance finish its requests, at the longest.
    :param slow_start_s: how long they send a new one less than its share, at the longest.
    """

    at: datetime
    group: Group
    instances: Mapping[str, Instance]
    balancers: tuple[Balancer, ...]
    images: Mapping[str, Image]
    template_image: str
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    retained: tuple[str, ...] = ()
    shut: Mapping[Gate, str] = field(default_factory=dict)
    drain_s: float = 0
    slow_start_s: float = 0
    before: Facts | None = field(default=None, repr=False)

    def looks(self) -> Iterator[Facts]:
        """Yield this look and the ones before it, newest first."""
        look: Facts | None = self
        while look is not None:
            yield look
            look = look.before

    def version_of(self, image_id: str) -> str | None:
        """Return the version that an image carries, or None for an image that is not ours."""
        image = self.images.get(image_id)
        return image.version if image else None

    def healthy_everywhere(self, instance_id: str) -> bool:
        """Whether every load balancer has this instance healthy and the group has it in service."""
        instance = self.instances.get(instance_id)
        return (
            instance is not None
            and instance.alive
            and instance.lifecycle is Lifecycle.IN_SERVICE
            and all(balancer.health_of(instance_id) is Health.HEALTHY for balancer in self.balancers)
        )

    def unhealthy_somewhere(self, instance_id: str) -> bool:
        """Whether a load balancer says that this instance is unhealthy; it says less of one that drains."""
        return any(balancer.health_of(instance_id) is Health.UNHEALTHY for balancer in self.balancers)

    def out_everywhere(self, instance_id: str) -> bool:
        """Whether no load balancer sends, or still finishes, requests on this instance."""
        return all(balancer.health_of(instance_id) in (Health.ABSENT, Health.UNUSED) for balancer in self.balancers)


def holds(facts: Facts, reads: int, what: Callable[[Facts], bool]) -> bool:
    """Whether something was true in each of the newest `reads` looks: one lucky or stale read decides nothing."""
    looks = list(islice(facts.looks(), reads))
    return len(looks) == reads and all(what(look) for look in looks)
