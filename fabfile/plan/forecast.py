"""What a release will do: the same decision, folded over what the world will answer if all goes well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from math import ceil

from . import release as acts
from .decide import decide
from .fleet import Facts, Lifecycle
from .ledger import intend, note
from .moment import say_duration
from .predict import predict, unnamed, waited
from .release import Act, Done, Goal, Kind, Record, Refuse, Staged, Stuck, Undo, Undone, Wait
from .wording import counted

# Far beyond any release: a decision that never ends would be a mistake of ours.
MOST_STEPS = 200_000
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
_INSTANCES_A_PAGE = 1000
_CHECKS_A_CALL = 100

Ending = Staged | Done | Undo | Undone | Stuck | Refuse


@dataclass(frozen=True)
class Pace:
    """How long things are taken to last, for the estimate alone: nothing waits by these. All in seconds.

    What settings put an end to is taken to end well before it: see :func:`_paced`.
    """

    boot_s: float = 60
    healthy_s: float = 30
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    drain_s: float = 300
    end_s: float = 60
    bake_s: float = 300
    migrate_s: float = 30
    call_s: float = 1
    poll_s: float = 5
    # Far from a moment that is waited for, looks are rarer.
    far_s: float = 600
    far_poll_s: float = 60


@dataclass(frozen=True)
class Assumption:
    """Something that an estimate rests on, in an operator's words, and the seconds that it is taken to last."""

    what: str
    seconds: float


@dataclass(frozen=True)
class Step:
    """One step to come: an act with the calls that it makes, or a wait; and the group as it will be by then."""

    what: Act | Wait
    facts: Facts
    calls: tuple[str, ...]
    seconds: float
    reads: int = 0


@dataclass(frozen=True)
class Subject:
    """What a forecast is about."""

    kind: Kind
    env: str
    group: str
    version: str
    from_version: str | None
    abort: bool = False


@dataclass(frozen=True)
class Forecast:
    """What a release would do, and what it would cost.

    :param peak: how many instances there are when there are most of them.
    :param now: how many there are now.
    :param warnings: what an operator should know beforehand.
    :param after: the world when it has ended.
    """

    steps: tuple[Step, ...]
    peak: int
    seconds: float
    ending: Ending
    now: int = 0
    assumptions: tuple[Assumption, ...] = ()
    warnings: tuple[str, ...] = ()
    subject: Subject | None = None
    after: Facts | None = None

    def calls(self) -> dict[str, int]:
        """Count the calls that change something, by name; those to S3 for lock and record are not among them."""
        return dict(Counter(call for step in self.steps for call in step.calls))

    def reads(self) -> int:
        """Estimate the calls that only read."""
        return sum(step.reads for step in self.steps)


def foresee(goal: Goal, record: Record, facts: Facts, pace: Pace) -> Forecast:
    """Fold :func:`decide` over predicted facts.

    :param pace: how long things are taken to last.
    """
    steps: list[Step] = []
    pace = _paced(pace, goal)
    start, now = facts.at, _count_alive(facts)
    launched_at, is_early = start, bool(record.launched)
    peak, warnings = now, tuple(_warnings(record, facts))
    for _ in range(MOST_STEPS):
        decision = decide(goal, record, facts)
        if not isinstance(decision, (Act, Wait)):
            return Forecast(
                steps=tuple(steps),
                peak=peak,
                seconds=(facts.at - start).total_seconds(),
                ending=decision,
                now=now,
                assumptions=tuple(_assumptions(steps, pace)),
                warnings=warnings,
                after=facts,
            )
        seconds = _seconds(decision, record, facts, pace)
        if isinstance(decision, Wait) and _kind(decision) == "warm":  # they have been booting since they were started
            seconds = max(seconds - (facts.at - launched_at).total_seconds(), min(seconds, pace.poll_s))
        if is_early and record.undo is None and getattr(decision, "wake", None) is None:
            seconds = _in_time(goal, facts, seconds)
        reads = _looks(decision, seconds, pace) * reads_a_look(facts, record)
        steps.append(Step(decision, _scene(facts), calls_of(decision), seconds, reads))
        if isinstance(decision, Act):
            record = _written(decision, record, facts)
            facts = replace(predict(decision, facts), at=facts.at + timedelta(seconds=seconds), before=facts)
            launched_at = facts.at if isinstance(decision, acts.LaunchInstances) else launched_at
        else:
            is_early = is_early or _kind(decision) == "early"
            record = note(decision, record, facts)
            facts = _seen_again(waited(decision, facts, seconds), facts, goal.confirmations, decision)
        facts = _forgetful(facts, goal.confirmations)
        peak = max(peak, _count_alive(facts))
    raise RuntimeError(f"a release of {record.version} would never end")


