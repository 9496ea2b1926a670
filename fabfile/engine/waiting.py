"""How one waits in line: patiently, audibly, and without leaving anything behind."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from ..plan.outcome import Refusal, Superseded
from ..plan.release import Kind
from ..plan.wording import counted
from .claim import Stopwatch
from .line import PATIENCE, Line, Place, Standing, Ticket, goes_before, may_displace

POLL_S = 2.0
REPEAT_S = 300.0  # a CI server takes a build that says nothing for long for dead
Say = Callable[[str], None]

_log = logging.getLogger(__name__)


def _silent(_text: str) -> None:
    """Say nothing."""


def _never() -> bool:
    """Never stop."""
    return False


@dataclass(frozen=True)
class Turn:
    """What is waited for.

    :param kind: a rollback goes before the releases that wait.
    :param version: what is to be released, as others in line are told.
    :param supersedes: whether it takes the place of older releases that wait (`release.supersede`).
    :param say: told who holds the lock and the place in line, whenever either changes.
    :param stop: asked after each sleep whether to stop waiting.
    :param first: whether it goes before all others, and takes nobody's place.
    """

    kind: Kind = Kind.RELEASE
    version: str = ""
    supersedes: bool = False
    say: Say = _silent
    stop: Callable[[], bool] = _never
    first: bool = False


@dataclass(frozen=True)
class Blocked:
    """Why a lock was not to be had: who holds it, since when, doing what, and why that one counts as alive."""

    who: str
    since: str
    doing: str
    reason: str

    def __str__(self) -> str:
        return f"{self.who} is at it since {self.since[:19]}Z ({self.doing}; {self.reason})"


class Prize(Protocol):
    """What is waited for."""

    @property
    def uncertain(self) -> bool:
        """Whether it may be ours without our knowing."""

    def try_take(self, *, trusting: bool) -> Blocked | None:
        """Take it, or return why not."""

    def blocked(self) -> Blocked | None:
        """Return who has it, if anybody."""


class Contact:
    """Whether S3 has been within reach for long enough to judge others by their silence.

    Who has just come, was asleep or was cut off cannot: perhaps all of them were cut off until now.
    """

    def __init__(self, ttl_s: float, now_s: float) -> None:
        self._ttl_s = ttl_s
        self._heard_s = self._since_s = now_s

    def heard(self, now_s: float) -> None:
        """Note that S3 answered."""
        if self.silent_s(now_s) > self._ttl_s / 2:
            self._since_s = now_s
        self._heard_s = now_s

    def silent_s(self, now_s: float) -> float:
        """Return for how long S3 has not answered."""
        return now_s - self._heard_s

    def trusts(self, now_s: float) -> bool:
        """Tell whether the silence of others proves anything: they had time to beat since we can hear them."""
        return self.silent_s(now_s) <= self._ttl_s / 2 and now_s - self._since_s >= self._ttl_s


class Waiter:
    """One that waits in line for a lock.

    :param wait_s: seconds after which to give up; infinity waits for ever.
    """

    def __init__(
        self, line: Line, ticket: Ticket, prize: Prize, *, ttl_s: float, wait_s: float, turn: Turn, clock: Stopwatch
    ) -> None:
        self._line = line
        self._ticket = ticket
        self._prize = prize
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._clock = clock
        self._turn = turn
        self._began_s = self._renewed_s = clock.now_s()
        self._contact = Contact(ttl_s, self._began_s)
        self._said: object = None
        self._said_s = self._began_s

    def wait(self) -> list[str]:
        """Wait until the lock is ours.

        :returns: the keys of those whose place we may take; :meth:`.line.Line.dismiss` tells them.
        :raises Refusal: the time is up, we were asked to stop, a rollback went before us, or we lost our place; nothing
            was touched.
        :raises Superseded: a newer release took our place.
        """
        place = self._line.place(self._ticket)
        try:
            place.take()
            while not self._is_our_turn(place):
                self._pause()
            # The lock is ours. Our place must be too: whoever passed us over, asleep as we were, removed the ticket.
            self._renew(place)
            return self._line.older(place.standing) if may_displace(self._ticket) else []
        finally:
            _leave(place)

    def _is_our_turn(self, place: Place) -> bool:
        """Look once.

        S3 may fail for a while: our place is kept, since whoever could remove us hears nothing either.
        """
        try:
            taken = self._look(place)
        except (Refusal, Superseded):
            raise
        except Exception as error:
            if self._contact.silent_s(self._clock.now_s()) > PATIENCE * self._ttl_s or self._left_s() <= 0:
                raise
            if self._is_news("no answer"):
                self._turn.say(f"waiting, still in line; S3 does not answer: {' '.join(str(error).split())}")
            return False
        self._contact.heard(self._clock.now_s())
        return taken

    def _look(self, place: Place) -> bool:
        if self._clock.now_s() - self._renewed_s >= self._ttl_s / 4:
            self._renew(place)
        trusting = self._contact.trusts(self._clock.now_s())
        standing = self._line.look(own=place.standing.key, trusting=trusting)
        if not place.stands(standing):
            self._renew(place)
        first = [each for each in standing if each.key != place.standing.key and goes_before(each, place.standing)]
        blocked = None
        if not first or self._prize.uncertain:
            blocked = self._prize.try_take(trusting=trusting)
            if blocked is None:
                return True
        self._report(blocked, first)
        if self._left_s() <= 0:
            raise Refusal(
                f"waited {self._wait_s:.0f} s in line; {why_not(blocked or self._prize.blocked(), first)}; "
                "nothing was touched"
            )
        return False

    def _renew(self, place: Place) -> None:
        if not place.renew():
            self._lose(place.dismissed())
        self._renewed_s = self._clock.now_s()

    def _lose(self, ticket: Ticket | None) -> NoReturn:
        if ticket is None or ticket.dismissed is None:
            raise Refusal(
                "lost the place in line: nothing was heard of us for too long (asleep, or no network); "
                "nothing was touched; run it again"
            )
        kind, version, who = ticket.dismissed
        if kind is Kind.RELEASE:
            raise Superseded(f"superseded by {version} of {who}")
        raise Refusal(
            f"{who} ordered a rollback to {version} while {self._ticket.version} waited; nothing of it was touched; "
            "if it is to go out all the same: run it again"
        )

    def _report(self, blocked: Blocked | None, first: list[Standing]) -> None:
        """Say who holds the lock and our place in line, when either has changed."""
        state = (blocked and (blocked.who, blocked.since), [each.key for each in first])
        if self._is_news(state):
            place = f"number {len(first) + 1} in line" if first else "next in line"
            self._turn.say(f"waiting, {place}: {why_not(blocked or self._prize.blocked(), first)}")

    def _is_news(self, state: object) -> bool:
        now_s = self._clock.now_s()
        if state == self._said and now_s - self._said_s < REPEAT_S:
            return False
        self._said, self._said_s = state, now_s
        return True

    def _left_s(self) -> float:
        return self._began_s + self._wait_s - self._clock.now_s()

    def _pause(self) -> None:
        """Wait a moment, each a different one, so that those in line do not ask all at once."""
        poll_s = min(POLL_S, self._ttl_s / 8) * random.uniform(0.75, 1.25)  # noqa: S311 - apart, not secret
        left_s = self._left_s()
        self._clock.sleep(min(poll_s, left_s) if left_s > 0 else poll_s)
        if self._turn.stop():
            raise Refusal("stopped while waiting in line; nothing was touched")


def why_not(blocked: Blocked | None, first: Sequence[Standing]) -> str:
    """Say who stands before us: the holder of the lock, and who is next in line."""
    before = [str(blocked)] if blocked else []
    if first:
        ticket = first[0].ticket
        before.append(
            f"{counted(len(first), 'other')} in line, {ticket.kind.value} {ticket.version} of {ticket.who} first"
        )
    return "; ".join(before) or "the lock has just been given back"


def _leave(place: Place) -> None:
    try:
        place.leave()
    except Exception:
        _log.debug("ticket not removed; it ends with its heartbeat", exc_info=True)
