"""`fab --list` stays quick by loading nothing that only a running task needs, and names every task in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.tasks import Task

import fabfile

ROOT = Path(__file__).parent.parent
SLOW = {"boto3", "botocore", "debian", "docker", "jinja2", "moto", "psycopg", "pydantic", "requests", "rich"}
# What `import fabric` loads anyway is left out: our own, and these small parts of the standard library, remain.
ALLOWED = {"fabfile", "headway"}
SHOW_MODULES = """
import json, sys
from fabric.main import program
try:
    program.run(["fab", "--list"])
finally:
    print("\\n" + json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
PICKED = "from headway import build, release, test\n"


def modules_after_listing(folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def without_us(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("empty")
    (folder / "fabfile.py").write_text("from invoke import task\n@task\ndef nothing(c):\n    'Do nothing.'\n")
    return modules_after_listing(folder)


@pytest.mark.parametrize("fabfile_py", ["from headway import ns\n", PICKED])
def test_listing_loads_our_own_small_modules_and_no_library(
    tmp_path: Path, without_us: set[str], fabfile_py: str
) -> None:
    (tmp_path / "fabfile.py").write_text(fabfile_py)
    (tmp_path / "headway").symlink_to(ROOT / "fabfile")
    added = modules_after_listing(tmp_path) - without_us
    assert not {name.split(".")[0] for name in added} & SLOW
    assert {name for name in added if name.split(".")[0] not in ALLOWED} == set()
    assert not {name for name in added if ".tools." in name or ".engine." in name or name.endswith(".plan.settings")}


def test_a_project_that_picks_tasks_gets_just_these(tmp_path: Path) -> None:
    (tmp_path / "fabfile.py").write_text(PICKED)
    (tmp_path / "headway").symlink_to(ROOT / "fabfile")
    done = subprocess.run(
        [Path(sys.executable).with_name("fab"), "--list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert listed == ["build", "release", "test"]


def test_every_task_says_in_one_line_what_it_does() -> None:
    names = fabfile.ns.task_names
    assert set(fabfile.__all__) - {"ns", "apt", "lab"} == {name for name in names if "." not in name}
    assert {"lab.up", "lab.down", "lab.status"} <= set(names)
    for name in names:
        task = fabfile.ns[name]
        assert isinstance(task, Task)
        first = (task.__doc__ or "").strip().splitlines()[0]
        assert first.endswith(".")
        assert len(first) <= 100


def test_every_flag_of_every_task_is_explained() -> None:
    unexplained = [
        f"{name} --{argument.name}"
        for name in fabfile.ns.task_names
        for argument in fabfile.ns[name].get_arguments()
        if not argument.help
    ]
    assert not unexplained
