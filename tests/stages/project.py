"""A small project with a real repository, for tests that run `fab` on it as a person would."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

FAB = Path(sys.executable).with_name("fab")
PATIENCE_S = 120
GIT = {
    "GIT_AUTHOR_NAME": "n",
    "GIT_AUTHOR_EMAIL": "n@example.com",
    "GIT_COMMITTER_NAME": "n",
    "GIT_COMMITTER_EMAIL": "n@example.com",
    "GIT_COMMITTER_DATE": "2024-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
WITH_PSQL = "FROM postgres:15\n"


@dataclass(frozen=True)
class Ran:
    """A `fab` that ended."""

    pid: int
    code: int
    output: str


def own_name() -> str:
    """Return a name for a project whose images must not be another's."""
    return f"trial-{secrets.token_hex(4)}"


class Project:
    """A project in a folder."""

    def __init__(self, root: Path, name: str = "trial") -> None:
        self.root = root
        self.name = name
        self._started: list[subprocess.Popen[str]] = []
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.write("fabfile.py", "from headway import ns\n")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments],
            env={**os.environ, **GIT},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def configure(self, **settings: object) -> None:
        self.write("fabric.yml", yaml.safe_dump({"headway": {"name": self.name, **settings}}))

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "m")
        return self.git("rev-parse", "HEAD")

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `fab` in a process group of its own, as a terminal does."""
        process = subprocess.Popen(
            [str(FAB), *arguments],
            cwd=self.root,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        """End what a failed test left running, and remove the project's images."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=PATIENCE_S)
            if process.stdout is not None:
                process.stdout.close()
        images = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"headway/{self.name}-build"]
        tags = subprocess.run(images, check=True, capture_output=True, text=True).stdout.split()
        if tags:
            subprocess.run(["docker", "image", "rm", *tags], check=False, capture_output=True)

    def fab(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        return ended(self.start(*arguments, env=env))


def ended(process: subprocess.Popen[str]) -> Ran:
    """Wait for a `fab` to end."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    return Ran(process.pid, process.returncode, output)


def read_until(process: subprocess.Popen[str], expected: str) -> str:
    """Read a running `fab`'s output up to a line."""
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if line.rstrip("\n") == expected:
            return seen
    raise AssertionError(f"{expected!r} never came; the output was:\n{seen}")


def left_by(pid: int) -> list[str]:
    """Return what a `fab` left: containers, networks, folders."""
    owner = '{{.Label "headway.owner"}}'
    left = [str(path) for path in Path(tempfile.gettempdir()).glob(f"headway-run-{pid}@*")]
    for argv in (
        ["docker", "ps", "--all", "--format", f"{owner} {{{{.Names}}}}"],
        ["docker", "network", "ls", "--format", f"{owner} {{{{.Name}}}}"],
    ):
        listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        left += [line for line in listed.splitlines() if line.startswith(f"{pid}@")]
    return left
