"""`fab migrate`, run as a person runs it, on a real PostgreSQL with the real Goose."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.stages.project import Project, ended, read_until

pytestmark = pytest.mark.docker

GOOSE_LOCK = 4097083626
CANARY = "tattletale/pass word%41"  # needs quoting everywhere, so that a half-quoted form would show too
CANARY_IN_URL = "tattletale%2Fpass%20word%2541"
UP = "-- +goose Up\n{}\n-- +goose Down\nSELECT 1;\n"
ORDERS = UP.format("CREATE TABLE orders (id int);")


@dataclass(frozen=True)
class Database:
    """An empty database of its own for each test, whose password must never be seen."""

    host: str
    name: str

    @property
    def url(self) -> str:
        return f"postgresql://app:{CANARY_IN_URL}@{self.host}:5432/{self.name}?sslmode=disable"

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url, autocommit=True)

    def ask(self, query: str) -> object:
        with self.connect() as connection:
            row = connection.execute(query.encode()).fetchone()
            return row[0] if row else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start a PostgreSQL server and give its address."""
    name = f"headway-test-migrate-{secrets.token_hex(4)}"
    environment = {"POSTGRES_USER": "app", "POSTGRES_PASSWORD": CANARY, "PGDATA": "/headway/data"}
    options = [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]
    labels = ["--label", f"headway.test={name}", "--tmpfs", "/headway"]
    subprocess.run(
        ["docker", "run", "--detach", "--name", name, *labels, *options, "postgres:15", "-c", "fsync=off"],
        check=True,
        capture_output=True,
    )
    shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    try:
        host = subprocess.run(
            ["docker", "inspect", "--format", shown, name], check=True, capture_output=True, text=True
        ).stdout.strip()
        _wait_for(Database(host, "app"))
        yield host
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)


def _wait_for(database: Database) -> None:
    for _ in range(600):
        try:
            database.connect().close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("PostgreSQL never answered")


@pytest.fixture
def database(server: str) -> Database:
    name = f"t{secrets.token_hex(6)}"
    with Database(server, "app").connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return Database(server, name)


@pytest.fixture
def project(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path / "project")
    made.write("migrations/00001_orders.sql", ORDERS)
    configure(made)
    monkeypatch.setenv("TRIAL_URL", database.url)
    yield made
    made.stop()


def configure(project: Project, **settings: object) -> None:
    project.configure(database={"url": "env:TRIAL_URL", "lock_timeout_s": 0.5, **settings}, envs={"dev": {}})


def assert_no_secret(text: str) -> None:
    for form in (CANARY, CANARY_IN_URL, "tattletale"):
        assert form not in text


def test_an_empty_database_is_migrated_up_and_then_there_is_nothing_to_do(project: Project, database: Database) -> None:
    project.write("migrations/00002_note.sql", UP.format("ALTER TABLE orders ADD note text;"))
    first = project.fab("migrate", "--env=dev")
    assert first.code == 0, first.output
    assert "went from migration 0 to 2" in first.output
    again = project.fab("migrate", "--env=dev")
    assert again.code == 0
    assert "nothing to do, it is at migration 2" in again.output
    assert database.ask("SELECT count(note) FROM orders") == 0
    assert_no_secret(first.output + again.output)


def test_several_at_once_on_an_empty_database_all_succeed(project: Project, database: Database) -> None:
    slow = UP.format("SELECT pg_sleep(0.5);\nCREATE TABLE items (id int);")
    project.write("migrations/00002_items.sql", slow)
    runs = [ended(process) for process in [project.start("migrate", "--env=dev") for _ in range(4)]]
    assert [ran.code for ran in runs] == [0] * 4, "\n".join(ran.output for ran in runs)
    assert sum("went from migration 0 to 2" in ran.output for ran in runs) == 1
    assert sum("nothing to do" in ran.output for ran in runs) == 3
    assert database.ask("SELECT count(*) FROM goose_db_version WHERE version_id = 2") == 1


