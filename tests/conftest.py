"""What every room's tests share: Docker objects that are always removed, and the session's local cloud."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.shared_lab import Lab, joined, remove_left

# A shell starts what runs in its background deaf to Ctrl-C, and children inherit that: the tests send real ones.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LABEL = "headway.test"
# What tests try so much of that the end of a run says how much.
TRIED = ("crash points", "error points", "histories")
# Networks after containers, which hold them.
KINDS = {
    "container": (["ps", "--all"], ["rm", "--force", "--volumes"]),
    "network": (["network", "ls"], ["network", "rm"]),
    "volume": (["volume", "ls"], ["volume", "rm", "--force"]),
    "image": (["image", "ls"], ["image", "rm", "--force"]),
}


@pytest.fixture
def docker_label() -> Iterator[str]:
    """Give a label, `headway.test=…`: containers, networks, volumes and images that carry it go with the test."""
    label = f"{LABEL}={os.getpid()}-{secrets.token_hex(4)}"
    yield label
    remove_labelled(label)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Join the local cloud that all workers of this session share."""
    with joined(session_folder(tmp_path_factory)) as shared:
        yield shared


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let all there is to try be tried: `scripts/test --exhaustive`."""
    parser.addoption("--exhaustive", action="store_true", help="try every point of every story: takes very long")


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of tests that only run when all there is to try is to be tried; and hear every signal.

    Whoever starts the tests under nohup has them ignore SIGHUP, as a task rightly would too.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "exhaustive: takes very long; runs with --exhaustive")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end how many points were tried, over all workers."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for line in count_tried(reports):
        terminalreporter.write_line(line)


def count_tried(reports: Iterable[object]) -> list[str]:
    """Add up what tests said with `record_property`, by name: `crash points: 570`."""
    told = [
        pair for each in reports if getattr(each, "when", "") == "call" for pair in getattr(each, "user_properties", [])
    ]
    names = [name for name in TRIED if any(name == said for said, _ in told)]
    return [f"{name}: {sum(number for said, number in told if said == name)}" for name in names]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that no worker is left alone with one at the end; leave out the exhaustive."""
    if not config.getoption("--exhaustive"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    first = (
        "tests/e2e/",
        "tests/stages/test_bake.py",
        "tests/ansible/",
        "tests/localcloud/test_lab.py",
        "tests/engine/test_crash",
        "tests/engine/test_error",
    )
    items.sort(key=lambda item: next((n for n, path in enumerate(first) if item.nodeid.startswith(path)), len(first)))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove what killed workers left: their Docker objects, of this session or another, and their lab."""
    if hasattr(session.config, "workerinput"):
        return  # only the process that outlives the workers can know
    remove_orphans()
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    remove_left(factory.getbasetemp())


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of this session see."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def remove_labelled(label: str) -> None:
    """Remove every Docker object that carries a label."""
    for listing, removal in KINDS.values():
        found = docker(*listing, "--quiet", "--filter", f"label={label}").split()
        if found:
            docker(*removal, *sorted(set(found)))


def remove_orphans() -> None:
    """Remove Docker objects of tests whose process, the number that their label begins with, is gone."""
    labels = set(docker("ps", "--all", "--format", f'{{{{.Label "{LABEL}"}}}}', "--filter", f"label={LABEL}").split())
    labels |= set(
        docker("network", "ls", "--format", f'{{{{.Label "{LABEL}"}}}}', "--filter", f"label={LABEL}").split()
    )
    for value in labels:
        number = value.partition("-")[0]
        if number.isdecimal() and not Path(f"/proc/{number}").exists():
            remove_labelled(f"{LABEL}={value}")


def docker(*arguments: str) -> str:
    """Ask Docker; no answer where it is not there."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout
