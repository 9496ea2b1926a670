"""Whose a left-over is: a process, named so that any later process can tell whether it still lives.

A process id alone is not enough: ids come again after a reboot, in another container, or after the process ended.
So a name carries the machine's boot, the space that ids are counted in, and when the process started.
"""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .process import run

# A process of another machine or container cannot be asked; what is older than this was left by it.
FOREIGN_RUN_AT_MOST_S = 24 * 3600
TEXT = re.compile(r"(?P<pid>\d+)@(?P<place>[\w.-]+)\+(?P<start>\d+)")


@dataclass(frozen=True)
class Owner:
    """A process.

    :param pid: its id.
    :param place: the machine's boot and the namespace in which the id counts.
    :param start: when it started, in the machine's own unit; only equality means something.
    """

    pid: int
    place: str
    start: int

    def __str__(self) -> str:
        return f"{self.pid}@{self.place}+{self.start}"


def this_process() -> Owner:
    """Return the name of the process that runs this."""
    return Owner(os.getpid(), _place(), _start_of(os.getpid()) or 0)


def read_owner(text: str) -> Owner | None:
    """Return the owner that a label names, or None where it names none."""
    match = TEXT.fullmatch(text)
    return Owner(int(match["pid"]), match["place"], int(match["start"])) if match else None


def is_alive(owner: Owner, made_at_s: float) -> bool:
    """Say whether an owner still lives; one that cannot be asked counts as alive for a day.

    :param made_at_s: when it made what is looked at, in seconds since 1970.
    """
    alive = lives(owner)
    return time.time() - made_at_s < FOREIGN_RUN_AT_MOST_S if alive is None else alive


def lives(owner: Owner) -> bool | None:
    """Say whether an owner lives; None for one of another machine, boot or container, which cannot be asked."""
    return _start_of(owner.pid) == owner.start if owner.place == _place() else None


@cache
def _place() -> str:
    boot_id, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot_id.exists():
        return f"{boot_id.read_text().strip()}.{namespace.stat().st_ino}"
    session = run(["sysctl", "-n", "kern.bootsessionuuid"], check=False).stdout.strip()  # macOS
    return re.sub(r"[^\w.-]", "-", session or platform.node() or "machine")


def _start_of(pid: int) -> int | None:
    """Return when a process started, or None where there is none (or only its unreaped remains)."""
    if Path("/proc/self/stat").exists():
        try:
            # Field 2, the command in parentheses, may hold anything; count from its end (man 5 proc).
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if state in "ZX" else int(fields[18])
    return start_by_ps(pid)


def start_by_ps(pid: int) -> int | None:
    """Return when a process started as `ps` tells it, to the second, for systems without /proc such as macOS."""
    listed = run(["ps", "-o", "lstart=", "-p", str(pid)], env={"LC_ALL": "C"}, check=False).stdout.strip()
    return int(time.mktime(time.strptime(listed, "%a %b %d %H:%M:%S %Y"))) if listed else None
