"""What the tests need beside them: a PostgreSQL server, and the helpers that a project asks for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import docker
from .session import Session

if TYPE_CHECKING:
    from ..plan.settings import Database, Helper

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


def start_postgres(session: Session, database: Database, network: str) -> Postgres:
    """Start an empty server, its data in memory, with a password that nobody knows."""
    password = secrets.token_urlsafe(18)
    container = docker.create(
        session,
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


def start_helpers(session: Session, helpers: Mapping[str, Helper], network: str) -> dict[str, str]:
    """Start the project's helpers, each reached by its name on the network; return their containers by name."""
    containers: dict[str, str] = {}
    for name, helper in helpers.items():
        containers[name] = docker.create(
            session,
            name,
            helper.image,
            command=helper.command,
            environment=helper.environment,
            network=network,
            options=[part for folder in helper.tmpfs for part in ("--tmpfs", folder)],
        )
        docker.start(containers[name])
    return containers


def wait_for(postgres: Postgres | None, containers: Mapping[str, str], helpers: Mapping[str, Helper]) -> None:
    """Wait for each by a real question; PostgreSQL by TCP, because its image runs a first server on a socket only.

    :raises Failed: one was not ready in time, or ended; the end of its log is in the message.
    """
    if postgres:
        probe = ("psql", "--no-psqlrc", "-h", "127.0.0.1", "-U", "app", "-d", "app", "-c", "SELECT 1")
        password = {"PGPASSWORD": postgres.password}
        docker.wait_until_ready(postgres.container, POSTGRES, probe, POSTGRES_READY_WITHIN_S, password)
    for name, container in containers.items():
        helper = helpers[name]
        docker.wait_until_ready(container, f"helper {name}", ("sh", "-c", helper.probe), helper.ready_within_s)
