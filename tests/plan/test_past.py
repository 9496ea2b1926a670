"""What history says of a version: that it served before, or that it is bad."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fabfile.plan.past import Chapter, last_released, previous_version, why_bad
from fabfile.plan.release import ALARM, HEALTH, Ending, Kind

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def release(version: str, before: str | None, ending: Ending = Ending.DONE, reason: str | None = None) -> Chapter:
    return Chapter(
        id=version,
        env="prod",
        kind=Kind.RELEASE,
        version=version,
        from_version=before,
        who="ann",
        started_at=NOW,
        ended_at=NOW + timedelta(minutes=4),
        ending=ending,
        why="target i-1 unhealthy" if reason else "serves",
        reason=reason,
    )


def rollback(version: str, before: str, ending: Ending = Ending.DONE) -> Chapter:
    return Chapter(
        id="b", env="prod", kind=Kind.ROLLBACK, version=version, from_version=before, who="bob", started_at=NOW,
        ended_at=NOW, ending=ending, why="serves",
    )  # fmt: skip


def test_before_the_version_that_serves_came_the_one_released_before_it() -> None:
    assert previous_version([release("3", "2"), release("2", "1")], "3") == "2"


def test_before_the_first_release_came_what_it_found() -> None:
    assert previous_version([release("2", "1")], "2") == "1"
    assert previous_version([release("2", None)], "2") is None
    assert previous_version([], "2") is None


def test_a_second_rollback_goes_further_back_than_the_version_that_the_first_one_left() -> None:
    assert previous_version([rollback("2", "3"), release("3", "2"), release("2", "1")], "2") == "1"


def test_a_release_that_was_put_back_never_served() -> None:
    assert previous_version([release("4", "3", Ending.RESTORED), release("3", "2")], "3") == "2"


def test_what_was_released_last_is_what_was_done_last() -> None:
    assert last_released([release("4", "3", Ending.RESTORED), release("3", "2")]) == "3"
    assert last_released([]) is None


@pytest.mark.parametrize("reason", [HEALTH, ALARM])
def test_a_version_that_turned_sick_is_bad(reason: str) -> None:
    said = why_bad([release("4", "3", Ending.RESTORED, reason), release("3", "2")], "4")
    assert said == (
        "4 was recorded as bad: its release by ann was put back on 2026-11-24 09:04 UTC (target i-1 unhealthy); "
        "add --yes to bring it into service all the same"
    )


def test_a_version_that_a_rollback_left_is_bad() -> None:
    said = why_bad([rollback("2", "3"), release("3", "2")], "3")
    assert said is not None
    assert "bob rolled back from it to 2 on 2026-11-24 09:00 UTC" in said


@pytest.mark.parametrize("reason", ["capacity", "stopped", None])
def test_what_a_version_cannot_help_does_not_make_it_bad(reason: str | None) -> None:
    assert why_bad([release("4", "3", Ending.RESTORED, reason)], "4") is None


def test_a_rollback_that_failed_blames_nobody() -> None:
    assert why_bad([rollback("2", "3", Ending.RESTORED), release("3", "2")], "3") is None


def test_a_version_that_served_since_is_no_longer_bad() -> None:
    assert why_bad([release("3", "2"), rollback("2", "3"), release("3", "2")], "3") is None


def test_an_attempt_that_says_nothing_does_not_clear_a_version() -> None:
    chapters = [release("4", "3", Ending.RESTORED, "capacity"), release("4", "3", Ending.RESTORED, HEALTH)]
    assert why_bad(chapters, "4") is not None


def test_a_version_that_history_does_not_know_is_not_bad_and_costs_few_reads() -> None:
    read = 0

    def long_past() -> Iterator[Chapter]:
        nonlocal read
        for _ in range(10_000):
            read += 1
            yield release("3", "2")

    assert why_bad(long_past(), "4") is None
    assert read <= 200
