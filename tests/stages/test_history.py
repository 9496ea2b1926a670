"""`fab history`, as a person types it, on an S3 that is there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fabfile.engine.journal import Journal
from fabfile.plan.fleet import Template
from fabfile.plan.release import Before, Ending, Kind, Record
from fabfile.plan.settings import Settings
from fabfile.tools import aws
from fabfile.tools.s3 import Bucket

from .project import Project

S3_PROCESS = Path(__file__).parent.parent / "engine" / "s3_process.py"
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
RECORD = Record(
    id="r1",
    env="prod",
    kind=Kind.RELEASE,
    version="1.5.0",
    from_version="1.4.0",
    who="ann",
    started_at=NOW,
    before=Before(1, 4, 2, frozenset(), Template("lt-1", "3"), "ami-1", ()),
    wanted=2,
)


@pytest.fixture
def endpoint() -> Iterator[str]:
    aws._client.cache_clear()
    argv = [sys.executable, str(S3_PROCESS)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        aws.client("s3", Settings(endpoint=url)).create_bucket(Bucket="state")
        yield url
        server.stdin.close()
    aws._client.cache_clear()


@pytest.fixture
def project(tmp_path: Path, endpoint: str) -> Project:
    project = Project(tmp_path / "trial")
    project.configure(endpoint=endpoint, release={"state": "s3://state/shop"}, envs={"prod": {}})
    return project


def release(endpoint: str, number: int) -> None:
    journal = Journal(Bucket(Settings(endpoint=endpoint), "s3://state/shop"), "us-east-1/trial-prod")
    record = replace(RECORD, id=f"r{number}", version=f"1.{number}.0", started_at=NOW + timedelta(hours=number))
    journal.write(record)
    journal.close(record, Ending.DONE, f"1.{number}.0 serves", NOW + timedelta(hours=number, minutes=4))


def test_shows_the_newest_first_and_only_as_many_as_were_asked_for(project: Project, endpoint: str) -> None:
    nothing = project.fab("history", "--env=prod")
    assert (nothing.code, nothing.output) == (0, "nothing was released to prod yet\n")
    for number in (1, 2, 3):
        release(endpoint, number)
    shown = project.fab("history", "--env=prod", "--last=2", env={"TZ": "UTC"})
    assert shown.code == 0
    lines = shown.output.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("2026-11-24 12:00:00 UTC  ann  release  1.4.0  1.3.0  4 min 00 s  done   1.3.0 serves")
    told = project.fab("history", "--env=prod", "--json")
    assert [each["version"] for each in json.loads(told.output)] == ["1.3.0", "1.2.0", "1.1.0"]


def test_shows_every_group_of_the_env(project: Project, endpoint: str) -> None:
    groups = {"eu": {"group": "trial-prod"}, "us": {"group": "trial-us"}}
    project.configure(endpoint=endpoint, release={"state": "s3://state/shop", "groups": groups}, envs={"prod": {}})
    release(endpoint, 1)
    lines = project.fab("history", "--env=prod").output.splitlines()
    assert (lines[0], lines[3:]) == ("trial-prod:", ["trial-us:", "nothing was released to prod yet"])


@pytest.mark.parametrize("last", ["0", "-1", "many", "1.5"])
def test_a_number_that_is_none_is_refused_in_one_line(project: Project, last: str) -> None:
    ran = project.fab("history", "--env=prod", f"--last={last}")
    assert (ran.code, ran.output) == (2, f"--last={last}: must be how many to show, 1 or more\n")
