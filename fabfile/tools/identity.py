"""Who a process is, so that another one can tell later whether it still lives: after a kill -9, nobody says goodbye."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """A process of one boot of one host. Process ids come round again; with the start time they do not."""

    host: str
    boot: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid}/{self.started}"


def own_identity() -> Identity:
    """Return the identity of this process."""
    return Identity(socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()) or "")


def parse_identity(text: str) -> Identity | None:
    """Read back what ``str(identity)`` wrote; None for anything else."""
    host, _, rest = text.partition("/")
    parts = rest.split("/")
    if len(parts) != 3 or not parts[1].isdigit():
        return None
    return Identity(host, parts[0], int(parts[1]), parts[2])


def is_alive(identity: Identity) -> bool | None:
    """Tell whether a process lives; None when it is of another host, or where that cannot be known."""
    if not identity.boot or identity.host != socket.gethostname():
        return None
    if identity.boot != _boot():
        return False
    return _started(identity.pid) == identity.started


def _started(pid: int) -> str | None:
    """Return when a process started, in clock ticks after boot; None when it is gone or a zombie (see proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _boot() -> str:
    """Name this boot of this machine; empty where the kernel has no name for it (macOS)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
