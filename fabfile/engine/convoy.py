"""Several groups released as one: each by its own loop, in turns, and all put back if one fails.

Gates keep them together. No group serves the new version before all of them are warm, one follows another only once
that one has proven itself, and none lets its old instances go before all serve, and have looked once more since: until
then all of them can go back. From then on none can.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from ..plan.fleet import Gate
from ..plan.ledger import COMMITTED
from ..plan.outcome import NotRestored, Refusal, TooLate
from ..plan.release import Done, Ending, Record, Wait
from ..plan.serving import what_serves
from ..plan.sides import is_committed
from ..plan.wording import one_line
from .lookout import Lookout
from .loop import Clock, Company, Loop, Result
from .operate import Errand, Means, Order, locked, operate, with_target
from .ways import why_too_late

if TYPE_CHECKING:
    from ..plan.settings import Settings

_log = logging.getLogger(__name__)

TICK_S = 0.1


def groups_of(settings: Settings) -> list[Settings]:
    """Return the settings of each group of an env, in the order that they are released in."""
    release = settings.release
    if not release.groups:
        return [settings]
    return [
        settings.model_copy(
            update={
                "region": place.region or settings.region,
                "release": release.model_copy(update={"group": place.group, "groups": {}}),
            }
        )
        for place in release.groups.values()
    ]


def names_of(groups: Sequence[Settings]) -> list[str]:
    """Return what each group is called: by its own name, and by its region too where another has the same."""
    count = Counter(each.group for each in groups)
    return [each.group if count[each.group] == 1 else f"{each.group} in {each.region}" for each in groups]


def operate_all(settings: Settings, order: Order, means: Means) -> list[Result]:
    """Carry an order out in all groups of an env, or go on with it where another process left off.

    :raises Refusal: nothing was touched in any group.
    :raises NotRestored: a group could not be put back, or another process took over; the others are as they were.
    """
    groups = groups_of(settings)
    if len(groups) == 1:
        return [operate(groups[0], order, means)]
    with ExitStack() as stack:
        # All take the locks in the same order, so that two convoys never wait for each other.
        in_order = sorted(range(len(groups)), key=lambda number: (groups[number].group, groups[number].region))
        locks = {number: stack.enter_context(locked(groups[number], order, means)) for number in in_order}
        order = with_target(groups[0], order, means)
        errands = [Errand(each, order, means, locks[number]) for number, each in enumerate(groups)]
        begun = _begin(errands, order)
        asides = []
        for errand in errands:
            if aside := errand.clear_the_way():
                if aside.ending is not Ending.RESTORED:
                    return [aside]
                asides.append(aside)
        if asides:
            begun = _begin(errands, order)
        for lock in locks.values():
            lock.dismiss()
        is_bound = _is_bound(errands, begun)
        convoy = Convoy(means.clock, together=settings.release.together, bound=is_bound, ahead=means.ahead)
        _write(errands, begun)
        for name, errand, start in zip(names_of(groups), errands, begun, strict=True):
            if isinstance(start, Result):
                convoy.join_ended(name, start)
            elif start is not None:
                convoy.join(name, errand.loop(start, convoy.company(name, order, means)), start, errand.lookout)
        return convoy.run()


def _begin(errands: Sequence[Errand], order: Order) -> list[Record | Result | None]:
    """Begin in every group, or refuse before any is touched. To put back concerns those alone that have begun.

    :raises TooLate: one group is past the point where it can be put back, so that none is.
    """
    begun: list[Record | Result | None] = []
    refused: Refusal | None = None
    for errand in errands:
        try:
            begun.append(errand.foresee())
        except TooLate:
            raise
        except Refusal as refusal:
            if not order.abort:
                raise
            refused = refusal
            begun.append(None)
    records = [each for each in begun if isinstance(each, Record)]
    if refused is not None and not records:
        raise refused
    if order.abort and _is_bound(errands, begun):
        raise TooLate(why_too_late(records[0]))
    return begun


def _write(errands: Sequence[Errand], begun: Sequence[Record | Result | None]) -> None:
    """Write down what begins in every group, or in none."""
    with ExitStack() as taken_back:
        for errand, start in zip(errands, begun, strict=True):
            if isinstance(start, Record):
                errand.write(start)
                taken_back.callback(errand.withdraw)
        taken_back.pop_all()


def _is_bound(errands: Sequence[Errand], begun: Sequence[Record | Result | None]) -> bool:
    """Whether a group has ended the very release already that another one is still at."""
    going = [each for each in begun if isinstance(each, Record)]
    return bool(going) and any(
        not isinstance(each, Record) and errand.has_done(going[0]) for each, errand in zip(begun, errands, strict=True)
    )


@dataclass
class Traveller:
    """One group on its way.

    :param reached: the gates that it has stood at: what opens one for the others stays open.
    :param agrees: whether its newest look found it at the last gate, all others being there before.
    """

    group: str
    loop: Loop | None
    steps: Generator[float, None, Result] | None
    due: datetime
    reached: set[Gate] = field(default_factory=set)
    agrees: bool = False
    lookout: Lookout | None = None
    result: Result | None = None
    failure: NotRestored | None = None

    @property
    def is_over(self) -> bool:
        """Whether it goes on no more."""
        return self.result is not None or self.failure is not None

    @property
    def is_through(self) -> bool:
        """Whether it serves the new version for good, so that the others can only follow."""
        record = self.loop.record if self.loop else None
        if record is None or record.undo is not None:
            return False
        return is_committed(record) or (self.loop is not None and isinstance(self.loop.decision, Done))

    @property
    def trouble(self) -> str | None:
        """Why the others must turn back as well, or None."""
        if self.is_through:
            return None
        if self.failure is not None:
            return str(self.failure)
        if self.result is not None:
            return self.result.why if self.result.ending in (Ending.RESTORED, Ending.NOT_RESTORED) else None
        return self.loop.record.undo if self.loop and self.loop.record else None

    @property
    def end(self) -> str:
        """How it ended, and what serves, in one line."""
        if self.result is not None:
            return f"{self.group}: {self.result.ending.value}: {self.result.why}; {what_serves(self.result.facts)}"
        seen = self.lookout.last if self.lookout else None
        last = f"; when last looked at, {what_serves(seen)}" if seen else ""
        return f"{self.group}: {self.failure}{last}"

    def look_ahead(self) -> None:
        """Begin its next look."""
        if self._looks_ahead and self.lookout is not None and self.loop is not None:
            self.lookout.look_ahead(self.loop.record)

    def has_looked(self, within_s: float = 0.0) -> bool:
        """Whether that look is there, after so many seconds at the latest."""
        return not self._looks_ahead or self.lookout is None or self.lookout.has_looked(within_s)

    @property
    def _looks_ahead(self) -> bool:
        """Not at first: the first look makes its clients, which boto3 makes one at a time."""
        return self.lookout is not None and self.lookout.last is not None

    def note(self, others: Iterable[Traveller]) -> None:
        """Remember which gate its newest look found it at."""
        decision = self.loop.decision if self.loop else None
        at = {gate for gate in Gate if isinstance(decision, Wait) and decision.name == gate.mark}
        together = all(Gate.COMMIT in each.reached for each in (self, *others))
        self.agrees = Gate.COMMIT in at and together
        self.reached |= at
        record = self.loop.record if self.loop else None
        if record is not None and (record.attached or record.recalled):
            self.reached.add(Gate.CUTOVER)
        if self.is_through:
            self.reached = set(Gate)

    def commit(self, at: datetime) -> None:
        """Go on as one that cannot turn back by itself any more."""
        record = self.loop.record if self.loop else None
        if self.loop is None or record is None or record.undo is not None or is_committed(record) or self.is_over:
            return
        record = self.loop.record = replace(record, marks=(*record.marks, (COMMITTED, at)))
        self.steps = self.loop.steps(record)
        self.reached = set(Gate)


class Convoy:
    """Groups that are released as one."""

    def __init__(self, clock: Clock, *, together: bool, bound: bool = False, ahead: bool = False) -> None:
        """Prepare to set out.

        :param together: whether all are cut over at once.
        :param bound: whether one has ended this very release already, so that the others can only follow.
        :param ahead: whether to look at all of them side by side, so that a slow one keeps nobody waiting.
        """
        self._ahead = ahead
        self._clock = clock
        self._together = together
        self._bound = bound
        self._travellers: dict[str, Traveller] = {}

    def join(self, group: str, loop: Loop, record: Record, lookout: Lookout) -> None:
        """Take a group along."""
        loop.record = record
        self._travellers[group] = Traveller(group, loop, loop.steps(record), self._clock.now(), lookout=lookout)

    def join_ended(self, group: str, result: Result) -> None:
        """Take a group along that has nothing left to do."""
        self._travellers[group] = Traveller(group, None, None, self._clock.now(), set(Gate), result=result)

    def company(self, group: str, order: Order, means: Means) -> Company:
        """Return the world around the loop of one group."""
        return Company(
            stop=means.stop,
            shut=lambda: self._shut(group),
            called_off=lambda: self._called_off(group),
            link=order.link,
        )

    def run(self) -> list[Result]:
        """Let the groups take turns until each has ended.

        :raises NotRestored: one of them could not go on.
        """
        self._bind()
        while going := [each for each in self._travellers.values() if each.steps and not each.is_over]:
            turn = self._turn(going)
            if turn is not None:
                self._step(turn)
                self._bind()
                self._turn_staged_back()
        if any(each.failure for each in self._travellers.values()):
            raise NotRestored("\n".join(each.end for each in self._travellers.values()))
        return [each.result for each in self._travellers.values() if each.result]

    def _turn(self, going: Sequence[Traveller]) -> Traveller | None:
        """Return whose turn it is; None when it is nobody's after a moment."""
        first = min(going, key=lambda each: each.due)
        wait_s = (first.due - self._clock.now()).total_seconds()
        if not self._ahead:
            self._clock.sleep(max(wait_s, 0.0))
            return first
        due = [each for each in going if each.due <= self._clock.now()]
        for each in due:
            each.look_ahead()
        ready = [each for each in due if each.has_looked()]
        if not due:
            self._clock.sleep(min(wait_s, TICK_S))
        elif not ready:
            due[0].has_looked(TICK_S)
        return min(ready, key=lambda each: each.due, default=None)

    def _turn_staged_back(self) -> None:
        """Have a warm fleet turn back as well when another group does: it is no end of its own."""
        for each in self._travellers.values():
            staged = each.result is not None and each.result.ending is Ending.STAGED
            if staged and self._called_off(each.group) and each.loop and each.loop.record:
                record = each.loop.record = replace(each.loop.record, staged=False)
                each.result, each.steps, each.due = None, each.loop.steps(record), self._clock.now()

    def _bind(self) -> None:
        """Once one group has let its old instances go, have none of the others turn back by itself any more."""
        self._bound = self._bound or any(each.is_through for each in self._travellers.values())
        if self._bound:
            for each in self._travellers.values():
                each.commit(self._clock.now())

    def _step(self, traveller: Traveller) -> None:
        """Let one group go on to its next pause. Whatever it stumbles over is its own failure: the others turn back."""
        assert traveller.steps is not None  # noqa: S101 - run() asks only those that go on
        assert traveller.loop is not None  # noqa: S101 - who has steps has a loop
        before = traveller.loop.decision
        try:
            pause_s = next(traveller.steps)
        except StopIteration as end:
            traveller.result = end.value
            if end.value.ending is Ending.DONE:
                traveller.reached = set(Gate)
            return
        except Exception as error:
            _log.debug("group %s", traveller.group, exc_info=True)
            traveller.failure = _failure(error)
            return
        if traveller.loop.decision is not before:  # else AWS could not be read
            traveller.note(self._others(traveller.group))
        traveller.due = self._clock.now() + timedelta(seconds=pause_s)

    def _others(self, group: str) -> list[Traveller]:
        return [each for each in self._travellers.values() if each.group != group]

    def _shut(self, group: str) -> Mapping[Gate, str]:
        """Name the gates that are not open for a group, with what it waits for."""
        shut: dict[Gate, str] = {}
        others = self._others(group)
        serving = [each.group for each in others if Gate.COMMIT not in each.reached]
        if serving:
            shut[Gate.COMMIT] = f"{', '.join(serving)} to serve the new version"
        elif unsure := [each.group for each in others if not each.is_through and not each.agrees]:
            shut[Gate.COMMIT] = f"{', '.join(unsure)} to be looked at once more"
        cold = [each.group for each in others if Gate.CUTOVER not in each.reached]
        ahead = [each.group for each in self._ahead_of(group) if Gate.COMMIT not in each.reached]
        if cold:
            shut[Gate.CUTOVER] = f"{', '.join(cold)} to be warm"
        elif ahead and not self._together:
            shut[Gate.CUTOVER] = f"{', '.join(ahead)} to be cut over first"
        return shut

    def _ahead_of(self, group: str) -> list[Traveller]:
        names = list(self._travellers)
        return [self._travellers[name] for name in names[: names.index(group)]]

    def _called_off(self, group: str) -> str | None:
        """Return why a group must turn back because of another one, or None."""
        for each in self._travellers.values():
            if each.group != group and (trouble := each.trouble):
                return f"{each.group} failed: {trouble}"
        return None


def _failure(error: Exception) -> NotRestored:
    """Say why a group cannot go on, whatever it was."""
    if isinstance(error, NotRestored):
        return error
    said = one_line(error) or "no message"
    return NotRestored(said if isinstance(error, Exit) else f"{type(error).__name__}: {said}")
