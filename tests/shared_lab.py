"""One local cloud for all workers of a test session: the first that needs it starts it, the last one removes it.

It has a port and a network of its own, so that it disturbs neither a developer's lab nor another session's. A test
takes part with a project of another name: its groups and balancers are its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
FAB = Path(sys.executable).with_name("fab")
PATIENCE_S = 120
TRIES = 4
NOTE = "lab.json"
BUSY = "another lab.up or lab.down is at work"


@dataclass(frozen=True)
class Lab:
    """The session's local cloud: what a project must be told to live in it."""

    port: int
    network: str

    @property
    def endpoint(self) -> str:
        """URL of its API for this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def inner_endpoint(self) -> str:
        """URL of its API for instances."""
        return f"http://{IPv4Network(self.network)[1]}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """Variables that make any project live in this lab, whatever its fabric.yml says."""
        return {
            "FABRIC_HEADWAY_LAB_PORT": str(self.port),
            "FABRIC_HEADWAY_LAB_NETWORK": self.network,
            "FABRIC_HEADWAY_ENDPOINT": self.endpoint,
        }

    def fab(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run `fab` for a project in this lab; a command that must have the labs to itself waits for its turn."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            ended = subprocess.run(
                [FAB, *arguments],
                cwd=cwd,
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            if BUSY not in ended.stderr or time.monotonic() > give_up_at:
                return ended
            time.sleep(0.2)


@dataclass(frozen=True)
class Shared:
    """What the workers know of their lab: where it is, how many use it, and the session's process."""

    port: int
    network: str
    users: int
    session: int

    @property
    def lab(self) -> Lab:
        """The lab itself."""
        return Lab(self.port, self.network)


@contextmanager
def joined(folder: Path) -> Iterator[Lab]:
    """Take part in the session's lab: start it if nobody has, remove it if nobody is left."""
    with _only_one(folder):
        shared = _read(folder)
        if shared is None:
            lab = _started(folder)
            shared = Shared(lab.port, lab.network, users=0, session=_session())
        _write(folder, replace(shared, users=shared.users + 1))
    try:
        yield shared.lab
    finally:
        with _only_one(folder):
            shared = _read(folder)
            if shared and shared.users > 1:
                _write(folder, replace(shared, users=shared.users - 1))
            elif shared:
                _remove(folder, shared.lab)


def remove_left(folder: Path) -> None:
    """Remove the lab that this session's workers left when they were killed, and those of killed sessions."""
    for each in {folder, *(note.parent for note in folder.parent.glob(f"*/{NOTE}"))}:
        shared = _read(each)
        if shared and (each == folder or not Path(f"/proc/{shared.session}").exists()):
            _remove(each, shared.lab)


def _started(folder: Path) -> Lab:
    project = folder / "lab-project"
    project.mkdir(exist_ok=True)
    (project / "headway").unlink(missing_ok=True)
    (project / "headway").symlink_to(ROOT / "fabfile")
    (project / "fabfile.py").write_text("from headway import ns\n")
    nothing = {"name": "nothing", "lab": {"capacity": 0}, "envs": {"idle": {}}}
    (project / "fabric.yml").write_text(yaml.safe_dump({"headway": nothing}))
    said = ""
    for _ in range(TRIES):  # a port or network can be taken by now
        lab = Lab(free_port(), free_network())
        ended = lab.fab("lab.up", cwd=project)
        if ended.returncode == 0:
            return lab
        said = ended.stderr.strip()
        lab.fab("lab.down", cwd=project)
    raise RuntimeError(f"the tests' local cloud does not start: {said}")


def _remove(folder: Path, lab: Lab) -> None:
    ended = lab.fab("lab.down", cwd=folder / "lab-project")
    if ended.returncode != 0:
        raise RuntimeError(f"the tests' local cloud is not removed: {ended.stderr.strip()}")
    (folder / NOTE).unlink()


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / "lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(folder: Path) -> Shared | None:
    with contextlib.suppress(FileNotFoundError):
        return Shared(**json.loads((folder / NOTE).read_text()))
    return None


def _write(folder: Path, shared: Shared) -> None:
    (folder / NOTE).write_text(json.dumps(asdict(shared)))


def _session() -> int:
    """Return the process that outlives the workers."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def free_port() -> int:
    """Choose a port below those that the kernel gives to outgoing connections."""
    while True:
        port = 20000 + secrets.randbelow(10000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def free_network() -> str:
    """Choose a network at random; `lab.up` refuses one that is in use."""
    return f"10.{200 + secrets.randbelow(50)}.{4 * secrets.randbelow(64)}.0/22"
