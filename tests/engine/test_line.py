"""Releases started at the same moment from real processes, against an S3 in another: each runs alone, none is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from fabfile.engine.line import read_line
from fabfile.plan.settings import Settings
from fabfile.tools import aws
from fabfile.tools.s3 import Bucket

from .releaser import Given, release

PATIENCE_S = 60
CONTEXT = multiprocessing.get_context("forkserver")


@dataclass
class Releaser:
    """One of the processes, and what it told."""

    given: Given
    process: BaseProcess
    told: Connection
    heard: list[str] = field(default_factory=list)

    def go(self) -> None:
        self.told.send("go")

    def hear(self, wanted: Callable[[str], bool]) -> str:
        """Listen until it says something that is wanted."""
        while True:
            assert self.told.poll(PATIENCE_S), f"{self.given.version} says no more than {self.heard}"
            self.heard.append(self.told.recv())
            if wanted(self.heard[-1]):
                return self.heard[-1]

    def end(self) -> str:
        """Wait until it has ended, and return its last word."""
        self.process.join(PATIENCE_S)
        while self.told.poll():
            try:
                self.heard.append(self.told.recv())
            except EOFError:
                break
        assert "NOT ALONE" not in self.heard
        return self.heard[-1]

    def kill(self) -> None:
        assert self.process.pid
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(PATIENCE_S)


class Party:
    """Releasers, and the S3 that they share."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.given = Given(endpoint, "", folder / "alone")
        self.bucket = Bucket(Settings(endpoint=endpoint), "s3://state/shop")
        self.releasers: list[Releaser] = []

    def invite(self, *versions: str, **given: object) -> list[Releaser]:
        """Start processes, and return them once all are ready to go."""
        invited = []
        for version in versions:
            ours, theirs = CONTEXT.Pipe()
            circumstances = replace(self.given, version=version, **given)  # type: ignore[arg-type]
            process = CONTEXT.Process(target=release, args=(circumstances, theirs), daemon=True)
            process.start()
            theirs.close()
            invited.append(Releaser(circumstances, process, ours))
        self.releasers += invited
        for each in invited:
            each.hear(lambda text: text == "ready")
        return invited

    def waiting(self, count: int) -> list[str]:
        """Return the versions in line, in order, once there are so many."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            line = read_line(self.bucket, "prod", self.given.ttl_s)
            if len(line) == count:
                return [ticket.version for ticket in line]
        raise AssertionError(f"never {count} in line")

    def left_behind(self) -> list[str]:
        return self.bucket.keys("")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    script = Path(__file__).with_name("s3_process.py")
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdin.close()


@pytest.fixture
def party(s3: str, tmp_path: Path) -> Iterator[Party]:
    aws._client.cache_clear()
    CONTEXT.set_forkserver_preload(["tests.engine.releaser", "pytest"])  # what each of them would load again
    aws.client("s3", Settings(endpoint=s3)).create_bucket(Bucket="state")
    party = Party(s3, tmp_path)
    yield party
    for each in party.releasers:
        each.process.kill()
        each.process.join(PATIENCE_S)
    for key in party.left_behind():
        stored = party.bucket.read(key)
        assert stored
        party.bucket.delete(key, stored.etag)
    aws._client.cache_clear()


TEN = tuple(f"1.{number}.0" for number in range(10))


def test_ten_at_the_same_moment_release_one_after_another(party: Party) -> None:
    for each in party.invite(*TEN):
        each.go()
    assert [each.end() for each in party.releasers] == ["done"] * 10
    assert party.left_behind() == []


def test_ten_of_which_only_the_newest_counts_are_superseded_by_it(party: Party) -> None:
    holder, *others = party.invite(*TEN, supersedes=True, pauses=True)
    holder.go()
    holder.hear(lambda text: text == "holds")
    for each in others:
        each.go()
    newest = party.waiting(9)[-1]
    holder.go()
    winner = next(each for each in others if each.given.version == newest)
    winner.hear(lambda text: text == "holds")
    for each in others:
        if each is not winner:
            assert each.end() == f"superseded superseded by {newest} of ann"
    winner.go()
    assert (holder.end(), winner.end()) == ("done", "done")
    assert party.left_behind() == []


def test_those_killed_while_waiting_and_while_holding_hold_nobody_up(party: Party) -> None:
    holder, *others = party.invite(*TEN, pauses=True)
    holder.go()
    holder.hear(lambda text: text == "holds")
    for each in others:
        each.go()
    order = party.waiting(9)
    by_version = {each.given.version: each for each in others}
    for version in order[1:4]:
        by_version[version].kill()
    holder.kill()
    first = by_version[order[0]]
    first.hear(lambda text: text == "holds")
    first.kill()
    for version in order[4:]:
        by_version[version].hear(lambda text: text == "holds")
        by_version[version].go()
        assert by_version[version].end() == "done"
    assert party.left_behind() == []


def test_those_killed_on_other_machines_are_passed_over_when_their_heart_stopped(party: Party) -> None:
    given = {"ttl_s": 3.0, "pauses": True}
    holder, dead, first, second = (party.invite(v, machine=f"machine-{v}", **given)[0] for v in TEN[:4])
    holder.go()
    holder.hear(lambda text: text == "holds")
    for number, each in enumerate((dead, first, second), 1):
        each.go()
        party.waiting(number)
    dead.kill()
    holder.kill()
    for each in (first, second):
        each.hear(lambda text: text == "holds")
        each.go()
        assert each.end() == "done"
    assert party.left_behind() == []


def test_ctrl_c_while_waiting_leaves_no_ticket_and_the_waiter_hears_who_holds_it(party: Party) -> None:
    holder, waiter = party.invite("1.0.0", "1.1.0", pauses=True)
    holder.go()
    holder.hear(lambda text: text == "holds")
    waiter.go()
    said = waiter.hear(lambda text: text.startswith("says"))
    assert said.startswith("says waiting, next in line: ann is at it since ")
    assert "(1.0.0; process " in said
    assert waiter.process.pid
    os.kill(waiter.process.pid, signal.SIGINT)
    assert waiter.end() == "interrupted"
    assert party.left_behind() == ["prod/lock.json"]
    holder.go()
    assert holder.end() == "done"
    assert party.left_behind() == []
