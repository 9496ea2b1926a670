"""The demo: what it promises, and that it cleans up when it is stopped half way."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from tests.shared_lab import Lab, free_network, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    """Load examples/demo.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({}, ""),
        ({"failed": 1}, "release 2: 1 requests failed"),
        ({"exit_code": 3}, "release 2: exit code 3, not 0"),
        ({"serves": "1.0.0"}, "release 2: 1.0.0 serves, not 2.0.0"),
        ({"serves": "1.0.0+2.0.0"}, "release 2: 1.0.0+2.0.0 serves, not 2.0.0"),
        ({"requests": 1999}, "release 2: only 200 requests a second"),
    ],
)
def test_a_promise_that_is_broken_is_told(demo: ModuleType, differs: dict[str, object], said: str) -> None:
    kept = demo.Outcome("release 2", 2200, 0, 0.1, 10.0, 0, "2.0.0")
    assert "".join(demo.promises_broken(demo.CHANGES[0], replace(kept, **differs))) == said


def test_the_numbers_have_the_promised_shape(demo: ModuleType, tmp_path: Path) -> None:
    result = tmp_path / "build" / "demo.json"
    outcome = demo.Outcome("release 2", 2200, 0, 0.1, 10.0, 0, "2.0.0")
    demo.write(demo.Story(stages={"build": 1.5}, releases=[outcome]), result)
    assert json.loads(result.read_text()) == {
        "stages": {"build": 1.5},
        "releases": [
            {
                "name": "release 2",
                "requests": 2200,
                "failed": 0,
                "slowest_s": 0.1,
                "seconds": 10.0,
                "exit_code": 0,
                "serves": "2.0.0",
            }
        ],
    }


@pytest.fixture
def short() -> Iterator[Path]:
    """Make a folder with a short path: gpg's agent listens on a socket below it."""
    with tempfile.TemporaryDirectory(prefix="hw-") as folder:
        yield Path(folder)


@contextmanager
def somebodys_lab() -> Iterator[tuple[int, list[str]]]:
    """Answer as a running local cloud does that asks who it is; gives its port, and what it was asked."""
    asked: list[str] = []

    class Lab(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"port": server.server_port, "pid": 4242}).encode())

        def log_message(self, *_said: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lab)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run_demo(folder: Path, port: int, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/demo.py", "--result", str(folder / "demo.json"), *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "FABRIC_HEADWAY_LAB_PORT": str(port),
            "TMPDIR": str(folder),
            "PATH": f"{path or Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_refuses_where_somebody_elses_lab_runs_and_leaves_it_alone(short: Path) -> None:
    with somebodys_lab() as (port, asked):
        ended = run_demo(short, port)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        f"demo: a local cloud that the demo did not start runs at port {port} (process 4242)"
    )
    assert f"scripts/demo --port={port + 1}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert set(asked) == {"/_lab"}
    assert list(short.iterdir()) == []


def test_the_demo_never_removes_a_lab_that_came_up_a_moment_before_its_own(short: Path) -> None:
    fab, told = short / "bin" / "fab", short / "told"
    fab.parent.mkdir()
    fab.write_text(f'#!/bin/sh\necho "$@" >> {told}\ncase $1 in lab.up) echo "lab: runs at http://127.0.0.1";; esac\n')
    fab.chmod(0o755)
    ended = run_demo(short, free_port(), path=str(fab.parent))
    assert ended.returncode == 1
    assert told.read_text().splitlines() == ["apt.key", "lab.up"]
    assert "BROKEN: somebody else's local cloud ran at this port" in ended.stdout


def test_a_demo_beside_another_lab_has_all_that_is_its_own_by_its_port(demo: ModuleType) -> None:
    one, other = demo.variables_at(4751), demo.variables_at(4752)
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


@pytest.fixture
def place(short: Path) -> dict[str, str]:
    """Give the demo a cloud of its own beside whatever runs on this machine."""
    lab = Lab(free_port(), free_network())
    return {
        **os.environ,
        **lab.variables,
        "FABRIC_HEADWAY_APT_URL": f"{lab.inner_endpoint}/headway-apt/shop",
        "TMPDIR": str(short),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


@pytest.mark.docker
@pytest.mark.lab
def test_no_request_fails_in_any_release_of_the_demo_killed_ones_among_them(
    tmp_path: Path, place: dict[str, str]
) -> None:
    result = tmp_path / "demo.json"
    ended = subprocess.run(
        [sys.executable, "examples/demo.py", "--kills", "2", "--result", str(result)],
        cwd=ROOT,
        env=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    numbers = json.loads(result.read_text())
    assert [(each["exit_code"], each["serves"]) for each in numbers["releases"]] == [
        (0, "2.0.0"),
        (0, "1.0.0"),
        (0, "2.0.0"),
        (3, "2.0.0"),
    ]
    assert [each["failed"] for each in numbers["releases"] + numbers["kills"]] == [0] * 6


@pytest.mark.docker
def test_the_demo_leaves_nothing_when_it_is_interrupted(tmp_path: Path, short: Path, place: dict[str, str]) -> None:
    port = place["FABRIC_HEADWAY_LAB_PORT"]
    with subprocess.Popen(
        [sys.executable, "examples/demo.py", "--result", str(tmp_path / "demo.json")],
        cwd=ROOT,
        env=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "$ fab build" in line:
                os.killpg(process.pid, signal.SIGINT)
    assert process.returncode == 1, "".join(lines)
    assert "BROKEN: interrupted" in lines[-1]
    assert list(short.iterdir()) == []
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        pass
    names = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.Names}}"], capture_output=True, text=True, check=True
    )
    assert port not in names.stdout
