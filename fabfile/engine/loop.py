"""The only loop: observe, decide, record, act, wait; until the goal is reached or everything is back.

Resuming is not a feature of it, it is what it does each time round: nothing but the record and the facts is carried
from one turn to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from invoke.exceptions import Exit

from ..plan.decide import decide
from ..plan.fleet import Facts
from ..plan.ledger import intend
from ..plan.outcome import NotRestored
from ..plan.release import Act, Done, Ending, Goal, Record, Refuse, Stuck, Undo, Undone, Wait
from .act import Hands
from .journal import Journal
from .observe import Observer

if TYPE_CHECKING:
    from .lock import Lock


# Looks that AWS may leave unanswered, each of them retried by boto3 already.
MAX_BLIND = 20


class Screen(Protocol):
    """What the loop tells whoever is watching."""

    def acting(self, act: Act, facts: Facts) -> None:
        """Say what is about to be done."""

    def waiting(self, wait: Wait, facts: Facts) -> None:
        """Say what is waited for."""

    def failed(self, act: Act, reason: str, failures: int) -> None:
        """Say that a call failed and will be tried again."""

    def blind(self, reason: str) -> None:
        """Say that AWS did not answer and will be asked again."""

    def turning_back(self, reason: str, facts: Facts, blamed: tuple[str, ...]) -> None:
        """Say that the release is being undone, and why."""


@dataclass(frozen=True)
class Result:
    """How a release ended."""

    ending: Ending
    why: str
    record: Record | None
    facts: Facts


@dataclass(frozen=True)
class Clock:
    """Time as the loop has it: real, or virtual in a simulated cloud."""

    now: Callable[[], datetime]
    sleep: Callable[[float], None]


class Loop:
    """Runs one release of one env to its end."""

    def __init__(
        self,
        *,
        goal: Goal,
        poll_s: float,
        observer: Observer,
        hands: Hands,
        journal: Journal,
        clock: Clock,
        screen: Screen,
        lock: Lock | None = None,
    ) -> None:
        self._goal = goal
        self._poll_s = poll_s
        self._observer = observer
        self._hands = hands
        self._journal = journal
        self._clock = clock
        self._screen = screen
        self._lock = lock
        self._fresh: set[str] = set()
        self._blind = 0

    def run(self, record: Record) -> Result:
        """Go on with a release until it ends.

        :raises NotRestored: the lock or the record is somebody else's by now.
        """
        while True:
            facts = self._look(record)
            if facts is None:
                continue
            decision = decide(self._goal, record, facts)
            if isinstance(decision, Act):
                record = self._act(decision, record, facts)
            elif isinstance(decision, Wait):
                record = self._wait(decision, record, facts)
            elif isinstance(decision, Undo):
                self._screen.turning_back(decision.reason, facts, decision.blamed)
                record = self._write(replace(record, undo=decision.reason, failures=0))
            else:
                return self._end(decision, record, facts)

    def _look(self, record: Record) -> Facts | None:
        """Look, or wait a while and return None when AWS does not answer.

        :raises NotRestored: it did not for many looks; the record stays, so that the same command goes on.
        """
        try:
            facts = self._observer.look(record.id, tuple(sorted(self._fresh)), record.image_id)
        except Exit:
            raise
        except Exception as error:
            self._blind += 1
            if self._blind > MAX_BLIND:
                raise NotRestored(f"AWS cannot be read: {_one_line(error)}; the same command goes on") from error
            self._screen.blind(_one_line(error))
            self._clock.sleep(self._poll_s)
            return None
        self._blind = 0
        return facts

    def _act(self, act: Act, record: Record, facts: Facts) -> Record:
        record = self._write(intend(act, record, facts))
        self._screen.acting(act, facts)
        try:
            done = self._hands.do(act, record)
        except (KeyboardInterrupt, NotRestored):
            raise
        except Exception as error:
            return self._fail(act, record, facts, error)
        self._observer.forget()
        self._fresh |= set(done.launched) - set(record.launched)
        return self._write(replace(done, failures=0))

    def _fail(self, act: Act, record: Record, facts: Facts, error: Exception) -> Record:
        """Decide anew after a failed call: facts may say that it worked, or that another is right now."""
        reason = _one_line(error)
        record = replace(record, failures=record.failures + 1)
        self._screen.failed(act, reason, record.failures)
        if record.undo is None and _is_final(error):
            self._screen.turning_back(reason, facts, ())
            record = replace(record, undo=reason, failures=0)
        else:
            self._clock.sleep(self._poll_s)
        self._observer.forget()
        return self._write(record)

    def _wait(self, wait: Wait, record: Record, facts: Facts) -> Record:
        if record.mark(wait.mark) is None:
            record = self._write(replace(record, marks=(*record.marks, (wait.mark, wait.since))))
        self._screen.waiting(wait, facts)
        self._clock.sleep(self._poll_s)
        return record

    def _write(self, record: Record) -> Record:
        if self._lock is not None and self._lock.lost:
            raise NotRestored(f"another process took over the release of {record.env}; look with: fab status")
        if not self._journal.write(record):
            raise NotRestored(f"another process goes on with the release of {record.env}; look with: fab status")
        return record

    def _end(self, decision: Done | Undone | Stuck | Refuse, record: Record, facts: Facts) -> Result:
        if isinstance(decision, Done):
            ending, why = Ending.DONE, decision.summary
        elif isinstance(decision, Undone):
            ending, why = Ending.RESTORED, decision.reason
        else:
            # The record stays: the same command goes on from here once a person has mended the cause.
            return Result(Ending.NOT_RESTORED, decision.reason, record, facts)
        self._journal.close(record, ending, why, self._clock.now())
        return Result(ending, why, record, facts)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help: a stage refused, or a tool of the project failed."""
    return isinstance(error, Exit)


def real_clock() -> Clock:
    """Return the clock on the wall."""
    return Clock(now=lambda: datetime.now(UTC), sleep=time.sleep)
