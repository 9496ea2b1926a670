"""The stage test: the project's own tests, in Docker, beside real helpers on a network of their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from .build import SOURCES, production_image, say, say_what_was_left
from .plan.outcome import Failed, Refusal
from .stage import project_root, settings_for, stage

if TYPE_CHECKING:
    from .plan.settings import Database, Settings
    from .tools.session import Session
    from .tools.testbed import Postgres

HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, 2.1


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
    from .tools import docker, testbed
    from .tools.session import session

    with session() as run:
        say_what_was_left(run.swept)
        sources = _sources(root, commit, run.folder / "sources")
        migrations = _migrations(settings.database, sources)
        _ensure_images(settings)
        image = production_image(settings, sources)
        network = docker.create_network(run)
        postgres = testbed.start_postgres(run, settings.database, network) if settings.database else None
        helpers = testbed.start_helpers(run, settings.test.helpers, network)
        names = [*([testbed.POSTGRES] if postgres else []), *helpers]
        if names:
            say(f"test: waiting for {', '.join(names)}")
        testbed.wait_for(postgres, helpers, settings.test.helpers)
        if settings.database and postgres and migrations:
            _migrate_up(run, settings.database, postgres, network, migrations)
        say(f"test: {settings.test.command}")
        container = docker.create(
            run,
            "tests",
            image,
            entrypoint="sh",
            command=("-c", settings.test.command),
            environment=_environment(settings, postgres),
            network=network,
            options=("--init", "--workdir", SOURCES),
        )
        docker.copy_in(container, sources, SOURCES, docker.user_of(run, image))
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
    from .tools import goose

    if database is None:
        return None
    folder = sources / database.migrations
    if not folder.is_dir():
        raise Refusal(
            f"headway.database.migrations: no folder {database.migrations!r} in the project; set the right one, or"
            " leave headway.database out"
        )
    return folder if read_migrations(goose.read_files(folder)) else None


def _ensure_images(settings: Settings) -> None:
    from .tools import docker
    from .tools.testbed import POSTGRES

    for name, helper in settings.test.helpers.items():
        if name == POSTGRES and settings.database:
            raise Refusal(f"headway.test.helpers.{name}: is the database's own host name; give the helper another")
        if not HOST_NAME.fullmatch(name):
            raise Refusal(f"headway.test.helpers.{name}: must be a host name: a-z 0-9 and - between them")
        docker.ensure_image(helper.image)
    if settings.database:
        docker.ensure_image(settings.database.image)
        docker.ensure_image(settings.database.goose_image, "scripts/setup builds it")


def _migrate_up(run: Session, database: Database, postgres: Postgres, network: str, migrations: Path) -> None:
    from .tools import goose

    say(f"test: migrations of {database.migrations}")
    code = goose.up_in_docker(run, network, database.goose_image, postgres.url, migrations)
    if code != 0:
        raise Failed(f"test: the migrations failed; goose ended with exit code {code}", code=code)


def _environment(settings: Settings, postgres: Postgres | None) -> dict[str, str]:
    """Return the variables of the tests; `{NAME}` of a helper stands for its host name."""
    from .tools.testbed import POSTGRES

    hosts = [*settings.test.helpers, *([POSTGRES] if postgres else [])]
    environment = dict(settings.test.environment)
    for host in hosts:
        environment = {key: value.replace(f"{{{host}}}", host) for key, value in environment.items()}
    if postgres:
        environment.setdefault(settings.test.database_variable, postgres.url)
    return environment
