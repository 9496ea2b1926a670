"""What a release writes down in S3: its record while it runs, and its history when it has ended."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ..plan.outcome import Refusal
from ..plan.past import Chapter
from ..plan.release import Ending, Record
from ..tools.s3 import Bucket
from .claim import token_of
from .written import plain, read_as, written

__all__ = ["Chapter", "Former", "Journal"]

_WRITER = "writer"
_TRIES = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Former:
    """Where an earlier Headway kept a group's record and history: by a name that groups of several regions may have.

    :param env: whose they must be for them to be ours.
    """

    name: str
    env: str


class Journal:
    """The record and the history of one group, each write conditional on nobody else's.

    :param former: what is read as well; nothing new begins there.
    """

    def __init__(self, bucket: Bucket, name: str, former: Former | None = None) -> None:
        self._bucket = bucket
        self._name = name
        self._former = former
        self._key = _record_key(name)
        self._etag: str | None = None
        self._writer = secrets.token_hex(6)
        self._written = 0

    def read(self) -> Record | None:
        """Return the record of the release in progress, or None.

        One that history has a chapter of is of a release that has ended; :meth:`sweep` removes it.

        :raises Refusal: it was written by a Headway that is too old or too new for this one.
        """
        self._key, self._etag = _record_key(self._name), None
        found = self._stored(self._key)
        if found is None and self._former is not None:
            former = _record_key(self._former.name)
            found = self._stored(former)
            if found is None or found[0].env != self._former.env:
                return None
            self._key = former
        if found is None:
            return None
        record, self._etag = found
        return None if self._has_ended(record) else record

    @property
    def is_former(self) -> bool:
        """Whether the record that was read last is where an earlier Headway keeps it, and may be at work."""
        return self._key != _record_key(self._name)

    def _stored(self, key: str) -> tuple[Record, str] | None:
        stored = self._bucket.read(key)
        if stored is None:
            return None
        try:
            return read_as(Record, stored.body), stored.etag
        except ValueError as error:
            raise Refusal(
                f"the record of the release in progress of {self._name} cannot be read ({error}); "
                "go on with the Headway that began it"
            ) from error

    def sweep(self) -> None:
        """Remove the record that was read or written last, of a release that has ended.

        What fails here is left to who comes next: with its chapter in history the release has ended all the same.
        """
        if self._etag is None:
            return
        try:
            self._bucket.delete(self._key, self._etag)
        except Exception:
            _log.debug("%s not removed", self._key, exc_info=True)
        else:
            self._key, self._etag = _record_key(self._name), None

    def write(self, record: Record) -> bool:
        """Write the record over the one that we read or wrote last; False when somebody else wrote meanwhile.

        Every content is one that nobody ever wrote before. So a write of ours never passes over another's, were it of
        the same record; and what stands there under our name is our own, however many answers got lost.

        :raises OSError: it changes under our own name all the time.
        """
        body = self._signed(record)
        for _ in range(_TRIES):
            if etag := self._put(body):
                self._etag = etag
                return True
            stored = self._bucket.read(self._key)
            if stored is None or token_of(stored.body, _WRITER) != self._writer:
                return False
            self._etag = stored.etag
        raise OSError(f"{self._key} changes under our own name all the time")

    def _signed(self, record: Record) -> bytes:
        """Return what stands in S3 of a record: itself, who wrote it, and how many contents that one wrote before."""
        self._written += 1
        return written({**plain(record), _WRITER: self._writer, "writes": self._written})

    def _put(self, body: bytes) -> str | None:
        if self._etag is None:
            return self._bucket.create(self._key, body)
        return self._bucket.replace(self._key, body, self._etag)

    def close(
        self,
        record: Record,
        ending: Ending,
        why: str,
        at: datetime,
        *,
        reason: str | None = None,
        link: str | None = None,
    ) -> None:
        """Move the record into history, where nothing is ever rewritten.

        With its chapter there the release has ended, whether the record can be removed now or by who comes next. After
        an error the chapter may be there or not: call it again with the very same values, and do nothing else.

        :param reason: the code of why it ended so, such as :data:`..plan.past.HEALTH`.
        :param link: where the build that ordered it can be read.
        """
        chapter = Chapter(
            id=record.id,
            env=record.env,
            kind=record.kind,
            version=record.version,
            from_version=record.from_version,
            who=record.who,
            started_at=record.started_at,
            ended_at=max(at, record.started_at),  # by another clock, where another machine began it
            ending=ending,
            why=why,
            reason=reason,
            override=record.wish.override,
            evidence=record.evidence,
            link=link,
            from_image=record.before.image_id,
            to_image=record.image_id,
        )
        self._bucket.create(self._chapter_key(record), written(chapter))
        self.sweep()

    def history(self) -> Iterator[Chapter]:
        """Yield the ended releases, newest first, each read when it is asked for: a thousand cost one listing.

        What cannot be read, such as an ending of a Headway to come, is passed over.
        """
        yield from self._chapters(self._name)
        if self._former is not None:
            yield from (each for each in self._chapters(self._former.name) if each.env == self._former.env)

    def _chapters(self, name: str) -> Iterator[Chapter]:
        for key in reversed(self._bucket.keys(_prefix(name))):
            stored = self._bucket.read(key)
            if stored is None:
                continue
            try:
                yield read_as(Chapter, stored.body)
            except ValueError:
                _log.debug("history: %s cannot be read", key, exc_info=True)

    def _has_ended(self, record: Record) -> bool:
        names = [self._name, *([self._former.name] if self._former else [])]
        return any(key.endswith(_tail(record)) for name in names for key in self._bucket.keys(_prefix(name)))

    def _chapter_key(self, record: Record) -> str:
        """Return where the chapter of a record stands, or else belongs: behind all others, whatever the clocks say."""
        prefix = _prefix(self._name)
        keys = self._bucket.keys(prefix)
        number = max((_number(key.removeprefix(prefix)) for key in keys), default=0) + 1
        new = f"{prefix}{number:06}-{_tail(record)}"
        return next((key for key in keys if key.endswith(_tail(record))), new)


def _record_key(name: str) -> str:
    return f"{name}/release.json"


def _prefix(name: str) -> str:
    return f"{name}/history/"


def _tail(record: Record) -> str:
    return f"{record.started_at:%Y%m%dT%H%M%S}-{record.id}.json"


def _number(name: str) -> int:
    digits = name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0
