"""What history says: which version served before, and which one it knows to be bad."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from .release import ALARM, HEALTH, Ending, Kind

# Reasons of an ending that blame the version itself; no capacity, a person's Ctrl-C, or an error of AWS say nothing.
BLAMING = frozenset({HEALTH, ALARM})
# Each chapter is a read of S3: what was bad so many releases ago has been forgotten.
LOOKS_BACK = 100


@dataclass(frozen=True)
class Chapter:
    """One ended release, as history keeps it: who, when, what from, what to, how long, how it ended, why.

    :param reason: the code of why it ended so, such as :data:`HEALTH`; None where nothing went wrong, or none is known.
    :param override: why a freeze was overridden.
    :param evidence: what was seen of the cause, line by line.
    :param link: where the build that ordered it can be read.
    """

    id: str
    env: str
    kind: Kind
    version: str
    from_version: str | None
    who: str
    started_at: datetime
    ended_at: datetime
    ending: Ending
    why: str
    reason: str | None = None
    override: str | None = None
    evidence: tuple[str, ...] = ()
    link: str | None = None
    from_image: str | None = None
    to_image: str | None = None


def previous_version(chapters: Iterable[Chapter], serving: str | None) -> str | None:
    """Return the version that served before the one that serves now; None when history has none.

    One that a rollback left is not gone back to: whoever rolls back twice wants to go further.

    :param chapters: history, newest first; read no further than needed.
    """
    fled: set[str | None] = {serving, None, "?"}
    for chapter in chapters:
        if chapter.ending is not Ending.DONE:
            continue
        if chapter.kind is Kind.ROLLBACK:
            fled.add(chapter.from_version)
        for version in (chapter.version, chapter.from_version):
            if version not in fled:
                return version
    return None


def last_released(chapters: Iterable[Chapter]) -> str | None:
    """Return the version that history, newest first, says was brought into service last."""
    return next((chapter.version for chapter in chapters if chapter.ending is Ending.DONE), None)


def why_bad(chapters: Iterable[Chapter], version: str) -> str | None:
    """Return why a version must not be gone back to without a word, or None.

    Bad is one whose last release was put back because of health or an alarm, or that a rollback left, unless it was
    brought into service since. An attempt that ended for a reason of its own (no capacity, stopped) says nothing.

    :param chapters: history, newest first; read no further than needed.
    """
    for chapter in islice(chapters, LOOKS_BACK):
        if chapter.version == version and chapter.ending is Ending.DONE:
            return None
        if reason := _blame(chapter, version):
            return f"{version} was recorded as bad: {reason}; add --yes to bring it into service all the same"
    return None


def _blame(chapter: Chapter, version: str) -> str | None:
    when = f"{chapter.ended_at:%Y-%m-%d %H:%M} {chapter.ended_at.tzname() or 'UTC'}"
    if chapter.version == version and chapter.ending is Ending.RESTORED and chapter.reason in BLAMING:
        return f"its {chapter.kind.value} by {chapter.who} was put back on {when} ({chapter.why})"
    left = chapter.kind is Kind.ROLLBACK and chapter.ending is Ending.DONE and chapter.from_version == version
    return f"{chapter.who} rolled back from it to {chapter.version} on {when}" if left else None
