"""The line in front of a lock: one ticket for each that waits, in S3, in the order of arrival.

Who goes before whom:

* First come, first served.
* **A release may supersede** (`release.supersede`, for an env where only the newest counts): it goes before the older
  releases that wait, and when its turn comes they end as superseded, which is no failure. Not before: should it give up
  or die in line, or be refused when its turn comes, the older ones are still there.
* **A rollback goes before every release that waits**, because something is on fire, and is never superseded. When its
  turn comes, and it is not refused itself, releases that were ordered before it are refused: they would undo it, and
  nobody who ordered them knew of it. Those that were ordered after it stay in line.
* **An abort goes before all**, for what it puts back is in everybody's way. It takes nobody's place.

Each of these is written into the other's ticket by a conditional write, and who waits renews its ticket by another
before it starts. S3 lets one of the two happen, so that nobody both starts and is passed over, and nobody neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..plan.release import Kind
from ..tools import ownership
from ..tools.s3 import Bucket, Listed
from .claim import SLACK_S, Claim, now_text
from .written import read_as, written

PATIENCE = 5  # times the ttl for which S3 may fail before one that waits gives up
_NEWEST = "~"  # sorts after every number: the place of one that has just come


@dataclass(frozen=True)
class Ticket:
    """Who waits for what.

    :param id: ours alone.
    :param process: as :mod:`..tools.ownership` names it.
    :param supersedes: whether it takes the place of older releases.
    :param first: whether it goes before all others and takes nobody's place.
    :param dismissed: filled in by the one that took its place: the kind, the version and the person.
    """

    id: str
    who: str
    process: str
    kind: Kind
    version: str
    supersedes: bool = False
    since: str = ""
    beat: str = ""
    dismissed: tuple[Kind, str, str] | None = None
    first: bool = False


@dataclass(frozen=True)
class Standing:
    """A ticket in line; keys sort in the order of arrival. One that is silent has not been heard of for the ttl."""

    key: str
    ticket: Ticket
    etag: str = ""
    silent: bool = False


def displaces(newer: Ticket, older: Ticket) -> bool:
    """Tell whether the newer one of two takes the older one's place, once its turn comes."""
    return older.kind is Kind.RELEASE and not older.first and may_displace(newer)


def may_displace(ticket: Ticket) -> bool:
    """Tell whether one takes the place of any release that came before it."""
    return ticket.kind is Kind.ROLLBACK or ticket.supersedes


def goes_before(one: Standing, other: Standing) -> bool:
    """Tell who of two is first. No three can go round in a circle, since nothing displaces a rollback."""
    if one.ticket.first != other.ticket.first:
        return one.ticket.first
    if one.key < other.key:
        return not displaces(other.ticket, one.ticket)
    return displaces(one.ticket, other.ticket)


def just_come(ticket: Ticket) -> Standing:
    """Return where one stands that has no ticket in S3 yet: behind all others."""
    return Standing(_NEWEST, ticket)


