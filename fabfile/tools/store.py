"""A place for files that clients read: a folder, an S3 prefix, or (to read only) a web server.

Writers are kept from each other by a lock, and where the lock is not enough (an owner that froze for longer than it
may) by ``swap``: it writes only over what the writer has seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from ..plan.outcome import Refusal

if TYPE_CHECKING:
    from ..plan.settings import Settings

LOCK = "publish.lock"
LOCK_TTL_S = 120.0
LOCK_POLL_S = 0.1
# What never changes under its name may be cached for good; the rest has to be asked for each time.
FOREVER = "public, max-age=31536000, immutable"
ALWAYS_ASK = "no-cache"


@dataclass(frozen=True)
class Held:
    """A file's content, and the tag that names exactly this content to ``swap``."""

    content: bytes
    tag: str


class ChangedError(Exception):
    """The file is no longer what the writer saw: somebody else has written it."""


class Store(Protocol):
    """Files by their path below one root, with ``/`` between the parts."""

    def read(self, path: str) -> Held | None:
        """Return a file, or None where there is none."""

    def size(self, path: str) -> int | None:
        """Return the size in bytes, or None where there is no such file."""

    def copy_to(self, path: str, into: Path) -> None:
        """Copy a file, which may be large, to this machine."""

    def write(self, path: str, content: bytes | Path, *, forever: bool = False) -> None:
        """Write a file whole: a reader sees the old one or the new one. ``forever``: it never changes again."""

    def swap(self, path: str, content: bytes, seen: str | None) -> None:
        """Write over exactly the content tagged ``seen`` (None: where there is no file), else raise ChangedError."""

    def lock(self, wait_s: float) -> AbstractContextManager[None]:
        """Be the only writer; Refusal with the owner's name after ``wait_s`` seconds of waiting."""


def store_at(place: str, settings: Settings) -> Store:
    """Return the store at ``s3://bucket/prefix``, an http(s) or file URL, or a folder's path.

    :raises Refusal: it is none of these, or a path that would be another folder wherever ``fab`` is called.
    """
    if place.startswith("s3://"):
        return S3Store(place, settings)
    if place.startswith(("http://", "https://")):
        return WebStore(place)
    folder = Path(place.removeprefix("file://")).expanduser()
    if not folder.is_absolute():
        raise Refusal(f"headway.apt: {place!r} must be s3://bucket/prefix, a URL, or a folder from / or ~ on")
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"headway.apt: {place} is not a folder")
    return FolderStore(folder)


def _owner() -> str:
    """Name who holds a lock, for the one who waits."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's numeric user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"


class FolderStore:
    """A folder, locked with flock: the kernel lets go of it when its owner dies."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> Held | None:
        """Return a file, tagged with its digest."""
        try:
            content = self._below(path).read_bytes()
        except FileNotFoundError:
            return None
        return Held(content, hashlib.sha256(content).hexdigest())

    def size(self, path: str) -> int | None:
        """Return the size in bytes, or None where there is no such file."""
        try:
            return self._below(path).stat().st_size
        except FileNotFoundError:
            return None

    def copy_to(self, path: str, into: Path) -> None:
        """Copy a file."""
        shutil.copyfile(self._below(path), into)

    def write(self, path: str, content: bytes | Path, *, forever: bool = False) -> None:
        """Write beside the file, then rename over it."""
        target = self._below(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file)
                else:
                    file.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def swap(self, path: str, content: bytes, seen: str | None) -> None:
        """Compare, then write; safe under ``lock`` only, which on one machine is never lost.

        The new file is always newer by the whole seconds that If-Modified-Since knows, however quick two writers are:
        else a client that came between them would be told for good that what it has is the newest.
        """
        held = self.read(path)
        if (held.tag if held else None) != seen:
            raise ChangedError(path)
        written_s = int(self._below(path).stat().st_mtime) if held else 0
        self.write(path, content)
        newer_s = max(int(self._below(path).stat().st_mtime), written_s + 1)
        os.utime(self._below(path), (newer_s, newer_s))

    @contextlib.contextmanager
    def lock(self, wait_s: float) -> Iterator[None]:
        """Hold an flock; the lock file names its owner."""
        self._root.mkdir(parents=True, exist_ok=True)
        give_up = time.monotonic() + wait_s
        with (self._root / LOCK).open("a+") as file:
            while not _try_flock(file):
                if time.monotonic() > give_up:
                    file.seek(0)
                    holder = file.read().strip() or "another process"
                    raise Refusal(
                        f"{self._root}: {holder} is publishing; waited {wait_s:g} s: try again when it is done"
                    )
                time.sleep(LOCK_POLL_S)
            file.truncate(0)
            file.write(_owner())
            file.flush()
            yield

    def _below(self, path: str) -> Path:
        if ".." in PurePosixPath(path).parts or path.startswith("/"):
            raise Refusal(f"{self._root}: will not follow the path {path!r} out of the repository")
        return self._root / path


def _try_flock(file: Any) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class S3Store:
    """A prefix of a bucket, locked with an object that only one can create and that runs out."""

    def __init__(self, url: str, settings: Settings) -> None:
        from .aws import client, split_s3_url
        from .s3 import Bucket

        self._url = url
        self._bucket, self._prefix = split_s3_url(url)
        self._s3 = client("s3", settings)
        self._conditional = Bucket(settings, url)

    def read(self, path: str) -> Held | None:
        """Return an object, tagged with its ETag."""
        with self._explained():
            stored = self._conditional.read(path)
        return None if stored is None else Held(stored.body, stored.etag)

    def size(self, path: str) -> int | None:
        """Return the size in bytes, or None where there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return int(self._s3.head_object(Bucket=self._bucket, Key=self._key(path))["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                return None
            raise

    def copy_to(self, path: str, into: Path) -> None:
        """Download an object, in parts where it is large."""
        self._s3.download_file(self._bucket, self._key(path), str(into))

    def write(self, path: str, content: bytes | Path, *, forever: bool = False) -> None:
        """Upload an object, a file in parts where it is large."""
        headers = {"CacheControl": FOREVER if forever else ALWAYS_ASK, "ContentType": _content_type(path)}
        with self._explained():
            if isinstance(content, Path):
                self._s3.upload_file(str(content), self._bucket, self._key(path), ExtraArgs=headers)
            else:
                self._s3.put_object(Bucket=self._bucket, Key=self._key(path), Body=content, **headers)

    def swap(self, path: str, content: bytes, seen: str | None) -> None:
        """Put with If-Match, or If-None-Match where there was none: S3 decides the race.

        Never twice in one second, which is as fine as If-Modified-Since is: else a client that came between the two
        would be told for good that what it has is the newest.
        """
        from botocore.exceptions import ClientError

        if seen is not None:
            self._let_a_second_pass(path)
        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}
        headers = {"CacheControl": ALWAYS_ASK, "ContentType": _content_type(path)}
        try:
            self._s3.put_object(Bucket=self._bucket, Key=self._key(path), Body=content, **headers, **condition)
        except ClientError as error:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html#conditional-error-response
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                raise ChangedError(path) from None
            raise

    def _let_a_second_pass(self, path: str) -> None:
        from botocore.exceptions import ClientError

        for _ in range(10):
            try:
                answer = self._s3.head_object(Bucket=self._bucket, Key=self._key(path))
            except ClientError:
                return  # the write that follows finds out
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])  # by the server's clock
            if answer["LastModified"].replace(microsecond=0) < now:
                return
            time.sleep(LOCK_POLL_S)

    @contextlib.contextmanager
    def lock(self, wait_s: float) -> Iterator[None]:
        """Hold the lock object; one whose time has run out is taken over."""
        etag = self._take(time.monotonic() + wait_s, wait_s)
        try:
            yield
        finally:
            self._conditional.delete(LOCK, etag)

    def _take(self, give_up: float, wait_s: float) -> str:
        while True:
            etag = self._conditional.create(LOCK, _lock_text())
            held = None if etag else self._conditional.read(LOCK)
            holder = _lock_holder(held.body) if held else None
            if held and holder and holder.expires_at_s < time.time():
                etag = self._conditional.replace(LOCK, _lock_text(), held.etag)
            if etag:
                return etag
            if holder and time.monotonic() > give_up:
                left_s = max(0.0, holder.expires_at_s - time.time())
                raise Refusal(
                    f"{self._url}: {holder.owner} is publishing; waited {wait_s:g} s: try again when it is done,"
                    f" or in {left_s:.0f} s, when its lock runs out"
                )
            time.sleep(LOCK_POLL_S)

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

        from .aws import explain

        try:
            yield
        except (EndpointConnectionError, NoCredentialsError) as error:
            raise Refusal(f"{self._url}: {explain(error)}") from None
        except (ClientError, S3UploadFailedError) as error:
            if "NoSuchBucket" in str(error):
                raise Refusal(
                    f"{self._url}: there is no bucket {self._bucket!r}; create it, or set headway.apt.publish"
                ) from None
            raise


@dataclass(frozen=True)
class _Holder:
    owner: str
    expires_at_s: float


def _lock_text() -> bytes:
    """Say who holds the lock until when; the random part keeps two owners' tags apart."""
    held = {"owner": _owner(), "expires_at_s": time.time() + LOCK_TTL_S, "id": uuid.uuid4().hex}
    return json.dumps(held).encode()


def _lock_holder(text: bytes) -> _Holder:
    try:
        held = json.loads(text)
        return _Holder(str(held["owner"]), float(held["expires_at_s"]))
    except (ValueError, KeyError, TypeError):
        return _Holder("somebody (the lock is not readable)", 0.0)


def _content_type(path: str) -> str:
    kinds = {".deb": "application/vnd.debian.binary-package", ".gz": "application/gzip", ".xz": "application/x-xz"}
    return kinds.get(PurePosixPath(path).suffix, "text/plain; charset=utf-8")


class WebStore:
    """What a web server gives out: for those who may read a repository and not write it."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def read(self, path: str) -> Held | None:
        """Get a file."""
        import urllib3

        answer = urllib3.request("GET", self._address(path), timeout=30.0, retries=3)
        if answer.status in {403, 404}:  # S3 says 403 for a missing object to those who may not list
            return None
        if answer.status != 200:
            raise Refusal(f"{self._address(path)}: the server answers {answer.status}")
        return Held(answer.data, hashlib.sha256(answer.data).hexdigest())

    def size(self, path: str) -> int | None:
        """Get a file and count."""
        held = self.read(path)
        return None if held is None else len(held.content)

    def copy_to(self, path: str, into: Path) -> None:
        """Get a file into another."""
        held = self.read(path)
        if held is None:
            raise Refusal(f"{self._address(path)}: no such file")
        into.write_bytes(held.content)

    def write(self, path: str, content: bytes | Path, *, forever: bool = False) -> None:
        """Refuse: a web server is read."""
        raise Refusal(f"{self._url}: can only be read; headway.apt.publish must be s3://bucket/prefix or a folder")

    def swap(self, path: str, content: bytes, seen: str | None) -> None:
        """Refuse: a web server is read."""
        self.write(path, content)

    @contextlib.contextmanager
    def lock(self, wait_s: float) -> Iterator[None]:
        """Refuse: a web server is read."""
        self.write(LOCK, b"")
        yield

    def _address(self, path: str) -> str:
        from urllib.parse import quote

        return f"{self._url}/{quote(path)}"
