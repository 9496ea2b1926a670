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
from collections.abc import Iterator
from dataclasses import replace
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
