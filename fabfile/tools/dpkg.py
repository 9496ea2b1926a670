"""Debian packages: written and read without ``dpkg``, so that every machine makes the same bytes.

The format is deb(5): an ar archive of ``debian-binary``, ``control.tar.xz`` and ``data.tar.xz``. Everything in it that
is not content is fixed: order, owner, modes, and one time for all.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO

from ..plan.outcome import Refusal

# Preset 2 packs a Go binary nearly as well as 6 in a fraction of the time.
XZ_PRESET = 2
CHUNK_BYTES = 1 << 20
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


@dataclass(frozen=True)
class Link:
    """Where a symbolic link points."""

    target: str


@dataclass(frozen=True)
class Member:
    """A file of a package.

    :param path: absolute path on the machine it is installed on.
    :param content: the bytes, the file that holds them, or where a link points.
    :param executable: whether it may be run (mode 0755 instead of 0644).
    """

    path: str
    content: bytes | Path | Link
    executable: bool = False

    @property
    def size_bytes(self) -> int:
        """Size of its content."""
        if isinstance(self.content, Link):
            return 0
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)


@dataclass(frozen=True)
class Deb:
    """A package that was read: its control file, what it holds, and the digest of its file."""

    path: Path
    control: str
    fields: Mapping[str, str]
    size_bytes: int
    sha256: str

    @property
    def package(self) -> str:
        """Name of the package."""
        return self.fields["Package"]

    @property
    def version(self) -> str:
        """Version of the package."""
        return self.fields["Version"]

    @property
    def architecture(self) -> str:
        """Architecture of the package."""
        return self.fields["Architecture"]


def members_below(source: Path, target: str) -> Iterator[Member]:
    """Yield a file, or all files below a folder, as they are to be installed at or below ``target``.

    :raises Refusal: something in it is neither file, folder nor link.
    """
    for path in sorted(source.rglob("*")) if source.is_dir() and not source.is_symlink() else [source]:
        inner = path.relative_to(source).as_posix()
        goal = target if inner == "." else f"{target.rstrip('/')}/{inner}"
        if path.is_symlink():
            yield Member(goal, Link(str(path.readlink())))
        elif path.is_file():
            yield Member(goal, path, executable=bool(path.stat().st_mode & stat.S_IXUSR))
        elif not path.is_dir():
            raise Refusal(f"{path}: neither a file, a folder nor a link; it cannot be packaged")


def folders_of(members: Iterable[Member]) -> tuple[str, ...]:
    """Return every folder that the files need, in order, without the root."""
    parents = {str(parent) for member in members for parent in PurePosixPath(member.path).parents}
    return tuple(sorted(parents - {"/"}))


def write_deb(
    into: Path,
    control: str,
    members: Sequence[Member],
    *,
    scripts: Mapping[str, str],
    conffiles: Sequence[str] = (),
    time_s: int,
) -> None:
    """Write a package; the same arguments give the same bytes.

    :param control: text of its control file.
    :param scripts: maintainer scripts by their name, such as ``postinst``.
    :param conffiles: absolute paths of files of its that hold configuration.
    :param time_s: seconds since the epoch: the time of everything in it (SOURCE_DATE_EPOCH).
    :raises Refusal: two files want the same path, or a conffile is not in it.
    """
    ordered = sorted(members, key=lambda member: member.path)
    _refuse_collisions(ordered, conffiles)
    inner = [Member("/control", control.encode()), Member("/md5sums", _md5sums(ordered))]
    inner += [Member(f"/{name}", text.encode(), executable=True) for name, text in scripts.items()]
    if conffiles:
        inner.append(Member("/conffiles", "".join(f"{path}\n" for path in sorted(conffiles)).encode()))
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = into.with_name(f".{into.name}.{os.getpid()}")
    try:
        with partial.open("wb") as ar:
            ar.write(b"!<arch>\n")
            _add_ar_member(ar, "debian-binary", io.BytesIO(b"2.0\n"), time_s)
            for name, content in (
                ("control.tar.xz", sorted(inner, key=lambda each: each.path)),
                ("data.tar.xz", ordered),
            ):
                with tempfile.TemporaryFile() as tar:
                    _write_tar(tar, content, time_s)
                    _add_ar_member(ar, name, tar, time_s)
        partial.replace(into)
    finally:
        partial.unlink(missing_ok=True)


def _refuse_collisions(ordered: Sequence[Member], conffiles: Sequence[str]) -> None:
    paths = [member.path for member in ordered]
    for before, after in pairwise(paths):
        if before == after:
            raise Refusal(f"headway.package.files: two files want to be {after}")
    folders = set(folders_of(ordered))
    for member in ordered:
        if member.path in folders:
            raise Refusal(f"headway.package.files: {member.path} is a file, and a folder for others")
    for path in conffiles:
        if path not in paths:
            raise Refusal(f"headway.package.conffiles: {path} is not in the package; add it to headway.package.files")


def _md5sums(ordered: Sequence[Member]) -> bytes:
    """Return what ``dpkg --verify`` compares with."""
    lines = []
    for member in ordered:
        if isinstance(member.content, Link):
            continue
        with _opened(member.content) as file:
            lines.append(f"{_digest(file, 'md5')}  {member.path.lstrip('/')}\n")
    return "".join(lines).encode()


def _write_tar(into: IO[bytes], members: Sequence[Member], time_s: int) -> None:
    """Write a tar.xz with GNU headers, the ones that every dpkg reads."""
    with (
        lzma.open(into, "wb", preset=XZ_PRESET) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        folders = [_tar_entry(folder, time_s, tarfile.DIRTYPE, 0o755) for folder in ("", *folders_of(members))]
        entries = [(folder, None) for folder in folders] + [_tar_file(member, time_s) for member in members]
        # A folder's name sorts before what is in it.
        for entry, content in sorted(entries, key=lambda each: each[0].name):
            if content is None:
                tar.addfile(entry)
            else:
                with _opened(content) as file:
                    tar.addfile(entry, file)


def _tar_file(member: Member, time_s: int) -> tuple[tarfile.TarInfo, bytes | Path | None]:
    if isinstance(member.content, Link):
        entry = _tar_entry(member.path, time_s, tarfile.SYMTYPE, 0o777)
        entry.linkname = member.content.target
        return entry, None
    entry = _tar_entry(member.path, time_s, tarfile.REGTYPE, 0o755 if member.executable else 0o644)
    entry.size = member.size_bytes
    return entry, member.content


def _tar_entry(path: str, time_s: int, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(f".{path}" if path else ".")
    entry.type, entry.mode, entry.mtime = kind, mode, time_s
    entry.uname = entry.gname = "root"
    return entry


def _opened(content: bytes | Path) -> IO[bytes]:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def _add_ar_member(ar: IO[bytes], name: str, content: IO[bytes], time_s: int) -> None:
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    ar.write(f"{name:<16}{time_s:<12}{0:<6}{0:<6}{0o100644:<8o}{size:<10}`\n".encode("ascii"))
    shutil.copyfileobj(content, ar, CHUNK_BYTES)
    if size % 2:
        ar.write(b"\n")


def _digest(file: IO[bytes], kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=kind != "md5")
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def read_deb(path: Path) -> Deb:
    """Read the control file of a package, and the digest of the file.

    :raises Refusal: there is no such file, or it is no package.
    """
    from debian.arfile import ArError
    from debian.debfile import DebError, DebFile

    try:
        with path.open("rb") as file:
            sha256 = _digest(file, "sha256")
        with DebFile(str(path)) as deb:
            raw = deb.control.get_content("control")
            fields = dict(deb.debcontrol())
    except FileNotFoundError:
        raise Refusal(f"{path}: no such package; fab package makes it") from None
    except (ArError, DebError, tarfile.TarError, EOFError, lzma.LZMAError, OSError) as error:
        raise Refusal(f"{path}: not a Debian package: {error}") from None
    control = raw.decode() if isinstance(raw, bytes) else str(raw)
    for name in ("Package", "Version", "Architecture"):
        if name not in fields:
            raise Refusal(f"{path}: its control file has no {name}")
    return Deb(path, control, fields, path.stat().st_size, sha256)


def unpack_folder(path: Path, folder: str, into: Path) -> bool:
    """Copy the files right in one folder of a package into a folder here; False where the package has none there.

    Only plain files are copied, by their last name, so that nothing in a package can write anywhere else.
    """
    from debian.debfile import DebFile

    found = False
    with DebFile(str(path)) as deb:
        for entry in deb.data.tgz().getmembers():
            name = PurePosixPath("/", entry.name)
            if not entry.isfile() or str(name.parent) != folder:
                continue
            into.mkdir(parents=True, exist_ok=True)
            content = deb.data.get_file(entry.name)
            (into / name.name).write_bytes(content.read())
            found = True
    return found
