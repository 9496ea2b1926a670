"""Whose the release is: the record when an answer got lost, when it has ended, and a lock that somebody took."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fabfile.engine.convoy import groups_of
from fabfile.engine.journal import Journal
from fabfile.engine.line import Line, Place, Ticket
from fabfile.engine.lock import held
from fabfile.engine.loop import Clock
from fabfile.engine.operate import Order, journal_of, operate, state_of
from fabfile.engine.places import name_of
from fabfile.plan.fleet import Alarm
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Ending, Kind
from fabfile.tools import cloudwatch, ownership
from fabfile.tools.s3 import Bucket

from ..plan.fleets import NOW, record
from .conftest import Operator
from .test_convoy import Convoy

RECORD = "prod/release.json"


def lose_answer(monkeypatch: pytest.MonkeyPatch, bucket: Bucket, name: str) -> None:
    """Have the next write arrive, and its answer not."""
    real = getattr(bucket, name)

    def lost(*arguments: Any) -> Any:
        monkeypatch.setattr(bucket, name, real)
        real(*arguments)
        raise OSError("no answer")

    monkeypatch.setattr(bucket, name, lost)


@pytest.fixture
def unanswered(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """Write a record twice; of the second write nobody knows whether it arrived."""
    journal = Journal(bucket, "prod")
    assert journal.write(record())
    lose_answer(monkeypatch, bucket, "replace")
    with pytest.raises(OSError, match="no answer"):
        journal.write(record(migrated=True))
    return journal


def test_goes_on_over_its_own_record_whose_answer_was_lost(bucket: Bucket, unanswered: Journal) -> None:
    assert unanswered.write(record(failures=1))
    assert Journal(bucket, "prod").read() == record(failures=1)


def test_does_not_take_anothers_record_for_its_own_whose_answer_was_lost(bucket: Bucket, unanswered: Journal) -> None:
    other = Journal(bucket, "prod")
    other.read()
    assert other.write(record(who="bob"))
    assert not unanswered.write(record(failures=1))
    assert other.read() == record(who="bob")


@pytest.mark.parametrize("later", [1, 2, 5])
def test_goes_on_over_its_own_record_although_later_ones_never_arrived(
    bucket: Bucket, unanswered: Journal, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    """The answer to one write got lost, and S3 is out of reach for the next ones."""
    with monkeypatch.context() as patched:
        patched.setattr(bucket, "replace", unreachable)
        for failures in range(1, later + 1):
            with pytest.raises(OSError, match="no route"):
                unanswered.write(record(failures=failures))
    assert unanswered.write(record(failures=9))
    assert Journal(bucket, "prod").read() == record(failures=9)


def unreachable(*_: object) -> str:
    raise OSError("no route to host")


def test_goes_on_over_its_first_record_whose_answer_was_lost(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(bucket, "prod")
    lose_answer(monkeypatch, bucket, "create")
    with pytest.raises(OSError, match="no answer"):
        journal.write(record())
    assert journal.write(record(failures=1))


def test_one_who_was_taken_over_knows_it_although_the_very_same_record_was_written(bucket: Bucket) -> None:
    """Who goes on with a release writes down at first what stands there already."""
    first, second = Journal(bucket, "prod"), Journal(bucket, "prod")
    assert first.write(record())
    second.read()
    assert second.write(record())
    assert not first.write(record(failures=1))
    assert second.read() == record()


def test_leaves_no_record_of_what_has_ended(bucket: Bucket) -> None:
    journal = Journal(bucket, "prod")
    journal.write(record())
    journal.close(record(), Ending.DONE, "fine", NOW)
    assert bucket.read(RECORD) is None


def test_does_not_go_on_with_what_has_ended_although_its_record_was_left(bucket: Bucket) -> None:
    journal = Journal(bucket, "prod")
    journal.write(record())
    left = bucket.read(RECORD)
    assert left is not None
    journal.close(record(), Ending.DONE, "fine", NOW)
    bucket.create(RECORD, left.body)  # whoever ended it died before it removed this
    assert Journal(bucket, "prod").read() is None


@pytest.mark.parametrize("arrives", [True, False])
def test_decides_nothing_more_once_the_end_may_stand_in_history(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, *, arrives: bool
) -> None:
    """S3 gives no answer to the chapter; the version turns bad while it is tried again."""
    operator.release_settings.update(keep_previous=True, alarms=["errors"])
    create, tries = Bucket.create, [0]

    def unanswered(bucket: Bucket, key: str, body: bytes) -> str | None:
        if "/history/" not in key:
            return create(bucket, key, body)
        tries[0] += 1
        etag = create(bucket, key, body) if arrives or tries[0] > 3 else None
        if tries[0] > 3:
            return etag
        raise OSError("no answer")

    monkeypatch.setattr(Bucket, "create", unanswered)
    monkeypatch.setattr(cloudwatch, "read_alarms", lambda *_: {"errors": Alarm(tries[0] > 0, "5xx")})
    result = operator.release("2.0.0")
    assert tries[0] == 4
    assert (result.ending, operator.carried()) == (Ending.DONE, {"2.0.0"})
    assert [chapter.ending for chapter in journal_of(operator.settings).history()] == [Ending.DONE]


def test_what_was_rolled_back_from_is_bad_although_a_clock_is_behind(operator: Operator) -> None:
    clock = operator.cloud.clock
    clock.sleep(2 * 3600)
    operator.release("2.0.0")
    behind = Clock(lambda: clock.now() - timedelta(hours=1), clock.sleep)
    back = Order(Kind.ROLLBACK, "1.0.0", "bob", bad=True)
    assert operate(operator.settings, back, replace(operator.means, clock=behind)).ending is Ending.DONE
    with pytest.raises(Refusal, match=r"2\.0\.0 was recorded as bad: bob rolled back from it"):
        operate(operator.settings, Order(Kind.ROLLBACK, "2.0.0", "ann"), operator.means)


def wait_in_line(operator: Operator, number: int = 0) -> Place:
    settings = groups_of(operator.settings)[number]
    process = str(ownership.this_process())
    ticket = Ticket("t1", "bob", process, Kind.RELEASE, "1.5.0", supersedes=True)
    place = Line(state_of(settings), name_of(settings), settings.release.lock_ttl_s).place(ticket)
    place.take()
    return place


@pytest.mark.parametrize("frozen", [True, False])
def test_a_newer_release_takes_the_place_of_one_that_waits_only_if_it_is_not_refused(
    operator: Operator, *, frozen: bool
) -> None:
    operator.release_settings.update(supersede=True)
    if frozen:
        operator.release_settings.update(freeze=["2000-01-01 - 2999-01-01 UTC: the audit"])
    place = wait_in_line(operator)
    with pytest.raises(Refusal, match="audit") if frozen else nullcontext():
        operator.release("2.0.0")
    assert place.renew() is frozen
    place.leave()


@pytest.mark.parametrize("number", [0, 1])
def test_a_newer_release_of_several_groups_takes_the_place_of_one_that_waits_for_any_of_them(
    operator: Operator, number: int
) -> None:
    convoy = Convoy(operator)
    operator.release_settings.update(supersede=True)
    place = wait_in_line(operator, number)
    assert {result.ending for result in convoy.release("2.0.0")} == {Ending.DONE}
    assert not place.renew()
    place.leave()


def test_a_heartbeat_knows_at_once_that_somebody_took_the_lock(bucket: Bucket) -> None:
    with held(bucket, "prod", who="ann", doing="x", ttl_s=3600) as lock:
        stored = bucket.read("prod/lock.json")
        assert stored is not None
        assert bucket.replace("prod/lock.json", b'{"stolen": true}', stored.etag)
        lock._renew()
        assert lock.lost
    assert bucket.read("prod/lock.json") is not None, "it is not ours to remove"
