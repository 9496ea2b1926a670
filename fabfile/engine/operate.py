"""From an operator's order to a release that has ended: lock, record, loop."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING

from ..plan.begin import begin, why_not_hooked, why_not_now, why_not_watched
from ..plan.fleet import Facts
from ..plan.freeze import read_windows, why_frozen
from ..plan.ledger import COMMITTED
from ..plan.outcome import NotRestored, Refusal, TooLate
from ..plan.past import why_bad
from ..plan.release import Done, Ending, Goal, Kind, Record, Refuse, Wish
from ..plan.serving import what_serves
from ..plan.wording import one_line
from .act import Hands, Works
from .claim import Stopwatch
from .journal import Journal
from .lock import Lock, held
from .lookout import Lookout
from .loop import Clock, Company, Loop, Result, Screen, Witness
from .observe import Asker
from .places import journal_of, name_of, serving_version, state_of, target_of
from .waiting import Turn
from .ways import ASIDE, was_put_aside, why_not_stage, why_too_late, why_unfinished

if TYPE_CHECKING:
    from ..plan.settings import Settings

__all__ = ["Errand", "Means", "Order", "journal_of", "operate", "serving_version", "state_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What an operator wants of an env: a version in service, or the release in progress undone.

    :param wish: how it is to go.
    :param wait_s: seconds to wait in line for another release to end.
    :param bad: whether a version that history knows as bad is meant.
    :param link: where the build that gave the order can be read.
    """

    kind: Kind
    version: str
    who: str
    abort: bool = False
    wish: Wish = field(default_factory=Wish)
    wait_s: float = 0.0
    bad: bool = False
    link: str | None = None

    @property
    def target(self) -> str:
        """Which version, as far as it is known: what to roll back to is found under the lock."""
        return self.version or "the version before"

    @property
    def doing(self) -> str:
        """What others in line are told of it."""
        if self.abort:
            return "putting back"
        return f"stage {self.target}" if self.wish.stage else f"{self.kind.value} {self.target}"


@dataclass(frozen=True)
class Means:
    """What an order is carried out with, in every group alike.

    :param works: what other stages do for one group's settings.
    :param screen: what shows the release of one group.
    :param witness: who looks for causes in one group; None looks for none.
    :param lacks: says why an order's version cannot be had, or None; asked when it is found under the lock.
    :param ahead: whether groups are looked at side by side; where time is virtual, one after another.
    """

    works: Callable[[Settings], Works]
    clock: Clock
    screen: Callable[[Settings], Screen]
    ask: Asker | None = None
    witness: Callable[[Settings], Witness] | None = None
    stop: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda _: None
    lacks: Callable[[Order], str | None] = lambda _: None
    ahead: bool = False


def operate(settings: Settings, order: Order, means: Means) -> Result:
    """Carry an order out in one group, or go on with it where another process left off.

    :raises Refusal: nothing was touched; the message says why and what to do.
    :raises Superseded: a newer release took our place in line; nothing was touched.
    :raises NotRestored: another process took over.
    """
    with locked(settings, order, means) as lock:
        order = with_target(settings, order, means)
        errand = Errand(settings, order, means, lock)
        begun = errand.foresee()
        if aside := errand.clear_the_way():
            if aside.ending is not Ending.RESTORED:
                return aside
            begun = errand.foresee()
        lock.dismiss()
        if isinstance(begun, Result):
            return begun
        loop = errand.loop(errand.write(begun), Company(stop=means.stop, link=order.link))
        try:
            return loop.run(begun)
        except NotRestored as lost:
            raise NotRestored(f"{lost}; {errand.last_seen()}") from lost


@contextmanager
def locked(settings: Settings, order: Order, means: Means) -> Iterator[Lock]:
    """Hold the group's lock; and where a release goes on that an earlier Headway began, that one's lock as well."""
    release = settings.release
    # What releases nothing takes nobody's place who would.
    supersedes = release.supersede and not order.abort and not order.wish.stage
    turn = Turn(order.kind, order.target, supersedes=supersedes, first=order.abort, say=means.say, stop=means.stop)
    hold = partial(
        held,
        state_of(settings),
        who=order.who,
        doing=order.doing,
        ttl_s=release.lock_ttl_s,
        wait_s=order.wait_s,
        turn=turn,
        clock=Stopwatch(sleep=means.clock.sleep),
    )
    with hold(name_of(settings)) as lock:
        journal = journal_of(settings)
        journal.read()
        with hold(settings.group) if journal.is_former else nullcontext():
            yield lock


