"""Past releases for a person and for a machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fabfile.plan.past import Chapter
from fabfile.plan.release import HEALTH, Ending, Kind
from fabfile.show.history import as_json, render

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DONE = Chapter(
    id="r2",
    env="prod",
    kind=Kind.RELEASE,
    version="1.5.0",
    from_version="1.4.0",
    who="ann@build (build 7)",
    started_at=NOW,
    ended_at=NOW + timedelta(seconds=252),
    ending=Ending.DONE,
    why="1.5.0 serves on 3 instances",
)
CAUSE = "i-7 unhealthy in shop-prod: Target.Timeout, and nothing else to be told of it"
PUT_BACK = replace(
    DONE,
    id="r1",
    version="1.4.9",
    who="bob",
    ended_at=NOW + timedelta(minutes=75),
    ending=Ending.RESTORED,
    why=CAUSE,
    reason=HEALTH,
    override="the shop is down",
    link="https://drone/7",
    evidence=(CAUSE, "console: out of memory"),
)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_tells_who_when_from_what_to_what_how_long_how_it_ended_and_why() -> None:
    lines = render([DONE, PUT_BACK], "prod").splitlines()
    assert lines[0].split() == ["WHEN", "WHO", "WHAT", "FROM", "TO", "TOOK", "ENDED", "WHY"]
    assert " ".join(lines[1].split()) == (
        "2026-11-24 10:00:00 CET ann@build (build 7) release 1.4.0 1.5.0 4 min 12 s done 1.5.0 serves on 3 instances"
    )
    assert "1 h 15 min  restored  i-7 unhealthy in shop-prod: Target.Timeout, and" in lines[2]
    assert lines[3:] == [
        "    in spite of a freeze: the shop is down",
        "    build: https://drone/7",
        "    console: out of memory",
    ]


def test_columns_stand_under_each_other() -> None:
    head, first, second = render(
        [DONE, replace(PUT_BACK, override=None, link=None, evidence=(CAUSE,))], "prod"
    ).splitlines()
    assert head.index("WHY") == first.index("1.5.0 serves") == second.index("i-7 unhealthy")
    assert head.index("TOOK") == first.index("4 min 12 s")


def test_a_terminal_is_not_overrun() -> None:
    lines = render([DONE, PUT_BACK], "prod", 120).splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[2].endswith("…")


def test_nothing_yet_is_one_plain_line() -> None:
    assert render([], "prod") == "nothing was released to prod yet"


def test_a_version_that_nobody_knows_is_a_dash() -> None:
    assert "  -     1.5.0  " in render([replace(DONE, from_version=None)], "prod")


def test_a_machine_gets_all_of_it() -> None:
    first, second = json.loads(as_json({"shop-prod": [DONE, PUT_BACK]}))
    assert first["group"] == "shop-prod"
    assert (first["took_s"], first["started_at"], first["kind"]) == (252, "2026-11-24T09:00:00+00:00", "release")
    assert (second["ending"], second["reason"], second["evidence"]) == (
        "restored",
        "health",
        [CAUSE, "console: out of memory"],
    )