def _paced(pace: Pace, goal: Goal) -> Pace:
    """Fit a pace to what settings say of this fleet: it boots, and for a minute it migrates too, in half its patience.

    A fleet whose settings give it 45 s does not take a minute, or there would be no release of it at all.
    """
    half_s = goal.warm_within_s / 2
    migrate_s = pace.migrate_s if goal.at is None else min(pace.migrate_s, half_s)
    return replace(pace, boot_s=min(pace.boot_s, half_s), migrate_s=migrate_s)


def _in_time(goal: Goal, facts: Facts, seconds: float) -> float:
    """Shorten what comes between a start as early as settings ask for and its minute: what they ask for is enough."""
    left_s = 0.0 if goal.at is None else (goal.at - facts.at).total_seconds()
    return seconds if left_s <= 0 or seconds < left_s / 2 else left_s / 2


def _seen_again(later: Facts, before: Facts, reads: int, wait: Wait) -> Facts:
    """Give looks their past: a wait ends when it has been seen as often as confirmation asks for."""
    if wait.name == "look":
        return replace(later, before=before)
    look = replace(later, before=None)
    for _ in range(reads - 1):
        look = replace(look, before=look)
    return look


def _forgetful(facts: Facts, reads: int) -> Facts:
    """Cut the past of a look to what confirmations ask for."""
    chain: Facts | None = None
    for look in reversed(list(islice(facts.looks(), reads + 1))):
        chain = replace(look, before=chain)
    return chain or facts


def _scene(facts: Facts) -> Facts:
    """Keep of a look what a step is described by; a fleet of thousands would be kept thousands of times."""
    return replace(facts, instances={}, balancers=(), before=None)


_CALLS: dict[type, tuple[str, ...]] = {
    acts.WriteTemplateVersion: ("ec2:CreateLaunchTemplateVersion",),
    acts.Protect: ("autoscaling:SetInstanceProtection",),
    acts.Attach: ("autoscaling:AttachInstances",),
    acts.PointGroup: ("autoscaling:UpdateAutoScalingGroup",),
    acts.PinTemplate: ("autoscaling:UpdateAutoScalingGroup",),
    acts.EnterStandby: ("ec2:CreateTags", "autoscaling:EnterStandby"),
    acts.ExitStandby: ("autoscaling:ExitStandby",),
    acts.Detach: ("ec2:CreateTags", "autoscaling:DetachInstances"),
    acts.Terminate: ("ec2:TerminateInstances",),
    acts.Resize: ("autoscaling:UpdateAutoScalingGroup",),
    acts.Untag: ("ec2:DeleteTags",),
}


def calls_of(decision: Act | Wait) -> tuple[str, ...]:
    """Name the API calls that an act makes."""
    if isinstance(decision, acts.LaunchInstances):
        return ("ec2:RunInstances" if decision.mix is None else "ec2:CreateFleet",)
    if isinstance(decision, acts.Retire | acts.Drop):
        return ("autoscaling:TerminateInstanceInAutoScalingGroup",) * len(decision.ids)
    if isinstance(decision, acts.PrepareGroup):
        return (*(["autoscaling:SuspendProcesses"] if decision.pause else []), "autoscaling:UpdateAutoScalingGroup")
    if isinstance(decision, acts.RestoreGroup):
        return tuple(_restoring(decision))
    return _CALLS.get(type(decision), ())


def _restoring(act: acts.RestoreGroup) -> Iterator[str]:
    if act.max is not None:
        yield "autoscaling:UpdateAutoScalingGroup"
    if act.resume:
        yield "autoscaling:ResumeProcesses"


def reads_a_look(facts: Facts, record: Record | None) -> int:
    """Count the calls that one look at a fleet takes: the group, its instances by tag, each load balancer, alarms."""
    members = sum(i.in_group for i in facts.instances.values())
    pages = max(ceil(members / _INSTANCES_A_PAGE), 1)
    if record is not None:
        ours = sum(i.release == record.id for i in facts.instances.values())
        pages += max(ceil(ours / _INSTANCES_A_PAGE), 1)
    cold = sum(i.lifecycle is Lifecycle.OUTSIDE and not i.checks_pass for i in facts.instances.values())
    return 1 + pages + ceil(cold / _CHECKS_A_CALL) + len(facts.balancers) + bool(facts.alarms)


def _looks(decision: Act | Wait, seconds: float, pace: Pace) -> int:
    if isinstance(decision, Act):
        return 1
    far_s = max(seconds - pace.far_s, 0) if decision.wake is not None else 0
    return max(ceil(far_s / pace.far_poll_s) + ceil((seconds - far_s) / pace.poll_s), 1)


