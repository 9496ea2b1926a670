"""The words that the release loop is written in: what is wanted, what was written down, what can be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from .fleet import ANYWHERE, Mix, Place, Template

# Causes that blame the version itself.
HEALTH = "health"
ALARM = "alarm"
# AttachInstances, EnterStandby and their like take 20 ids in the API's prose and 19 in its length constraint
# (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html): the smaller one is safe.
IDS_A_CALL = 19
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceProtection.html
PROTECTED_A_CALL = 50
# More would be allowed: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
TERMINATED_A_CALL = 100


class Kind(Enum):
    """Which command started it."""

    RELEASE = "release"
    ROLLBACK = "rollback"


class Ending(Enum):
    """How a release ended, as history keeps it."""

    DONE = "done"
    RESTORED = "restored"
    NOT_RESTORED = "not restored"
    STAGED = "staged"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Wish:
    """How an operator wants this one release to go; None leaves it to the settings. All times in seconds.

    :param batch: replace so many instances at a time.
    :param canary: serve with so many new instances first, for `canary_s`.
    :param at: when the cutover starts; until then the new fleet is warmed.
    :param stage: warm the new fleet, and stop there.
    :param override: why a freeze window is overridden.
    """

    batch: int | None = None
    canary: int | None = None
    canary_s: float | None = None
    soak_s: float | None = None
    at: datetime | None = None
    stage: bool = False
    override: str | None = None


@dataclass(frozen=True)
class Goal:
    """What the operator asked for, and how patient to be. All times in seconds."""

    version: str
    confirmations: int
    warm_within_s: float
    healthy_within_s: float
    drain_within_s: float
    soak_s: float
    keep_previous: bool
    migrates: bool
    batch: int | None = None
    canary: int = 0
    canary_s: float = 0.0
    at: datetime | None = None
    stage: bool = False


@dataclass(frozen=True)
class Before:
    """The group as it was before we touched it: what AWS cannot tell us any more once we did."""

    min: int
    max: int
    desired: int
    suspended: frozenset[str]
    template: Template
    image_id: str
    protected: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """The running release, written down before each act, so that any machine can go on with it."""

    id: str
    env: str
    kind: Kind
    version: str
    from_version: str | None
    who: str
    started_at: datetime
    before: Before
    wanted: int
    image_id: str | None = None
    template_version: str | None = None
    migrated: bool = False
    raised_max: int | None = None
    own_max: int | None = None
    paused: frozenset[str] = frozenset()
    prepared: bool = False
    marks: tuple[tuple[str, datetime], ...] = ()
    undo: str | None = None
    failures: int = 0
    trouble: str = ""
    launched: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    recalled: tuple[str, ...] = ()
    rested: tuple[str, ...] = ()
    trimmed: int = 0
    resizing: tuple[int, int] | None = None
    raised: tuple[int, ...] = ()
    watched: tuple[str, ...] = ()
    wish: Wish = Wish()
    staged: bool = False
    deaf: tuple[str, ...] = ()
    barren: tuple[str, ...] = ()
    short: int = 0
    evidence: tuple[str, ...] = ()
    owed: tuple[str, ...] | None = None
    cause: str = ""

    def mark(self, name: str) -> datetime | None:
        """Return when something first happened."""
        return dict(self.marks).get(name)


class Act:
    """One thing to do to the world. Doing it twice does no more than doing it once."""


@dataclass(frozen=True)
class BakeImage(Act):
    """Find or bake the AMI that carries the version."""

    version: str


@dataclass(frozen=True)
class PinTemplate(Act):
    """Pin the group to the template version that it uses now, so that a new version changes nothing by itself."""

    template: Template
    mixed: bool = False


@dataclass(frozen=True)
class WriteTemplateVersion(Act):
    """Write a new launch template version: the current one, only the image changed."""

    source: Template
    image_id: str
    token: str


@dataclass(frozen=True)
class LaunchInstances(Act):
    """Start instances outside the group, in one zone, by a token that starts them once however often it is asked."""

    count: int
    zone: str
    subnet: str
    template: Template
    image_id: str
    release: str
    token: str
    tags: tuple[tuple[str, str], ...] = ()
    mix: Mix | None = None
    spot: int = 0
    place: Place = ANYWHERE


@dataclass(frozen=True)
class Migrate(Act):
    """Run the version's expand-migrations, under Goose's lock."""

    version: str


@dataclass(frozen=True)
class PrepareGroup(Act):
    """Make room under the group's maximum and pause what would work against us."""

    max: int
    pause: frozenset[str]


@dataclass(frozen=True)
class Protect(Act):
    """Keep scale-in away from instances that the release needs, or let it have them again."""

    ids: tuple[str, ...]
    protected: bool


@dataclass(frozen=True)
class Attach(Act):
    """Hand instances to the group, which registers them with its load balancers."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class PointGroup(Act):
    """Tell autoscaling which template version to launch from now on."""

    template: Template
    mixed: bool = False


@dataclass(frozen=True)
class EnterStandby(Act):
    """Take instances out of the load balancers, drained and alive."""

    ids: tuple[str, ...]
    release: str


@dataclass(frozen=True)
class ExitStandby(Act):
    """Bring instances back from Standby."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Detach(Act):
    """Take instances in Standby out of the group, marked as ours to terminate."""

    ids: tuple[str, ...]
    release: str


@dataclass(frozen=True)
class Retire(Act):
    """Have the group terminate instances in Standby, one call for each, so that its hooks for leaving ones run."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Drop(Act):
    """Have the group terminate instances that never came into service, and not replace them if it may shrink."""

    ids: tuple[str, ...]
    shrink: bool


@dataclass(frozen=True)
class Terminate(Act):
    """Terminate instances that no group owns."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class RestoreGroup(Act):
    """Put back what the release changed in the group; None leaves the maximum to whoever changed it meanwhile."""

    max: int | None
    resume: frozenset[str]


@dataclass(frozen=True)
class Resize(Act):
    """Set the group's desired capacity to what is there, where it has come to say something else."""

    desired: int


@dataclass(frozen=True)
class Untag(Act):
    """Forget that instances in service once were in Standby by our doing: the next time it may be somebody else's."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Wait:
    """Nothing to do but look again: what for, since when, and until when before it counts as failed.

    `mark` names the wait and how far the release had come when it began: progress gives new patience.
    `wake` is the moment at which it is over by itself.
    """

    what: str
    since: datetime
    until: datetime | None
    mark: str
    pending: tuple[str, ...] = ()
    wake: datetime | None = None

    @property
    def name(self) -> str:
        """What kind of wait it is, however far the release has come."""
        return self.mark.partition("#")[0]


@dataclass(frozen=True)
class Staged:
    """The new fleet is warm and waits for a release of its version."""

    summary: str


@dataclass(frozen=True)
class Done:
    """The goal is reached."""

    summary: str
    changed: bool = True


@dataclass(frozen=True)
class Undo:
    """The goal cannot be reached: turn round and put everything back.

    :param blamed: the instances that show it.
    :param cause: what history keeps of it, such as :data:`HEALTH`; "" where the version is not to blame.
    """

    reason: str
    blamed: tuple[str, ...] = ()
    cause: str = ""


@dataclass(frozen=True)
class Undone:
    """Everything is as it was before."""

    reason: str


@dataclass(frozen=True)
class Stuck:
    """Neither forward nor back without a risk to what serves: a person decides."""

    reason: str
    blamed: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Refuse:
    """Refused before anything was touched."""

    reason: str


Decision = Act | Wait | Staged | Done | Undo | Undone | Stuck | Refuse
