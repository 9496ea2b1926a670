"""An env's PostgreSQL server: a container in the lab's network, in memory, with a password of its own."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ..plan.outcome import Failed
from .docker_hosts import LAB_LABEL
from .dockerd import Dockerd
from .place import Place

DATABASE_LABEL = "headway.database"
_READY_WITHIN_S = 60
_PORT = 5432


@dataclass(frozen=True)
class Database:
    """A database and how to reach it; the URL holds the password, so it is not shown.

    :param name: the env's group, such as ``shop-prod``.
    """

    name: str
    address: str
    url: str = field(repr=False)


def start_database(docker: Dockerd, place: Place, name: str, image: str, number: int) -> Database:
    """Start the database of an env, or find the one that runs.

    :param name: the env's group, such as ``shop-prod``.
    :param image: PostgreSQL image with the official one's variables.
    :param number: the how-manieth database of the lab it is; gives its address.
    """
    user = re.sub(r"[^a-z0-9_]", "_", name.rsplit("-", 1)[0])
    container = f"headway-lab-{place.port}-db-{name}"
    existing = _password_of(docker, place, name)
    if existing is not None:
        docker.start(container)
        return _database(place, name, user, *existing)
    docker.remove(container)
    password = secrets.token_urlsafe(18)
    address = place.database_address(number)
    environment = {"POSTGRES_USER": user, "POSTGRES_PASSWORD": password, "POSTGRES_DB": user}
    docker.create(container, _container(place, name, image, address, environment))
    docker.start(container)
    return _database(place, name, user, password, address)


def wait_for(databases: list[Database]) -> None:
    """Wait until each database answers a query over the network.

    :raises Failed: one does not in a minute.
    """
    import psycopg

    give_up_at = time.monotonic() + _READY_WITHIN_S
    for database in databases:
        while True:
            try:
                with psycopg.connect(database.url, connect_timeout=2) as connection:
                    connection.execute("SELECT 1")
                break
            except psycopg.OperationalError as error:
                if time.monotonic() > give_up_at:
                    raise Failed(f"the database of {database.name} does not answer: {error}".strip()) from None
                time.sleep(0.1)


def _database(place: Place, name: str, user: str, password: str, address: str) -> Database:
    return Database(name, address, f"postgresql://{user}:{quote(password)}@{address}:{_PORT}/{user}")


def _password_of(docker: Dockerd, place: Place, name: str) -> tuple[str, str] | None:
    """Password and address of the container that is there, from its own environment."""
    for entry in docker.containers(f"{LAB_LABEL}={place.port}", f"{DATABASE_LABEL}={name}"):
        seen = docker.call("GET", f"/containers/{entry['Id']}/json")
        variables = dict(item.split("=", 1) for item in seen["Config"]["Env"])
        network = seen["NetworkSettings"]["Networks"].get(place.docker_network)
        if network and "POSTGRES_PASSWORD" in variables:
            return variables["POSTGRES_PASSWORD"], network["IPAMConfig"]["IPv4Address"]
    return None


def _container(place: Place, name: str, image: str, address: str, environment: dict[str, str]) -> dict[str, Any]:
    return {
        "Image": image,
        "Hostname": f"db-{name}",
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Labels": {LAB_LABEL: str(place.port), DATABASE_LABEL: name},
        # Durability is of no use to data in memory.
        "Cmd": ["postgres", "-c", "fsync=off", "-c", "max_connections=200"],
        "HostConfig": {
            "NetworkMode": place.docker_network,
            "Tmpfs": {"/var/lib/postgresql/data": ""},
            "ShmSize": 128 << 20,
        },
        "NetworkingConfig": {
            "EndpointsConfig": {place.docker_network: {"IPAMConfig": {"IPv4Address": address}}},
        },
    }
