"""One release at a time in an env: a lock in S3 with an owner and a heartbeat."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from ..plan.outcome import Refusal
from ..tools import ownership
from ..tools.s3 import Bucket


@dataclass(frozen=True)
class Owner:
    """Who holds a lock, in which process, what it is doing, and when it last said so."""

    who: str
    process: str
    doing: str
    since: str
    beat: str


class Lock:
    """A held lock. Ask :attr:`lost` before each act: somebody may have taken it over from a sleeping laptop."""

    def __init__(self, bucket: Bucket, key: str, owner: Owner, etag: str, ttl_s: float) -> None:
        self._bucket = bucket
        self._key = key
        self._owner = owner
        self._etag = etag
        self._ttl_s = ttl_s
        self._ended = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._beat, name="headway-heartbeat", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether somebody else holds the lock now."""
        return self._lost

    def _beat(self) -> None:
        while not self._ended.wait(self._ttl_s / 4):
            owner = Owner(**{**asdict(self._owner), "beat": _now().isoformat()})
            try:
                etag = self._bucket.replace(self._key, _body(owner), self._etag)
            except Exception:  # noqa: S112 - a heartbeat that S3 misses is tried again; the TTL is four beats
                continue
            if etag is None:
                self._lost = True
                return
            self._etag = etag

    def release(self) -> None:
        """Give the lock back, unless it is somebody else's by now."""
        self._ended.set()
        self._thread.join()
        if not self._lost:
            self._bucket.delete(self._key, self._etag)


@contextmanager
def held(bucket: Bucket, env: str, *, who: str, doing: str, ttl_s: float) -> Iterator[Lock]:
    """Hold an env's lock for a while.

    The lock of an owner that is provably dead (its process is gone from this machine), or that has not beaten for
    `ttl_s` seconds, is taken over.

    :raises Refusal: somebody holds it; the message says who, since when, and doing what.
    """
    key = f"{env}/lock.json"
    now = _now().isoformat()
    owner = Owner(who, str(ownership.this_process()), doing, now, now)
    lock = Lock(bucket, key, owner, _take(bucket, key, owner, ttl_s), ttl_s)
    try:
        yield lock
    finally:
        lock.release()


def read_owner(bucket: Bucket, env: str, ttl_s: float) -> Owner | None:
    """Return the living owner of an env's lock, or None: a dead one's lock is up for takeover."""
    stored = bucket.read(f"{env}/lock.json")
    owner = Owner(**json.loads(stored.body)) if stored else None
    return owner if owner and stored and why_alive(owner, ttl_s, stored.age_s) else None


def why_alive(owner: Owner, ttl_s: float, silent_s: float) -> str | None:
    """Return why an owner must be taken for alive, or None when its lock is up for takeover.

    :param silent_s: seconds since its last heartbeat, by S3's clock.
    """
    process = ownership.read_owner(owner.process)
    alive = ownership.lives(process) if process else None
    if alive is not None and process:
        return f"process {process.pid} runs on this machine" if alive else None
    return f"its heartbeat is {silent_s:.0f} s old" if silent_s < ttl_s else None


def _take(bucket: Bucket, key: str, owner: Owner, ttl_s: float) -> str:
    while True:
        if etag := bucket.create(key, _body(owner)):
            return etag
        stored = bucket.read(key)
        if stored is None:
            continue
        holder = Owner(**json.loads(stored.body))
        if reason := why_alive(holder, ttl_s, stored.age_s):
            raise Refusal(
                f"{holder.who} is at it since {holder.since[:19]}Z ({holder.doing}; {reason}); "
                "wait for it to end, or stop it there"
            )
        if etag := bucket.replace(key, _body(owner), stored.etag):
            return etag


def _body(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()


def _now() -> datetime:
    return datetime.now(UTC)
