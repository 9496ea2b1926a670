"""Freeze windows: when nothing is to be released, week by week or from one date to another.

Each is a line of text in settings::

    release:
      freeze:
        - "Fri 16:00 - Mon 08:00 Europe/Berlin: no releases at the weekend"
        - "2026-12-20 - 2027-01-02 Europe/Berlin: Christmas"

A window is one stretch of time from the first moment at which clocks show its start to the last one at which they show
its end: where they are set back within it, it does not open for an hour. A date as an end means the whole of that day.
Its zone must be named: a release is frozen alike from a laptop in Berlin and from a CI server that keeps UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from .moment import first_instant, last_instant, read_zone, say_moment
from .outcome import Refusal

PATH = "headway.release.freeze"
EXAMPLES = (
    '"Fri 16:00 - Mon 08:00 Europe/Berlin: no releases at the weekend" or '
    '"2026-12-20 - 2027-01-02 Europe/Berlin: Christmas"'
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEK = timedelta(days=7)
DAY = timedelta(days=1)
# A Monday: weekly windows are kept as the one of this week. Any would do.
SOME_MONDAY = date(2024, 1, 1)
# Windows that follow each other for so long never end, as far as an operator is concerned.
FOR_EVER = timedelta(days=366)


def _point(number: int) -> str:
    """Return the pattern of one end of a window: a day or a date, and perhaps a time."""
    day = rf"(?:(?P<day{number}>[A-Za-z]+)|(?P<date{number}>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}))"
    return rf"{day}(?:[ T](?P<time{number}>[0-9]{{1,2}}:[0-9]{{2}}))?"


_SPAN = rf"{_point(1)} ?[-\u2013] ?{_point(2)}"
_REASON = r" ?(?:: ?(?P<reason>.*))?"
_WINDOW = re.compile(rf"{_SPAN} (?P<zone>[A-Za-z][A-Za-z0-9_/+-]*){_REASON}")
_WITHOUT_ZONE = re.compile(rf"{_SPAN}{_REASON}")


@dataclass(frozen=True)
class Window:
    """A stretch of time without releases, by the clocks of a zone; `weekly`: again each seventh day."""

    text: str
    start: datetime  # both without a zone, for it is the clocks that they speak of
    end: datetime
    zone: tzinfo
    weekly: bool
    reason: str

    def end_of(self, at: datetime) -> datetime | None:
        """Return when (UTC) the freeze is over that holds at a moment; None where none holds."""
        ends = [end for start, end in self._near(at) if start <= at < end]
        return max(ends, default=None)

    def _near(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the stretches (UTC) among which the one at a moment must be."""
        if not self.weekly:
            yield first_instant(self.start, self.zone), last_instant(self.end, self.zone)
            return
        here = at.astimezone(self.zone).replace(tzinfo=None)
        latest = (here - self.start) // WEEK
        for week in (latest - 1, latest, latest + 1):
            shift = week * WEEK
            yield first_instant(self.start + shift, self.zone), last_instant(self.end + shift, self.zone)


def read_windows(texts: Iterable[str], path: str = PATH) -> tuple[Window, ...]:
    """Read the freeze windows of settings.

    :param path: where they stand, as messages name it.
    :raises Refusal: one cannot be read; naming it, with an example.
    """
    return tuple(_read(text, f"{path}[{index}]") for index, text in enumerate(texts))


def why_frozen(windows: Iterable[Window], at: datetime) -> str | None:
    """Return why nothing is to be released at a moment, until when, and the ways out; None when nothing forbids it."""
    windows = tuple(windows)
    holding = [(end, window) for window in windows if (end := window.end_of(at)) is not None]
    if not holding:
        return None
    # Of several, the one that holds longest is the one to talk about.
    _, window = max(holding, key=lambda one: one[0])
    because = f"{window.reason} ({window.text})" if window.reason else window.text
    override = 'release all the same with --override-freeze="reason"'
    end = thaw(windows, at)
    if end is None:
        return f"frozen: {because}; no end in sight: correct {PATH}, or {override}"
    over = say_moment(end, window.zone)
    return f'frozen until {end.astimezone(window.zone):%a} {over}: {because}; wait with --at="{over}", or {override}'


def thaw(windows: Iterable[Window], at: datetime) -> datetime | None:
    """Return the first moment (UTC) from `at` on that no window holds; None when there is none within a year."""
    windows = tuple(windows)
    free = at.astimezone(UTC)
    while free - at <= FOR_EVER:
        ends = [end for window in windows if (end := window.end_of(free)) is not None]
        if not ends:
            return free
        free = max(ends)
    return None


def _read(text: str, where: str) -> Window:
    written = " ".join(text.split())
    match = _WINDOW.fullmatch(written)
    if match is None and _WITHOUT_ZONE.fullmatch(written):
        raise Refusal(f"{where}: no time zone in {text!r}, and machines differ in theirs; write for example {EXAMPLES}")
    if match is None:
        raise Refusal(f"{where}: not a freeze window: {text!r}; write for example {EXAMPLES}")
    zone = read_zone(match["zone"], where)
    weekly = match["day1"] is not None
    if weekly != (match["day2"] is not None):
        raise Refusal(f"{where}: a day and a date do not mix (got {text!r}); write for example {EXAMPLES}")
    start = datetime.combine(_day(match, 1, where), _time(match["time1"], where))
    end = datetime.combine(_day(match, 2, where), _time(match["time2"], where))
    if match["time2"] is None:
        end += DAY
    if weekly and end <= start:
        end += WEEK
    if end <= start or (weekly and end - start >= WEEK and match["time1"] is not None):
        raise Refusal(f"{where}: ends no later than it starts (got {text!r}); write for example {EXAMPLES}")
    span = written[: match.end("zone")]
    return Window(span, start, end, zone, weekly, (match["reason"] or "").strip())


def _day(match: re.Match[str], point: int, where: str) -> date:
    if (written := match[f"date{point}"]) is not None:
        try:
            day = date.fromisoformat(written)
        except ValueError:
            raise Refusal(f"{where}: no such day: {written}; write for example {EXAMPLES}") from None
        if not 2000 <= day.year < 3000:
            raise Refusal(f"{where}: {written} is not a date of ours; write for example {EXAMPLES}")
        return day
    name = match[f"day{point}"].lower()
    number = next((i for i, day in enumerate(DAYS) if name in (day, day[:3])), None)
    if number is None:
        known = ", ".join(day[:3].title() for day in DAYS)
        raise Refusal(f"{where}: no day {match[f'day{point}']!r} (days: {known}); write for example {EXAMPLES}")
    return SOME_MONDAY + timedelta(days=number)


def _time(written: str | None, where: str) -> time:
    hour, minute = (int(part) for part in (written or "0:00").split(":"))
    try:
        return time(hour, minute)
    except ValueError:
        raise Refusal(f"{where}: no such time of day: {written}; write for example {EXAMPLES}") from None
