"""Docker's own HTTP API over its socket: a start costs no process, and no secret shows up in an argv."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from ..plan.outcome import Refusal

_DEFAULT_SOCKET = "/var/run/docker.sock"


class DockerError(Exception):
    """Docker answered with an error: its status and what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Docker: {message} ({status})")
        self.status = status


@dataclass(frozen=True)
class SeedFile:
    """A file put into a container before it starts."""

    path: str
    content: bytes
    mode: int = 0o600


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Dockerd:
    """The Docker daemon of this machine. Safe to use from many threads: each call has its own connection.

    The API: https://docs.docker.com/reference/api/engine/version/v1.41/. No version is put into the path, so that old
    and new daemons answer with the newest that they speak; nothing used here has changed between them.
    """

    def __init__(self, socket_path: str | None = None) -> None:
        self._socket = socket_path or docker_socket()

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_s: float = 120,
    ) -> Any:
        """Make one API call.

        :param query: parameters; a mapping or list among them is sent as JSON, as filters are.
        :param body: bytes are sent as a tar archive, anything else as JSON.
        :returns: the decoded JSON, or the raw bytes where the answer is something else.
        :raises DockerError: Docker said no.
        :raises OSError: it does not answer.
        """
        connection = _UnixConnection(self._socket, timeout_s)
        headers = {"Content-Type": "application/x-tar" if isinstance(body, bytes) else "application/json"}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, _with_query(path, query or {}), body=data, headers=headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise DockerError(response.status, _message(answer))
        is_json = response.getheader("Content-Type", "").startswith("application/json")
        return json.loads(answer) if is_json and answer else answer

    def why_no_answer(self) -> str | None:
        """Tell why Docker cannot be used, or None when it can."""
        try:
            self.call("GET", "/_ping", timeout_s=5)
        except OSError as error:
            return f"Docker does not answer at {self._socket}: {error.strerror or error}"
        except DockerError as error:
            return str(error)
        return None

    def containers(self, *labels: str) -> list[dict[str, Any]]:
        """List the containers, running or not, that carry all the labels (``key`` or ``key=value``)."""
        found: list[dict[str, Any]] = self.call("GET", "/containers/json", {"all": 1, "filters": {"label": labels}})
        return found

    def has_image(self, name: str) -> bool:
        """Tell whether an image is here, by name or id."""
        return self._exists(f"/images/{quote(name)}/json")

    def create(self, name: str, spec: Mapping[str, Any]) -> str:
        """Create a container from the API's own description of one; returns its id."""
        return str(self.call("POST", "/containers/create", {"name": name}, spec)["Id"])

    def seed(self, container: str, files: list[SeedFile]) -> None:
        """Put files into a container that need not run."""
        self.call("PUT", f"/containers/{container}/archive", {"path": "/"}, _archive(files))

    def start(self, container: str) -> None:
        """Start a container; one that runs already is left alone."""
        self.call("POST", f"/containers/{container}/start")

    def stop(self, container: str, within_s: int) -> None:
        """Send the container's stop signal; kill it when it has not ended in time."""
        self.call("POST", f"/containers/{container}/stop", {"t": within_s}, timeout_s=within_s + 60)

    def remove(self, container: str) -> None:
        """Kill and remove a container with its volumes; one that is gone is fine."""
        try:
            self.call("DELETE", f"/containers/{container}", {"force": 1, "v": 1})
        except DockerError as error:
            if error.status not in {404, 409}:  # 409: its removal is already under way
                raise

    def output(self, container: str, lines: int) -> str:
        """Tail of what the container's first process printed (its terminal's carriage returns left out)."""
        raw = self.call("GET", f"/containers/{container}/logs", {"stdout": 1, "stderr": 1, "tail": lines})
        return bytes(raw or b"").decode(errors="replace").replace("\r\n", "\n")

    def _exists(self, path: str) -> bool:
        try:
            self.call("GET", path)
        except DockerError as error:
            if error.status == 404:
                return False
            raise
        return True


def docker_socket() -> str:
    """Path of the daemon's socket, as the docker command finds it.

    :raises Refusal: DOCKER_HOST names another machine; the local cloud needs containers that it can reach directly.
    """
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        raise Refusal(f"DOCKER_HOST={host}: the local cloud needs Docker on this machine; unset DOCKER_HOST")
    return host.removeprefix("unix://") or _DEFAULT_SOCKET


def _with_query(path: str, query: Mapping[str, Any]) -> str:
    flat = {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in query.items()}
    return f"{path}?{urlencode(flat)}" if flat else path


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace").strip() or "no message"


def _archive(files: list[SeedFile]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size = len(file.content)
            entry.mode = file.mode
            archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()
