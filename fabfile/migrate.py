"""The door to an env's database: Goose migrations, up, one at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from invoke.context import Context

from .plan.outcome import Failed, Refusal
from .stage import project_root, settings_for_env, stage

if TYPE_CHECKING:
    from .plan.settings import Database, Settings
    from .tools.goose import GooseRun

LOCK_WAIT_S = 300  # as long as Goose's own library waits
PAUSE_AT_MOST_S = 8.0


@dataclass(frozen=True)
class Migrated:
    """From which migration to which a database went; the same twice where there was nothing to do."""

    from_version: int
    to_version: int

    def __str__(self) -> str:
        if self.from_version == self.to_version:
            return f"database: nothing to do, it is at migration {self.to_version}"
        return f"database: went from migration {self.from_version} to {self.to_version}"


@stage(
    help={"env": "Whose database", "version": "Version whose migrations are run, from its package (default: checkout)"}
)
def migrate(c: Context, env: str | None = None, version: str | None = None) -> None:
    """Run the migrations that an env's database has not seen."""
    settings = settings_for_env(c, env)
    database = _database_of(settings)
    if version is None:
        print(f"migrate: {env}, with the migrations of this checkout ({database.migrations})", flush=True)
        migrated: Migrated | None = migrate_up(settings, project_root(c) / database.migrations)
    else:
        with TemporaryDirectory(prefix="headway-migrations-") as folder:
            migrated = _migrate_version(settings, version, Path(folder))
    print(migrated or f"migrate: {settings.name} {version} has no migrations")


def migrate_up(settings: Settings, folder: Path) -> Migrated:
    """Run a folder's migrations on the database of an env, under the lock that Goose's own library takes.

    Two at once both succeed: one works, the other waits, then finds nothing to do. A migration that could not get
    a table's lock is tried again; every other failure ends it.

    :param folder: Goose migrations.
    :raises Refusal: no database is set, its secret or Goose is missing, or a file is wrong; nothing was changed.
    :raises Failed: a migration failed; says how far the database got.
    """
    from .plan.migrations import read_migrations
    from .tools import goose, postgres

    database = _database_of(settings)
    if not folder.is_dir():
        raise Refusal(f"headway.database.migrations: no folder {folder}; set the right one")
    read_migrations(goose.read_files(folder))
    dsn = _dsn_of(settings)
    with postgres.connect(dsn) as connection, postgres.advisory_lock(connection, goose.LOCK_ID, LOCK_WAIT_S):
        before = postgres.migrated_to(connection)
        run = _up_with_retries(database, dsn, folder)
        after = postgres.migrated_to(connection)
    if run.code != 0:
        got = f"it stays at {after}" if after == before else f"it went from {before} to {after} and stays there"
        raise Failed(f"migrate: a migration failed; {got}\n{_indented(run.output)}")
    print(_indented(run.output), flush=True)
    return Migrated(before, after)


def why_not_migratable(settings: Settings) -> str | None:
    """Return why an env's database could not be migrated from here, with the way out, before anything is touched.

    Asked before a release begins: what it says would otherwise end the release half way. None where there is nothing
    to migrate, too; whether the database itself answers is not asked.
    """
    from .tools import goose

    if settings.database is None or settings.database.url is None:
        return None
    try:
        _dsn_of(settings)
    except Refusal as refusal:
        return str(refusal)
    return goose.why_not_installed()


def _dsn_of(settings: Settings) -> str:
    """Return the connection string of an env's database.

    :raises Refusal: it is not where the setting says, or the setting is missing.
    """
    from .plan.reference import FORMS
    from .tools import secrets

    setting = f"headway.envs.{settings.env}.database.url"
    url = _database_of(settings).url
    if url is None:
        raise Refusal(f"{setting}: must be set: {FORMS}")
    return secrets.resolve(url, settings, setting)


def _up_with_retries(database: Database, dsn: str, folder: Path) -> GooseRun:
    from .tools import goose

    for attempt in range(1, database.attempts + 1):
        run = goose.up(dsn, folder, database.lock_timeout_s, database.statement_timeout_s)
        if not run.lock_timed_out or attempt == database.attempts:
            break
        pause_s = min(2.0 ** (attempt - 1), PAUSE_AT_MOST_S)
        print(
            f"migrate: a table was locked for {database.lock_timeout_s:g} s (try {attempt} of {database.attempts});"
            f" again in {pause_s:g} s",
            flush=True,
        )
        time.sleep(pause_s)
    return run


def _migrate_version(settings: Settings, version: str, into: Path) -> Migrated | None:
    from .package import unpack_migrations

    folder = unpack_migrations(settings, version, into)
    return None if folder is None else migrate_up(settings, folder)


def _database_of(settings: Settings) -> Database:
    if settings.database is None:
        raise Refusal("headway.database: is not set, so there is nothing to migrate; see the README's settings")
    return settings.database


def _indented(output: str) -> str:
    return "\n".join(f"  {line}" for line in output.splitlines())
