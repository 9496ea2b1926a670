"""Places for files: a folder and an S3 bucket keep the same promises."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from fabfile.plan.outcome import Refusal
from fabfile.plan.settings import Settings
from fabfile.tools import store as store_module
from fabfile.tools.aws import client
from fabfile.tools.store import LOCK, ChangedError, Store, store_at


@pytest.fixture(scope="module")
def cloud() -> Iterator[Settings]:
    """S3 with real HTTP in front of it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield Settings(endpoint=f"http://127.0.0.1:{port}")
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, cloud: Settings) -> str:
    if request.param == "folder":
        return str(tmp_path / "files")
    bucket = f"files-{uuid.uuid4().hex[:12]}"
    client("s3", cloud).create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/prefix"


@pytest.fixture
def store(place: str, cloud: Settings) -> Store:
    return store_at(place, cloud)


def test_what_is_written_is_read(store: Store, tmp_path: Path) -> None:
    assert store.read("a/b.txt") is None
    assert store.size("a/b.txt") is None
    store.write("a/b.txt", b"one")
    held = store.read("a/b.txt")
    assert held
    assert held.content == b"one"
    assert store.size("a/b.txt") == 3
    store.copy_to("a/b.txt", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"one"


def test_a_file_is_written_from_a_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    store.write("big", tmp_path / "big", forever=True)
    assert store.size("big") == 3_000_000


def test_only_what_was_seen_is_written_over(store: Store) -> None:
    store.swap("f", b"1", None)
    with pytest.raises(ChangedError):
        store.swap("f", b"2", None)
    held = store.read("f")
    assert held
    store.swap("f", b"3", held.tag)
    with pytest.raises(ChangedError):
        store.swap("f", b"4", held.tag)
    now = store.read("f")
    assert now
    assert now.content == b"3"


def test_one_at_a_time_holds_the_lock_and_the_next_is_told_who(place: str, cloud: Settings) -> None:
    with (
        store_at(place, cloud).lock(0),
        pytest.raises(Refusal, match=r"process \d+\) is publishing"),
        store_at(place, cloud).lock(0),
    ):
        pass
    with store_at(place, cloud).lock(0):
        pass


def test_a_lock_is_given_back_after_a_failure(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock(0):
        _ = 1 / 0
    with store.lock(0):
        pass


def test_the_one_who_waits_gets_the_lock(place: str, cloud: Settings) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        with store_at(place, cloud).lock(60):
            order.append("second")

    with store_at(place, cloud).lock(0):
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_a_lock_whose_owner_died_runs_out(cloud: Settings) -> None:
    bucket = f"files-{uuid.uuid4().hex[:12]}"
    client("s3", cloud).create_bucket(Bucket=bucket)
    store = store_at(f"s3://{bucket}", cloud)
    store.write(LOCK, json.dumps({"owner": "someone", "expires_at_s": time.time() - 1}).encode())
    with store.lock(0):
        held = store.read(LOCK)
        assert held
        assert json.loads(held.content)["owner"] != "someone"
    assert store.read(LOCK) is None


def test_a_lock_that_was_taken_over_is_not_given_back_by_its_first_owner(
    cloud: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"files-{uuid.uuid4().hex[:12]}"
    client("s3", cloud).create_bucket(Bucket=bucket)
    slow, quick = store_at(f"s3://{bucket}", cloud), store_at(f"s3://{bucket}", cloud)
    monkeypatch.setattr(store_module, "LOCK_TTL_S", -1.0)
    with slow.lock(0):
        monkeypatch.setattr(store_module, "LOCK_TTL_S", 60.0)
        taken = quick.lock(0)
        taken.__enter__()
    assert quick.read(LOCK) is not None
    taken.__exit__(None, None, None)


def test_a_missing_bucket_is_named(cloud: Settings, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    for content in (b"x", tmp_path / "f"):
        with pytest.raises(Refusal, match="no bucket 'nowhere'"):
            store_at("s3://nowhere/x", cloud).write("f", content)
    with pytest.raises(Refusal, match="no bucket 'nowhere'"):
        store_at("s3://nowhere/x", cloud).read("f")


def test_a_path_never_leads_out_of_the_folder(tmp_path: Path, cloud: Settings) -> None:
    for path in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(Refusal, match="out of the repository"):
            store_at(str(tmp_path / "root"), cloud).read(path)


def test_a_folder_is_readable_by_a_web_server(tmp_path: Path, cloud: Settings) -> None:
    store_at(str(tmp_path), cloud).write("a/f", b"x")
    assert (tmp_path / "a" / "f").stat().st_mode & 0o777 == 0o644


def test_a_web_server_is_read_and_never_written(cloud: Settings) -> None:
    bucket = f"files-{uuid.uuid4().hex[:12]}"
    client("s3", cloud).create_bucket(Bucket=bucket)
    store_at(f"s3://{bucket}/p", cloud).write("a~b+c.txt", b"x")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    client("s3", cloud).put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [allow]}))
    web = store_at(f"{cloud.endpoint}/{bucket}/p", cloud)
    assert web.read("missing") is None
    held = web.read("a~b+c.txt")
    assert held
    assert held.content == b"x"
    with pytest.raises(Refusal, match="can only be read"):
        web.write("f", b"x")
    with pytest.raises(Refusal, match="can only be read"), web.lock(0):
        pass


@pytest.mark.parametrize("place", ["apt", "./apt", "ftp://host/apt", "s3:/bucket/apt"])
def test_what_would_be_another_folder_elsewhere_is_refused(place: str, cloud: Settings) -> None:
    with pytest.raises(Refusal, match="must be s3://bucket/prefix, a URL, or a folder from /"):
        store_at(place, cloud)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, cloud: Settings) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match="is not a folder"):
        store_at(str(tmp_path / "file"), cloud)
