"""The tests' own footing: what they start is removed, whatever happens."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LABEL, docker, remove_labelled, remove_orphans
from tests.shared_lab import NOTE, remove_left

PATIENCE_S = 300
IMAGE = "debian:bookworm-slim"
USERS = """
import sys, time
from pathlib import Path
from tests.shared_lab import joined
folder, name, others = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with joined(folder) as lab:
    (folder / f"in-{name}.new").write_text(lab.endpoint)
    (folder / f"in-{name}.new").rename(folder / f"in-{name}")
    while len(list(folder.glob("in-?"))) < others:
        time.sleep(0.05)
"""
ROOT = Path(__file__).parent.parent


def start(label: str) -> str:
    return docker("run", "--detach", "--label", label, IMAGE, "sleep", "600").strip()


def is_there(container: str) -> bool:
    return bool(docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={container}").strip())


@pytest.fixture
def dead_label() -> Iterator[str]:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    label = f"{LABEL}={int(gone.stdout)}-{secrets.token_hex(4)}"
    yield label
    remove_labelled(label)


@pytest.mark.docker
def test_what_carries_a_label_is_removed_and_nothing_else(docker_label: str) -> None:
    other = f"{docker_label}-other"
    mine, others = start(docker_label), start(other)
    network = docker("network", "create", "--label", docker_label, f"headway-test-{secrets.token_hex(4)}").strip()
    volume = docker("volume", "create", "--label", docker_label).strip()
    try:
        remove_labelled(docker_label)
        assert not is_there(mine)
        assert not docker("network", "ls", "--quiet", "--filter", f"id={network}").strip()
        assert not docker("volume", "ls", "--quiet", "--filter", f"name={volume}").strip()
        assert is_there(others)
    finally:
        remove_labelled(other)


@pytest.mark.docker
def test_what_a_dead_process_left_is_removed_and_what_a_living_one_has_is_not(
    docker_label: str, dead_label: str
) -> None:
    living, left = start(docker_label), start(dead_label)
    remove_orphans()
    assert is_there(living)
    assert not is_there(left)


def user(folder: Path, name: str, others: int) -> subprocess.Popen[bytes]:
    """Start a process that is in the lab until so many have been."""
    return subprocess.Popen(
        [sys.executable, "-c", USERS, folder, name, str(others)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def left_of_lab(endpoint: str) -> str:
    label = f"label=headway.lab={endpoint.rpartition(':')[2]}"
    return docker("ps", "--all", "--quiet", "--filter", label) + docker("network", "ls", "--quiet", "--filter", label)


@pytest.mark.lab
def test_workers_share_one_lab_and_the_last_removes_it(tmp_path: Path) -> None:
    users = [user(tmp_path, name, others=2) for name in "ab"]
    try:
        assert [each.wait(timeout=PATIENCE_S) for each in users] == [0, 0]
    finally:
        for each in users:
            each.kill()
            each.wait()
    endpoints = {note.read_text() for note in tmp_path.glob("in-?")}
    assert len(endpoints) == 1
    assert not (tmp_path / NOTE).exists()
    assert not left_of_lab(endpoints.pop())


@pytest.mark.lab
def test_the_lab_of_killed_workers_is_removed(tmp_path: Path) -> None:
    killed = user(tmp_path, "a", others=2)
    give_up_at = time.monotonic() + PATIENCE_S
    while not (tmp_path / "in-a").exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    endpoint = (tmp_path / "in-a").read_text()
    assert left_of_lab(endpoint)
    remove_left(tmp_path)
    assert not left_of_lab(endpoint)
