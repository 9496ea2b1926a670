"""Moments and durations as an operator writes them, across daylight saving: ``--at="09:00 Europe/Berlin"``, ``10m``."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from .outcome import Refusal

# Nobody means a release in more than a year, nor one that soaks for longer than a week: it is a slip of the finger.
FURTHEST = timedelta(days=366)
LONGEST_S = 7 * 24 * 3600.0

MOMENT_EXAMPLES = '"2026-12-01 09:00 Europe/Berlin", "09:00" or "+20m"'
DURATION_EXAMPLES = "90s, 10m or 1h30m"

_OFFSET = r"Z|[+-][0-9]{2}:?[0-9]{2}"
_MOMENT = re.compile(
    r"(?:(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:\s+|T))?"
    r"(?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)"
    rf"(?:\s*(?P<offset>{_OFFSET}))?"
    r"(?:\s+(?P<zone>[A-Za-z][A-Za-z0-9_+/-]*))?"
)
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[A-Za-z]*)\s*")
_UNITS_S = {"h": 3600, "m": 60, "min": 60, "s": 1}


def read_moment(text: str, now: datetime, local: tzinfo, name: str = "--at") -> datetime:
    """Read the moment that an operator names; always in UTC, where differences of moments are what they seem.

    A time without a date is the next such minute; one without a zone is in the operator's own.

    :param now: the moment at which it is read, with its zone.
    :param local: the operator's zone.
    :param name: what it was given for, as messages name it.
    :raises Refusal: it cannot be read, is past, does not exist or exists twice there; with what to write instead.
    """
    given = text.strip()
    if given.startswith("+") and ":" not in given:
        return now.astimezone(UTC) + timedelta(seconds=read_duration(given[1:], name))
    match = _MOMENT.fullmatch(given)
    if match is None:
        raise Refusal(f"{name}: not a moment: {text!r}; write for example {MOMENT_EXAMPLES}")
    clock = _time(match["time"], given, name)
    offset = _offset(match["offset"], given, name)
    zone = read_zone(match["zone"], name) if match["zone"] else offset or local
    if match["date"]:
        wall = datetime.combine(_date(match["date"], given, name), clock)
        # Years from now it is refused whatever the zone, and at the ends of time there are no zones.
        far = abs(wall.replace(tzinfo=UTC) - now) > FURTHEST * 2
        moment = wall.replace(tzinfo=UTC) if far else _resolve(wall, zone, offset, name)
    else:
        moment = _next(clock, zone, offset, now, name)
    if moment <= now:
        raise Refusal(
            f"{name}: {given} was {say_duration((now - moment).total_seconds())} ago; "
            f"write a moment to come, for example {MOMENT_EXAMPLES}"
        )
    if moment - now > FURTHEST:
        raise Refusal(f"{name}: {given} is more than a year ahead; write for example {MOMENT_EXAMPLES}")
    return moment


def say_moment(at: datetime, zone: tzinfo) -> str:
    """Say a moment in a zone, so that :func:`read_moment` reads it back: ``2026-12-01 09:00 Europe/Berlin``."""
    there = at.astimezone(zone)
    wall = there.replace(tzinfo=None)
    shown = f"{wall:%Y-%m-%d %H:%M:%S}" if wall.second else f"{wall:%Y-%m-%d %H:%M}"
    if not isinstance(zone, ZoneInfo) or not zone.key:
        return f"{shown}{_say_offset(there)}" if there.utcoffset() else f"{shown} UTC"
    return f"{shown}{_say_offset(there) if _twice(wall, zone) else ''} {zone.key}"


def say_zone(zone: tzinfo) -> str:
    """Name a zone: ``Europe/Berlin``; ``this machine's zone`` for one that has no name."""
    return str(zone) if not isinstance(zone, ZoneInfo) or zone.key else "this machine's zone"


def read_duration(text: str, name: str = "duration") -> float:
    """Read a duration such as ``90``, ``90s``, ``10m`` or ``1h30m``; return its seconds.

    :param name: what it was given for, as messages name it.
    :raises Refusal: it is empty, negative or in an unknown unit; with an example.
    """
    given = text.strip()
    example = f"write for example {DURATION_EXAMPLES}"
    if not given:
        raise Refusal(f"{name}: no duration given; {example}")
    if given.startswith("-"):
        raise Refusal(f"{name}: a duration cannot be negative (got {given}); {example}")
    seconds, position, allowed = 0.0, 0, list(_UNITS_S)
    while position < len(given):
        match = _DURATION.match(given, position)
        if match is None:
            raise Refusal(f"{name}: not a duration: {text!r}; {example}")
        unit = match["unit"].lower() or ("s" if match.end() == len(given) and position == 0 else "")
        if unit not in _UNITS_S:
            wrong = f"no unit {match['unit']!r} in {given!r}: h, m and s there are" if unit else f"no unit in {given!r}"
            raise Refusal(f"{name}: {wrong}; {example}")
        if unit not in allowed:
            raise Refusal(f"{name}: hours, minutes, seconds come in this order, each once (got {given!r}); {example}")
        allowed = [smaller for smaller in allowed if _UNITS_S[smaller] < _UNITS_S[unit]]
        seconds += float(match["number"]) * _UNITS_S[unit]
        position = match.end()
    if seconds > LONGEST_S:
        raise Refusal(f"{name}: {given} is longer than a week; {example}")
    return seconds


