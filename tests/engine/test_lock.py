"""One release at a time: who gets the lock, who is refused, whose lock is taken over."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest

from fabfile.engine.lock import Owner, held, read_owner, why_alive
from fabfile.plan.outcome import Refusal
from fabfile.tools.ownership import this_process
from fabfile.tools.s3 import Bucket

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def owner(process: str, beat: datetime = NOW) -> Owner:
    return Owner("bob", process, "release 1.0.0", NOW.isoformat(), beat.isoformat())


def leave_lock(bucket: Bucket, of: Owner) -> None:
    bucket.create("prod/lock.json", json.dumps(asdict(of)).encode())


def test_is_gone_when_it_was_held(bucket: Bucket) -> None:
    with held(bucket, "prod", who="ann", doing="release 2.0.0", ttl_s=60):
        found = read_owner(bucket, "prod", 60)
        assert found is not None
        assert (found.who, found.doing) == ("ann", "release 2.0.0")
    assert read_owner(bucket, "prod", 60) is None


def test_is_gone_when_its_holder_fails(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match="trouble"), held(bucket, "prod", who="ann", doing="x", ttl_s=60):
        raise ValueError("trouble")
    assert read_owner(bucket, "prod", 60) is None


def test_refuses_a_second_one_and_says_who_has_it(bucket: Bucket) -> None:
    with (
        held(bucket, "prod", who="ann", doing="release 2.0.0", ttl_s=60),
        pytest.raises(Refusal, match=r"ann is at it since .* \(release 2\.0\.0; process \d+ runs on this machine\)"),
        held(bucket, "prod", who="bob", doing="release 3.0.0", ttl_s=60),
    ):
        pass


def test_lets_two_envs_release_at_once(bucket: Bucket) -> None:
    with (
        held(bucket, "prod", who="ann", doing="x", ttl_s=60),
        held(bucket, "dev", who="bob", doing="y", ttl_s=60),
    ):
        assert read_owner(bucket, "dev", 60) is not None


def test_takes_over_from_a_process_of_this_machine_that_is_gone(bucket: Bucket) -> None:
    dead = replace(this_process(), pid=2**22 + 1)
    leave_lock(bucket, owner(str(dead), datetime.now(UTC)))
    with held(bucket, "prod", who="ann", doing="x", ttl_s=60):
        found = read_owner(bucket, "prod", 60)
        assert found is not None
        assert found.who == "ann"


def test_takes_over_from_another_machine_only_when_it_stopped_beating(bucket: Bucket) -> None:
    far = "1@another-boot.4026531836+1"
    assert why_alive(owner(far), ttl_s=60, silent_s=59) is not None
    assert why_alive(owner(far), ttl_s=60, silent_s=61) is None


def test_takes_its_own_write_for_its_own_when_the_answer_was_lost(bucket: Bucket) -> None:
    etag = bucket.create("prod/lock.json", b"mine")
    assert bucket.create("prod/lock.json", b"mine") == etag
    assert bucket.create("prod/lock.json", b"another's") is None


def test_knows_when_somebody_took_it_over(bucket: Bucket) -> None:
    with held(bucket, "prod", who="ann", doing="x", ttl_s=0.04) as lock:
        stored = bucket.read("prod/lock.json")
        while stored and not bucket.replace("prod/lock.json", b'{"stolen": true}', stored.etag):
            stored = bucket.read("prod/lock.json")
        lock._thread.join(10)  # the next heartbeat notices, and is the last one
        assert lock.lost
    assert bucket.read("prod/lock.json") is not None
