"""Our own Apt repository: what is in it, and how one more version gets in.

The repository is its only state, so that any machine can publish. A version is added in an order in which every
moment in between is a whole repository: the package, the new indexes under their digests, their plain names, and
last InRelease, which makes them count. Nothing that InRelease has ever named is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..plan import repository
from ..plan.outcome import Failed, Refusal
from ..plan.repository import Published, Release, Stanza
from ..plan.version import why_not_version
from .store import ChangedError, Held, Store, store_at

if TYPE_CHECKING:
    from ..plan.settings import Settings
    from .dpkg import Deb
    from .gpg import Key

LOCK_WAIT_S = 300.0
ATTEMPTS = 5


@dataclass(frozen=True)
class Snapshot:
    """The repository at one moment.

    :param release: what its InRelease says; None before anything was published.
    :param stanzas: every package version in our component, in order.
    :param seen: the tag of that very InRelease.
    """

    release: Release | None
    stanzas: tuple[Stanza, ...]
    seen: str | None


@dataclass(frozen=True)
class Added:
    """What publishing came to: where the package is, and whether it had been there before."""

    filename: str
    already_there: bool


def read_published(settings: Settings, name: str) -> tuple[Published, ...]:
    """Return every version of a package that can be installed, the lowest first.

    :raises Refusal: no repository is set, or it cannot be read.
    """
    return repository.published(_read(_readable(settings), settings, _unverified).stanzas, name)


def find_published(settings: Settings, name: str, version: str) -> Published:
    """Return one published version.

    :raises Refusal: it is not published; names what is.
    """
    found = read_published(settings, name)
    for one in found:
        if one.version == version:
            return one
    if reason := why_not_version(version):
        raise Refusal(reason)
    shown = ", ".join(one.version for one in found[-5:])
    known = f"published: {'… ' if len(found) > 5 else ''}{shown}" if found else "nothing is published yet"
    raise Refusal(f"{name} {version} is not in the Apt repository ({known}); fab package publish on its commit")


def why_not_published(settings: Settings, name: str, version: str) -> str | None:
    """Return why a version cannot be installed, or None where it can."""
    try:
        find_published(settings, name, version)
    except Refusal as refusal:
        return str(refusal)
    return None


def fetch(settings: Settings, name: str, version: str, into: Path) -> Path:
    """Copy a published package into a folder, and return its path there.

    :raises Refusal: it is not published.
    :raises Failed: the file is not the one that the index names.
    """
    from .dpkg import read_deb

    wanted = find_published(settings, name, version)
    into.mkdir(parents=True, exist_ok=True)
    path = into / wanted.filename.rpartition("/")[2]
    _readable(settings).copy_to(wanted.filename, path)
    got = read_deb(path).sha256
    if got != wanted.sha256:
        path.unlink()
        raise Failed(f"{wanted.filename}: has sha256 {got[:12]}…, the index says {wanted.sha256[:12]}…")
    return path


def public_key(settings: Settings) -> str:
    """Return the armored public key that the repository is signed with, as it lies beside it.

    :raises Refusal: there is none yet.
    """
    held = _readable(settings).read(repository.key_file(settings.name))
    if held is None:
        raise Refusal(f"{_place(settings)}: no public key of {settings.name} there; fab package publish puts it there")
    return held.content.decode()


def publish(settings: Settings, deb: Deb, key: Key, now: Callable[[], datetime]) -> Added:
    """Add a package to the repository, signed; adding the same again changes nothing.

    :param now: the clock, for the date that Release carries.
    :raises Refusal: the version is there with other bytes, the repository is not ours, or another publisher works.
    """
    if reason := repository.why_not_repository(settings) or why_not_version(deb.version):
        raise Refusal(reason)
    place = settings.apt.publish
    if place is None:
        raise Refusal("headway.apt.publish: not set; set it to s3://bucket/prefix or a folder")
    store = store_at(place, settings)
    new = _stanza_of(settings, deb)
    if _settled(_verified_snapshot(store, settings, key), new):
        return Added(new.filename, already_there=True)
    if store.size(new.filename) != deb.size_bytes:
        store.write(new.filename, deb.path, forever=True)
    for _ in range(ATTEMPTS):
        try:
            with store.lock(LOCK_WAIT_S):
                before = _verified_snapshot(store, settings, key)
                if _settled(before, new):
                    return Added(new.filename, already_there=True)
                _write(store, settings, before, repository.added(before.stanzas, new), key, now())
        except ChangedError:  # the lock ran out while we were slow; what the other wrote is read, and added to
            continue
        return Added(new.filename, already_there=False)
    raise Failed(f"{place}: another publisher was quicker {ATTEMPTS} times; nothing of theirs is lost: try again")


def _stanza_of(settings: Settings, deb: Deb) -> Stanza:
    filename = repository.pool_path(settings.apt.component, deb.package, deb.version, deb.architecture, deb.sha256)
    digest = repository.Digest(deb.size_bytes, deb.sha256)
    return repository.parse_stanza(repository.stanza_text(deb.control, filename, digest))


def _settled(before: Snapshot, new: Stanza) -> bool:
    """Whether there is nothing to add.

    :raises Refusal: it must not be added.
    """
    if reason := repository.why_not_added(before.stanzas, new):
        raise Refusal(reason)
    return repository.has(before.stanzas, new)


def _write(
    store: Store, settings: Settings, before: Snapshot, stanzas: tuple[Stanza, ...], key: Key, date: datetime
) -> None:
    """Write what a new set of packages needs; InRelease last, and only over the one that was read."""
    from . import gpg

    suite, component = settings.apt.suite, settings.apt.component
    archs = repository.architectures(before.release.architectures if before.release else (), stanzas)
    made = repository.indexes(stanzas, component, archs)
    release = repository.release_of(before.release, suite, component, archs, made)
    text = repository.release_text(release, date)
    in_release, detached = gpg.clearsign(text, key), gpg.detached(text, key)
    root = f"dists/{suite}"
    for index in made:
        store.write(f"{root}/{index.by_hash}", index.content, forever=True)
    for index in made:
        store.write(f"{root}/{index.path}", index.content)
    for name, content in _beside(settings, key).items():
        store.write(name, content)
    store.write(f"{root}/Release", text.encode())
    store.write(f"{root}/Release.gpg", detached)
    store.swap(f"{root}/InRelease", in_release, before.seen)


def _beside(settings: Settings, key: Key) -> Mapping[str, bytes]:
    """Return what a client needs to begin with: the public key in both forms, and the ``.sources`` file."""
    from . import gpg

    armored = gpg.public_key(key, armored=True)
    name = repository.key_file(settings.name)
    return {
        name: armored,
        name.removesuffix(".asc") + ".gpg": gpg.public_key(key, armored=False),
        f"{settings.name}.sources": repository.sources_text(settings, armored.decode()).encode(),
    }


def _verified_snapshot(store: Store, settings: Settings, key: Key) -> Snapshot:
    """Read the repository, and believe only what our keyring vouches for: we are about to sign it again."""
    from . import gpg

    def verified(held: Held) -> str:
        try:
            return gpg.signed_text(held.content, key)
        except ValueError as error:
            path = f"{_place(settings)}/dists/{settings.apt.suite}/InRelease"
            raise Refusal(f"{path}: {error}; find out who wrote it, or publish elsewhere") from None

    return _read(store, settings, verified)


def _unverified(held: Held) -> str:
    """Take InRelease as it is: for readers, who trust the place; apt itself checks what gets installed."""
    return held.content.decode()


def _read(store: Store, settings: Settings, text_of: Callable[[Held], str]) -> Snapshot:
    root, component = f"dists/{settings.apt.suite}", settings.apt.component
    held = store.read(f"{root}/InRelease")
    if held is None:
        return Snapshot(None, (), None)
    try:
        release = repository.parse_release(text_of(held))
        wanted = {
            digest.sha256: path
            for arch in release.architectures
            for path in (f"{repository.index_path(component, arch)}.xz",)
            if (digest := release.files.get(path))
        }
        indexes = [_read_index(store, root, path, sha256) for sha256, path in wanted.items()]
    except ValueError as error:
        raise Refusal(f"{_place(settings)}/{root}: cannot be read as an Apt repository: {error}") from None
    return Snapshot(release, repository.merged(indexes), held.tag)


def _read_index(store: Store, root: str, path: str, sha256: str) -> tuple[Stanza, ...]:
    """Read the index that InRelease names, by its digest: the plain name may be ahead of it or behind."""
    by_hash = f"{root}/{repository.by_hash_path(path, sha256)}"
    held = store.read(by_hash)
    if held is None or repository.digest_of(held.content).sha256 != sha256:
        raise ValueError(f"{by_hash} is missing or damaged")
    return repository.parse_packages(repository.unpacked(path, held.content))


def _readable(settings: Settings) -> Store:
    if settings.apt.publish is None and settings.apt.url is None:
        raise Refusal("headway.apt.publish: not set; set it to s3://bucket/prefix or a folder")
    return store_at(_place(settings), settings)


def _place(settings: Settings) -> str:
    """Return where the repository is read: where it is written, or where clients read it."""
    return str(settings.apt.publish or settings.apt.url)
