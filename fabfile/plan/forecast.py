"""What a release will do: the same decision, folded over what the world will answer if all goes well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import singledispatch

from . import release as acts
from .decide import decide
from .fleet import Balancer, Facts, Health, Image, Instance, Lifecycle, Power, Registration
from .ledger import intend, note
from .release import Act, Done, Goal, Record, Refuse, Staged, Stuck, Undo, Undone, Wait

# Roughly what EC2 takes, for the estimate alone; nothing waits by these.
BOOT_S = 60
HEALTHY_S = 30
BAKE_S = 300
CALL_S = 1
# Far beyond any release: a decision that never ends would be a mistake of ours.
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Step:
    """One step to come: an act with the calls that it makes, or a wait."""

    what: Act | Wait
    facts: Facts
    calls: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a release would do, and what it would cost."""

    steps: tuple[Step, ...]
    peak: int
    seconds: float
    ending: Staged | Done | Undo | Undone | Stuck | Refuse

    def calls(self) -> dict[str, int]:
        """Count the calls that change something, by name."""
        counted: dict[str, int] = {}
        for step in self.steps:
            for call in step.calls:
                counted[call] = counted.get(call, 0) + 1
        return counted


def foresee(goal: Goal, record: Record, facts: Facts, drain_s: float) -> Forecast:
    """Fold :func:`decide` over predicted facts.

    :param drain_s: seconds that old instances will take to finish their requests.
    """
    steps: list[Step] = []
    peak = _count_alive(facts)
    spent = 0.0
    for _ in range(MOST_STEPS):
        decision = decide(goal, record, facts)
        if not isinstance(decision, (Act, Wait)):
            return Forecast(tuple(steps), peak, spent, decision)
        again = isinstance(decision, Wait) and record.mark(decision.mark) is not None
        seconds = 0 if again else _seconds(decision, facts, drain_s)
        steps.append(Step(decision, facts, calls_of(decision), seconds))
        spent += seconds
        if isinstance(decision, Act):
            record = _written(decision, record, facts)
            facts = replace(predict(decision, facts), before=None)
        else:
            record = note(decision, record, facts)
            facts = _waited(facts, goal.confirmations, timedelta(seconds=seconds or CALL_S))
        peak = max(peak, _count_alive(facts))
    raise RuntimeError(f"a release of {record.version} would never end")


_CALLS: dict[type, tuple[str, ...]] = {
    acts.WriteTemplateVersion: ("ec2:CreateLaunchTemplateVersion",),
    acts.LaunchInstances: ("ec2:RunInstances",),
    acts.Protect: ("autoscaling:SetInstanceProtection",),
    acts.Attach: ("autoscaling:AttachInstances",),
    acts.PointGroup: ("autoscaling:UpdateAutoScalingGroup",),
    acts.PinTemplate: ("autoscaling:UpdateAutoScalingGroup",),
    acts.EnterStandby: ("ec2:CreateTags", "autoscaling:EnterStandby"),
    acts.ExitStandby: ("autoscaling:ExitStandby",),
    acts.Terminate: ("ec2:TerminateInstances",),
    acts.Resize: ("autoscaling:UpdateAutoScalingGroup",),
    acts.Untag: ("ec2:DeleteTags",),
    acts.Detach: ("ec2:CreateTags", "autoscaling:DetachInstances"),
}


def calls_of(decision: Act | Wait) -> tuple[str, ...]:
    """Name the API calls that an act makes."""
    if isinstance(decision, acts.LaunchInstances) and decision.mix is not None:
        return ("ec2:CreateFleet",)
    if isinstance(decision, acts.Retire | acts.Drop):
        return ("autoscaling:TerminateInstanceInAutoScalingGroup",) * len(decision.ids)
    if isinstance(decision, acts.PrepareGroup):
        return ("autoscaling:UpdateAutoScalingGroup", *(["autoscaling:SuspendProcesses"] if decision.pause else []))
    if isinstance(decision, acts.RestoreGroup):
        return tuple(_restoring(decision))
    return _CALLS.get(type(decision), ())


def _restoring(act: acts.RestoreGroup) -> Iterator[str]:
    if act.max is not None:
        yield "autoscaling:UpdateAutoScalingGroup"
    if act.resume:
        yield "autoscaling:ResumeProcesses"


def _seconds(decision: Act | Wait, facts: Facts, drain_s: float) -> float:
    if isinstance(decision, acts.BakeImage):
        return BAKE_S
    if isinstance(decision, Act):
        return CALL_S
    if decision.wake is not None:
        return (decision.wake - facts.at).total_seconds()
    return {"warm": BOOT_S, "healthy": HEALTHY_S, "steady": HEALTHY_S, "drain": drain_s, "look": 0}.get(
        decision.name, HEALTHY_S
    )


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
    return intend(act, record, facts)


@singledispatch
def predict(act: Act, facts: Facts) -> Facts:
    """Return the facts after an act that works, before anything else has moved."""
    return facts


@predict.register
def _(act: acts.BakeImage, facts: Facts) -> Facts:
    image = Image(f"(AMI of {act.version})", act.version)
    return replace(facts, images={**facts.images, image.id: image})


@predict.register
def _(act: acts.PinTemplate, facts: Facts) -> Facts:
    return replace(facts, group=replace(facts.group, pinned=act.template.version, template=act.template))


