"""Time, as the local cloud and a release against it know it: the wall's, or a virtual one that jumps."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time and lets it pass."""

    def now(self) -> datetime:
        """Time of day, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Let this much time pass."""


class WallClock:
    """The real time."""

    def now(self) -> datetime:
        """Time of day, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class VirtualClock:
    """A time that passes only in :meth:`sleep`, in steps, and tells ``on_step`` of each.

    :param start: time of day at the beginning.
    :param step_s: longest step in seconds; whoever listens sees the world at least this often.
    """

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC), step_s: float = 1.0) -> None:
        self._start_s = start.timestamp()
        self._step_s = step_s
        self.elapsed_s = 0.0
        self.on_step: Callable[[], None] = lambda: None

    def at_each_step(self, happens: Callable[[], None]) -> None:
        """Let something happen after each step, beside all that happens then already."""
        before = self.on_step

        def both() -> None:
            before()
            happens()

        self.on_step = both

    def when(self, condition: Callable[[], bool], happens: Callable[[], None]) -> None:
        """Let something happen once, after the first step at which a condition holds."""
        pending = [True]

        def watch() -> None:
            if pending and condition():
                pending.clear()
                happens()

        self.at_each_step(watch)

    def now(self) -> datetime:
        """Time of day, in UTC."""
        return datetime.fromtimestamp(self._start_s + self.elapsed_s, UTC)

    def sleep(self, seconds: float) -> None:
        """Jump there step by step; returns in no time."""
        end_s = self.elapsed_s + max(seconds, 0.0)
        while self.elapsed_s < end_s:
            self.elapsed_s = min(self.elapsed_s + self._step_s, end_s)
            self.on_step()
