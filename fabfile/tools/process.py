"""Child processes: argv in, what they printed out. Never a shell string, never a secret in argv."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..plan.outcome import Failed, Refusal

TAIL_LINES = 20


@dataclass(frozen=True)
class Finished:
    """A process that ended: its exit code and what it printed (empty where the output went to the screen)."""

    code: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
    cwd: Path | None = None,
    show: bool = False,
    check: bool = True,
    timeout_s: float | None = None,
) -> Finished:
    """Run a command to its end.

    :param argv: the command and its arguments, given to the kernel as they are.
    :param env: variables added to ours; the place for secrets.
    :param stdin: what the command reads; nothing by default.
    :param show: let its output go to the screen as it comes, instead of into the answer.
    :param check: raise when the exit code is not 0.
    :param timeout_s: seconds after which the command is killed.
    :raises Refusal: the program is not installed.
    :raises Failed: it ended with another code than 0 (which becomes ours) or ran out of time.
    """
    pipe = None if show else subprocess.PIPE
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        process = subprocess.Popen(
            list(argv),
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
        )
    except FileNotFoundError as error:
        if cwd is not None and error.filename == cwd:
            raise Refusal(f"{cwd}: no such folder") from None
        raise Refusal(f"{argv[0]} is not installed, or not on PATH; scripts/setup installs it") from None
    with process:
        out, err = _communicate(process, argv, data, timeout_s)
    finished = Finished(process.returncode, _text(out), _text(err))
    if check and finished.code != 0:
        raise Failed(_explain(argv, finished), code=finished.code if finished.code > 0 else 1)
    return finished


def _communicate(
    process: subprocess.Popen[bytes], argv: Sequence[str], data: bytes | None, timeout_s: float | None
) -> tuple[bytes | None, bytes | None]:
    try:
        return process.communicate(data, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"{argv[0]}: no end after {timeout_s:g} s: {shlex.join(argv)}") from None
    except BaseException:
        # The child shares our terminal, so Ctrl-C reached it too: let it clean up before we go.
        _stop_gently(process)
        raise


def _stop_gently(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")


def _explain(argv: Sequence[str], finished: Finished) -> str:
    tail = (finished.stderr.strip() or finished.stdout.strip()).splitlines()[-TAIL_LINES:]
    head = f"{argv[0]} failed with exit code {finished.code}: {shlex.join(argv)}"
    return "\n".join([head, *(f"  {line}" for line in tail)])
