"""An env at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..plan.fleet import Facts, Instance, Lifecycle
from ..plan.release import Record
from ..plan.serving import what_serves

if TYPE_CHECKING:
    from ..engine.lock import Owner


def render(facts: Facts, record: Record | None, owner: Owner | None, urls: Sequence[str]) -> str:
    """Draw an env: its group, each instance with its health in each load balancer, the release in progress."""
    group = facts.group
    lines = [
        what_serves(facts),
        f"group    {group.name}: {group.desired} wanted (min {group.min}, max {group.max})",
        f"template version {group.template.version}: {facts.version_of(facts.template_image) or '?'} "
        + facts.template_image,
    ]
    if group.suspended:
        lines.append(f"paused   {', '.join(sorted(group.suspended))}")
    lines += [f"address  {url}" for url in urls]
    lines += _release(record, owner)
    return "\n".join([*lines, "", *_table(_rows(facts))])


def _release(record: Record | None, owner: Owner | None) -> list[str]:
    if record is None:
        return []
    state = f"being undone: {record.undo}" if record.undo else "in progress"
    holder = f"held by {owner.who} ({owner.doing})" if owner else "nobody is at it: run its command again to go on"
    if record.staged:
        state, holder = (
            "staged: its fleet is warm",
            f"cut over with: fab release --env={record.env} --version={record.version}",
        )
    line = (
        f"release  {record.kind.value} of {record.version} by {record.who} since "
        f"{record.started_at:%Y-%m-%d %H:%M:%S}Z, {state}; {holder}"
    )
    return [line]


def _rows(facts: Facts) -> list[list[str]]:
    head = ["INSTANCE", "VERSION", "ZONE", "STATE", *(balancer.name.upper() for balancer in facts.balancers)]
    order = sorted(facts.instances.values(), key=lambda i: (facts.version_of(i.image_id) or "", i.id))
    return [head, *(_row(instance, facts) for instance in order if instance.alive or instance.in_group)]


def _row(instance: Instance, facts: Facts) -> list[str]:
    state = instance.power.value if instance.lifecycle is Lifecycle.OUTSIDE else instance.lifecycle.value
    health = []
    for balancer in facts.balancers:
        registration = balancer.registrations.get(instance.id)
        said = (registration.reason, registration.override) if registration else ()
        health.append(" ".join(filter(None, [balancer.health_of(instance.id).value, *said])))
    return [instance.id, facts.version_of(instance.image_id) or "?", instance.zone, state, *health]


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
