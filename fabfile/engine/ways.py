"""What a person is told about a release that stands open: why another order is refused, and the ways on."""

from __future__ import annotations

from ..plan.release import Record

# How the reason of a staged fleet ends that is put back for another order.
ASIDE = " takes its place"


def was_put_aside(record: Record) -> bool:
    """Whether a staged fleet is on its way back already to make way for another version."""
    return record.undo is not None and record.undo.endswith(ASIDE)


def why_unfinished(record: Record) -> str:
    """Say that a release stands open, and the two ways on."""
    return f"{record.kind.value} of {record.version} in {record.env} by {record.who} is unfinished; {_ways(record)}"


def _ways(record: Record) -> str:
    return f"go on with: {command(record)}, or put back with: fab release --env={record.env} --abort"


def why_too_late(record: Record) -> str:
    """Say that a release cannot be put back any more, and how to go on."""
    return (
        f"{record.version} serves and old instances are gone already; finish with: {command(record)}, "
        f"then: fab rollback --env={record.env}"
    )


def why_not_stage(record: Record) -> str | None:
    """Return why a release cannot be staged any more, or None while nothing of it serves."""
    if not record.attached and not record.recalled:
        return None
    return f"{record.version} serves in part already, and cannot be staged any more; {_ways(record)}"


def command(record: Record) -> str:
    """Return the command that goes on with a release."""
    return f"fab {record.kind.value} --env={record.env} --version={record.version}"
