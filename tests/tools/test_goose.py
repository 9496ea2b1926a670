"""Goose, by its real binary."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabfile.plan.migrations import why_not_migration
from fabfile.plan.outcome import Refusal
from fabfile.tools import goose
from fabfile.tools.process import run

TEXT = "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 1;\n"
DEAD = "postgresql://u:canary@127.0.0.1:1/d"


@pytest.mark.parametrize(
    "file_name",
    ["00001_a.sql", "1_.sql", "20240102030405_a_b.sql", "a.sql", "1.sql", "_a.sql", "0_a.sql", "-1_a.sql", "1a_a.sql"],
)
def test_our_rule_for_file_names_is_gooses_own(tmp_path: Path, file_name: str) -> None:
    (tmp_path / file_name).write_text(TEXT)
    accepted = run(["goose", "-env=none", "-dir", str(tmp_path), "validate"], check=False).code == 0
    assert (why_not_migration(file_name) is None) == accepted


def test_output_holds_neither_times_nor_secrets(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text(TEXT)
    ran = goose.up(DEAD, tmp_path, lock_timeout_s=1, statement_timeout_s=1)
    assert ran.code != 0
    assert "127.0.0.1" in ran.output
    assert "canary" not in ran.output
    assert ran.output.startswith("goose run:")
    assert not ran.lock_timed_out


def test_a_persons_dotenv_and_table_are_not_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("GOOSE_DBSTRING=postgresql://u:p@127.0.0.2:2/d\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOSE_DBSTRING", "postgresql://u:p@127.0.0.3:3/d")
    (tmp_path / "1_a.sql").write_text(TEXT)
    assert "127.0.0.1" in goose.up(DEAD, tmp_path, 1, 1).output


def test_only_the_lock_timeout_of_a_failed_run_counts_as_one() -> None:
    said = "ERROR: canceling statement due to lock timeout (SQLSTATE 55P03)"
    assert goose.GooseRun(1, said).lock_timed_out
    assert not goose.GooseRun(0, said).lock_timed_out
    assert not goose.GooseRun(1, "ERROR: canceling statement due to statement timeout (SQLSTATE 57014)").lock_timed_out


def test_whatever_else_lies_among_the_migrations_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text(TEXT)
    (tmp_path / ".DS_Store").write_bytes(b"\xff\x00")
    (tmp_path / "old").mkdir()
    assert goose.read_files(tmp_path) == [("1_a.sql", TEXT)]


def test_a_migration_that_is_not_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_bytes(b"-- caf\xe9")
    with pytest.raises(Refusal, match=r"migration 1_a\.sql: is not UTF-8 text"):
        goose.read_files(tmp_path)
    (tmp_path / "1_a.sql").unlink()
    (tmp_path / "2_b.sql").mkdir()
    with pytest.raises(Refusal, match=r"migration 2_b\.sql: cannot be read \(Is a directory\)"):
        goose.read_files(tmp_path)
