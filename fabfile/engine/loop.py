"""The only loop: observe, decide, record, act, wait; until the goal is reached or everything is back.

Resuming is not a feature of it, it is what it does each time round: nothing but the record and the facts is carried
from one turn to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..plan.decide import decide
from ..plan.fleet import Facts, Gate
from ..plan.ledger import intend, note, settled, withdrawn
from ..plan.outcome import NotRestored
from ..plan.release import (
    Act,
    Decision,
    Done,
    Ending,
    EnterStandby,
    ExitStandby,
    Goal,
    LaunchInstances,
    PointGroup,
    PrepareGroup,
    Protect,
    Record,
    Refuse,
    Staged,
    Stuck,
    Undo,
    Undone,
    Wait,
)
from ..plan.sides import is_committed
from ..plan.wording import one_line
from .act import Hands
from .journal import Journal
from .mishap import Mishap, judge
from .observe import Observer

if TYPE_CHECKING:
    from ..plan.evidence import Evidence
    from .lock import Lock

# Turns in a row, and time, that AWS may leave without an answer, each call retried by boto3 already.
MAX_SILENT = 20
MAX_SILENT_S = 900
# Calls in a row that may meet a busy AWS, or a group that moved meanwhile, before that counts as a failure.
MAX_BUSY = 20
# With the moment far away, looks are few; the group is watched again in time.
FAR_S = 600
FAR_POLL_S = 60
# What brings users back to a fleet that serves: done before anybody asks for the cause.
RESCUE = (PointGroup, PrepareGroup, ExitStandby, Protect, EnterStandby)


class SilenceError(Exception):
    """What has to be read or written before anything else did not work, for now."""


class Screen(Protocol):
    """What the loop tells whoever is watching."""

    def acting(self, act: Act, facts: Facts) -> None:
        """Say what is about to be done."""

    def waiting(self, wait: Wait, facts: Facts) -> None:
        """Say what is waited for."""

    def failed(self, act: Act, reason: str, failures: int) -> None:
        """Say that a call failed and will be tried again."""

    def blind(self, reason: str) -> None:
        """Say that AWS could not be read, or our record not written, and that it will be tried again."""

    def turning_back(self, reason: str, facts: Facts, blamed: tuple[str, ...]) -> None:
        """Say that the release is being undone, and why."""


class Witness(Protocol):
    """Whoever looks for the cause of a failure while it can still be seen."""

    def gather(self, facts: Facts, reason: str, blamed: tuple[str, ...], since: datetime) -> Evidence:
        """Return what is found; never raises."""


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


@dataclass(frozen=True)
class Company:
    """The world around one loop: who may stop it, and the other groups that it is released together with."""

    stop: Callable[[], bool] = lambda: False
    shut: Callable[[], Mapping[Gate, str]] = dict
    called_off: Callable[[], str | None] = lambda: None
    link: str | None = None


@dataclass(kw_only=True)
class Loop:
    """Runs one release of one group to its end.

    :param record: what was written down last, once it runs.
    :param decision: what was decided last.
    """

    goal: Goal
    poll_s: float
    observer: Observer
    hands: Hands
    journal: Journal
    clock: Clock
    screen: Screen
    lock: Lock | None = None
    witness: Witness | None = None
    company: Company = field(default_factory=Company)
    record: Record | None = field(default=None, init=False)
    decision: Decision | None = field(default=None, init=False)
    _silent: int = field(default=0, init=False)
    _ended: tuple[Callable[[], None], Result] | None = field(default=None, init=False)
    _silent_since: datetime | None = field(default=None, init=False)
    _busy: int = field(default=0, init=False)
    _seen: Facts | None = field(default=None, init=False)
    _sick: Facts | None = field(default=None, init=False)

    def run(self, record: Record) -> Result:
        """Go on with a release until it ends.

        :raises NotRestored: the lock or the record is somebody else's by now.
        """
        steps = self.steps(record)
        while True:
            try:
                self.clock.sleep(next(steps))
            except StopIteration as end:
                result: Result = end.value
                return result

    def steps(self, record: Record) -> Generator[float, None, Result]:
        """Go on with a release, step by step; yields the seconds to let pass before the next one.

        :raises NotRestored: the lock or the record is somebody else's by now.
        """
        while True:
            try:
                turn = self._turn(record)
            except SilenceError as silence:
                record = self._bear(silence, record)
                if self.company.stop() and self._seen is not None:
                    return Result(Ending.STOPPED, f"while {silence}", record, self._seen)
                yield self.poll_s
                continue
            self._silent, self._silent_since = 0, None
            if isinstance(turn, Result):
                return turn
            record, pause_s = turn
            if pause_s:
                yield pause_s

    def _turn(self, record: Record) -> Result | tuple[Record, float]:
        """Look, decide, and do it; returns the record and the seconds to let pass, or how it ended."""
        self.record = record
        if self._ended:
            return self._close(*self._ended)
        facts = self._seen = self._look(record)
        decision = self.decision = self._decide(record, facts)
        if self.company.stop() and not isinstance(decision, Done | Undone):
            return Result(Ending.STOPPED, _doing(decision), record, facts)
        if record.owed is not None and not isinstance(decision, RESCUE):
            return self._gather(record, facts), 0
        if isinstance(decision, Act):
            return self._act(decision, record, facts)
        if isinstance(decision, Wait):
            return self._begin_wait(decision, record, facts), self._pause_s(decision)
        if isinstance(decision, Undo):
            return self._turn_back(decision, record, facts), 0
        return self._end(decision, record, facts)

    def _bear(self, silence: SilenceError, record: Record) -> Record:
        """Go on from what was written last, as a process that died here would.

        :raises NotRestored: that was tried many times; the record stays, so that the same command goes on.
        """
        self._silent += 1
        now = self.clock.now()
        since = self._silent_since = self._silent_since or now
        is_early = self.goal.at is not None and now < self.goal.at
        if self._silent > MAX_SILENT and (now - since).total_seconds() > MAX_SILENT_S and not is_early:
            raise NotRestored(f"{silence}; the same command goes on") from silence
        self.screen.blind(str(silence))
        return self.record or record

    def _decide(self, record: Record, facts: Facts) -> Decision:
        if record.undo is None and not is_committed(record) and (reason := self.company.called_off()):
            return Undo(reason)
        return decide(self.goal, record, facts)

    def _look(self, record: Record) -> Facts:
        try:
            return self.observer.look(record, self.company.shut())
        except Exception as error:
            raise SilenceError(f"AWS cannot be read: {one_line(error)}") from error

    def _act(self, act: Act, record: Record, facts: Facts) -> tuple[Record, float]:
        """Do what was decided; returns the record, and the seconds to let pass."""
        before, record = record, self._write(intend(act, record, facts))
        self.screen.acting(act, facts)
        self._claim(record)  # to write may have taken longer than others wait for a sign of life
        try:
            done = self.hands.do(act, record)
        except (KeyboardInterrupt, NotRestored):
            raise
        except Exception as error:
            if self.company.stop():  # what was stopped together with us has not failed
                return record, 0
            if judge(error) is Mishap.CONTRADICTION:
                record = self._write(withdrawn(act, record, before, self._look(record)))
            return self._fail(act, record, facts, error), self.poll_s
        self._busy = 0
        if isinstance(act, LaunchInstances):
            self.observer.expect(set(done.launched) - set(record.launched), act.image_id, record.id)
        return self._write(replace(settled(act, done), failures=0, trouble="")), 0

    def _fail(self, act: Act, record: Record, facts: Facts, error: Exception) -> Record:
        """Decide anew after a failed call: facts may say that it worked, or that another is right now."""
        reason, mishap = one_line(error), judge(error)
        if mishap in (Mishap.BUSY, Mishap.CONTRADICTION) and self._busy < MAX_BUSY:
            self._busy += 1
            self.screen.failed(act, reason, record.failures)
            return record
        if mishap is Mishap.CAPACITY and isinstance(act, LaunchInstances):
            record = _without_zone(record, act.zone, facts)
            if record.barren:
                self.screen.failed(act, reason, record.failures)
                return self._write(record)
        record = replace(record, failures=record.failures + 1, trouble=reason)
        self.screen.failed(act, reason, record.failures)
        if record.undo is None and mishap is Mishap.FINAL and not is_committed(record):
            return self._turn_back(Undo(reason), record, facts)
        return self._write(record)

    def _begin_wait(self, wait: Wait, record: Record, facts: Facts) -> Record:
        noted = note(wait, record, facts)
        self.screen.waiting(wait, facts)
        return record if noted == record else self._write(noted)

    def _pause_s(self, wait: Wait) -> float:
        """Look again after the usual while, or right at the moment that is waited for."""
        if wait.wake is None:
            return self.poll_s
        left_s = max((wait.wake - self.clock.now()).total_seconds(), 0.01)
        return min(left_s, FAR_POLL_S if left_s > FAR_S else self.poll_s)

    def _turn_back(self, undo: Undo, record: Record, facts: Facts) -> Record:
        """Write down that the release is to be undone; the cause is looked for once the old fleet is on its way."""
        self.screen.turning_back(undo.reason, facts, undo.blamed)
        self._busy, self._sick = 0, facts
        return self._write(replace(record, undo=undo.reason, cause=undo.cause, failures=0, owed=undo.blamed))

    def _gather(self, record: Record, facts: Facts) -> Record:
        """Write down what can be seen of the cause before it is taken away."""
        seen = self._witness_lines(record.undo or "", record.owed or (), record, self._sick or facts)
        return self._write(replace(record, evidence=seen, owed=None))

    def _witness_lines(self, reason: str, blamed: tuple[str, ...], record: Record, facts: Facts) -> tuple[str, ...]:
        return self.witness.gather(facts, reason, blamed, record.started_at).lines if self.witness else ()

    def _claim(self, record: Record) -> None:
        """Make sure that this release is still ours."""
        if self.lock is not None and self.lock.lost:
            if missed := self.lock.missed:
                raise SilenceError(f"the lock of {record.env} cannot be renewed: {missed}")
            raise NotRestored(f"another process took over the release of {record.env}; {_where(record)}")

    def _write(self, record: Record) -> Record:
        self._claim(record)
        try:
            written = self.journal.write(record)
        except Exception as error:
            raise SilenceError(f"the record cannot be written: {one_line(error)}") from error
        if not written:
            raise NotRestored(f"another process goes on with the release of {record.env}; {_where(record)}")
        self.record = record
        return record

    def _end(self, decision: Done | Undone | Staged | Stuck | Refuse, record: Record, facts: Facts) -> Result:
        if isinstance(decision, Staged):
            return Result(Ending.STAGED, decision.summary, self._write(replace(record, staged=True)), facts)
        if isinstance(decision, Stuck):
            seen = self._witness_lines(decision.reason, decision.blamed, record, facts)
            record = self._write(replace(record, evidence=seen or record.evidence))
        if not isinstance(decision, Done | Undone):
            # The record stays: the same command goes on from here once a person has mended the cause.
            return Result(Ending.NOT_RESTORED, decision.reason, record, facts)
        if isinstance(decision, Done):
            ending, why = Ending.DONE, decision.summary
        else:
            ending, why = Ending.RESTORED, decision.reason
        self._claim(record)
        at, reason = self.clock.now(), record.cause or None
        close = partial(self.journal.close, record, ending, why, at, reason=reason, link=self.company.link)
        self._ended = close, Result(ending, why, record, facts)
        return self._close(*self._ended)

    @staticmethod
    def _close(close: Callable[[], None], result: Result) -> Result:
        """Write down how it ended. It may stand in history from the first try on: no more is decided."""
        try:
            close()
        except Exception as error:
            raise SilenceError(f"{result.why}; but history cannot be written: {one_line(error)}") from error
        return result


def _without_zone(record: Record, zone: str, facts: Facts) -> Record:
    """Leave a zone without capacity to the others, as the group itself would; with none left, begin anew."""
    barren = {*record.barren, zone}
    left = set(facts.group.subnets) - barren
    return replace(record, barren=tuple(sorted(barren)) if left else (), short=record.short + 1)


def _where(record: Record) -> str:
    return f"look with: fab status --env={record.env}"


def _doing(decision: Decision) -> str:
    """Say in a word where a release was stopped."""
    if isinstance(decision, Wait):
        return f"while it waited for {decision.what}"
    return f"before the next step ({type(decision).__name__})"


def real_clock() -> Clock:
    """Return the clock on the wall."""
    return Clock(now=lambda: datetime.now(UTC), sleep=time.sleep)
