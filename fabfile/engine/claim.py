"""An object in S3 that is ours for as long as we renew it: what a lock and a ticket in line have in common.

Every content carries an id that nobody else writes. So an answer that got lost never misleads: whatever stands there
under our id was written by us, whether S3 told us so or not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ..tools.s3 import Bucket

# S3 tells times in whole seconds: an age is wrong by up to one, and nobody may be declared silent too early.
SLACK_S = 1.0
_TRIES = 10


def since_boot_s() -> float:
    """Return seconds that pass on while the machine sleeps, whatever is done to its clock on the wall.

    Linux: https://man7.org/linux/man-pages/man2/clock_gettime.2.html (CLOCK_BOOTTIME); on macOS CLOCK_MONOTONIC goes on
    during sleep (https://keith.github.io/xcode-man-pages/clock_gettime.3.html), and time.monotonic() does not.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Stopwatch:
    """Time that only passes, real or virtual: seconds from anywhere, and how to let some pass."""

    now_s: Callable[[], float] = since_boot_s
    sleep: Callable[[float], None] = time.sleep


def now_text() -> str:
    """Return the time on the wall, for people to read; nothing is decided by it."""
    return datetime.now(UTC).isoformat()


class Claim:
    """An object under our id.

    :param token: the `id` in every content that we write.
    """

    def __init__(self, bucket: Bucket, key: str, token: str) -> None:
        self.key = key
        self.etag: str | None = None
        self._bucket = bucket
        self._token = token
        self._may_exist = False

    @property
    def uncertain(self) -> bool:
        """Whether a write may have arrived that was never answered."""
        return self._may_exist and self.etag is None

    def create(self, body: bytes) -> bool:
        """Write it where nothing is; False where something is, which may be our own (see :meth:`is_ours`)."""
        self._may_exist = True
        self.etag = self._bucket.create(self.key, body)
        return self.etag is not None

    def replace(self, body: bytes, etag: str) -> bool:
        """Write it over exactly the content that `etag` names; False when it is no longer that."""
        self._may_exist = True
        self.etag = self._bucket.replace(self.key, body, etag)
        return self.etag is not None

    def is_ours(self, body: bytes) -> bool:
        """Tell whether we wrote a content."""
        return token_of(body) == self._token

    def renounce(self) -> None:
        """Note that what stands there is another's: no write of ours can have arrived."""
        self._may_exist = False
        self.etag = None

    def renew(self, body: bytes) -> bool:
        """Write it anew; False when it is gone or another's, for good."""
        etag = self.etag
        for _ in range(_TRIES):
            if etag is not None and (renewed := self._bucket.replace(self.key, body, etag)):
                self.etag = renewed
                return True
            stored = self._bucket.read(self.key)
            if stored is None or not self.is_ours(stored.body):
                self.renounce()
                return False
            etag = stored.etag  # an earlier write of ours, whose answer was lost
        raise OSError(f"{self.key} changes under our own id all the time")

    def remove(self) -> bool:
        """Delete it, if it is ours; False when it is gone already, or another's."""
        removed, etag = False, self.etag
        while not removed and (etag is not None or self._may_exist):
            removed = etag is not None and self._bucket.delete(self.key, etag)
            stored = None if removed else self._bucket.read(self.key)
            if not stored or not self.is_ours(stored.body):
                break
            etag = stored.etag  # what we wrote last, or what a write that was never answered left
        self.renounce()
        return removed


def token_of(body: bytes, name: str = "id") -> str | None:
    """Return the id in a content, or None where there is none.

    :param name: the key that it stands under.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = raw.get(name) if isinstance(raw, dict) else None
    return found if isinstance(found, str) and found else None
