"""S3 objects with conditions: what makes a lock and a record safe.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .aws import client, split_s3_url

if TYPE_CHECKING:
    from ..plan.settings import Settings

_MISSING = {"NoSuchKey", "404", "NotFound"}
_LOST_RACE = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


@dataclass(frozen=True)
class Stored:
    """An object's content, the tag that names this very content, and its age by S3's own clock."""

    body: bytes
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
        return Stored(answer["Body"].read(), answer["ETag"], _age_s(answer))

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
            self._s3.delete_object(Bucket=self._bucket, Key=self._key(key), IfMatch=etag)
        except ClientError as error:
            if error.response["Error"]["Code"] in _LOST_RACE | _MISSING:
                return False
            raise
        return True

    def keys(self, prefix: str) -> list[str]:
        """List the keys that start so, in order."""
        pages = self._s3.get_paginator("list_objects_v2")
        start = len(self._key(""))
        return [
            raw["Key"][start:]
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._key(prefix))
            for raw in page.get("Contents", [])
        ]

    def _put(self, key: str, body: bytes, **condition: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            answer = self._s3.put_object(Bucket=self._bucket, Key=self._key(key), Body=body, **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] in _LOST_RACE | _MISSING:
                # The first try may have arrived and its answer been lost: then the repeat meets our own content.
                stored = self.read(key)
                return stored.etag if stored and stored.body == body else None
            raise
        return str(answer["ETag"])

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key


def _age_s(answer: dict[str, Any]) -> float:
    """Return how old an object is, both times being S3's: no clock of ours has to be right."""
    from email.utils import parsedate_to_datetime

    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(told) if told else datetime.now(UTC)
    return float((now - answer["LastModified"]).total_seconds())
