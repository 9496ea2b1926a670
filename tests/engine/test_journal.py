"""What is written down survives: every field, in order, and never over somebody else's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from fabfile.engine.journal import Chapter, Journal
from fabfile.engine.written import written
from fabfile.plan.fleet import Template
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import HEALTH, Before, Ending, Kind, Record, Wish
from fabfile.tools.s3 import Bucket, Stored

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
RECORD = Record(
    id="r1",
    env="prod",
    kind=Kind.ROLLBACK,
    version="1.0.0",
    from_version=None,
    who="ann",
    started_at=NOW,
    before=Before(1, 4, 2, frozenset({"AZRebalance"}), Template("lt-1", "3"), "ami-1", ("i-1",)),
    wanted=2,
    image_id="ami-2",
    template_version="4",
    migrated=True,
    raised_max=8,
    paused=frozenset({"AZRebalance"}),
    prepared=True,
    marks=(("warm", NOW),),
    undo="sick",
    failures=2,
    launched=("i-2",),
    attached=("i-2",),
    recalled=("i-3",),
    rested=("i-1",),
    trimmed=-1,
    watched=("i-2",),
)


def test_reads_back_every_field_it_wrote(bucket: Bucket) -> None:
    assert Journal(bucket, "prod").write(RECORD)
    assert Journal(bucket, "prod").read() == RECORD


def test_has_no_record_before_the_first_release(bucket: Bucket) -> None:
    assert Journal(bucket, "prod").read() is None
    assert list(Journal(bucket, "prod").history()) == []


def test_never_writes_over_what_another_process_wrote(bucket: Bucket) -> None:
    mine, other = Journal(bucket, "prod"), Journal(bucket, "prod")
    theirs = replace(RECORD, id="r9", who="bob")
    assert mine.write(RECORD)
    assert not other.write(theirs)
    assert mine.read() == RECORD
    other.read()
    assert other.write(theirs)
    assert not mine.write(replace(RECORD, migrated=False))


def test_moves_an_ended_release_into_history_newest_first(bucket: Bucket) -> None:
    journal = Journal(bucket, "prod")
    journal.write(RECORD)
    journal.close(RECORD, Ending.RESTORED, "sick", NOW + timedelta(minutes=3))
    assert journal.read() is None
    later = replace(RECORD, id="r2", started_at=NOW + timedelta(hours=1))
    journal.write(later)
    journal.close(later, Ending.DONE, "fine", NOW + timedelta(hours=2))
    assert [(c.id, c.ending, c.why) for c in journal.history()] == [
        ("r2", Ending.DONE, "fine"),
        ("r1", Ending.RESTORED, "sick"),
    ]


def close(bucket: Bucket, number: int) -> Chapter:
    """Close one release among many, and return what history should have of it."""
    record = replace(RECORD, id=f"r{number}", started_at=NOW + timedelta(hours=number))
    journal = Journal(bucket, "prod")
    journal.write(record)
    journal.close(record, Ending.DONE, "fine", NOW + timedelta(hours=number, minutes=3))
    return next(journal.history())


def test_keeps_all_that_is_to_be_known_of_a_release(bucket: Bucket) -> None:
    record = replace(RECORD, wish=Wish(override="the shop is down"), evidence=("i-1: out of memory",))
    journal = Journal(bucket, "prod")
    journal.write(record)
    journal.close(record, Ending.RESTORED, "sick", NOW + timedelta(minutes=3), reason=HEALTH, link="https://drone/7")
    assert next(journal.history()) == Chapter(
        id="r1",
        env="prod",
        kind=Kind.ROLLBACK,
        version="1.0.0",
        from_version=None,
        who="ann",
        started_at=NOW,
        ended_at=NOW + timedelta(minutes=3),
        ending=Ending.RESTORED,
        why="sick",
        reason="health",
        override="the shop is down",
        evidence=("i-1: out of memory",),
        link="https://drone/7",
        from_image="ami-1",
        to_image="ami-2",
    )


def test_reads_what_an_older_headway_kept_of_a_release(bucket: Bucket) -> None:
    kept = {"id": "r0", "env": "prod", "kind": "release", "version": "1.0.0", "from_version": None, "who": "bob"}
    kept |= {"started_at": NOW.isoformat(), "ended_at": NOW.isoformat(), "ending": "done", "why": "fine"}
    bucket.create("prod/history/20261124T090000-r0.json", json.dumps(kept).encode())
    found = next(Journal(bucket, "prod").history())
    assert (found.who, found.ending, found.reason, found.evidence, found.link) == ("bob", Ending.DONE, None, (), None)


def test_passes_over_what_only_a_newer_headway_can_read(bucket: Bucket) -> None:
    known = close(bucket, 1)
    bucket.create("prod/history/20991124T090000-r9.json", b'{"ending": "teleported"}')
    assert list(Journal(bucket, "prod").history()) == [known]


def test_shows_the_last_ten_of_a_thousand_without_reading_the_others(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        close(bucket, number)
    read: list[str] = []
    really = bucket.read

    def counted(key: str) -> Stored | None:
        read.append(key)
        return really(key)

    monkeypatch.setattr(bucket, "read", counted)
    chapters = list(islice(Journal(bucket, "prod").history(), 10))
    assert [chapter.id for chapter in chapters] == [f"r{number}" for number in range(29, 19, -1)]
    assert len(read) == 10


def test_a_crash_between_history_and_record_writes_no_second_chapter(bucket: Bucket) -> None:
    journal, again = Journal(bucket, "prod"), Journal(bucket, "prod")
    journal.write(RECORD)
    assert again.read() == RECORD
    journal.close(RECORD, Ending.DONE, "fine", NOW + timedelta(minutes=3))
    bucket.create("prod/release.json", b"what the crash left")
    again.close(RECORD, Ending.DONE, "fine, again", NOW + timedelta(minutes=9))
    assert [chapter.why for chapter in again.history()] == ["fine"]


ZONELESS = written(RECORD).replace(b"+00:00", b"")


def test_keeps_the_order_of_chapters_whatever_the_clocks_of_their_writers_say(bucket: Bucket) -> None:
    for number in (3, 1, 2, 12):  # of whoever wrote the second one, the clock is two hours behind
        close(bucket, number)
    assert [chapter.id for chapter in Journal(bucket, "prod").history()] == ["r12", "r2", "r1", "r3"]


def test_nothing_ends_before_it_began_although_another_machine_ended_it(bucket: Bucket) -> None:
    journal = Journal(bucket, "prod")
    journal.write(RECORD)
    journal.close(RECORD, Ending.DONE, "fine", NOW - timedelta(hours=1))
    assert next(journal.history()).ended_at == NOW


def test_a_release_has_ended_although_its_record_cannot_be_removed_yet(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(bucket, "prod")
    journal.write(RECORD)
    with monkeypatch.context() as patched:
        patched.setattr(bucket, "delete", fails)
        journal.close(RECORD, Ending.DONE, "fine", NOW)
        assert journal.read() is None
        journal.sweep()
    assert [chapter.why for chapter in journal.history()] == ["fine"]
    later = replace(RECORD, id="r2")
    assert journal.write(later), "the next release begins over what could not be removed"
    assert Journal(bucket, "prod").read() == later


def fails(*_: object) -> bool:
    raise OSError("503 Slow Down")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"id": "r1"}', b"[" * 100_000, ZONELESS])
def test_a_record_that_cannot_be_read_is_refused_in_one_line(bucket: Bucket, body: bytes) -> None:
    bucket.create("prod/release.json", body)
    with pytest.raises(Refusal, match="the record of the release in progress of prod cannot be read"):
        Journal(bucket, "prod").read()
