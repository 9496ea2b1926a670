"""What is written down survives: every field, in order, and never over somebody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fabfile.engine.journal import Journal
from fabfile.plan.fleet import Template
from fabfile.plan.release import Before, Ending, Kind, Record
from fabfile.tools.s3 import Bucket

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
