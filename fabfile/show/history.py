"""The releases of an env as a table, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from ..engine.written import plain
from ..plan.past import Chapter
from ..plan.release import Ending

_HEAD = ["WHEN", "WHO", "WHAT", "FROM", "TO", "TOOK", "ENDED", "WHY"]
_WIDEST_WHO = 32
_LEAST_WHY = 20


def render(chapters: Sequence[Chapter], env: str, width: int | None = None) -> str:
    """Draw a line for each release, and below it what else is to be known of it. Times are local, with their zone.

    :param width: columns of the terminal; None cuts nothing, for a file or a CI log.
    """
    if not chapters:
        return f"nothing was released to {env} yet"
    rows = [_HEAD, *(_row(chapter) for chapter in chapters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    left = None if width is None else max(width - sum(widths) - 2 * len(widths), _LEAST_WHY)
    lines = []
    for row, chapter in zip(rows, [None, *chapters], strict=True):
        cells = [cell.ljust(each) for cell, each in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, _cut(row[-1], left)]).rstrip())
        lines += [f"    {detail}" for detail in _details(chapter)] if chapter else []
    return "\n".join(lines)


def as_json(groups: Mapping[str, Sequence[Chapter]]) -> str:
    """Write all that is known of each release of each group, newest first, as a JSON list; times in ISO 8601."""
    told = [
        {"group": group, **plain(chapter), "took_s": (chapter.ended_at - chapter.started_at).total_seconds()}
        for group, chapters in groups.items()
        for chapter in chapters
    ]
    return json.dumps(told, indent=1)


def _row(chapter: Chapter) -> list[str]:
    return [
        _local(chapter.started_at),
        _cut(chapter.who, _WIDEST_WHO),
        chapter.kind.value,
        chapter.from_version or "-",
        chapter.version,
        _took(chapter),
        chapter.ending.value,
        " ".join(chapter.why.split()),
    ]


def _details(chapter: Chapter) -> list[str]:
    details = []
    if chapter.override:
        details.append(f"in spite of a freeze: {chapter.override}")
    if chapter.link:
        details.append(f"build: {chapter.link}")
    if chapter.ending is not Ending.DONE:
        details += [line for line in chapter.evidence if line != chapter.why]
    return details


def _local(at: datetime) -> str:
    here = at.astimezone()
    return f"{here:%Y-%m-%d %H:%M:%S} {here.tzname() or f'{here:%z}'}"


def _took(chapter: Chapter) -> str:
    minutes, seconds = divmod(round((chapter.ended_at - chapter.started_at).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"
