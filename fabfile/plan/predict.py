"""What the world will be after an act that works, and after a wait in which all went well: AWS on a good day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import singledispatch
from itertools import count

from . import release as acts
from .fleet import Balancer, Facts, Health, Image, Instance, Lifecycle, Power, Registration
from .release import Act, Wait

# What EC2 has not named yet is called after its zone. Nothing that AWS names begins so.
UNNAMED = "("


def is_known(instance_id: str) -> bool:
    """Whether an id is AWS's own, and not our word for an instance that is still to be started."""
    return not instance_id.startswith(UNNAMED)


def unnamed(act: acts.LaunchInstances, facts: Facts) -> tuple[str, ...]:
    """Name the instances that a launch will bring, each by another name than all that were there."""
    taken = facts.instances.keys()
    free = (name for number in count(1) if (name := f"{UNNAMED}{act.zone} {number})") not in taken)
    return tuple(next(free) for _ in range(act.count))


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
        instance_id: Instance(
            id=instance_id,
            image_id=act.image_id,
            zone=act.zone,
            address="",
            power=Power.PENDING,
            checks_pass=False,
            lifecycle=Lifecycle.OUTSIDE,
            release=act.release,
            spot=number < act.spot,
        )
        for number, instance_id in enumerate(unnamed(act, facts))
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
    return _entering(facts, act.ids)


@predict.register
def _(act: acts.ExitStandby, facts: Facts) -> Facts:
    return _entering(facts, act.ids)


@predict.register
def _(act: acts.EnterStandby, facts: Facts) -> Facts:
    group = replace(facts.group, desired=facts.group.desired - len(act.ids))
    moved = _each(facts, act.ids, lifecycle=Lifecycle.ENTERING_STANDBY, standby=act.release)
    return _registered(replace(moved, group=group), act.ids, Health.DRAINING)


@predict.register
def _(act: acts.Detach, facts: Facts) -> Facts:
    # The group lists it for a while as Detaching.
    return _each(facts, act.ids, lifecycle=Lifecycle.LEAVING, leaving=act.release)


@predict.register
def _(act: acts.Retire, facts: Facts) -> Facts:
    return _each(facts, act.ids, lifecycle=Lifecycle.LEAVING)


@predict.register
def _(act: acts.Drop, facts: Facts) -> Facts:
    lost = len(act.ids) if act.shrink else 0
    group = replace(facts.group, desired=facts.group.desired - lost)
    return replace(_each(facts, act.ids, lifecycle=Lifecycle.LEAVING), group=group)


@predict.register
def _(act: acts.Terminate, facts: Facts) -> Facts:
    return _each(facts, act.ids, power=Power.SHUTTING_DOWN)


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


def _entering(facts: Facts, ids: tuple[str, ...]) -> Facts:
    group = replace(facts.group, desired=facts.group.desired + len(ids))
    return _registered(replace(_each(facts, ids, lifecycle=Lifecycle.PENDING), group=group), ids, Health.INITIAL)


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


def waited(wait: Wait, facts: Facts, passed_s: float) -> Facts:
    """Return the facts after a wait in which all went well. Another look sees the same once more."""
    later = replace(facts, at=facts.at + timedelta(seconds=passed_s))
    if wait.name == "look":
        return later
    settled = {key: _settle(i) for key, i in facts.instances.items() if i.alive or _is_detaching(i)}
    return replace(
        later,
        instances=settled,
        balancers=tuple(_settle_balancer(b, settled) for b in facts.balancers),
        unseen=(),
        shut={},
    )


def _is_detaching(instance: Instance) -> bool:
    return instance.lifecycle is Lifecycle.LEAVING and instance.leaving is not None


def _settle(instance: Instance) -> Instance:
    if _is_detaching(instance):
        return replace(instance, lifecycle=Lifecycle.OUTSIDE)
    if instance.lifecycle is Lifecycle.OUTSIDE:
        return replace(instance, power=Power.RUNNING, checks_pass=True, answers=True)
    if instance.lifecycle is Lifecycle.PENDING:
        return replace(instance, lifecycle=Lifecycle.IN_SERVICE, power=Power.RUNNING, checks_pass=True)
    if instance.lifecycle is Lifecycle.ENTERING_STANDBY:
        return replace(instance, lifecycle=Lifecycle.STANDBY, answers=True)
    return instance


def _settle_balancer(balancer: Balancer, instances: dict[str, Instance]) -> Balancer:
    serving = (key for key, instance in instances.items() if instance.lifecycle is Lifecycle.IN_SERVICE)
    registrations = dict.fromkeys(serving, Registration(Health.HEALTHY))
    return Balancer(balancer.name, balancer.kind, registrations)
