"""What a tired operator reads when a release failed: the cause, what it rests on, what serves, what to type next."""

from __future__ import annotations

from collections.abc import Sequence

from ..plan.evidence import Evidence


def render(evidence: Evidence | Sequence[str], serves: str, commands: Sequence[str], verdict: str = "") -> str:
    """Draw a failure.

    :param evidence: what was found, or its lines as record and history keep them: the cause first.
    :param serves: what serves now, in one line.
    :param commands: what to type next, the likeliest first.
    :param verdict: how it ended, such as ``failed and put back``; stands before the cause.
    """
    cause, *found = evidence.lines if isinstance(evidence, Evidence) else evidence
    lines = [f"{verdict}: {cause}" if verdict else cause, *(f"  {line}" for line in found)]
    lines.append(f"  now: {serves}")
    lines += [f"  {'next' if not number else '  or'}: {command}" for number, command in enumerate(commands)]
    return "\n".join(lines)