def test_it_waits_for_whoever_holds_gooses_own_lock_and_says_who(project: Project, database: Database) -> None:
    with database.connect() as other:
        other.execute("SET application_name = 'another deploy'")
        other.execute("SELECT pg_advisory_lock(%s)", [GOOSE_LOCK])
        running = project.start("migrate", "--env=dev")
        assert running.stdout is not None
        lines = iter(running.stdout)
        waiting = next(line for line in lines if "waiting" in line)
        assert "another deploy, session" in waiting
        assert database.ask("SELECT to_regclass('orders')") is None
    ran = ended(running)
    assert ran.code == 0, ran.output
    assert "went from migration 0 to 1" in ran.output


def test_the_lock_is_free_afterwards_also_after_a_failure(project: Project, database: Database) -> None:
    project.write("migrations/00002_bad.sql", UP.format("SELCT bogus;"))
    assert project.fab("migrate", "--env=dev").code == 1
    assert database.ask(f"SELECT pg_try_advisory_lock({GOOSE_LOCK})") is True


def test_an_index_can_be_made_concurrently_while_the_lock_is_held(project: Project, database: Database) -> None:
    text = "-- +goose NO TRANSACTION\n" + UP.format("CREATE INDEX CONCURRENTLY orders_id ON orders (id);")
    project.write("migrations/00002_index.sql", text)
    ran = project.fab("migrate", "--env=dev")
    assert ran.code == 0, ran.output
    assert database.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_id'::regclass") is True


def test_a_table_that_is_locked_is_waited_for_again(project: Project, database: Database) -> None:
    assert project.fab("migrate", "--env=dev").code == 0
    project.write("migrations/00002_note.sql", UP.format("ALTER TABLE orders ADD note text;"))
    with database.connect() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
        running = project.start("migrate", "--env=dev")
        read_until(running, "migrate: a table was locked for 0.5 s (try 1 of 5); again in 1 s")
    ran = ended(running)
    assert ran.code == 0, ran.output
    assert "went from migration 1 to 2" in ran.output


def test_a_table_that_stays_locked_fails_after_the_last_try_and_changes_nothing(
    project: Project, database: Database
) -> None:
    configure(project, attempts=2)
    assert project.fab("migrate", "--env=dev").code == 0
    project.write("migrations/00002_note.sql", UP.format("ALTER TABLE orders ADD note text;"))
    with database.connect() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
        ran = project.fab("migrate", "--env=dev")
    assert ran.code == 1
    assert ran.output.count("(try ") == 1
    assert "it stays at 1" in ran.output
    assert "55P03" in ran.output


def test_a_statement_that_takes_too_long_fails_and_is_not_tried_again(project: Project) -> None:
    configure(project, statement_timeout_s=0.3)
    project.write("migrations/00002_slow.sql", UP.format("SELECT pg_sleep(60);"))
    ran = project.fab("migrate", "--env=dev")
    assert ran.code == 1
    assert "57014" in ran.output  # query_canceled
    assert "(try " not in ran.output


def test_timeouts_go_on_top_of_options_that_the_connection_string_has(project: Project, database: Database) -> None:
    text = UP.format("CREATE TABLE seen AS SELECT current_setting('lock_timeout') a, current_setting('my.word') b;")
    project.write("migrations/00002_seen.sql", text)
    ran = project.fab("migrate", "--env=dev", env={"TRIAL_URL": f"{database.url}&options=-c%20my.word%3Dkept"})
    assert ran.code == 0, ran.output
    assert database.ask("SELECT a || ' ' || b FROM seen") == "500ms kept"


def test_a_connection_string_of_words_serves_as_well(project: Project, database: Database) -> None:
    words = f"host={database.host} user=app password='{CANARY}' dbname={database.name} sslmode=disable"
    ran = project.fab("migrate", "--env=dev", env={"TRIAL_URL": words})
    assert ran.code == 0, ran.output
    assert_no_secret(ran.output)


def test_a_failure_half_way_tells_how_far_the_database_got(project: Project, database: Database) -> None:
    project.write("migrations/00002_note.sql", UP.format("ALTER TABLE orders ADD note text;"))
    project.write("migrations/00003_bad.sql", UP.format("SELCT bogus;"))
    ran = project.fab("migrate", "--env=dev")
    assert ran.code == 1
    assert "it went from 0 to 2 and stays there" in ran.output
    assert 'syntax error at or near "SELCT"' in ran.output
    assert "Traceback" not in ran.output
    assert database.ask("SELECT max(version_id) FROM goose_db_version") == 2
    assert_no_secret(ran.output)