class Errand:
    """An order in one group, under its lock: what comes before the loop."""

    def __init__(self, settings: Settings, order: Order, means: Means, lock: Lock) -> None:
        self._settings = settings
        self._order = order
        self._means = means
        self._lock = lock
        self._journal = journal_of(settings)
        self._observer = Lookout(settings, means.clock.now, means.ask)
        self._is_new = False

    def clear_the_way(self) -> Result | None:
        """Put a staged fleet of another version back.

        That fleet serves nobody, and must keep nobody waiting.

        :returns: how that ended, which is well only if it is RESTORED; None where nothing was in the way.
        """
        record = self._journal.read()
        if record is None or not is_in_the_way(record, self._order):
            return None
        aside = self.write(put_aside(record, self._order))
        result = self.loop(aside, Company(stop=self._means.stop)).run(aside)
        self._observer = Lookout(self._settings, self._means.clock.now, self._means.ask)
        return result

    def write(self, record: Record) -> Record:
        """Write a record down before its loop begins.

        :raises Refusal: another process did so.
        :raises NotRestored: S3 did not take it, or did not say so; nothing else was touched.
        """
        try:
            is_ours = self._journal.write(record)
        except Exception as error:
            raise NotRestored(f"the record cannot be written: {one_line(error)}; the same command goes on") from error
        if not is_ours:
            env = record.env
            raise Refusal(f"another process just began a release of {env}; look with: fab status --env={env}")
        return record

    def withdraw(self) -> None:
        """Remove the record that was just written, of a release that began only now; one that goes on is kept."""
        if self._is_new:
            try:
                self._journal.sweep()
            except Exception:
                _log.debug("record not removed; the same command goes on", exc_info=True)

    def foresee(self) -> Record | Result:
        """Return the record to go on with, or the result where nothing is to be done; write nothing.

        What a release left that has ended is removed.

        :raises Refusal: nothing was touched; the message says why and what to do.
        """
        record, order = self._journal.read(), self._order
        if record is None:
            self._journal.sweep()
        if record is not None and record.env != (self._settings.env or ""):
            raise Refusal(why_unfinished(record))
        if record is not None and not is_in_the_way(record, order):
            return self._resume(record)
        if order.abort:
            raise Refusal(f"no release in progress in {self._settings.env}: nothing to put back")
        facts = self._observer.look()
        reason = why_not_begin(self._settings, order, self._journal, facts)
        if reason := reason or why_frozen_for(self._settings, order, facts):
            raise Refusal(reason)
        self._is_new = True
        begun = begin(
            order.kind,
            order.version,
            facts,
            release_id=secrets.token_hex(4),
            env=self._settings.env or "",
            who=order.who,
            wish=order.wish,
        )
        if isinstance(begun, Refuse):
            raise Refusal(begun.reason)
        if isinstance(begun, Done):
            return Result(Ending.DONE, begun.summary, None, facts)
        return begun

    def _resume(self, record: Record) -> Record:
        going, order = resumed(record, self._order), self._order
        if is_timed_anew(record, order):
            facts = self._observer.look(record)
            if reason := why_frozen_for(self._settings, order, facts) or why_not_now(order.wish, facts):
                raise Refusal(reason)
        return going

    def last_seen(self) -> str:
        """Say what served when somebody last looked."""
        seen = self._observer.last
        return f"when last looked at, {what_serves(seen)}" if seen else "nobody has looked at it yet"

    def has_done(self, record: Record) -> bool:
        """Whether this group has ended the release already that another group's record is of."""
        newest = next(self._journal.history(), None)
        return (
            newest is not None
            and (newest.version, newest.kind, newest.ending) == (record.version, record.kind, Ending.DONE)
            and newest.ended_at >= record.started_at
        )

    @property
    def lookout(self) -> Lookout:
        """Who looks for this group."""
        return self._observer

    def loop(self, record: Record, company: Company) -> Loop:
        """Make the loop of a record."""
        means, settings = self._means, self._settings
        return Loop(
            goal=goal_of(settings, record),
            poll_s=settings.release.poll_s,
            observer=self._observer,
            hands=Hands(settings, means.works(settings)),
            journal=self._journal,
            clock=means.clock,
            screen=means.screen(settings),
            lock=self._lock,
            witness=means.witness(settings) if means.witness else None,
            company=company,
        )


