"""How a release ended, for a tired operator: what happened, what serves now, the next command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..engine.ways import command
from ..plan.release import Ending, Record
from ..plan.serving import what_serves
from ..plan.sides import is_committed
from . import failure

if TYPE_CHECKING:
    from ..engine.loop import Result


def render(env: str, results: Sequence[Result], *, asked_to_undo: bool) -> str:
    """Say how each group of an env ended, and what to do next."""
    return "\n".join(line for result in results for line in _lines(env, result, asked_to_undo=asked_to_undo))


def _lines(env: str, result: Result, *, asked_to_undo: bool) -> Iterator[str]:
    serves = what_serves(result.facts)
    if result.ending is Ending.DONE:
        yield result.why
    elif result.ending is Ending.STAGED:
        version = result.record.version if result.record else ""
        yield f"{result.why}\n  now: {serves}"
        yield f"  cut over with: fab release --env={env} --version={version}; or put back with: {_abort(env)}"
    elif result.ending is Ending.STOPPED:
        yield f"stopped {result.why}\n  now: {serves}"
        yield f"  the same command goes on; {_way_back(env, result.record)}"
    elif result.ending is Ending.RESTORED and asked_to_undo:
        yield f"put back; {serves}"
    else:
        verdict, more = _verdict(env, result)
        yield failure.render(_seen(result), serves, [f"fab status --env={env}", more], verdict)


def _verdict(env: str, result: Result) -> tuple[str, str]:
    """Say how a failed release ended, and the way on that is open."""
    record = result.record
    if result.ending is Ending.RESTORED:
        return "failed and put back", f"fab history --env={env}"
    if record is not None and record.undo is None and is_committed(record):
        return "failed and cannot be put back any more", f"{command(record)} (goes on from here)"
    return "failed and NOT put back", f"{_abort(env)} (tries again to put back)"


def _way_back(env: str, record: Record | None) -> str:
    """Say how to undo what was stopped: once old instances were let go, only a rollback does."""
    if record is None or not is_committed(record):
        return f"or put back with: {_abort(env)}"
    return f"old instances are gone already: to go back, let it end, then: fab rollback --env={env}"


def _abort(env: str) -> str:
    return f"fab release --env={env} --abort"


def _seen(result: Result) -> tuple[str, ...]:
    """Return the lines of what was seen of the cause; the reason alone where there are none, or they have another."""
    seen = result.record.evidence if result.record else ()
    if seen and seen[0].startswith(result.why[:40]):
        return seen
    return (result.why, *seen)
