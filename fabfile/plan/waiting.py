"""Waiting and giving up, as every part of the road does it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from .fleet import Facts, Health, Instance, Power, Registration
from .release import Goal, Record, Stuck, Undo, Wait
from .sides import Side, is_committed

# Beyond the delay that a load balancer has, until it counts as stuck.
DRAIN_GRACE_S = 60


def wait_for(what: str, name: str, within_s: float, record: Record, facts: Facts, pending: Iterable[Instance]) -> Wait:
    """Wait for instances, with new patience whenever the release has come further, or turned back.

    :param name: what kind of wait it is; on the way back it is another one, "undo" before its name.
    :param within_s: seconds from its beginning until it counts as failed.
    """
    come = len(record.attached) + len(record.recalled) + len(record.rested)
    mark = f"{name}#{come}" if record.undo is None else f"undo {name}#{come}"
    since: datetime = record.mark(mark) or facts.at
    return Wait(what, since, since + timedelta(seconds=within_s), mark, tuple(i.id for i in pending))


def drained_within_s(goal: Goal, facts: Facts) -> float:
    """Return the patience with instances that finish requests: never less than their load balancers have.

    A target is `draining` for its whole delay, even when it has nothing to do any more
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html).
    """
    return max(goal.drain_within_s, facts.drain_s + DRAIN_GRACE_S)


def is_over(wait: Wait, facts: Facts) -> bool:
    """Whether a wait has lasted as long as it may."""
    return wait.until is not None and facts.at >= wait.until


def give_up(side: Side, record: Record, reason: str, blamed: Iterable[Instance], cause: str = "") -> Undo | Stuck:
    """Turn back; on the way back, or past the point of no return, there is no other way than to ask a person."""
    ids = tuple(i.id for i in blamed)
    return Undo(reason, ids, cause) if side.forward and not is_committed(record) else Stuck(reason, ids)


def why_unhealthy(instance: Instance, facts: Facts) -> str:
    """Say in one phrase which load balancer does not have an instance healthy, and its reason; or that it is gone."""
    if instance.power not in (Power.PENDING, Power.RUNNING):
        return f"{instance.id} is {instance.power.value}"
    for balancer in facts.balancers:
        registration = balancer.registrations.get(instance.id)
        health = balancer.health_of(instance.id)
        if health is not Health.HEALTHY:
            return f"{instance.id} is {health.value} in {balancer.name}{_detail(registration)}"
    return f"{instance.id} is {instance.lifecycle.value} in {facts.group.name}"


def _detail(registration: Registration | None) -> str:
    if registration is None:
        return ""
    reason = f"{registration.reason}: {registration.description}" if registration.reason else ""
    said = "; ".join(filter(None, [reason, registration.override]))
    return f" ({said})" if said else ""
