"""What an Apt repository says: the texts of its indexes and of its Release file, and what may be added to it.

The format is https://wiki.debian.org/DebianRepository/Format. Everything that is published is read back from the
signed InRelease and the index contents that it names, so the repository itself is the only state.
"""

from __future__ import annotations

import bisect
import gzip
import hashlib
import lzma
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from .version import compare_versions, version_key

if TYPE_CHECKING:
    from .settings import Settings

# apt complains when these change, and several projects share a repository: so they are the same for all.
ORIGIN = "Headway"
# Packages for any architecture are listed for each of these, also before anything else is published for it.
ARCHITECTURES = ("amd64", "arm64")
FIELD = re.compile(r"^([A-Za-z0-9][A-Za-z0-9-]*):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
DIGEST_LINE = re.compile(r"^ ([0-9a-f]{64}) +([0-9]+) (\S+)$", re.MULTILINE)
WORD = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Digest:
    """Size and SHA-256 of a file."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Stanza:
    """One package version in an index: its fields, and the text they were read from."""

    package: str
    version: str
    architecture: str
    filename: str
    size_bytes: int
    sha256: str
    text: str

    def field(self, name: str) -> str | None:
        """Return the value of any other field, or None where it is missing."""
        return _fields(self.text).get(name.lower())


@dataclass(frozen=True)
class Published:
    """A version that can be installed.

    :param filename: path of its package below the repository's root.
    :param migration: number of the highest database migration it carries; 0 for none.
    :param contract_floor: number of its highest contract migration: once that ran, versions that carry less cannot
        serve any more; 0 for none.
    """

    version: str
    sha256: str
    filename: str
    commit: str | None
    migration: int
    contract_floor: int
    size_bytes: int


@dataclass(frozen=True)
class Release:
    """What a Release file says."""

    suite: str
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    files: Mapping[str, Digest]


@dataclass(frozen=True)
class Index:
    """An index file: its path below the suite's folder, and its content."""

    path: str
    content: bytes
    digest: Digest

    @property
    def by_hash(self) -> str:
        """Path under which this very content stays while newer ones take the plain name."""
        return by_hash_path(self.path, self.digest.sha256)


def why_not_repository(settings: Settings) -> str | None:
    """Return why ``headway.apt`` cannot name a place in a repository, or None where it can."""
    for key, value in (("suite", settings.apt.suite), ("component", settings.apt.component)):
        if not WORD.fullmatch(value):
            return f"headway.apt.{key}: {value!r} may only have letters, digits and . _ - (such as stable)"
    return None


def stanza_text(control: str, filename: str, digest: Digest) -> str:
    """Return a package's control text with where its file is."""
    return f"{control.strip()}\nFilename: {filename}\nSize: {digest.size_bytes}\nSHA256: {digest.sha256}\n"


def parse_packages(text: str) -> tuple[Stanza, ...]:
    """Read an index.

    :raises ValueError: a stanza without one of the fields that each must have.
    """
    return tuple(parse_stanza(part) for part in re.split(r"\n(?:[ \t]*\n)+", text.strip()) if part)


def parse_stanza(text: str) -> Stanza:
    """Read one stanza of an index."""
    fields = _fields(text)
    try:
        return Stanza(
            package=fields["package"],
            version=fields["version"],
            architecture=fields["architecture"],
            filename=fields["filename"],
            size_bytes=int(fields["size"]),
            sha256=fields["sha256"],
            text=text.strip() + "\n",
        )
    except KeyError as error:
        raise ValueError(f"index entry without {error}: {text[:60]!r}") from None


def _fields(text: str) -> dict[str, str]:
    return {name.lower(): value for name, value in FIELD.findall(text)}


def published(stanzas: Iterable[Stanza], name: str) -> tuple[Published, ...]:
    """Return every version of one package, the lowest first."""
    found = [
        Published(
            version=stanza.version,
            sha256=stanza.sha256,
            filename=stanza.filename,
            commit=stanza.field("Headway-Commit"),
            migration=int(stanza.field("Headway-Migration") or 0),
            contract_floor=int(stanza.field("Headway-Contract-Floor") or 0),
            size_bytes=stanza.size_bytes,
        )
        for stanza in stanzas
        if stanza.package == name
    ]
    return tuple(sorted(found, key=lambda each: version_key(each.version)))


def why_not_added(stanzas: Iterable[Stanza], new: Stanza) -> str | None:
    """Return why a package cannot join these, or None where it can (or is among them with the same bytes)."""
    for old in stanzas:
        if old.package != new.package or not _same_machine(old, new) or compare_versions(old.version, new.version):
            continue
        if old.version != new.version:
            return f"{new.package} {new.version} is to Debian the same version as {old.version}, which is published"
        if old.sha256 != new.sha256:
            return (
                f"{new.package} {new.version} is published with other bytes (sha256 {old.sha256[:12]}…,"
                f" this one {new.sha256[:12]}…); a version never changes: tag a new one"
            )
    return None


def _same_machine(a: Stanza, b: Stanza) -> bool:
    return a.architecture == b.architecture or "all" in {a.architecture, b.architecture}


def has(stanzas: Iterable[Stanza], new: Stanza) -> bool:
    """Whether this very package is among these."""
    wanted = (new.package, new.version, new.architecture, new.sha256)
    return any((old.package, old.version, old.architecture, old.sha256) == wanted for old in stanzas)


def added(stanzas: Sequence[Stanza], new: Stanza) -> tuple[Stanza, ...]:
    """Return the stanzas, which are in order, with one more in its place."""
    place = bisect.bisect_right(stanzas, _order(new), key=_order)
    return (*stanzas[:place], new, *stanzas[place:])


def merged(indexes: Iterable[Sequence[Stanza]]) -> tuple[Stanza, ...]:
    """Return the stanzas of several architectures' indexes, each once and in order."""
    every = {(each.package, each.version, each.architecture): each for index in indexes for each in index}
    return tuple(sorted(every.values(), key=_order))


def _order(stanza: Stanza) -> tuple[str, object, str]:
    return stanza.package, version_key(stanza.version), stanza.architecture


def architectures(known: Iterable[str], stanzas: Iterable[Stanza]) -> tuple[str, ...]:
    """Return the architectures that need an index: the usual ones, those known, and those of the packages."""
    return tuple(sorted({*ARCHITECTURES, *known, *(each.architecture for each in stanzas)} - {"all"}))


def index_path(component: str, architecture: str) -> str:
    """Return the path of an architecture's index below the suite's folder."""
    return f"{component}/binary-{architecture}/Packages"


def by_hash_path(path: str, sha256: str) -> str:
    """Return the path of an index by its content (Acquire-By-Hash)."""
    return f"{path.rpartition('/')[0]}/by-hash/SHA256/{sha256}"


def indexes(stanzas: Sequence[Stanza], component: str, archs: Iterable[str]) -> tuple[Index, ...]:
    """Return the index files of a component: for each architecture its packages and those for any, in three forms."""
    forms: dict[str, tuple[tuple[str, bytes], ...]] = {}
    made: list[Index] = []
    for architecture in archs:
        text = "\n".join(each.text for each in stanzas if each.architecture in {architecture, "all"})
        if text not in forms:
            forms[text] = _forms(text.encode())
        path = index_path(component, architecture)
        made += [Index(path + suffix, content, digest_of(content)) for suffix, content in forms[text]]
    return tuple(made)


def _forms(plain: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return an index plain and packed; the same bytes for the same text."""
    return ("", plain), (".gz", gzip.compress(plain, 6, mtime=0)), (".xz", lzma.compress(plain, preset=1))


def digest_of(content: bytes) -> Digest:
    """Return size and SHA-256 of a content."""
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def unpacked(path: str, content: bytes) -> str:
    """Return the text of an index file in whichever form its path says."""
    if path.endswith(".xz"):
        return lzma.decompress(content).decode()
    return (gzip.decompress(content) if path.endswith(".gz") else content).decode()


def release_of(
    before: Release | None, suite: str, component: str, archs: Sequence[str], made: Iterable[Index]
) -> Release:
    """Return what Release says once the indexes of a component are these; other components stay as they are."""
    files = dict(before.files) if before else {}
    files = {path: digest for path, digest in files.items() if not path.startswith(f"{component}/")}
    files.update({index.path: index.digest for index in made})
    components = sorted({component, *(before.components if before else ())})
    return Release(suite, tuple(components), tuple(archs), files)


def release_text(release: Release, date: datetime) -> str:
    """Return a Release file, to be signed.

    It has no Valid-Until: nothing signs it again by itself, so it would stop clients that have nothing to fear.
    """
    lines = [
        f"Origin: {ORIGIN}",
        f"Label: {ORIGIN}",
        f"Suite: {release.suite}",
        f"Codename: {release.suite}",
        f"Date: {format_datetime(date, usegmt=True)}",
        "Acquire-By-Hash: yes",
        f"Architectures: {' '.join(release.architectures)}",
        f"Components: {' '.join(release.components)}",
        "SHA256:",
        *(f" {digest.sha256} {digest.size_bytes} {path}" for path, digest in sorted(release.files.items())),
    ]
    return "\n".join(lines) + "\n"


def parse_release(text: str) -> Release:
    """Read a Release file, or an InRelease whose signature is somebody else's matter.

    :raises ValueError: it is neither.
    """
    body = _without_signature(text)
    fields = _fields(body)
    if "sha256" not in fields or "suite" not in fields:
        raise ValueError("not a Release file: it has no Suite or no SHA256")
    files = {path: Digest(int(size), sha256) for sha256, size, path in DIGEST_LINE.findall(body)}
    components, archs = fields.get("components", "").split(), fields.get("architectures", "").split()
    return Release(fields["suite"], tuple(components), tuple(archs), files)


def _without_signature(text: str) -> str:
    """Take the text out of a clear-signed message: from after its headers to the signature (RFC 9580, section 7)."""
    head, found, rest = text.partition("-----BEGIN PGP SIGNED MESSAGE-----")
    if not found:
        return text
    if head.strip():
        raise ValueError("there is text before the signed part, which nobody signed")
    body = rest.partition("\n\n")[2].partition("\n-----BEGIN PGP SIGNATURE-----")[0]
    return re.sub(r"^- ", "", body, flags=re.MULTILINE) + "\n"


def pool_path(component: str, package: str, version: str, architecture: str, sha256: str) -> str:
    """Return where a package's file goes.

    The digest in it lets two who publish at once never write the same file. A "+" would be read as a blank by S3 when
    an apt before 2.4 asks for it, so it is written as "-"; the version is in the index, not in the file's name.
    """
    file = f"{package}_{version}_{architecture}.deb".replace("+", "-")
    return f"pool/{component}/{package[0]}/{package.replace('+', '-')}/{sha256[:16]}/{file}"


def key_file(name: str) -> str:
    """Return the name of a project's public key beside the repository: armored; with ``.gpg`` at the end, binary."""
    return f"{name}-archive-keyring.asc"


def repository_url(settings: Settings) -> str | None:
    """Return where clients read the repository: ``headway.apt.url``, or the address that its place has by itself."""
    place = settings.apt.publish
    if settings.apt.url or place is None:
        return settings.apt.url
    if not place.startswith("s3://"):
        return place if place.startswith(("http://", "https://", "file://")) else f"file://{place}"
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    if settings.endpoint:
        return f"{settings.endpoint.rstrip('/')}/{bucket}/{prefix}".rstrip("/")
    return f"https://{bucket}.s3.{settings.region}.amazonaws.com/{prefix}".rstrip("/")


def sources_text(settings: Settings, key: str | None = None) -> str:
    """Return the deb822 ``.sources`` file that a client needs (sources.list(5)).

    :param key: the armored public key, to be part of the file (apt 2.3.10 and later); without it the file names
        where the key has to be.
    """
    if key is None:
        signed_by = f" /etc/apt/keyrings/{key_file(settings.name)}"
    else:
        lines = (line if line.strip() else "." for line in key.strip().splitlines())
        signed_by = "".join(f"\n {line}" for line in lines)
    return (
        "Types: deb\n"
        f"URIs: {repository_url(settings)}\n"
        f"Suites: {settings.apt.suite}\n"
        f"Components: {settings.apt.component}\n"
        f"Signed-By:{signed_by}\n"
    )
