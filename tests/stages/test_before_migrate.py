"""What a release asks before it begins, so that it does not end half way for want of a database's URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabfile.migrate import why_not_migratable
from fabfile.plan.settings import Settings


def settings_with(url: str | None, endpoint: str | None = None) -> Settings:
    return Settings.model_validate({"env": "dev", "endpoint": endpoint, "database": {"url": url}})


def test_what_would_end_a_release_half_way_is_told_before_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRIAL_URL", raising=False)
    assert "env:TRIAL_URL: the variable is not set" in str(why_not_migratable(settings_with("env:TRIAL_URL")))
    silent = why_not_migratable(settings_with("ssm:/shop/dev/url", "http://127.0.0.1:1"))
    assert "headway.envs.dev.database.url: ssm:/shop/dev/url: nothing answers" in str(silent)
    monkeypatch.setenv("TRIAL_URL", "postgresql://nowhere.invalid/x")
    assert why_not_migratable(settings_with("env:TRIAL_URL")) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "goose is not installed" in str(why_not_migratable(settings_with("env:TRIAL_URL")))


def test_where_nothing_is_to_be_migrated_nothing_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_not_migratable(settings_with(None)) is None
    assert why_not_migratable(Settings.model_validate({"env": "dev"})) is None
