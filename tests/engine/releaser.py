"""One release, as a process of its own: waits for its turn, holds the lock for a while, and tells what happens."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import boto3

from fabfile.engine import waiting
from fabfile.engine.lock import held
from fabfile.engine.waiting import Turn
from fabfile.plan.outcome import Refusal, Superseded
from fabfile.plan.release import Kind
from fabfile.plan.settings import Settings
from fabfile.tools import ownership
from fabfile.tools.s3 import Bucket

# Loaded once, before the processes part: what takes long in boto3 is to read the descriptions of a service.
boto3.client("s3", region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")

WORK_S = 0.03  # how long it takes to do something under the lock


@dataclass(frozen=True)
class Given:
    """Its circumstances.

    :param alone: a file that nobody else may hold while we do.
    :param machine: name of a machine of its own, where nobody can see whether it lives; empty: this one.
    :param pauses: hold the lock until told to go on.
    """

    endpoint: str
    version: str
    alone: Path
    supersedes: bool = False
    machine: str = ""
    pauses: bool = False
    ttl_s: float = 8.0


def release(given: Given, told: Connection) -> None:
    """Say `ready`, wait to be told to go, and release."""
    if given.machine:
        ownership._place = lambda: given.machine  # type: ignore[assignment]
    waiting.POLL_S = 0.5
    bucket = Bucket(Settings(endpoint=given.endpoint), "s3://state/shop")
    turn = Turn(Kind.RELEASE, given.version, given.supersedes, lambda text: told.send(f"says {text}"))
    told.send("ready")
    told.recv()
    try:
        with held(
            bucket, "prod", who="ann", doing=given.version, ttl_s=given.ttl_s, wait_s=float("inf"), turn=turn
        ) as lock:
            lock.dismiss()
            told.send("holds")
            _work(given, told)
            told.send("lost" if lock.lost else "done")
    except (Superseded, Refusal) as ended:
        told.send(f"{type(ended).__name__.lower()} {ended}")
    except KeyboardInterrupt:
        told.send("interrupted")


def _work(given: Given, told: Connection) -> None:
    if given.alone.exists() and _runs(int(given.alone.read_text() or 0)):  # empty while it is written
        told.send("NOT ALONE")
    given.alone.write_text(str(os.getpid()))
    if given.pauses:
        told.recv()
    time.sleep(WORK_S)
    if given.alone.read_text() != str(os.getpid()):
        told.send("NOT ALONE")
    given.alone.write_text("0")


def _runs(pid: int) -> bool:
    return pid > 0 and Path(f"/proc/{pid}").exists()
