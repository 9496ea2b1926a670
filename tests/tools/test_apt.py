"""Our Apt repository: real packages, a real signature, and a real apt that believes it, or does not."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from fabfile.plan.outcome import Refusal
from fabfile.plan.repository import sources_text
from fabfile.plan.settings import Settings
from fabfile.tools import apt, gpg
from fabfile.tools import store as store_module
from fabfile.tools.aws import client as aws_client
from fabfile.tools.dpkg import Deb, Member, read_deb, write_deb
from fabfile.tools.gpg import Key
from fabfile.tools.store import FolderStore

from .apt_client import Client, client_on, network, served

pytestmark = pytest.mark.docker


def now() -> datetime:
    return datetime.now(UTC)


def make_deb(folder: Path, version: str, content: str = "") -> Deb:
    control = (
        f"Package: shop\nVersion: {version}\nArchitecture: all\nMaintainer: The Shop <s@example.com>\n"
        "Description: Orders\nHeadway-Commit: 1a2b\nHeadway-Migration: 7\nHeadway-Contract-Floor: 3\n"
    )
    members = [
        Member("/usr/share/shop/version", (content or version).encode()),
        Member("/usr/share/shop/migrations/7_a.sql", b"-- seven\n"),
    ]
    path = folder / f"shop_{version}_all_{uuid.uuid4().hex[:6]}.deb"
    write_deb(path, control, members, scripts={}, time_s=1)
    return read_deb(path)


@pytest.fixture(scope="module")
def lan() -> Iterator[tuple[str, str]]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def debian(lan: tuple[str, str]) -> Iterator[Client]:
    with client_on(lan[0]) as container:
        yield container


@pytest.fixture(scope="module")
def key() -> Iterator[Key]:
    with gpg.temporary_home() as home:
        gpg.make_key(home, "shop")
        yield gpg.find_key(None, home, now())


@pytest.fixture(scope="module")
def s3(lan: tuple[str, str]) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address=lan[1], port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def folder(tmp_path: Path, lan: tuple[str, str]) -> Iterator[Settings]:
    """Make settings of a repository in a folder behind a web server."""
    (tmp_path / "repository").mkdir()
    with served(tmp_path / "repository", lan[1]) as url:
        yield Settings.model_validate({"name": "shop", "apt": {"publish": str(tmp_path / "repository"), "url": url}})


@pytest.fixture
def bucket(s3: str) -> Settings:
    """Make settings of a repository in a bucket that anybody may read."""
    name = f"apt-{uuid.uuid4().hex[:12]}"
    settings = Settings.model_validate(
        {"name": "shop", "endpoint": s3, "apt": {"publish": f"s3://{name}/shop", "url": f"{s3}/{name}/shop"}}
    )
    aws_client("s3", settings).create_bucket(Bucket=name)
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    aws_client("s3", settings).put_bucket_policy(Bucket=name, Policy=json.dumps({"Statement": [allow]}))
    return settings


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest) -> Settings:
    made = request.getfixturevalue(request.param)
    assert isinstance(made, Settings)
    return made


@pytest.fixture
def publish(settings: Settings, key: Key, tmp_path: Path) -> Callable[[str], apt.Added]:
    return lambda version: apt.publish(settings, make_deb(tmp_path, version), key, now)


def root_of(settings: Settings) -> Path:
    return Path(settings.apt.publish or "")


def files_of(settings: Settings) -> dict[str, bytes]:
    """Return all that clients can read."""
    root = root_of(settings)
    found = (path for path in root.rglob("*") if path.is_file() and path.name != store_module.LOCK)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_a_clean_machine_verifies_installs_upgrades_and_goes_back(
    settings: Settings, publish: Callable[[str], apt.Added], debian: Client
) -> None:
    for version in ("1.4.0", "1.5.0", "1.5.0+2.g1a2b3c4", "1.5.0~rc1"):
        publish(version)
    debian.use(sources_text(settings, apt.public_key(settings)))
    updated = debian.update()
    assert updated.code == 0, updated.output
    offered = debian.must("apt-cache", "madison", "shop")
    assert [line.split("|")[1].strip() for line in offered.splitlines()] == [
        "1.5.0+2.g1a2b3c4",
        "1.5.0",
        "1.5.0~rc1",
        "1.4.0",
    ]
    for version in ("1.4.0", "1.5.0", "1.5.0+2.g1a2b3c4", "1.4.0"):
        debian.must("apt-get", "install", "-qy", "--allow-downgrades", f"shop={version}")
        assert debian.installed("shop") == f"ii {version}"
        assert debian.must("cat", "/usr/share/shop/version") == version
    debian.must("apt-get", "purge", "-qy", "shop")
    assert "no packages found" in debian.installed("shop")


def test_the_key_may_lie_beside_the_sources(folder: Settings, key: Key, tmp_path: Path, debian: Client) -> None:
    apt.publish(folder, make_deb(tmp_path, "1.4.0"), key, now)
    debian.use(sources_text(folder))
    debian.write("/etc/apt/keyrings/shop-archive-keyring.asc", apt.public_key(folder))
    assert debian.update().code == 0
    published = (root_of(folder) / "shop.sources").read_text()
    debian.use(published)
    assert debian.update().code == 0


def test_what_is_published_is_read_back(
    settings: Settings, publish: Callable[[str], apt.Added], tmp_path: Path
) -> None:
    assert apt.read_published(settings, "shop") == ()
    assert "nothing is published yet" in (apt.why_not_published(settings, "shop", "1.4.0") or "")
    for version in ("1.10.0", "1.4.0"):
        assert not publish(version).already_there
    found = apt.read_published(settings, "shop")
    assert [one.version for one in found] == ["1.4.0", "1.10.0"]
    assert (found[0].commit, found[0].migration, found[0].contract_floor) == ("1a2b", 7, 3)
    assert apt.why_not_published(settings, "shop", "1.4.0") is None
    assert "published: 1.4.0, 1.10.0" in (apt.why_not_published(settings, "shop", "1.5.0") or "")
    assert "did you mean 1.4.0?" in (apt.why_not_published(settings, "shop", "v1.4.0") or "")
    fetched = apt.fetch(settings, "shop", "1.4.0", tmp_path / "fetched")
    assert read_deb(fetched).sha256 == found[0].sha256


def test_who_may_only_read_reads_over_the_web(settings: Settings, publish: Callable[[str], apt.Added]) -> None:
    publish("1.4.0")
    reader = Settings.model_validate({"name": "shop", "apt": {"url": settings.apt.url}})
    assert apt.read_published(reader, "shop") == apt.read_published(settings, "shop")
    assert apt.public_key(reader) == apt.public_key(settings)


def test_the_same_bytes_again_change_nothing(folder: Settings, key: Key, tmp_path: Path) -> None:
    deb = make_deb(tmp_path, "1.4.0")
    apt.publish(folder, deb, key, now)
    before = files_of(folder)
    assert apt.publish(folder, deb, key, now).already_there
    assert files_of(folder) == before


def test_other_bytes_under_a_published_version_are_refused(folder: Settings, key: Key, tmp_path: Path) -> None:
    apt.publish(folder, make_deb(tmp_path, "1.4.0"), key, now)
    before = files_of(folder)
    with pytest.raises(Refusal, match=r"1\.4\.0 is published with other bytes"):
        apt.publish(folder, make_deb(tmp_path, "1.4.0", "other"), key, now)
    assert files_of(folder) == before


def test_publishers_at_once_lose_nothing(settings: Settings, key: Key, tmp_path: Path, debian: Client) -> None:
    versions = [f"1.{number}.0" for number in range(8)]
    debs = [make_deb(tmp_path, version) for version in versions]
    with ThreadPoolExecutor(len(debs)) as pool:
        list(pool.map(lambda deb: apt.publish(settings, deb, key, now), debs))
    assert [one.version for one in apt.read_published(settings, "shop")] == versions
    debian.use(sources_text(settings, apt.public_key(settings)))
    assert debian.update().code == 0


def test_a_publisher_whose_lock_ran_out_reads_again_and_adds_to_what_the_other_wrote(
    bucket: Settings, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt.publish(bucket, make_deb(tmp_path, "1.0.0"), key, now)
    slow, quick = make_deb(tmp_path, "1.1.0"), make_deb(tmp_path, "1.2.0")
    sign, overtaken = gpg.clearsign, threading.Event()

    def sign_slowly(text: str, signing: Key) -> bytes:
        if not overtaken.is_set():  # between reading and writing, another publisher comes and goes
            overtaken.set()
            monkeypatch.setattr(store_module, "LOCK_TTL_S", 60.0)
            apt.publish(bucket, quick, key, now)
        return sign(text, signing)

    monkeypatch.setattr(gpg, "clearsign", sign_slowly)
    monkeypatch.setattr(store_module, "LOCK_TTL_S", -1.0)
    apt.publish(bucket, slow, key, now)
    assert [one.version for one in apt.read_published(bucket, "shop")] == ["1.0.0", "1.1.0", "1.2.0"]


def test_a_machine_that_reads_while_others_publish_never_sees_a_torn_repository(
    folder: Settings, key: Key, tmp_path: Path, debian: Client
) -> None:
    apt.publish(folder, make_deb(tmp_path, "0.1.0"), key, now)
    debian.use(sources_text(folder, apt.public_key(folder)))
    debs = [make_deb(tmp_path, f"1.{number}.0") for number in range(30)]
    with ThreadPoolExecutor(2) as pool:
        publishing = [pool.submit(apt.publish, folder, deb, key, now) for deb in debs]
        answers = [debian.update()]
        while not all(future.done() for future in publishing):
            answers.append(debian.update())
    assert [answer.output for answer in answers if answer.code] == []
    assert [future.result().already_there for future in publishing] == [False] * len(debs)
    assert debian.update().code == 0
    assert len(debian.must("apt-cache", "madison", "shop").splitlines()) == 31


@pytest.mark.parametrize("dies_at", range(16))
def test_a_publisher_that_dies_anywhere_leaves_the_repository_whole(
    folder: Settings, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    apt.publish(folder, make_deb(tmp_path, "1.0.0"), key, now)
    write, writes = FolderStore.write, iter(range(100))

    def write_or_die(self: FolderStore, path: str, content: bytes | Path, *, forever: bool = False) -> None:
        if next(writes) == dies_at:
            raise KeyboardInterrupt
        write(self, path, content, forever=forever)

    deb = make_deb(tmp_path, "1.1.0")
    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "write", write_or_die)
        with pytest.raises(KeyboardInterrupt):
            apt.publish(folder, deb, key, now)
    assert [one.version for one in apt.read_published(folder, "shop")] == ["1.0.0"]
    assert not apt.publish(folder, deb, key, now).already_there
    assert [one.version for one in apt.read_published(folder, "shop")] == ["1.0.0", "1.1.0"]


def tampered_index(root: Path) -> None:
    for path in (root / "dists/stable/main").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1] + b"!")


def tampered_signature(root: Path) -> None:
    path = root / "dists/stable/InRelease"
    path.write_text(path.read_text().replace("Codename: stable", "Codename: edible"))


def signed_by_a_stranger(root: Path) -> None:
    release = root / "dists/stable/Release"
    with gpg.temporary_home() as home:
        gpg.make_key(home, "stranger")
        stranger = gpg.find_key(None, home, now())
        (root / "dists/stable/InRelease").write_bytes(gpg.clearsign(release.read_text(), stranger))


def unsigned(root: Path) -> None:
    (root / "dists/stable/InRelease").unlink()
    (root / "dists/stable/Release.gpg").unlink()


@pytest.mark.parametrize("harm", [tampered_index, tampered_signature, signed_by_a_stranger, unsigned])
def test_apt_refuses_a_repository_that_was_tampered_with(
    folder: Settings, key: Key, tmp_path: Path, debian: Client, harm: Callable[[Path], None]
) -> None:
    apt.publish(folder, make_deb(tmp_path, "1.4.0"), key, now)
    debian.use(sources_text(folder, apt.public_key(folder)))
    harm(root_of(folder))
    assert debian.update().code != 0
    assert debian.run("apt-get", "install", "-qy", "shop=1.4.0").code != 0


def test_apt_refuses_a_package_that_was_tampered_with(
    folder: Settings, key: Key, tmp_path: Path, debian: Client
) -> None:
    added = apt.publish(folder, make_deb(tmp_path, "1.4.0"), key, now)
    other = make_deb(tmp_path, "1.4.0", "wrong")
    (root_of(folder) / added.filename).write_bytes(other.path.read_bytes())
    debian.use(sources_text(folder, apt.public_key(folder)))
    assert debian.update().code == 0
    assert debian.run("apt-get", "install", "-qy", "shop=1.4.0").code != 0
    with pytest.raises(Exception, match="the index says"):
        apt.fetch(folder, "shop", "1.4.0", tmp_path / "fetched")


@pytest.mark.parametrize("harm", [tampered_signature, signed_by_a_stranger, tampered_index])
def test_what_somebody_else_wrote_is_never_signed_as_ours(
    folder: Settings, key: Key, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    apt.publish(folder, make_deb(tmp_path, "1.4.0"), key, now)
    harm(root_of(folder))
    before = files_of(folder)
    with pytest.raises(Refusal, match="dists/stable"):
        apt.publish(folder, make_deb(tmp_path, "1.5.0"), key, now)
    assert files_of(folder) == before


def test_projects_and_components_share_a_repository(folder: Settings, key: Key, tmp_path: Path, debian: Client) -> None:
    apt.publish(folder, make_deb(tmp_path, "1.4.0"), key, now)
    extra = folder.model_copy(update={"apt": folder.apt.model_copy(update={"component": "extra"})})
    apt.publish(extra, make_deb(tmp_path, "2.0.0"), key, now)
    apt.publish(folder, make_deb(tmp_path, "1.5.0"), key, now)
    assert [one.version for one in apt.read_published(folder, "shop")] == ["1.4.0", "1.5.0"]
    assert [one.version for one in apt.read_published(extra, "shop")] == ["2.0.0"]
    debian.use(sources_text(extra, apt.public_key(extra)).replace("Components: extra", "Components: main extra"))
    assert debian.update().code == 0
    assert len(debian.must("apt-cache", "madison", "shop").splitlines()) == 3


def test_without_a_place_there_is_nothing_to_read() -> None:
    with pytest.raises(Refusal, match=r"headway\.apt\.publish: not set"):
        apt.read_published(Settings(), "shop")


def test_an_address_that_is_no_repository_is_named(folder: Settings, tmp_path: Path, key: Key) -> None:
    release = root_of(folder) / "dists/stable/InRelease"
    release.parent.mkdir(parents=True)
    release.write_text("<html>It works!</html>")
    with pytest.raises(Refusal, match="cannot be read as an Apt repository: not a Release file"):
        apt.read_published(folder, "shop")
    with pytest.raises(Refusal, match="it is not signed"):
        apt.publish(folder, make_deb(tmp_path, "1.5.0"), key, now)
