"""One run's hold on Docker: all that it made goes when it ends, however it ends.

Every container, network and folder names the process that made it. A run removes its own at its end: after success,
failure, Ctrl-C, SIGTERM or a closed terminal. What a killed run left is removed by the next one, and never what
belongs to a process that still lives.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from ..plan.outcome import Failed, Refusal
from .ownership import Owner, is_alive, read_owner, this_process
from .process import run

STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
REMOVAL_TRIES = 5
FOLDER_PREFIX = "headway-run-"


@dataclass(frozen=True)
class Session:
    """One run.

    :param run_id: what its containers' names begin with.
    :param owner: the process that it belongs to.
    :param folder: a folder for its files; goes with it.
    :param container: the container that this process itself runs in, where the daemon knows it.
    :param swept: what earlier, killed runs had left, and is removed now.
    """

    run_id: str
    owner: Owner
    folder: Path
    container: str
    swept: tuple[str, ...]

    def name(self, what: str) -> str:
        """Return the name of one of its containers or networks."""
        return f"headway-{self.run_id}-{what}"

    def labels(self) -> list[str]:
        """Return the options that label what it makes."""
        labels = {
            "headway.run": self.run_id,
            "headway.owner": str(self.owner),
            "headway.container": self.container,
            "headway.started": str(int(time.time())),
        }
        return [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]


@contextmanager
def session() -> Iterator[Session]:
    """Remove what killed runs left, give a fresh hold on Docker, and remove everything made with it at the end.

    :raises Refusal: Docker does not answer.
    """
    why = why_not_docker()
    if why:
        raise Refusal(why)
    with _stopped_by_signals():
        swept = sweep()
        owner = this_process()
        folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{owner}-"))
        run_id = secrets.token_hex(4)
        try:
            yield Session(run_id, owner, folder, _own_container(), swept)
        finally:
            with _deaf_to_signals():
                why = _why_not_removed(run_id)
                shutil.rmtree(folder, ignore_errors=True)
            if why:
                print(
                    f"docker: not everything of this run is removed ({why}); the next run tries again", file=sys.stderr
                )


def why_not_docker() -> str | None:
    """Return why Docker cannot be used, with the way out, or None where it answers."""
    if shutil.which("docker") is None:
        return "docker is not installed, or not on PATH; install Docker (scripts/setup does), then try again"
    asked = run(["docker", "version", "--format", "{{.Server.Version}}"], check=False)
    if asked.code == 0 and asked.stdout.strip():
        return None
    said = (asked.stderr.strip().splitlines() or ["no answer"])[-1]
    return f"Docker does not answer ({said}); start it: Docker Desktop, systemctl start docker, or scripts/setup"


def sweep() -> tuple[str, ...]:
    """Remove what runs left whose process is gone, and return the names of it.

    Nothing of a process that lives, or that cannot be asked and is younger than a day, is touched.
    """
    removed: list[str] = []
    for kind, listing, remove in _KINDS:
        dead = [thing.name for thing in _listed(listing, "headway.owner") if _is_dead(thing)]
        if dead:
            _attempt(*remove, *dead)
            removed += [f"{kind} {name}" for name in dead]
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        owner = read_owner(folder.name.removeprefix(FOLDER_PREFIX).rpartition("-")[0])
        if owner and folder.stat().st_uid == os.getuid() and not is_alive(owner, folder.stat().st_mtime):
            shutil.rmtree(folder, ignore_errors=True)
    return tuple(removed)


@dataclass(frozen=True)
class _Thing:
    """A container or network that carries our labels."""

    name: str
    owner: Owner | None
    container: str
    started_s: float


_Listing = tuple[str, ...]
_KINDS: tuple[tuple[str, _Listing, _Listing], ...] = (  # networks last: a container holds its network
    ("container", ("docker", "ps", "--all", "--format", "{{.Names}}"), ("docker", "rm", "--force", "--volumes")),
    ("network", ("docker", "network", "ls", "--format", "{{.Name}}"), ("docker", "network", "rm")),
)
_LABELS = '\t{{.Label "headway.owner"}}\t{{.Label "headway.container"}}\t{{.Label "headway.started"}}'


def _listed(listing: _Listing, label: str) -> Iterable[_Thing]:
    *argv, shown = listing
    for line in _quietly(*argv, shown + _LABELS, "--filter", f"label={label}").splitlines():
        name, owner, container, started = line.split("\t")
        yield _Thing(name, read_owner(owner), container, float(started or 0))


def _is_dead(thing: _Thing) -> bool:
    if thing.owner is None:
        return False
    if thing.container and thing.container != _own_container():
        # Its process ids are not ours to look at, but the daemon knows whether the container runs.
        return not _quietly("docker", "ps", "--quiet", "--no-trunc", "--filter", f"id={thing.container}").strip()
    return not is_alive(thing.owner, thing.started_s)


@cache
def _own_container() -> str:
    """Return the id of the container that this process runs in, or an empty text."""
    if not any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return ""
    return _attempt("docker", "inspect", "--type=container", "--format", "{{.Id}}", os.uname().nodename).stdout.strip()


def _why_not_removed(run_id: str) -> str | None:
    """Remove all of a run; return why something stays, or None.

    More than one look: a call that was interrupted here may still be carried out by the daemon.
    """
    said = ""
    try:
        for _ in range(REMOVAL_TRIES):
            clean = True
            for _kind, listing, remove in _KINDS:
                names = [thing.name for thing in _listed(listing, f"headway.run={run_id}")]
                if names:
                    clean = False
                    said = _attempt(*remove, *names).stderr
            if clean:
                return None
    except Failed as error:
        said = str(error)
    return " ".join(said.split())


def _quietly(*argv: str) -> str:
    """Run a command out of the terminal's reach, so that a second Ctrl-C does not stop the removal half-way."""
    finished = _attempt(*argv)
    if finished.returncode != 0:
        raise Failed(f"docker: {' '.join((finished.stderr.strip() or 'no message').split())}")
    return finished.stdout


def _attempt(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
    )


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end this run by way of every ``finally``, where nobody else does."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)  # the exit code that a shell gives to a process ended by this signal

    with _handling([number for number in STOPPING_SIGNALS if signal.getsignal(number) is signal.SIG_DFL], stop):
        yield


@contextmanager
def _deaf_to_signals() -> Iterator[None]:
    with _handling((signal.SIGINT, *STOPPING_SIGNALS), lambda _number, _frame: None):
        yield


@contextmanager
def _handling(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
