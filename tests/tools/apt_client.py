"""A clean Debian machine with nothing but apt, and web servers that it can reach, for tests of the Apt repository."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

IMAGE = "debian:bookworm-slim"
LABEL = "headway.test=apt-client"


@dataclass(frozen=True)
class Answer:
    """What a command in the container came to."""

    code: int
    output: str


class Client:
    """The container."""

    def __init__(self, name: str) -> None:
        self._name = name

    def run(self, *argv: str, stdin: str | None = None) -> Answer:
        """Run a command to its end."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", "--env", "DEBIAN_FRONTEND=noninteractive", self._name, *argv],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        return Answer(done.returncode, done.stdout)

    def must(self, *argv: str, stdin: str | None = None) -> str:
        """Run a command that has to succeed."""
        answer = self.run(*argv, stdin=stdin)
        assert answer.code == 0, answer.output
        return answer.output

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        self.must("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, stdin=text)

    def use(self, sources: str) -> None:
        """Know one repository and no other, and nothing of it yet."""
        self.must("apt-get", "clean")
        self.must("sh", "-c", "rm -rf /etc/apt/sources.list* /var/lib/apt/lists/* && mkdir -p /etc/apt/sources.list.d")
        self.write("/etc/apt/sources.list.d/ours.sources", sources)

    def update(self) -> Answer:
        """Read the indexes; a repository that is not believed is an error here, never a warning."""
        return self.run("apt-get", "update", "--error-on=any", "-q")

    def installed(self, name: str) -> str:
        """Return status and version of a package, as dpkg has it."""
        return self.run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Version}", name).output.strip()


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """Make a Docker network of one's own; yield its name and this machine's address on it."""
    name = f"apt-client-{uuid.uuid4().hex[:8]}"
    subprocess.run(["docker", "network", "create", "--label", LABEL, name], check=True, capture_output=True)
    try:
        form = "{{(index .IPAM.Config 0).Gateway}}"
        argv = ["docker", "network", "inspect", "--format", form, name]
        yield name, subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    finally:
        subprocess.run(["docker", "network", "rm", name], check=True, capture_output=True)


@contextmanager
def client_on(network_name: str, image: str = IMAGE, *options: str) -> Iterator[Client]:
    """Start a container on a network, and remove it."""
    name = f"apt-client-{uuid.uuid4().hex[:8]}"
    command = ["sleep", "infinity"] if image == IMAGE else []
    argv = ["docker", "run", "--detach", "--name", name, "--label", LABEL, "--network", network_name, *options, image]
    subprocess.run([*argv, *command], check=True, capture_output=True)
    try:
        yield Client(name)
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)


@contextmanager
def served(folder: Path, address: str) -> Iterator[str]:
    """Serve a folder over HTTP; yield its URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
