"""Ctrl-C in the middle of something that must not be left half done: the first one asks, the second one insists."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .stage import STOPPING, Stopped, meeting


class Stopping:
    """Whether somebody asked us to stop, and by which signal."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._asked = threading.Event()
        self._at_once = 0
        self.number: signal.Signals | None = None

    def asked(self) -> bool:
        """Whether to stop at the next safe point."""
        return self._asked.is_set()

    def sleep(self, seconds: float) -> None:
        """Let time pass, or stop waiting when somebody asks."""
        self._asked.wait(seconds)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Be stopped at once for a while, for what cleans up after itself: a bake, a migration."""
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1

    def heard(self, number: int, _frame: object = None) -> None:
        """Take a signal to stop.

        :raises Stopped: it is the second one, or what goes on now may be stopped at once.
        """
        again = self._asked.is_set()
        self.number = signal.Signals(number)
        self._asked.set()
        if again or self._at_once:
            raise Stopped(number)
        with suppress(OSError):  # the terminal may be what is gone
            self._say("stopping after this step; once more stops at once")


def _write(text: str) -> None:
    # A signal may come in the middle of a print, which cannot be entered again.
    os.write(sys.stderr.fileno(), f"{text}\n".encode())


@contextmanager
def stopping_softly(say: Callable[[str], None] | None = None) -> Iterator[Stopping]:
    """Meet the signals that stop us at safe points, those excepted that somebody has us ignore."""
    stopping = Stopping(say or _write)
    ours = [number for number in (signal.SIGINT, *STOPPING) if signal.getsignal(number) is not signal.SIG_IGN]
    with meeting(ours, stopping.heard):
        yield stopping
