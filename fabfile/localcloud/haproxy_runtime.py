"""One haproxy: its process, its configuration and its runtime API."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

_STARTED_WITHIN_S = 30.0
_LONGEST_SOCKET_PATH = 90  # the kernel allows 107 bytes, and haproxy binds under a longer, temporary name


class HaproxyError(Exception):
    """haproxy refused a configuration or a command, or does not answer."""


class Haproxy:
    """A haproxy in master-worker mode with one folder for its files, spoken to through its socket.

    The runtime API: https://docs.haproxy.org/2.6/management.html#9.3.
    """

    def __init__(self, folder: Path) -> None:
        """Take a folder of our own; nothing runs yet.

        :raises HaproxyError: the folder's path is too long for a socket.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if len(str(self._socket)) > _LONGEST_SOCKET_PATH:
            raise HaproxyError(f"{folder}: too long a path for a socket; choose a shorter XDG_STATE_HOME")
        self._process: subprocess.Popen[bytes] | None = None
        self._old_workers: set[int] = set()

    @property
    def _socket(self) -> Path:
        return self.folder / "haproxy.sock"

    @property
    def _configuration(self) -> Path:
        return self.folder / "haproxy.cfg"

    def is_running(self) -> bool:
        """Tell whether the process that we started is alive."""
        return self._process is not None and self._process.poll() is None

    def load(self, configuration: str) -> None:
        """Start with this configuration, or change over to it without losing a connection.

        Servers that both have keep their state.

        :raises HaproxyError: the configuration is wrong, or one of its sockets is taken; the old one goes on.
        """
        checked = self.folder / "next.cfg"
        checked.write_text(configuration)
        _refuse_bad_configuration(checked)
        state = self.folder / "servers.state"
        state.write_text(self.command("show servers state") if self.is_running() else "")
        checked.replace(self._configuration)
        if self.is_running():
            self._reload()
        else:
            self._start()

    def command(self, words: str) -> str:
        """Give the worker one command and return its answer.

        :raises HaproxyError: nothing answers.
        """
        try:
            return _ask(self._socket, words)
        except OSError as error:
            raise HaproxyError(f"haproxy does not answer: {error}") from error

    def change(self, *commands: str) -> None:
        """Give commands that answer nothing when they are obeyed.

        :raises HaproxyError: one of them was not; those after it were not given.
        """
        for words in commands:
            answer = self.command(words).strip()
            if answer and "registered" not in answer and "deleted" not in answer:
                raise HaproxyError(f"{words}: {answer}")

    def servers(self) -> list[dict[str, str]]:
        """Rows of ``show stat`` for the servers, by column name, from the worker that takes new connections."""
        return _rows(self.command("show stat -1 4 -1"))

    def servers_of_old_workers(self) -> list[dict[str, str]]:
        """Rows of the workers that were replaced and still finish requests."""
        rows: list[dict[str, str]] = []
        for pid in sorted(self._old_workers):
            try:
                rows += _rows(_ask(self.folder / "master.sock", f"@!{pid} show stat -1 4 -1"))
            except OSError:
                continue
            if not Path(f"/proc/{pid}").exists():
                self._old_workers.discard(pid)
        return rows

    def stop(self) -> None:
        """End it now, with all its connections."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        log = (self.folder / "haproxy.log").open("ab")
        argv = ["haproxy", "-W", "-db", "-f", str(self._configuration), "-S", f"{self.folder}/master.sock,mode,600"]
        with log:
            try:
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except FileNotFoundError:
                raise HaproxyError("haproxy is not installed, or not on PATH; scripts/setup installs it") from None
        (self.folder / "haproxy.pid").write_text(str(self._process.pid))
        self._wait_until(lambda: self._worker() is not None, "did not start")

    def _reload(self) -> None:
        assert self._process is not None  # noqa: S101 - load() looked
        before, failures = self._worker(), self._failed_reloads()
        self._process.send_signal(signal.SIGUSR2)

        def taken() -> bool:
            failed = self._failed_reloads()  # None as long as the master itself is not back
            if (failed or 0) > (failures or 0):
                raise HaproxyError(f"haproxy did not take the new configuration: {self._last_words()}")
            return failed is not None and self._worker() not in {None, before}

        self._wait_until(taken, "did not take the new configuration")
        if before is not None:
            self._old_workers.add(before)

    def _worker(self) -> int | None:
        try:
            info = _ask(self._socket, "show info")
        except OSError:
            return None
        pids = [line.split()[1] for line in info.splitlines() if line.startswith("Pid:")]
        return int(pids[0]) if pids else None

    def _failed_reloads(self) -> int | None:
        try:
            answer = _ask(self.folder / "master.sock", "show proc")
        except OSError:
            return None
        found = re.search(r"master\s+\d+ \[failed: (\d+)\]", answer)
        return int(found[1]) if found else None

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + _STARTED_WITHIN_S
        while not condition():
            if not self.is_running() or time.monotonic() > give_up_at:
                raise HaproxyError(f"haproxy {what}: {self._last_words()}")
            time.sleep(0.01)

    def _last_words(self) -> str:
        lines = (self.folder / "haproxy.log").read_text(errors="replace").splitlines()
        alerts = [line for line in lines[-20:] if "ALERT" in line]
        return (alerts or lines or ["no message"])[-1 if not alerts else 0]


def stop_stray(folder: Path) -> bool:
    """Kill the haproxy of a folder whose owner died; tells whether there was one."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "haproxy.pid").read_text())
        if str(folder / "haproxy.cfg").encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.killpg(pid, signal.SIGKILL)
            return True
    return False


def _refuse_bad_configuration(path: Path) -> None:
    try:
        checked = subprocess.run(["haproxy", "-c", "-q", "-f", str(path)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HaproxyError("haproxy is not installed, or not on PATH; scripts/setup installs it") from None
    if checked.returncode != 0:
        raise HaproxyError(f"haproxy refuses its configuration: {checked.stderr.strip()}")


def _ask(path: Path, words: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(words.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)  # the master keeps the line open until we hang up
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")


def _rows(answer: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.removeprefix("# ").strip())))
