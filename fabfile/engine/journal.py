"""What a release writes down in S3: its record while it runs, and its history when it has ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from ..plan.fleet import Template
from ..plan.release import Before, Ending, Kind, Record
from ..tools.s3 import Bucket


@dataclass(frozen=True)
class Chapter:
    """One ended release, as history keeps it: who, when, what from, what to, how long, how it ended, why."""

    id: str
    env: str
    kind: Kind
    version: str
    from_version: str | None
    who: str
    started_at: datetime
    ended_at: datetime
    ending: Ending
    why: str


class Journal:
    """The record and the history of one env, each write conditional on nobody else's."""

    def __init__(self, bucket: Bucket, env: str) -> None:
        self._bucket = bucket
        self._env = env
        self._etag: str | None = None

    def read(self) -> Record | None:
        """Return the record of the release in progress, or None."""
        stored = self._bucket.read(self._key)
        self._etag = stored.etag if stored else None
        return record_from(json.loads(stored.body)) if stored else None

    def write(self, record: Record) -> bool:
        """Write the record over the one that we read or wrote last; False when somebody else wrote meanwhile."""
        body = json.dumps(_plain(record), indent=1).encode()
        if self._etag is None:
            etag = self._bucket.create(self._key, body)
        else:
            etag = self._bucket.replace(self._key, body, self._etag)
        self._etag = etag or self._etag
        return etag is not None

    def close(self, record: Record, ending: Ending, why: str, at: datetime) -> None:
        """Move the record into history, where nothing is ever rewritten."""
        chapter = Chapter(
            id=record.id,
            env=record.env,
            kind=record.kind,
            version=record.version,
            from_version=record.from_version,
            who=record.who,
            started_at=record.started_at,
            ended_at=at,
            ending=ending,
            why=why,
        )
        key = f"{self._env}/history/{record.started_at:%Y%m%dT%H%M%S}-{record.id}.json"
        self._bucket.create(key, json.dumps(_plain(chapter), indent=1).encode())
        if self._etag is not None:
            self._bucket.delete(self._key, self._etag)
            self._etag = None

    def history(self) -> Iterator[Chapter]:
        """Yield the ended releases, newest first."""
        for key in reversed(self._bucket.keys(f"{self._env}/history/")):
            stored = self._bucket.read(key)
            if stored:
                yield chapter_from(json.loads(stored.body))

    @property
    def _key(self) -> str:
        return f"{self._env}/release.json"


def _plain(value: Any) -> Any:
    """Turn a frozen dataclass into what JSON can hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(inner) for key, inner in asdict(value).items()}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def record_from(raw: dict[str, Any]) -> Record:
    """Read a record back; keys that a newer Headway wrote are left out."""
    known = {field.name for field in fields(Record)}
    before = raw["before"]
    return Record(
        **{
            **{key: value for key, value in raw.items() if key in known},
            "kind": Kind(raw["kind"]),
            "started_at": datetime.fromisoformat(raw["started_at"]),
            "before": Before(
                **{
                    **before,
                    "suspended": frozenset(before["suspended"]),
                    "template": Template(**before["template"]),
                    "protected": tuple(before["protected"]),
                }
            ),
            "paused": frozenset(raw["paused"]),
            **{key: tuple(raw.get(key, ())) for key in ("launched", "attached", "recalled", "rested", "watched")},
            "marks": tuple((name, datetime.fromisoformat(at)) for name, at in raw["marks"]),
        }
    )


def chapter_from(raw: dict[str, Any]) -> Chapter:
    """Read a chapter of the history back."""
    return Chapter(
        **{
            **raw,
            "kind": Kind(raw["kind"]),
            "ending": Ending(raw["ending"]),
            "started_at": datetime.fromisoformat(raw["started_at"]),
            "ended_at": datetime.fromisoformat(raw["ended_at"]),
        }
    )
