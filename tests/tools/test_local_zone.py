"""The time zone of a machine, by its name."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest

from fabfile.tools.local_zone import local_zone

ZONES = next((Path(folder) for folder in TZPATH if (Path(folder) / "Europe/Berlin").exists()), None)
needs_zones = pytest.mark.skipif(ZONES is None, reason="this system has no zone database of its own")


@pytest.mark.parametrize("value", ["Europe/Berlin", ":Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin"])
def test_is_what_the_environment_says(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", value)
    assert local_zone(tmp_path / "none") == ZoneInfo("Europe/Berlin")


@needs_zones
def test_is_the_zone_that_the_systems_link_leads_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    link = tmp_path / "localtime"
    link.symlink_to((ZONES or tmp_path) / "Europe/Berlin")
    assert local_zone(link) == ZoneInfo("Europe/Berlin")


@needs_zones
def test_is_without_a_name_but_right_where_the_system_has_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")  # a rule, no name of a zone
    shutil.copy((ZONES or tmp_path) / "Europe/Berlin", tmp_path / "localtime")
    zone = local_zone(tmp_path / "localtime")
    assert datetime(2027, 7, 1, 12, tzinfo=zone).utcoffset() == timedelta(hours=2)
    assert datetime(2027, 1, 1, 12, tzinfo=zone).utcoffset() == timedelta(hours=1)


def test_is_utc_where_the_system_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    assert local_zone(tmp_path / "none") is UTC
