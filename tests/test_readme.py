"""What the README says to type is what works."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fabfile.plan.freeze import read_windows
from fabfile.plan.moment import read_moment

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize("moment", sorted(set(re.findall(r'--at="?([^"`]+)"?`', README))))
def test_every_moment_is_one(moment: str) -> None:
    assert NOW < read_moment(moment, NOW, UTC) < NOW + timedelta(days=366)


def test_a_moment_is_shown_in_each_way_to_write_one_and_a_zone_that_is_not_named_is_the_machines() -> None:
    assert {"--at=09:00", "--at=+20m"} <= set(re.findall(r"--at=[^`\"]+", README))
    assert "Where no zone is named, that of the machine that runs `fab` counts" in README
    berlin = ZoneInfo("Europe/Berlin")
    assert read_moment("09:00", NOW, berlin).astimezone(berlin).hour == 9


def test_every_freeze_window_is_one() -> None:
    windows = re.findall(r'release\.freeze: \["([^"]+)"\]', README)
    assert windows
    assert len(read_windows(windows)) == len(windows)


def test_nobody_is_sent_to_a_registry_for_what_only_a_checkout_has() -> None:
    shown = [README, *(file.read_text() for file in (ROOT / "fabfile").rglob("*.py"))]
    assert [found for text in shown for found in re.findall(r".*['`]headway\[[a-z,]+\].*", text)] == []


def test_the_first_try_says_in_which_shell_it_works_and_when_pip_comes() -> None:
    first_try = README.partition("## A first try by hand")[2].partition("```")[0]
    assert "scripts/env" in first_try
    assert "pip" in first_try
