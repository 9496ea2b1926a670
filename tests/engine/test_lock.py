"""One release at a time: who gets the lock, who is refused, whose lock is taken over."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fabfile.engine import lock as lock_module
from fabfile.engine.claim import Stopwatch
from fabfile.engine.lock import Lock, Owner, held, read_owner, why_alive
from fabfile.plan.outcome import Refusal
from fabfile.tools import ownership
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
    assert why_alive(owner(far), ttl_s=60, silent_s=60.5) is not None  # S3 tells whole seconds: this may be 59.6
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


class Time:
    """A stopwatch that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.stopwatch = Stopwatch(lambda: self.now_s, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Wire:
    """The way to S3, which can be cut: before a call arrives, or before its answer does."""

    def __init__(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cut = ""
        for name in ("read", "create", "replace", "delete", "listed"):
            monkeypatch.setattr(bucket, name, self._through(getattr(bucket, name)))

    def _through(self, call: Any) -> Any:
        def through(*arguments: Any) -> Any:
            if self.cut == "before":
                raise OSError("no route")
            answer = call(*arguments)
            if self.cut == "after":
                self.cut = ""
                raise OSError("no answer")
            return answer

        return through


@pytest.fixture
def wire(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(bucket, monkeypatch)


def is_lost(lock: Lock) -> bool:
    """Ask anew: what was so a moment ago says nothing."""
    return lock.lost


def steal(bucket: Bucket) -> None:
    stored = bucket.read("prod/lock.json")
    assert stored
    assert bucket.replace("prod/lock.json", json.dumps(asdict(owner("1@far+1"))).encode(), stored.etag)


def test_counts_as_lost_when_no_heartbeat_got_through_for_as_long_as_others_wait(bucket: Bucket, wire: Wire) -> None:
    time = Time()
    with held(bucket, "prod", who="ann", doing="x", ttl_s=60, clock=time.stopwatch) as lock:
        wire.cut = "before"
        time.sleep(59)
        assert not is_lost(lock)
        time.sleep(1)
        assert is_lost(lock)
        wire.cut = ""
        assert not is_lost(lock), "S3 is back, and nobody came between: it is ours"


def test_is_lost_for_good_when_somebody_came_while_this_machine_slept(bucket: Bucket) -> None:
    time = Time()
    with held(bucket, "prod", who="ann", doing="x", ttl_s=60, clock=time.stopwatch) as lock:
        steal(bucket)
        time.sleep(3600)
        assert is_lost(lock)
        time.sleep(3600)
        assert is_lost(lock)
    assert bucket.read("prod/lock.json") is not None, "what is another's stays"


def test_is_kept_when_only_the_answer_to_a_heartbeat_was_lost(bucket: Bucket, wire: Wire) -> None:
    time = Time()
    with held(bucket, "prod", who="ann", doing="x", ttl_s=60, clock=time.stopwatch) as lock:
        for _ in range(3):
            time.sleep(60)
            wire.cut = "after"
            assert is_lost(lock), "not proved ours yet"
            assert not is_lost(lock)
    assert bucket.keys("") == []


def test_leaves_nothing_when_the_answer_to_taking_it_was_lost(bucket: Bucket, wire: Wire) -> None:
    create = bucket.create

    def unanswered(key: str, body: bytes) -> str | None:
        wire.cut = "after"
        return create(key, body)

    bucket.create = unanswered  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no answer"), held(bucket, "prod", who="ann", doing="x", ttl_s=60):
        pass
    assert bucket.keys("") == []


def test_what_was_done_is_done_even_if_the_lock_cannot_be_given_back(bucket: Bucket, wire: Wire) -> None:
    with held(bucket, "prod", who="ann", doing="x", ttl_s=60):
        wire.cut = "before"


@pytest.mark.parametrize("wrong_by", [timedelta(hours=-5), timedelta(hours=5)])
def test_needs_no_clock_of_ours_to_be_right(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta
) -> None:
    wrong = (datetime.now(UTC) + wrong_by).isoformat()
    monkeypatch.setattr(lock_module, "now_text", lambda: wrong)
    far = ownership.Owner(1, "another-machine", 1)
    monkeypatch.setattr(ownership, "this_process", lambda: far)
    with (
        held(bucket, "prod", who="ann", doing="x", ttl_s=60) as lock,
        pytest.raises(Refusal, match=r"ann is at it since .* its heartbeat is -?[01] s old"),
        held(bucket, "prod", who="bob", doing="y", ttl_s=60),
    ):
        pass
    assert is_lost(lock)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"who": 3}', b"[" * 100_000])
def test_a_lock_that_cannot_be_read_is_somebodys(bucket: Bucket, body: bytes) -> None:
    bucket.create("prod/lock.json", body)
    with (
        pytest.raises(Refusal, match="somebody is at it"),
        held(bucket, "prod", who="ann", doing="x", ttl_s=60),
    ):
        pass


def test_is_proved_from_when_it_was_asked_for_not_from_when_s3_answered(
    bucket: Bucket, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    with held(bucket, "prod", who="ann", doing="x", ttl_s=60, clock=time.stopwatch) as lock:
        replace_at_once = bucket.replace

        def replace_slowly(key: str, body: bytes, etag: str) -> str | None:
            renewed = replace_at_once(key, body, etag)
            time.sleep(50)
            return renewed

        monkeypatch.setattr(bucket, "replace", replace_slowly)
        time.sleep(60)
        assert not is_lost(lock)
        wire.cut = "before"
        time.sleep(9)
        assert not is_lost(lock)
        time.sleep(1)
        assert is_lost(lock)
        wire.cut = ""


def test_nothing_begins_under_a_lock_that_was_taken_over_in_the_meantime(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    time, create = Time(), bucket.create

    def fall_asleep(key: str, body: bytes) -> str | None:
        etag = create(key, body)
        steal(bucket)
        time.sleep(3600)
        return etag

    monkeypatch.setattr(bucket, "create", fall_asleep)
    with (
        pytest.raises(Refusal, match="the lock of prod was lost; nothing was touched; run it again"),
        held(bucket, "prod", who="ann", doing="x", ttl_s=60, clock=time.stopwatch),
    ):
        pass
    assert bucket.read("prod/lock.json") is not None