def test_an_older_release_finds_nothing_to_do_on_a_newer_database(project: Project, database: Database) -> None:
    newer = project.write("migrations/00002_note.sql", UP.format("ALTER TABLE orders ADD note text;"))
    project.fab("migrate", "--env=dev")
    newer.unlink()
    ran = project.fab("migrate", "--env=dev")
    assert ran.code == 0, ran.output
    assert "nothing to do, it is at migration 2" in ran.output
    assert database.ask("SELECT count(note) FROM orders") == 0


def test_a_migration_that_was_numbered_too_low_is_refused_by_goose_and_told(project: Project) -> None:
    project.write("migrations/00003_items.sql", UP.format("CREATE TABLE items (id int);"))
    assert project.fab("migrate", "--env=dev").code == 0
    project.write("migrations/00002_late.sql", UP.format("CREATE TABLE late (id int);"))
    ran = project.fab("migrate", "--env=dev")
    assert ran.code == 1
    assert "missing" in ran.output
    assert "it stays at 3" in ran.output


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url.replace("tattletale", "wrong-tattletale"),
        lambda url: url.replace(":5432", ":1"),
        lambda url: url.replace(":5432", ":port"),
        lambda url: url.replace("%20", " "),
        lambda url: url.replace("postgresql://", "postgresql:/"),
        lambda url: url.replace("sslmode=disable", "sslmode=require"),
        lambda url: url.replace("sslmode", "sslmood"),
        lambda url: url + "&options=-c%20nonesuch%3D1",
    ],
    ids=["password", "port", "no-port", "space", "no-url", "tls", "unknown-key", "unknown-option"],
)
def test_no_failure_shows_the_password(project: Project, database: Database, spoil: object) -> None:
    assert callable(spoil)
    for extra in ([], ["--debug"]):
        ran = project.fab(*extra, "migrate", "--env=dev", env={"TRIAL_URL": spoil(database.url)})
        assert ran.code in {1, 2}
        assert_no_secret(ran.output)
    assert "Traceback" not in ran.output or extra
    assert database.ask("SELECT to_regclass('orders')") is None


def test_the_password_is_in_no_command_line(project: Project, tmp_path: Path) -> None:
    real = subprocess.run(["which", "goose"], check=True, capture_output=True, text=True).stdout.strip()
    spy, log = tmp_path / "bin/goose", tmp_path / "argv"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {real} "$@"\n')
    spy.chmod(0o755)
    ran = project.fab("migrate", "--env=dev", env={"PATH": f"{spy.parent}:{os.environ['PATH']}"})
    assert ran.code == 0, ran.output
    assert " up" in log.read_text()
    assert_no_secret(log.read_text())


def refused(project: Project, env: dict[str, str] | None = None) -> str:
    ran = project.fab("migrate", "--env=dev", env=env)
    assert ran.code == 2, ran.output
    assert "Traceback" not in ran.output
    assert_no_secret(ran.output)
    return ran.output


def test_a_project_without_a_database_is_refused(project: Project) -> None:
    project.configure(envs={"dev": {}})
    assert "headway.database: is not set" in refused(project)


def test_an_env_without_a_url_is_refused_with_the_ways_to_give_one(project: Project) -> None:
    project.configure(database={}, envs={"dev": {}})
    said = refused(project)
    assert "headway.envs.dev.database.url: must be set" in said
    assert "ssm:NAME" in said


def test_a_secret_in_the_place_of_its_reference_is_refused_and_not_repeated(
    project: Project, database: Database
) -> None:
    configure(project, url=database.url)
    assert "headway.database.url: must be `ssm:NAME`" in refused(project)


def test_duplicate_migrations_are_refused_before_the_database_is_asked(project: Project) -> None:
    project.write("migrations/1_again.sql", ORDERS)
    assert "both have version 1" in refused(project, env={"TRIAL_URL": "postgresql://nowhere.invalid/x"})


def test_a_missing_goose_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    assert "goose is not installed" in refused(project, env={"PATH": str(tmp_path / "bin")})


def test_a_missing_folder_is_refused(project: Project) -> None:
    configure(project, migrations="db")
    assert "headway.database.migrations: no folder" in refused(project)