def _seconds(decision: Act | Wait, record: Record, facts: Facts, pace: Pace) -> float:
    if isinstance(decision, acts.BakeImage):
        return pace.bake_s
    if isinstance(decision, acts.Migrate):
        return pace.migrate_s
    if isinstance(decision, Act):
        return pace.call_s * max(len(calls_of(decision)), 1)
    if decision.wake is not None:
        return max((decision.wake - facts.at).total_seconds(), 0)
    if record.mark(decision.mark) is not None:  # what it waited for has happened, and is looked at once more
        return pace.poll_s
    lasting = {"warm": pace.boot_s, "healthy": pace.healthy_s, "steady": pace.healthy_s, "drain": pace.drain_s}
    return {**lasting, "retire": pace.end_s}.get(_kind(decision), pace.poll_s)


def _kind(wait: Wait) -> str:
    """Name what a wait is for; on the way back it is the same."""
    return wait.name.removeprefix("undo ")


def _assumptions(steps: Iterable[Step], pace: Pace) -> Iterator[Assumption]:
    """Yield what the estimate of these steps rests on."""
    seen = {_kind(s.what) if isinstance(s.what, Wait) else type(s.what).__name__ for s in steps}
    if "BakeImage" in seen:
        yield Assumption("an AMI is baked", pace.bake_s)
    if "Migrate" in seen:
        yield Assumption("the database is migrated", pace.migrate_s)
    if "warm" in seen:
        yield Assumption("an instance starts, passes its checks and answers", pace.boot_s)
    if seen & {"healthy", "steady"}:
        yield Assumption("it turns healthy in every load balancer", pace.healthy_s)
    if "drain" in seen:
        yield Assumption("load balancers let go of an old one", pace.drain_s)
    if "retire" in seen:
        yield Assumption("an old one shuts down", pace.end_s)
    if any(step.calls for step in steps):
        yield Assumption("each call is answered", pace.call_s)


def _warnings(record: Record, facts: Facts) -> Iterator[str]:
    """Yield what an operator should know before a release of this group."""
    group = facts.group
    if group.pinned in ("$Latest", "$Default", ""):
        follows = group.pinned or "$Default"
        yield f"{group.name} follows {follows} of its launch template; it will be pinned to a version by its number"
    for name, alarm in sorted(facts.alarms.items()):
        if alarm.sounds:
            reason = alarm.reason or "no reason given"
            yield f"alarm {name} sounds already, so it cannot turn this release back: {reason}"
    serving = [i for i in facts.instances.values() if i.lifecycle is Lifecycle.IN_SERVICE and i.alive]
    sick = sorted(i.id for i in serving if not facts.healthy_everywhere(i.id))
    if sick:
        yield f"{counted(len(sick), 'instance')} of {len(serving)} not healthy in every load balancer now: {_few(sick)}"
    versions = sorted({facts.version_of(i.image_id) or "?" for i in serving})
    if len(versions) > 1:
        yield f"{group.name} serves more than one version now: {', '.join(versions)}"
    resting = (i for i in facts.instances.values() if i.lifecycle is Lifecycle.STANDBY and i.standby is None)
    if foreign := sorted(i.id for i in resting if i.alive):
        yield f"{counted(len(foreign), 'instance')} in Standby by somebody else's doing, left as it is: {_few(foreign)}"
    if facts.retained:
        what = f"{counted(len(facts.retained), 'instance')} retained by {group.name} (Terminating:Retained)"
        yield f"{what}, left as it is until somebody ends it: {_few(list(facts.retained))}"
    if group.launch_hooks:
        yield f"new instances do not run the group's hooks for launching ones: {', '.join(group.launch_hooks)}"
    if record.wish.override is not None:
        yield f"freeze windows are overridden: {record.wish.override}"


def _few(ids: list[str]) -> str:
    return " ".join(ids[:4]) if len(ids) <= 4 else f"{' '.join(ids[:4])} and {len(ids) - 4} more"


def say_assumption(assumption: Assumption) -> str:
    """Say an assumption in one line."""
    return f"{assumption.what} within {say_duration(assumption.seconds)}"


def _count_alive(facts: Facts) -> int:
    return sum(1 for i in facts.instances.values() if i.alive)


def _written(act: Act, record: Record, facts: Facts) -> Record:
    match act:
        case acts.BakeImage():
            return replace(record, image_id=f"(AMI of {act.version})")
        case acts.WriteTemplateVersion():
            return replace(record, template_version="(new)")
        case acts.Migrate():
            return replace(record, migrated=True)
        case acts.LaunchInstances():
            return replace(record, launched=(*record.launched, *unnamed(act, facts)))
    return intend(act, record, facts)
