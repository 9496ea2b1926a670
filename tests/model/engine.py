"""The release engine's turn, as a step from state to state: what fabfile/engine/loop.py does with a cloud and a record.

`begin`, `decide`, `intend` and `resumed` are the engine's own. What is mirrored here is the little around them: which
record is written when, and what a failed call or a death leaves of it; tests/model/test_mirror.py runs both side by
side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

from fabfile.engine.loop import _without_zone
from fabfile.engine.mishap import Mishap
from fabfile.engine.operate import Order, resumed
from fabfile.plan import decide as deciding
from fabfile.plan import release as acts
from fabfile.plan.begin import begin
from fabfile.plan.ledger import intend, note, settled, withdrawn
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Act, Decision, Goal, Kind, Record, Undo, Wait
from fabfile.plan.sides import is_committed

from .calls import Call, calls_of, make
from .numbered import Numbered
from .world import NEW, NOW, VERSIONS, Cloud, Nature, facts_of

LONG_AGO = NOW - timedelta(days=1)
# Seconds until the minute of a timed cutover: long before, when its fleet is started, prepared, due, and gone by.
HOURS = (3600, 55, 10, 0, -3600)
RELEASE = "r1"


class Turn(NamedTuple):
    """Where the engine is: about to look, or within an act with so many of its calls made.

    :param hour: how far the time has come to the moment of a timed cutover.
    :param busy: a call was refused because the group had moved, and nothing was done since.
    :param seen: what the look before showed, where facts must hold for two.
    :param was: within an act, the record before it was meant.
    """

    record: int
    act: int = -1
    made: int = 0
    hour: int = 0
    busy: bool = False
    seen: Cloud | None = None
    was: int = -1


@dataclass
class Engine:
    """One release, its records and acts known by number, so that a state is small and quickly compared."""

    goal: Goal
    nature: Nature
    kind: Kind = Kind.RELEASE

    def __post_init__(self) -> None:
        self.records: Numbered[Record] = Numbered()
        self.taken: list[frozenset[int]] = []
        self.acts: Numbered[Act] = Numbered()
        at = self.goal.at
        times = [NOW + timedelta(seconds=left_s) for left_s in HOURS]
        self.goals = [replace(self.goal, at=time) for time in times] if at is not None else [self.goal]
        self._decisions: Numbered[Decision] = Numbered()
        self._looks: dict[tuple[Cloud, int, int, Cloud | None], tuple[int, int]] = {}
        self._remembers = self.goal.confirmations > 1

    def start(self, cloud: Cloud) -> Turn:
        """Begin, as an operator's command does.

        :raises AssertionError: it is refused, or there is nothing to do.
        """
        facts = facts_of(cloud, self.nature)
        begun = begin(self.kind, VERSIONS[NEW], facts, release_id=RELEASE, env="prod", who="ann")
        assert isinstance(begun, Record), begun
        return self._arrive(cloud, begun, Turn(0))

    def decision(self, cloud: Cloud, turn: Turn) -> Decision:
        """Return what the engine does next where it looks."""
        return self._decisions[self._looks[cloud, turn.record, turn.hour, turn.seen][1]]

    def look(self, cloud: Cloud, turn: Turn) -> Turn:
        """Look and decide; what the loop then only writes down (turning back, the start of a wait) is written."""
        record, _, _, hour, busy, seen, _ = turn
        known = self._looks.get((cloud, record, hour, seen))
        if known is None:
            known = self._looks[cloud, record, hour, seen] = self._decide(cloud, turn)
            self._looks.setdefault((cloud, known[0], hour, seen), known)
        return Turn(known[0], -1, 0, hour, busy, seen)

    def look_again(self, cloud: Cloud, after: Cloud, turn: Turn) -> Turn:
        """Look after a while, in which a cloud may have become another."""
        return self.look(after, turn._replace(seen=cloud) if self._remembers else turn)

    def _decide(self, cloud: Cloud, turn: Turn) -> tuple[int, int]:
        facts, goal, record = facts_of(cloud, self.nature), self.goals[turn.hour], self.records[turn.record]
        if turn.seen is not None:
            facts = replace(facts, before=facts_of(turn.seen, self.nature))
        decision = deciding.decide(goal, record, facts)
        while isinstance(decision, Undo):
            record = changed(record, undo=decision.reason, cause=decision.cause, failures=0)
            decision = deciding.decide(goal, record, facts)
        if isinstance(decision, Wait):
            record = note(decision, record, facts)
        return self._numbered(record), self._decisions.number(decision)

    def _arrive(self, cloud: Cloud, record: Record, turn: Turn) -> Turn:
        return self.look(cloud, turn._replace(record=self._numbered(record)))

    def _numbered(self, record: Record) -> int:
        # The words of a reason change nothing; without them more states are equal.
        if record.undo not in (None, "undo") or record.evidence:
            record = changed(record, undo=record.undo and "undo", evidence=())
        if len(record.marks) > 1:
            record = changed(record, marks=tuple(sorted(record.marks)))
        number = self.records.number(record)
        if number == len(self.taken):
            self.taken.append(_numbers_in(record))
        return number

    def act(self, cloud: Cloud, turn: Turn, act: Act) -> Turn:
        """Write down what is about to be done."""
        record = intend(act, self.records[turn.record], facts_of(cloud, self.nature))
        seen = cloud if self._remembers else None
        return Turn(self._numbered(record), self.acts.number(act), 0, turn.hour, turn.busy, seen, turn.record)

    def call(self, turn: Turn) -> Call:
        """Return the call that comes next within an act."""
        return calls_of(self.acts[turn.act])[turn.made]

    def meant(self, turn: Turn) -> tuple[str, ...]:
        """Return the machines and settings that the calls to come within an act are about."""
        if turn.act < 0:
            return ()
        return tuple(each for call in calls_of(self.acts[turn.act])[turn.made :] for each in call.ids)

    def make(self, cloud: Cloud, turn: Turn) -> tuple[Cloud, Turn]:
        """Make the next call, learn from its answer, and look again where it was the act's last.

        :raises RefusedError: AWS does not do it.
        """
        act = self.acts[turn.act]
        calls = calls_of(act)
        cloud, ids = make(calls[turn.made], cloud, self.taken[turn.record])
        if turn.made + 1 < len(calls):
            return cloud, turn._replace(made=turn.made + 1)
        record = settled(act, _learnt(act, self.records[turn.record], ids))
        record = changed(record, failures=0) if record.failures else record
        return cloud, self._arrive(cloud, record, turn._replace(busy=False))

    def fail(self, cloud: Cloud, turn: Turn, mishap: Mishap = Mishap.FAILED) -> Turn:
        """Go on after a call that failed, or whose answer was lost."""
        record, act = self.records[turn.record], self.acts[turn.act]
        if mishap is Mishap.CONTRADICTION:
            record = withdrawn(act, record, self.records[turn.was], facts_of(cloud, self.nature))
        if mishap in (Mishap.BUSY, Mishap.CONTRADICTION) and not turn.busy:
            return self._arrive(cloud, record, turn._replace(busy=True))
        if mishap is Mishap.CAPACITY and isinstance(act, acts.LaunchInstances):
            record = _without_zone(record, act.zone, facts_of(cloud, self.nature))
            if record.barren:
                return self._arrive(cloud, record, turn)
        record = changed(record, failures=record.failures + 1)
        if mishap is Mishap.FINAL and record.undo is None and not is_committed(record):
            record = changed(record, undo="undo", failures=0)
        return self._arrive(cloud, record, turn)

    def resume(self, cloud: Cloud, turn: Turn) -> Iterator[tuple[str, Turn]]:
        """Yield how an operator may go on with what a dead process left: the same command, or --abort."""
        record = self.records[turn.record]
        for abort in (False, True):
            try:
                on = resumed(record, Order(record.kind, record.version, "ann", abort=abort))
            except Refusal:
                continue
            yield "abort" if abort else "resume", self._arrive(cloud, on, Turn(0, hour=turn.hour))

    def expire(self, cloud: Cloud, turn: Turn, wait: Wait) -> Turn | None:
        """Let a wait have lasted for as long as it may; None where it has no end."""
        if wait.name in ("at", "early"):
            return self.later(cloud, turn)
        record = self.records[turn.record]
        if (wait.until is None and wait.wake is None) or record.mark(wait.mark) == LONG_AGO:
            return None
        marks = tuple((name, LONG_AGO if name == wait.mark else at) for name, at in record.marks)
        return self.look_again(cloud, cloud, turn._replace(record=self._numbered(changed(record, marks=marks))))

    def later(self, cloud: Cloud, turn: Turn) -> Turn | None:
        """Let time come nearer to the moment of a timed cutover, or go past it; None when it has."""
        if turn.hour + 1 >= len(self.goals):
            return None
        after = turn._replace(hour=turn.hour + 1)
        return self.look_again(cloud, cloud, after) if turn.act < 0 else after


def changed(record: Record, **fields: object) -> Record:
    """Return a record with other fields: `dataclasses.replace`, several times quicker."""
    other = object.__new__(Record)
    other.__dict__.update(record.__dict__, **fields)
    return other


def _learnt(act: Act, record: Record, ids: tuple[str, ...]) -> Record:
    """Return the record as the engine's hands leave it after an act."""
    match act:
        case acts.BakeImage():
            return changed(record, image_id=f"ami-{NEW}")
        case acts.WriteTemplateVersion():
            return changed(record, template_version="2")
        case acts.Migrate():
            return changed(record, migrated=True)
        case acts.LaunchInstances():
            return changed(record, launched=tuple(dict.fromkeys((*record.launched, *ids))))
    return record


def _numbers_in(record: Record) -> frozenset[int]:
    found: set[int] = set()
    for value in (*vars(record).values(), record.before.protected):
        if isinstance(value, tuple):
            found.update(int(each[2:]) for each in value if isinstance(each, str) and each.startswith("i-"))
    return frozenset(found)