def say_duration(seconds: float) -> str:
    """Say a duration by its two largest units: ``1 h 30 min``, ``45 s``, ``3 d 4 h``."""
    if 0 < seconds < 1:
        return f"{seconds:.1g} s"
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size_s)
        parts.append((count, unit))
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def read_zone(key: str, name: str) -> tzinfo:
    """Return a time zone by its IANA name.

    :param name: what it was given for, as messages name it.
    :raises Refusal: there is none of that name; with the nearest that there are.
    """
    if key.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones, such as Europe
        close = _nearest_zones(key)
        known = f"did you mean {' or '.join(close)}?" if close else "write for example Europe/Berlin or UTC"
        raise Refusal(f"{name}: no time zone {key!r}; {known}") from None


def _nearest_zones(key: str) -> list[str]:
    by_word: dict[str, str] = {}
    for known in sorted(available_timezones(), reverse=True):
        by_word[known.rpartition("/")[2].lower()] = known
    by_word.update({known.lower(): known for known in available_timezones()})
    close = get_close_matches(key.lower(), list(by_word), n=4, cutoff=0.6)
    return list(dict.fromkeys(by_word[word] for word in close))[:2]


def first_instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return the first moment (UTC) at which clocks in a zone show this time, or have jumped past it."""
    if is_skipped(wall, zone):
        return _transition(wall, zone)
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def last_instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return the last moment (UTC) at which clocks in a zone show this time, or jump past it."""
    if is_skipped(wall, zone):
        return _transition(wall, zone)
    return wall.replace(tzinfo=zone, fold=1).astimezone(UTC)


def is_skipped(wall: datetime, zone: tzinfo) -> bool:
    """Whether clocks in a zone never show this time: they jump past it in spring."""
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall


def _twice(wall: datetime, zone: tzinfo) -> bool:
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first != second and not is_skipped(wall, zone)


def _transition(wall: datetime, zone: tzinfo) -> datetime:
    """Find the moment at which clocks jump past a time, by halving what PEP 495 says to be on either side of it."""
    early, late = sorted(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    after = late.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=int((late - early).total_seconds()) // 2)
        if middle.astimezone(zone).utcoffset() == after:
            late = middle
        else:
            early = middle
    return late


def _resolve(wall: datetime, zone: tzinfo, offset: timezone | None, name: str) -> datetime:
    """Return the one moment at which clocks in a zone show a time, or refuse where there is none, or are two."""
    if offset is not None:
        moment = wall.replace(tzinfo=offset).astimezone(UTC)
        there = moment.astimezone(zone)
        if there.replace(tzinfo=None) != wall:
            raise Refusal(
                f"{name}: {say_zone(zone)} is not at {_say_offset(wall.replace(tzinfo=offset))} then; "
                f"leave out the offset, or the zone: {say_moment(moment, zone)}"
            )
        return moment
    if is_skipped(wall, zone):
        jump = _transition(wall, zone)
        before, after = say_moment(jump - timedelta(minutes=1), zone), say_moment(jump, zone)
        raise Refusal(
            f'{name}: clocks in {say_zone(zone)} skip {wall:%H:%M} on {wall:%Y-%m-%d}; write "{before}" or "{after}"',
        )
    if _twice(wall, zone):
        both = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        first, second = (say_moment(moment, zone) for moment in both)
        raise Refusal(
            f"{name}: clocks in {say_zone(zone)} show {wall:%H:%M} twice on {wall:%Y-%m-%d}; "
            f'write "{first}" for the first time or "{second}" for the second'
        )
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _next(clock: time, zone: tzinfo, offset: timezone | None, now: datetime, name: str) -> datetime:
    """Return the next moment at which clocks in a zone show a time."""
    today = now.astimezone(offset or zone).date()
    wall = datetime.combine(today, clock)
    over = wall.replace(tzinfo=offset).astimezone(UTC) if offset else last_instant(wall, zone)
    if over <= now:
        wall += timedelta(days=1)
    return _resolve(wall, zone, offset, name)


def _time(text: str, given: str, name: str) -> time:
    hour, minute, second = (int(part) for part in f"{text}:0".split(":")[:3])
    try:
        return time(hour, minute, second)
    except ValueError:
        raise Refusal(f"{name}: no such time of day: {given!r}; write for example {MOMENT_EXAMPLES}") from None


def _date(text: str, given: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(f"{name}: no such day: {given!r}; write for example {MOMENT_EXAMPLES}") from None


def _offset(text: str | None, given: str, name: str) -> timezone | None:
    if text is None:
        return None
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 14 or minutes > 59:  # the farthest east is UTC+14, Kiritimati
        raise Refusal(f"{name}: no such offset from UTC: {given!r}; write for example {MOMENT_EXAMPLES}")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _say_offset(moment: datetime) -> str:
    return f"{moment:%z}"[:3] + ":" + f"{moment:%z}"[3:5]
