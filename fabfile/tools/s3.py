"""S3 objects with conditions: what makes a lock and a record safe.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .aws import client, split_s3_url

if TYPE_CHECKING:
    from ..plan.settings import Settings

_MISSING = {"NoSuchKey", "404", "NotFound"}
_LOST_RACE = {"PreconditionFailed", "412"}
# Another request for the key was under way, perhaps our own first try: nothing is decided, the write is to be repeated
# (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, If-Match and If-None-Match).
_UNDECIDED = {"ConditionalRequestConflict", "409"}
_TRIES = 6


@dataclass(frozen=True)
class Stored:
    """An object's content, the tag that names this very content, and its age by S3's own clock."""

    body: bytes
    etag: str
    age_s: float


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it: its key, the tag that names its content, and its age by S3's own clock."""

    key: str
    etag: str
    age_s: float


class Bucket:
    """A prefix of a bucket, named by ``s3://bucket/prefix``."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._s3 = client("s3", settings)
        self._bucket, self._prefix = split_s3_url(url)

    def read(self, key: str) -> Stored | None:
        """Return an object, or None when there is none."""
        from botocore.exceptions import ClientError

        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._key(key))
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        return Stored(answer["Body"].read(), answer["ETag"], _age_s(answer, answer["LastModified"]))

    def create(self, key: str, body: bytes) -> str | None:
        """Write an object that must not exist yet; None when somebody else's does."""
        return self._put(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, etag: str) -> str | None:
        """Write over exactly the content that `etag` names; None when it is no longer that."""
        return self._put(key, body, IfMatch=etag)

    def delete(self, key: str, etag: str) -> bool:
        """Delete exactly the content that `etag` names; False when it is no longer that."""
        from botocore.exceptions import ClientError

        try:
            _until_decided(lambda: self._s3.delete_object(Bucket=self._bucket, Key=self._key(key), IfMatch=etag))
        except ClientError as error:
            if error.response["Error"]["Code"] in _LOST_RACE | _MISSING:
                return False
            raise
        return True

    def keys(self, prefix: str) -> list[str]:
        """List the keys that start so, in order."""
        return [listed.key for listed in self.listed(prefix)]

    def listed(self, prefix: str) -> list[Listed]:
        """List the objects whose keys start so, in the order of their keys.

        A listing shows every write that was answered before it began
        (https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel).
        """
        pages = self._s3.get_paginator("list_objects_v2")
        start = len(self._key(""))
        return [
            Listed(raw["Key"][start:], raw["ETag"], _age_s(page, raw["LastModified"]))
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._key(prefix))
            for raw in page.get("Contents", [])
        ]

    def _put(self, key: str, body: bytes, **condition: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            answer = _until_decided(
                lambda: self._s3.put_object(Bucket=self._bucket, Key=self._key(key), Body=body, **condition)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LOST_RACE | _MISSING:
                raise
            # The first try may have arrived and its answer been lost: then the repeat meets our own content.
            stored = self.read(key)
            return stored.etag if stored and stored.body == body else None
        return str(answer["ETag"])

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key


def _until_decided(request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Make a conditional request, again and again while another one for the key is under way."""
    from botocore.exceptions import ClientError

    for tried in range(1, _TRIES):
        try:
            return request()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _UNDECIDED:
                raise
            time.sleep(random.uniform(0.5, 1) * 0.05 * 2**tried)  # noqa: S311 - apart, not secret
    return request()


def _age_s(answer: dict[str, Any], modified: datetime) -> float:
    """Return how old an object is, both times being S3's: no clock of ours has to be right.

    S3 tells times in whole seconds, so that an age may be wrong by one.
    """
    from email.utils import parsedate_to_datetime

    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(told) if told else datetime.now(UTC)
    return float((now - modified).total_seconds())
