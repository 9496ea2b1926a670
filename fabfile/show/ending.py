"""How a release ended, for a tired operator: what happened, what serves now, the next command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..plan.release import Ending
from .status import what_serves

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
        yield result.why
        yield f"  now: {serves}"
        version = result.record.version if result.record else ""
        yield f"  cut over with: fab release --env={env} --version={version}; or put back with: {_abort(env)}"
    elif result.ending is Ending.STOPPED:
        yield f"stopped {result.why}"
        yield f"  now: {serves}"
        yield f"  the same command goes on; or put back with: {_abort(env)}"
    elif result.ending is Ending.RESTORED and asked_to_undo:
        yield f"put back; {serves}"
    elif result.ending is Ending.RESTORED:
        yield f"failed and put back: {result.why}"
        yield from _evidence(result)
        yield f"  now: {serves}"
        yield f"  look with: fab status --env={env}; the story: fab history --env={env}"
    else:
        yield f"failed and NOT put back: {result.why}"
        yield from _evidence(result)
        yield f"  now: {serves}"
        yield f"  look with: fab status --env={env}; try again to put back with: {_abort(env)}"


def _abort(env: str) -> str:
    return f"fab release --env={env} --abort"


def _evidence(result: Result) -> Iterator[str]:
    lines = result.record.evidence if result.record else ()
    yield from (f"  {line}" for line in lines[1:])  # the first one is the cause, said already
