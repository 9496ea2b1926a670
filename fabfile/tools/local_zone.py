"""The time zone of this machine, by its name: clocks will be set forward and back, so an offset is not enough."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

LOCALTIME = Path("/etc/localtime")


def local_zone(link: Path = LOCALTIME) -> tzinfo:
    """Return the operator's time zone: ``TZ``, else what ``/etc/localtime`` leads to, else UTC.

    :param link: the system's zone: a link into the zone database (Debian, macOS), or a copy of one file of it.

    ``TZ`` may hold more than a name (tzset(3)); what is no name of a zone is passed over.
    """
    named = os.environ.get("TZ", "").lstrip(":")
    return _zone_named(named) or _zone_of(link) or UTC


def _zone_of(link: Path) -> tzinfo | None:
    target = str(link.resolve())
    found = _zone_named(target.partition("zoneinfo/")[2])
    if found is not None:
        return found
    try:
        with link.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return None


def _zone_named(name: str) -> tzinfo | None:
    """Return a zone by its name, or by the path of its file."""
    key = name.partition("zoneinfo/")[2] or name
    if not key:
        return None
    try:
        return UTC if key in ("UTC", "Etc/UTC") else ZoneInfo(key)
    except (KeyError, ValueError, OSError):
        return None