@predict.register
def _(act: acts.PointGroup, facts: Facts) -> Facts:
    return replace(facts, group=replace(facts.group, pinned=act.template.version, template=act.template))


@predict.register
def _(act: acts.LaunchInstances, facts: Facts) -> Facts:
    born = {
        f"({act.zone} {number})": Instance(
            id=f"({act.zone} {number})",
            image_id=act.image_id,
            zone=act.zone,
            address="",
            power=Power.PENDING,
            checks_pass=False,
            lifecycle=Lifecycle.OUTSIDE,
            release=act.release,
        )
        for number in range(1, act.count + 1)
    }
    return replace(facts, instances={**facts.instances, **born})


@predict.register
def _(act: acts.PrepareGroup, facts: Facts) -> Facts:
    group = replace(facts.group, max=act.max, suspended=facts.group.suspended | act.pause)
    return replace(facts, group=group)


@predict.register
def _(act: acts.Protect, facts: Facts) -> Facts:
    return _each(facts, act.ids, protected=act.protected)


@predict.register
def _(act: acts.Attach, facts: Facts) -> Facts:
    group = replace(facts.group, desired=facts.group.desired + len(act.ids))
    return _registered(
        replace(_each(facts, act.ids, lifecycle=Lifecycle.PENDING), group=group), act.ids, Health.INITIAL
    )


@predict.register
def _(act: acts.ExitStandby, facts: Facts) -> Facts:
    group = replace(facts.group, desired=facts.group.desired + len(act.ids))
    return _registered(
        replace(_each(facts, act.ids, lifecycle=Lifecycle.PENDING), group=group), act.ids, Health.INITIAL
    )


@predict.register
def _(act: acts.EnterStandby, facts: Facts) -> Facts:
    group = replace(facts.group, desired=facts.group.desired - len(act.ids))
    moved = _each(facts, act.ids, lifecycle=Lifecycle.ENTERING_STANDBY, standby=act.release)
    return _registered(replace(moved, group=group), act.ids, Health.DRAINING)


@predict.register
def _(act: acts.Detach, facts: Facts) -> Facts:
    return _each(facts, act.ids, lifecycle=Lifecycle.OUTSIDE, leaving=act.release)


@predict.register
def _(act: acts.Drop, facts: Facts) -> Facts:
    group = replace(facts.group, desired=facts.group.desired - (len(act.ids) if act.shrink else 0))
    left = {key: i for key, i in facts.instances.items() if key not in act.ids}
    return replace(facts, instances=left, group=group)


@predict.register
def _(act: acts.Retire, facts: Facts) -> Facts:
    return replace(facts, instances={key: i for key, i in facts.instances.items() if key not in act.ids})


@predict.register
def _(act: acts.Terminate, facts: Facts) -> Facts:
    return replace(facts, instances={key: i for key, i in facts.instances.items() if key not in act.ids})


@predict.register
def _(act: acts.RestoreGroup, facts: Facts) -> Facts:
    group = facts.group
    maximum = group.max if act.max is None else act.max
    return replace(facts, group=replace(group, max=maximum, suspended=group.suspended - act.resume))


@predict.register
def _(act: acts.Resize, facts: Facts) -> Facts:
    return replace(facts, group=replace(facts.group, desired=act.desired))


@predict.register
def _(act: acts.Untag, facts: Facts) -> Facts:
    return _each(facts, act.ids, standby=None)


def _each(facts: Facts, ids: tuple[str, ...], **changes: object) -> Facts:
    changed = {key: replace(facts.instances[key], **changes) for key in ids if key in facts.instances}  # type: ignore[arg-type]
    return replace(facts, instances={**facts.instances, **changed})


def _registered(facts: Facts, ids: tuple[str, ...], health: Health) -> Facts:
    return replace(
        facts,
        balancers=tuple(
            Balancer(b.name, b.kind, {**b.registrations, **dict.fromkeys(ids, Registration(health))})
            for b in facts.balancers
        ),
    )


def _waited(facts: Facts, reads: int, passed: timedelta) -> Facts:
    """Return the facts after a wait in which all went well, seen as often as confirmation asks for."""
    settled = {key: _settle(i) for key, i in facts.instances.items() if i.alive}
    later = replace(
        facts,
        at=facts.at + passed,
        instances=settled,
        balancers=tuple(_settle_balancer(b, settled) for b in facts.balancers),
        before=None,
    )
    for _ in range(reads - 1):
        later = replace(later, before=later)
    return later


def _settle(instance: Instance) -> Instance:
    if instance.lifecycle is Lifecycle.OUTSIDE:
        return replace(instance, power=Power.RUNNING, checks_pass=True, answers=True)
    if instance.lifecycle is Lifecycle.PENDING:
        return replace(instance, lifecycle=Lifecycle.IN_SERVICE, power=Power.RUNNING, checks_pass=True)
    if instance.lifecycle is Lifecycle.ENTERING_STANDBY:
        return replace(instance, lifecycle=Lifecycle.STANDBY)
    return instance


def _settle_balancer(balancer: Balancer, instances: dict[str, Instance]) -> Balancer:
    serving = (key for key, instance in instances.items() if instance.lifecycle is Lifecycle.IN_SERVICE)
    registrations = dict.fromkeys(serving, Registration(Health.HEALTHY))
    return Balancer(balancer.name, balancer.kind, registrations)