class Line:
    """Those that wait for one lock, as S3 lists them."""

    def __init__(self, bucket: Bucket, env: str, ttl_s: float) -> None:
        self._bucket = bucket
        self._prefix = f"{env}/line/"
        self._ttl_s = ttl_s
        self._read: dict[str, Ticket] = {}

    def look(self, *, own: str | None = None, trusting: bool = False, tidy: bool = True) -> list[Standing]:
        """Return who waits, in the order of arrival, after removing the tickets of the dead.

        :param own: the key of our own ticket, which we do not judge.
        :param trusting: whether silence for the ttl proves death. If not, only a process that is seen to be gone is
            dead, and one that has been silent for longer than anybody waits for S3.
        :param tidy: remove the tickets of the dead; if not, leave them out only.
        """
        standing = []
        for listed in self._bucket.listed(self._prefix):
            ticket = self._ticket(listed.key)
            if ticket is None:
                continue
            silent = listed.age_s >= self._ttl_s + SLACK_S
            dead = (silent and trusting) or self._is_dead(ticket, listed)
            # Whoever renewed its ticket meanwhile lives: then nothing is removed, and it stands in line.
            if dead and listed.key != own and (not tidy or self._bucket.delete(listed.key, listed.etag)):
                continue
            if ticket.dismissed is None or listed.key == own:
                standing.append(Standing(listed.key, ticket, listed.etag, silent))
        return standing

    def dismiss(self, winner: Ticket, older: Sequence[str]) -> None:
        """Tell those whose place the winner takes. Call it with the lock held: none of them can start meanwhile.

        :param older: the keys of those that came before it.
        """
        note = (winner.kind, winner.version, winner.who)
        for key in older:
            while stored := self._bucket.read(key):
                ticket = _ticket_from(stored.body)
                if ticket.dismissed or not displaces(winner, ticket):
                    break
                # Under the winner's id: to its owner it is no longer its own.
                body = written(replace(ticket, id=winner.id, dismissed=note))
                if self._bucket.replace(key, body, stored.etag):
                    break

    def older(self, place: Standing) -> list[str]:
        """Return the keys of those that came before one of us."""
        return [listed.key for listed in self._bucket.listed(self._prefix) if listed.key < place.key]

    def place(self, ticket: Ticket) -> Place:
        """Return a new place at the end; :meth:`Place.take` writes it down."""
        numbers = [_number(listed.key.removeprefix(self._prefix)) for listed in self._bucket.listed(self._prefix)]
        key = f"{self._prefix}{max(numbers, default=0) + 1:08}-{ticket.id}.json"
        self._read[key] = ticket
        return Place(self._bucket, key, ticket)

    def _ticket(self, key: str) -> Ticket | None:
        """Read a ticket once: nothing but its heartbeat changes, and the listing has that."""
        if key not in self._read:
            stored = self._bucket.read(key)
            if stored is None:
                return None
            self._read[key] = _ticket_from(stored.body)
        return self._read[key]

    def _is_dead(self, ticket: Ticket, listed: Listed) -> bool:
        """Tell whether nobody can be waiting. A process that is there but silent may have been suspended."""
        process = ownership.read_owner(ticket.process)
        gone = process is not None and ownership.lives(process) is False
        return gone or listed.age_s >= (PATIENCE + 2) * self._ttl_s + SLACK_S


class Place:
    """Our own ticket in line."""

    def __init__(self, bucket: Bucket, key: str, ticket: Ticket) -> None:
        self._bucket = bucket
        self._claim = Claim(bucket, key, ticket.id)
        self.standing = Standing(key, ticket)

    def stands(self, standing: Sequence[Standing]) -> bool:
        """Tell whether a look at the line shows our ticket as we wrote it last."""
        return any(each.key == self._claim.key and each.etag == self._claim.etag for each in standing)

    def take(self) -> None:
        """Stand in line."""
        if not self._claim.create(self._body()):
            raise OSError(f"{self._claim.key} is there already, and not ours")

    def renew(self) -> bool:
        """Say that we are still here; False when we have lost our place."""
        return self._claim.renew(self._body())

    def leave(self) -> None:
        """Remove our ticket, or what somebody made of it."""
        if not self._claim.remove():
            self.dismissed()

    def dismissed(self) -> Ticket | None:
        """Return, once the place is lost, the ticket that says to whom, and remove it; None where none is left."""
        stored = self._bucket.read(self._claim.key)
        ticket = _ticket_from(stored.body) if stored else None
        if stored is None or ticket is None or ticket.dismissed is None:
            return None
        self._bucket.delete(self._claim.key, stored.etag)
        return ticket

    def _body(self) -> bytes:
        return written(replace(self.standing.ticket, beat=now_text()))


def read_line(bucket: Bucket, env: str, ttl_s: float) -> tuple[Ticket, ...]:
    """Return who waits for an env's lock, in the order of arrival, touching nothing."""
    return tuple(standing.ticket for standing in Line(bucket, env, ttl_s).look(trusting=True, tidy=False))


def _number(name: str) -> int:
    digits = name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def _ticket_from(body: bytes) -> Ticket:
    """Read a ticket; one that cannot be read is somebody's all the same, and ends with its heartbeat."""
    try:
        return read_as(Ticket, body)
    except ValueError:
        return Ticket("", "somebody", "", Kind.RELEASE, "?")
