"""Looks at one group while others act: a region that answers slowly keeps nobody else waiting."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from ..plan.fleet import Facts, Gate
from ..plan.release import Record
from .observe import Observer

# A look that waited longer for its turn says too little of now.
FRESH_S = 5.0


class Lookout(Observer):
    """An observer that knows what it saw last, and can take its next look in a thread of its own."""

    _ahead: Ahead | None = None

    @property
    def last(self) -> Facts | None:
        """What it saw last, if anything."""
        return self._last

    def look_ahead(self, record: Record | None) -> None:
        """Begin the next look, unless it is under way: nothing else is to be done with us until it is there."""
        if self._ahead is None:
            self._ahead = Ahead(self, record)
            self._ahead.start()

    def has_looked(self, within_s: float = 0.0) -> bool:
        """Whether the look that was begun is there, or failed, after so many seconds at the latest."""
        if self._ahead is not None:
            self._ahead.join(within_s)
        return self._ahead is not None and not self._ahead.is_alive()

    def look(self, record: Record | None = None, shut: Mapping[Gate, str] | None = None) -> Facts:
        """Return the look that was begun, once it is there; or take one, where that was of another record, or long ago.

        The gates are as they are now, not as they were when it began.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.join()
            if ahead.error is not None:
                raise ahead.error
            if facts := ahead.facts_of(record, self._clock() - timedelta(seconds=FRESH_S)):
                self._last = replace(facts, shut=shut or {})
                return self._last
        return super().look(record, shut)

    def look_now(self, record: Record | None) -> tuple[Facts, datetime]:
        """Take a look whatever was begun, and say when it was there."""
        return super().look(record), self._clock()


class Ahead(threading.Thread):
    """A look under way, and what it brought."""

    def __init__(self, lookout: Lookout, record: Record | None) -> None:
        super().__init__(name="headway-look", daemon=True)
        self.record = record
        self.facts: Facts | None = None
        self.error: Exception | None = None
        self.ended_at: datetime | None = None
        self._lookout = lookout

    def facts_of(self, record: Record | None, since: datetime) -> Facts | None:
        """Return what it brought, if that is of the very record, and was there after a moment."""
        return self.facts if self.record == record and self.ended_at and self.ended_at > since else None

    def run(self) -> None:
        """Look."""
        try:
            self.facts, self.ended_at = self._lookout.look_now(self.record)
        except Exception as error:
            self.error = error
