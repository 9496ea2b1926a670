"""S3 objects with conditions, where its answers are not what one hopes for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fabfile.plan.settings import Settings
from fabfile.tools import aws
from fabfile.tools.s3 import Bucket


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    from moto import mock_aws

    aws._client.cache_clear()
    with mock_aws():
        aws.client("s3", Settings()).create_bucket(Bucket="state")
        yield Bucket(Settings(), "s3://state/shop")
    aws._client.cache_clear()


def undecided(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, times: int, operation: str = "put_object") -> list[Any]:
    """Let S3 answer so often that another request for the key was under way."""
    from botocore.exceptions import ClientError

    done, asked = getattr(bucket._s3, operation), []

    def answer(**arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) <= times:
            raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")
        return done(**arguments)

    monkeypatch.setattr(bucket._s3, operation, answer)
    return asked


def test_a_write_that_met_another_one_under_way_is_repeated(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = bucket.create("a", b"1")
    assert etag
    asked = undecided(bucket, monkeypatch, 2)
    assert bucket.replace("a", b"2", etag)
    assert len(asked) == 3


def test_a_write_that_is_never_decided_fails_and_is_not_taken_for_lost(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    undecided(bucket, monkeypatch, 1000)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(ClientError, match="ConditionalRequestConflict"):
        bucket.create("a", b"1")


def test_a_deletion_that_met_another_request_is_repeated_and_not_for_ever(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    monkeypatch.setattr("time.sleep", lambda _: None)
    etag = bucket.create("a", b"1")
    assert etag
    with monkeypatch.context() as patch:
        assert len(undecided(bucket, patch, 1000, "delete_object")) == 0
        with pytest.raises(ClientError, match="ConditionalRequestConflict"):
            bucket.delete("a", etag)
    asked = undecided(bucket, monkeypatch, 2, "delete_object")
    assert bucket.delete("a", etag)
    assert len(asked) == 3


def test_lists_keys_with_what_tells_a_change_of_each(bucket: Bucket) -> None:
    first, second = bucket.create("line/1", b"1"), bucket.create("line/2", b"2")
    bucket.create("other", b"3")
    assert [(listed.key, listed.etag) for listed in bucket.listed("line/")] == [("line/1", first), ("line/2", second)]
    assert all(-2 < listed.age_s < 60 for listed in bucket.listed(""))
    assert bucket.keys("") == ["line/1", "line/2", "other"]


def test_deletes_only_what_it_knows(bucket: Bucket) -> None:
    etag = bucket.create("a", b"1")
    assert etag
    assert not bucket.delete("a", '"another"')
    assert bucket.delete("a", etag)
    assert not bucket.delete("a", etag)
