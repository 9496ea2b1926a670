"""One release at a time in an env: a lock in S3 with an owner and a heartbeat.

The lock says who may act. It is not what makes acting safe: a process can fall asleep between asking and acting. That
is the record's doing (:mod:`.journal`), which is written before each act, over exactly what its writer read last.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from ..plan.outcome import Refusal
from ..plan.wording import one_line
from ..tools import ownership
from ..tools.s3 import Bucket
from .claim import SLACK_S, Claim, Stopwatch, now_text
from .line import Line, Ticket, goes_before, just_come
from .waiting import Blocked, Contact, Turn, Waiter, why_not
from .written import read_as, written

_JOIN_S = 10.0  # how long to wait for a heartbeat that is under way

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """Who holds a lock, in which process, what it is doing, and when it last said so."""

    who: str
    process: str
    doing: str
    since: str
    beat: str
    id: str = ""


class Lock:
    """A lock, held from :meth:`try_take` to :meth:`release`. Ask :attr:`lost` before each act.

    :ivar dismiss: tells those in line whose place we take. Call it once our order is not refused, and before anything
        is touched: none of them can start meanwhile, and a refused order takes nobody's place.
    """

    def __init__(self, bucket: Bucket, env: str, owner: Owner, ttl_s: float, clock: Stopwatch | None = None) -> None:
        self._bucket = bucket
        self._env = env
        self._key = f"{env}/lock.json"
        self._owner = owner
        self._ttl_s = ttl_s
        self._clock = clock or Stopwatch()
        self._claim = Claim(bucket, self._key, owner.id)
        self.dismiss: Callable[[], None] = lambda: None
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._gone = False
        self._missed = ""
        self._proved_s = self._clock.now_s()
        self._contact = Contact(ttl_s, self._proved_s)
        self._thread = threading.Thread(target=self._beat, name="headway-heartbeat", daemon=True)

    @property
    def uncertain(self) -> bool:
        """Whether it may be ours without our knowing, since an answer got lost."""
        return self._claim.uncertain

    @property
    def lost(self) -> bool:
        """Whether it is somebody else's now, or may be.

        May be: no heartbeat got through for as long as makes a lock free for others, because this machine was asleep or
        S3 out of reach. Then one is tried at once. If it gets through, nobody came between, and the lock is ours.
        """
        if not self._gone and self._is_overdue() and self._writing.acquire(timeout=min(self._ttl_s, _JOIN_S)):
            try:
                self._renew()
            finally:
                self._writing.release()
        return self._gone or self._is_overdue()

    @property
    def missed(self) -> str | None:
        """Why no heartbeat got through, where that is all that is known; None where the lock is somebody else's."""
        return None if self._gone else self._missed or "S3 was out of reach, or this machine asleep"

    def try_take(self, *, trusting: bool = True) -> Blocked | None:
        """Take it if it is free or its owner dead, and keep it by a heartbeat; else return who has it.

        :param trusting: whether silence proves death; if not, only a process that is seen to be gone is dead.
        """
        while True:
            sent_s = self._clock.now_s()
            owner = replace(self._owner, since=now_text(), beat=now_text())
            if self._claim.create(written(owner)):
                break
            stored = self._bucket.read(self._key)
            if stored is None:
                continue
            if not self._claim.is_ours(stored.body):
                holder = _owner_from(stored.body)
                if reason := _why_kept(holder, self._ttl_s, stored.age_s, trusting=trusting):
                    self._claim.renounce()
                    return Blocked(holder.who, holder.since, holder.doing, reason)
            if self._claim.replace(written(owner), stored.etag):
                break
        self._begin(owner, sent_s)
        return None

    def blocked(self) -> Blocked | None:
        """Return who has it, if anybody."""
        stored = self._bucket.read(self._key)
        if stored is None:
            return None
        holder = _owner_from(stored.body)
        reason = why_alive(holder, self._ttl_s, stored.age_s) or "which is dead"
        return Blocked(holder.who, holder.since, holder.doing, reason)

    def release(self) -> None:
        """Give the lock back, unless it is somebody else's by now, and remove what the dead left in line."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        taken, self._gone = not self._gone and self._claim.etag is not None, True
        try:
            self._claim.remove()
            if taken:
                Line(self._bucket, self._env, self._ttl_s).look(trusting=self._contact.trusts(self._clock.now_s()))
        except Exception:
            # What was done under the lock is done; the lock ends with this process, or with its heartbeat.
            _log.debug("lock not removed", exc_info=True)

    def _begin(self, owner: Owner, sent_s: float) -> None:
        self._owner = owner
        self._proved_s = sent_s
        self._contact.heard(sent_s)
        self._thread.start()

    def _is_overdue(self) -> bool:
        return self._clock.now_s() - self._proved_s >= self._ttl_s

    def _beat(self) -> None:
        while not self._gone and not self._ended.wait(self._ttl_s / 4):
            with self._writing:
                self._renew()

    def _renew(self) -> None:
        """Beat once. The lock is proved ours from when we asked on, not from when S3 answered."""
        sent_s = self._clock.now_s()
        try:
            kept = self._claim.renew(written(replace(self._owner, beat=now_text())))
        except Exception as error:
            _log.debug("heartbeat missed; it is tried again", exc_info=True)
            self._missed = one_line(error)
            return
        if kept:
            self._proved_s = sent_s
            self._contact.heard(sent_s)
        else:
            self._gone = True


@contextmanager
def held(
    bucket: Bucket,
    env: str,
    *,
    who: str,
    doing: str,
    ttl_s: float,
    wait_s: float = 0.0,
    turn: Turn | None = None,
    clock: Stopwatch | None = None,
) -> Iterator[Lock]:
    """Hold an env's lock for a while.

    The lock of an owner that is provably dead (its process is gone from this machine), or that has not beaten for
    `ttl_s` seconds, is taken over. Who goes before whom in line: :mod:`.line`; whose place we take hears of it by
    :attr:`Lock.dismiss`.

    :param wait_s: seconds to wait in line for it; 0 does not wait, infinity waits for ever.
    :param turn: what is waited for, which decides who goes before whom, and who hears how the wait is going.
    :raises Refusal: somebody holds it; the message says who, since when, and doing what. Nothing was touched.
    :raises Superseded: a newer release took our place in line. Nothing was touched.
    """
    turn, clock = turn or Turn(), clock or Stopwatch()
    token, process = secrets.token_hex(6), str(ownership.this_process())
    line = Line(bucket, env, ttl_s)
    lock = Lock(bucket, env, Owner(who, process, doing, now_text(), now_text(), token), ttl_s, clock)
    ticket = Ticket(token, who, process, turn.kind, turn.version, turn.supersedes, now_text(), first=turn.first)
    try:
        if refusal := _try_at_once(lock, line, ticket):
            if wait_s <= 0:
                raise Refusal(f"{refusal}; wait in line for it with --wait, or stop it there with Ctrl-C")
            older = Waiter(line, ticket, lock, ttl_s=ttl_s, wait_s=wait_s, turn=turn, clock=clock).wait()
            lock.dismiss = partial(line.dismiss, ticket, older)
        if lock.lost:
            raise Refusal(f"asleep or cut off, and the lock of {env} was lost; nothing was touched; run it again")
        yield lock
    finally:
        lock.release()


def read_owner(bucket: Bucket, env: str, ttl_s: float) -> Owner | None:
    """Return the living owner of an env's lock, or None: a dead one's lock is up for takeover."""
    stored = bucket.read(f"{env}/lock.json")
    owner = _owner_from(stored.body) if stored else None
    return owner if owner and stored and why_alive(owner, ttl_s, stored.age_s) else None


def why_alive(owner: Owner, ttl_s: float, silent_s: float) -> str | None:
    """Return why an owner must be taken for alive, or None when its lock is up for takeover.

    :param silent_s: seconds since its last heartbeat, by S3's clock.
    """
    process = ownership.read_owner(owner.process)
    alive = ownership.lives(process) if process else None
    if alive is not None and process:
        return f"process {process.pid} runs on this machine" if alive else None
    return f"its heartbeat is {silent_s:.0f} s old" if silent_s < ttl_s + SLACK_S else None


def _why_kept(holder: Owner, ttl_s: float, silent_s: float, *, trusting: bool) -> str | None:
    """Return why a lock cannot be taken over yet, be it only that its owner must be given time to beat again."""
    if reason := why_alive(holder, ttl_s, silent_s):
        return reason
    process = ownership.read_owner(holder.process)
    if trusting or (process is not None and ownership.lives(process) is False):
        return None
    return f"its heartbeat is {silent_s:.0f} s old, but we were cut off as well"


def _try_at_once(lock: Lock, line: Line, ticket: Ticket) -> str | None:
    """Take the lock if nobody waits for it who comes first; else return why not."""
    us, waiting = just_come(ticket), line.look()
    # Nobody's silence can be judged by one who has just come; but it does not hold up anybody either.
    first = [standing for standing in waiting if goes_before(standing, us) and not standing.silent]
    if first:
        return why_not(lock.blocked(), first)
    blocked = lock.try_take()
    if blocked is None:
        # Only those that we saw: whoever came since came after us.
        lock.dismiss = partial(line.dismiss, ticket, [standing.key for standing in waiting])
    return str(blocked) if blocked else None


def _owner_from(body: bytes) -> Owner:
    """Read an owner; one that cannot be read is somebody's all the same, and ends with its heartbeat."""
    try:
        return read_as(Owner, body)
    except ValueError:
        return Owner("somebody", "", "?", "?", "")
