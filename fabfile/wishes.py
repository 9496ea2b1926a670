"""What a person says on the command line about one release, read into what the engine knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan.release import Wish


def read_wish(
    *,
    batch: str | None = None,
    canary: str | None = None,
    canary_for: str | None = None,
    soak: str | None = None,
    at: str | None = None,
    override: str | None = None,
) -> Wish:
    """Read the flags of a release.

    :raises Refusal: one of them cannot be read; the message shows an example.
    """
    from datetime import UTC, datetime

    from .plan.moment import read_duration, read_moment
    from .plan.outcome import Refusal
    from .plan.release import Wish
    from .tools.local_zone import local_zone

    if override is not None and not override.strip():
        raise Refusal('--override-freeze: say why, such as --override-freeze="the checkout is down"')
    if canary_for is not None and canary is None:
        canary = "1"
    return Wish(
        batch=_count(batch, "--batch", at_least=1),
        canary=_count(canary, "--canary", at_least=0),
        canary_s=None if canary_for is None else read_duration(canary_for, "--canary-for"),
        soak_s=None if soak is None else read_duration(soak, "--soak"),
        at=None if at is None else read_moment(at, datetime.now(UTC), local_zone()),
        override=override,
    )


def read_version(version: str | None) -> str | None:
    """Return the version that was asked for, or None for the one that goes by itself.

    :raises Refusal: it is empty, as a variable is that nobody set: that must not release something else.
    """
    from .plan.outcome import Refusal

    if version is not None and not version.strip():
        raise Refusal("--version: is empty; name one, such as --version=1.4.0, or leave it out")
    return version


def why_not_json(*, plan: bool, json: bool) -> str | None:
    """Return why a run for machines cannot be, or None: without a plan it would release, and say nothing in JSON."""
    return "--json: goes with --plan; a release itself says how it went in words" if json and not plan else None


def read_wait(wait: str | bool | None) -> float:
    """Return the seconds to wait in line: none, so many, or (``--wait`` alone) as many as it takes."""
    from .plan.moment import read_duration

    if wait is None or wait is False:
        return 0.0
    return math.inf if wait is True else read_duration(wait, "--wait")


def who() -> str:
    """Name the person, or the build, that gives the order."""
    import getpass
    import os
    import socket

    author = os.environ.get("DRONE_COMMIT_AUTHOR")
    if author:
        return f"{author} (build {os.environ.get('DRONE_BUILD_NUMBER', '?')})"
    return f"{getpass.getuser()}@{socket.gethostname()}"


def whence() -> str | None:
    """Return the link to the build that gives the order, where there is one."""
    import os

    return os.environ.get("DRONE_BUILD_LINK")


def _count(text: str | None, name: str, *, at_least: int) -> int | None:
    from .plan.outcome import Refusal

    if text is None:
        return None
    if not text.isdecimal() or int(text) < at_least:
        raise Refusal(f"{name}: must be a whole number from {at_least} on, such as {name}=2 (got {text!r})")
    return int(text)
