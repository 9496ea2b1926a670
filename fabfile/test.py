"""The stage test: the project's own tests, in Docker, beside real helpers on a network of their own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from .build import SOURCES, production_image, say, say_what_was_left
from .plan.outcome import Failed, Refusal
from .stage import project_root, settings_for, stage

if TYPE_CHECKING:
    from .plan.settings import Database, Helper, Settings
    from .tools.session import Session

POSTGRES = "postgres"  # the database's host name on the network of the tests
POSTGRES_READY_WITHIN_S = 60
# Data that lives as long as the tests needs no disk: https://www.postgresql.org/docs/current/non-durability.html.
POSTGRES_OPTIONS = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


@dataclass(frozen=True)
class Postgres:
    """The database server of one run of the tests."""

    container: str
    password: str

    @property
    def url(self) -> str:
        """Return its connection string, as seen from the network of the tests."""
        return f"postgresql://app:{self.password}@{POSTGRES}:5432/app?sslmode=disable"


@stage(help={"commit": "Test a clean export of this commit (default: the working tree as it is)"})
def test(c: Context, commit: str | None = None) -> None:  # noqa: PT028  (a task, not a pytest function)
    """Run the project's tests in Docker, with PostgreSQL, migrations and helpers."""
    run_tests(project_root(c), settings_for(c), commit)


def run_tests(root: Path, settings: Settings, commit: str | None = None) -> None:
    """Start the helpers, migrate the database up, run the project's tests, and remove everything.

    :param commit: what is tested; without one, the working tree: tracked files and new ones that are not ignored.
    :raises Refusal: something is missing; nothing was started.
    :raises Failed: a helper was not ready, a migration or the tests failed; their exit code becomes ours.
    """
    from .tools import docker
    from .tools.session import session

    with session() as run:
        say_what_was_left(run.swept)
        sources = _sources(root, commit, run.folder / "sources")
        migrations = _migrations(settings.database, sources)
        _ensure_images(settings)
        image = production_image(settings, sources)
        network = docker.create_network(run)
        postgres = _start_postgres(run, settings.database, network) if settings.database else None
        helpers = {name: _start_helper(run, name, helper, network) for name, helper in settings.test.helpers.items()}
        _wait_for_helpers(settings, postgres, helpers)
        if settings.database and postgres and migrations:
            _migrate_up(run, settings.database, postgres, network, migrations)
        say(f"test: {settings.test.command}")
        container = docker.create(
            run,
            "tests",
            image,
            command=("sh", "-c", settings.test.command),
            environment=_environment(settings, postgres),
            network=network,
            options=("--init", "--workdir", SOURCES),
        )
        docker.copy_in(container, sources, SOURCES, docker.user_of(image))
        code = docker.run_attached(container)
        if code != 0:
            raise Failed(f"test: `{settings.test.command}` failed with exit code {code}", code=code)
    say("test: passed")


def _sources(root: Path, commit: str | None, into: Path) -> Path:
    from .tools import git

    if commit is None:
        git.export_working_tree(root, into)
        say("test: the working tree as it is, new files too; --commit=REF tests a clean export")
    else:
        sha = git.commit_of(root, commit)
        git.export(root, sha, into)
        say(f"test: commit {sha[:12]}")
    return into


def _migrations(database: Database | None, sources: Path) -> Path | None:
    """Return the folder of the migrations, its file names checked before anything is started."""
    from .plan.migrations import read_migrations

    if database is None:
        return None
    folder = sources / database.migrations
    if not folder.is_dir():
        raise Refusal(
            f"headway.database.migrations: no folder {database.migrations!r} in the project; set the right one, or leave"
            " headway.database out"
        )
    files = [(path.name, path.read_text()) for path in folder.iterdir() if path.is_file()]
    return folder if read_migrations(files) else None


def _ensure_images(settings: Settings) -> None:
    from .tools import docker

    for name, helper in settings.test.helpers.items():
        if name == POSTGRES and settings.database:
            raise Refusal(f"headway.test.helpers.{name}: is the database's own host name; give the helper another")
        docker.ensure_image(helper.image)
    if settings.database:
        docker.ensure_image(settings.database.image)
        docker.ensure_image(settings.database.goose_image, "scripts/setup builds it")


def _start_postgres(run: Session, database: Database, network: str) -> Postgres:
    from .tools import docker

    password = secrets.token_urlsafe(18)
    container = docker.create(
        run,
        POSTGRES,
        database.image,
        command=("postgres", *POSTGRES_OPTIONS),
        environment={
            "POSTGRES_USER": "app",
            "POSTGRES_PASSWORD": password,
            "POSTGRES_DB": "app",
            "PGDATA": "/headway/data",
        },
        network=network,
        options=("--tmpfs", "/headway", "--shm-size", "256m"),
    )
    docker.start(container)
    return Postgres(container, password)


def _start_helper(run: Session, name: str, helper: Helper, network: str) -> str:
    from .tools import docker

    tmpfs = [part for folder in helper.tmpfs for part in ("--tmpfs", folder)]
    container = docker.create(
        run,
        name,
        helper.image,
        command=helper.command,
        environment=helper.environment,
        network=network,
        options=tmpfs,
    )
    docker.start(container)
    return container


def _wait_for_helpers(settings: Settings, postgres: Postgres | None, helpers: dict[str, str]) -> None:
    """Wait for each by a real question; PostgreSQL by TCP, because its image runs a first server on a socket only."""
    from .tools import docker

    if postgres:
        say(f"test: waiting for {', '.join([POSTGRES, *helpers])}")
        probe = ("psql", "--no-psqlrc", "-h", "127.0.0.1", "-U", "app", "-d", "app", "-c", "SELECT 1")
        password = {"PGPASSWORD": postgres.password}
        docker.wait_until_ready(postgres.container, POSTGRES, probe, POSTGRES_READY_WITHIN_S, password)
    for name, container in helpers.items():
        helper = settings.test.helpers[name]
        docker.wait_until_ready(container, f"helper {name}", ("sh", "-c", helper.probe), helper.ready_within_s)


def _migrate_up(run: Session, database: Database, postgres: Postgres, network: str, migrations: Path) -> None:
    from .tools import goose

    say(f"test: migrations of {database.migrations}")
    code = goose.up_in_docker(run, network, database.goose_image, postgres.url, migrations)
    if code != 0:
        raise Failed(f"test: the migrations failed; goose ended with exit code {code}", code=code)


def _environment(settings: Settings, postgres: Postgres | None) -> dict[str, str]:
    """Return the variables of the tests; `{NAME}` of a helper stands for its host name."""
    hosts = [*settings.test.helpers, *([POSTGRES] if postgres else [])]
    environment = dict(settings.test.environment)
    for host in hosts:
        environment = {key: value.replace(f"{{{host}}}", host) for key, value in environment.items()}
    if postgres:
        environment.setdefault(settings.test.database_variable, postgres.url)
    return environment
