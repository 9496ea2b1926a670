"""`fab release`, `stage` and `rollback` as a person types them: what is wrong is said in one line, before anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from .project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "trial")
    project.configure(envs={"prod": {"release": {"state": "s3://state/trial"}}})
    project.commit()
    return project


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--canary=some"], "--canary: must be a whole number from 0 on, such as --canary=2 (got 'some')"),
        (["--batch=0"], "--batch: must be a whole number from 1 on, such as --batch=2 (got '0')"),
        (["--soak=soon"], "--soak"),
        (["--canary-for=5x"], "--canary-for"),
        (["--at=yesterday"], "--at"),
        (["--at=2020-01-01 09:00"], "--at"),
        (["--at=2099-01-01 09:00 Europe/Berln"], "Europe/Berlin"),
        (["--override-freeze="], "--override-freeze: say why"),
        (["--wait=long"], "--wait"),
        (["--json"], "--json: goes with --plan"),
    ],
)
def test_refuses_a_flag_that_it_cannot_read(project: Project, flags: list[str], words: str) -> None:
    ran = project.fab("release", "--env=prod", "--version=1.0.0", *flags)
    assert ran.code == 2
    assert words in ran.output
    assert len(ran.output.strip().splitlines()) == 1


@pytest.mark.parametrize("task", ["release", "stage", "rollback"])
@pytest.mark.parametrize("empty", ["", " "])
def test_takes_an_empty_version_for_a_mistake_and_never_for_another_one(
    project: Project, task: str, empty: str
) -> None:
    ran = project.fab(task, "--env=prod", f"--version={empty}")
    assert ran.code == 2
    assert ran.output == "--version: is empty; name one, such as --version=1.4.0, or leave it out\n"


def test_has_no_short_flags_that_mean_other_things_elsewhere(project: Project) -> None:
    told = {task: project.fab("--help", task).output for task in ("release", "rollback")}
    assert "--abort" in told["release"]
    assert "--at" in told["rollback"]
    assert not [task for task, text in told.items() if " -a" in text]


def test_refuses_a_freeze_window_that_it_cannot_read_by_its_place(project: Project) -> None:
    project.configure(envs={"prod": {"release": {"freeze": ["Fri 16:00 - Mon 08:00 UTC", "Caturday"]}}})
    ran = project.fab("status", "--env=prod")
    assert ran.code == 2
    assert ran.output.startswith("headway.envs.prod.release.freeze[1]:")
    assert len(ran.output.strip().splitlines()) == 1


@pytest.mark.parametrize("task", ["stage", "history", "release", "rollback"])
def test_asks_which_env(project: Project, task: str) -> None:
    ran = project.fab(task)
    assert (ran.code, ran.output.strip()) == (2, "which env? --env=prod")