def why_not_begin(settings: Settings, order: Order, journal: Journal, facts: Facts) -> str | None:
    """Return why a new order is refused before anything is touched, or None. For a freeze: :func:`why_frozen_for`."""
    release = settings.release
    if release.launch_hooks == "refuse" and (reason := why_not_hooked(facts)):
        return reason
    if reason := why_not_now(order.wish, facts) or why_not_watched(release.alarms, facts):
        return reason
    if order.kind is Kind.ROLLBACK and not order.bad:
        return why_bad(journal.history(), order.version)
    return None


def why_frozen_for(settings: Settings, order: Order, facts: Facts) -> str | None:
    """Return why an order's moment lies in a freeze window, or None. A way back is never frozen."""
    if order.kind is Kind.ROLLBACK or order.wish.override is not None:
        return None
    return why_frozen(read_windows(settings.release.freeze), order.wish.at or facts.at)


def is_timed_anew(record: Record, order: Order) -> bool:
    """Whether an order to go on says anew when the new version is to serve, and nothing of it serves yet."""
    has_begun = bool(record.attached or record.recalled)
    goes_forward = not order.abort and not order.wish.stage and record.undo is None
    is_moved = order.wish.at is not None and order.wish.at != record.wish.at
    return goes_forward and not has_begun and (record.staged or is_moved)


def goal_of(settings: Settings, record: Record) -> Goal:
    """Say how a release is to go. A rollback never migrates, and is in no mood for canaries.

    The newer schema serves the older version too.
    """
    release, wish = settings.release, record.wish
    forward = record.kind is Kind.RELEASE
    return Goal(
        version=record.version,
        confirmations=release.confirmations,
        warm_within_s=release.warm_within_s,
        healthy_within_s=release.healthy_within_s,
        drain_within_s=release.drain_within_s,
        soak_s=_first(wish.soak_s, release.soak_s),
        keep_previous=release.keep_previous,
        migrates=forward and settings.database is not None and settings.database.url is not None,
        batch=wish.batch or (release.batch if forward else None),
        canary=(release.canary if wish.canary is None else wish.canary) if forward else 0,
        canary_s=_first(wish.canary_s, release.canary_s),
        at=wish.at,
        stage=wish.stage,
    )


def _first(wished: float | None, otherwise: float) -> float:
    return otherwise if wished is None else wished


def with_target(settings: Settings, order: Order, means: Means) -> Order:
    """Return an order with its version. Under the lock: what went before may have changed what serves.

    :raises Refusal: there is nothing to roll back to.
    """
    if order.version or order.abort:
        return order
    order = replace(order, version=target_of(settings))
    if reason := means.lacks(order):
        raise Refusal(reason)
    return order


def resumed(record: Record, order: Order) -> Record:
    """Go on with a record, with fresh patience: what a dead process waited for says nothing about now.

    :raises TooLate: the order is to undo what cannot be undone any more.
    :raises Refusal: the order is another one than the record's.
    """
    committed = record.mark(COMMITTED)
    if order.abort:
        if committed and record.undo is None:
            raise TooLate(why_too_late(record))
        record = replace(record, undo=record.undo or f"put back by {order.who}")
    elif (record.version, record.kind) != (order.version, order.kind):
        raise Refusal(why_unfinished(record))
    elif order.wish.stage and (reason := why_not_stage(record)):
        raise Refusal(reason)
    marks = ((COMMITTED, committed),) if committed else ()
    return replace(record, failures=0, marks=marks, staged=False, wish=_joined(record.wish, order.wish))


def _joined(before: Wish, now: Wish) -> Wish:
    """Go on as was wished before, except for what is wished now; to stage is over when it is not asked for again."""
    said = {field.name: getattr(now, field.name) for field in fields(Wish)}
    return replace(before, **{name: value for name, value in said.items() if value is not None})


def is_in_the_way(record: Record, order: Order) -> bool:
    """Whether a staged fleet of another version has to be put back, or is being put back, before an order can begin."""
    another = (record.version, record.kind) != (order.version, order.kind)
    if was_put_aside(record):
        return another and not order.abort
    return record.staged and another and not order.abort and record.undo is None


def put_aside(record: Record, order: Order) -> Record:
    """Turn a staged fleet's record round, to make way for an order of another version."""
    return replace(record, undo=f"{order.version}{ASIDE}", staged=False, failures=0, marks=())
