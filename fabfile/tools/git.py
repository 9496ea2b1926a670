"""Git: what a commit is called, and its files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..plan.outcome import Failed, Refusal
from ..plan.version import Described, newest_tag
from .process import Finished, run

# What a person's own Git configuration would change in an export; a commit must give the same files everywhere.
SAME_EVERYWHERE = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "tar.umask=0022")
# What Headway itself leaves in a project is never part of it, also where nobody told Git to ignore it.
NOT_OURS = ("--", ".", ":(exclude)build/artefacts", ":(exclude)build/artefacts.commit", ":(exclude,glob)build/*.deb")
SUBMODULE_MODE = "160000"


def describe(root: Path, commit: str = "HEAD") -> Described:
    """Say what Git knows of a commit: nearest ``v1.2.3`` tag, commits since, and whether the working tree differs.

    :param root: the project's folder; it may be below the repository's top.
    :raises Refusal: not a repository, or no such commit.
    """
    sha = commit_of(root, commit)
    tag, distance = _nearest_tag(root, sha)
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".").stdout
    shallow = _git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
    return Described(tag, distance, sha, dirty=bool(status.strip()), shallow=shallow)


def commit_of(root: Path, ref: str = "HEAD") -> str:
    """Return the commit, 40 hexadecimal digits, that a branch, tag or abbreviation stands for.

    :raises Refusal: not a repository, no commit yet, or no such commit.
    """
    finished = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", check=False)
    if finished.code == 0:
        return finished.stdout.strip()
    _refuse_outside_repository(root)
    if ref == "HEAD":
        raise Refusal(f"{root}: the repository has no commit yet; git commit first")
    raise Refusal(f"no commit {ref!r} in {root}; git fetch --tags, or look at git log")


def commit_time(root: Path, commit: str) -> int:
    """Return when a commit was made, in seconds since 1970: the SOURCE_DATE_EPOCH of what is built from it.

    See https://reproducible-builds.org/docs/source-date-epoch/.
    """
    return int(_git(root, "show", "--no-patch", "--format=%ct", commit).stdout)


def uncommitted(root: Path) -> tuple[str, ...]:
    """Return the paths that differ from HEAD, new ones too, as far as they are not ignored."""
    listed = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", *NOT_OURS).stdout
    return tuple(entry[3:] for entry in listed.split("\0") if entry)


def export(root: Path, commit: str, into: Path) -> None:
    """Write the files of a commit, and nothing else, into a folder; submodules too.

    Every file carries the commit's time. Below the repository's top only the files of ``root`` are written.

    :raises Refusal: a submodule is not checked out.
    """
    sha = commit_of(root, commit)
    into.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="headway-archive-") as folder:
        archive = str(Path(folder) / "files.tar")
        _git(root, *SAME_EVERYWHERE, "archive", "--format=tar", f"--output={archive}", sha)
        run(["tar", "-x", "-p", "-f", archive, "--no-same-owner", "-C", str(into)])
    for pinned, path in _submodules(root, sha):
        if not (root / path / ".git").exists():
            raise Refusal(f"submodule {path} is not checked out; git submodule update --init --recursive")
        export(root / path, pinned, into / path)


def export_working_tree(root: Path, into: Path) -> None:
    """Write the files as they are on disk now into a folder: tracked ones and new ones, none that Git ignores.

    :raises Refusal: not a repository.
    """
    _refuse_outside_repository(root)
    into.mkdir(parents=True, exist_ok=True)
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *NOT_OURS).stdout
    for path in sorted({entry.rstrip("/") for entry in listed.split("\0") if entry}):
        source, target = root / path, into / path
        if source.is_dir() and not source.is_symlink():  # a submodule, or a repository inside the repository
            if (source / ".git").exists():
                export_working_tree(source, target)
        elif source.is_symlink() or source.is_file():  # a tracked file may be deleted on disk
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _nearest_tag(root: Path, sha: str) -> tuple[str | None, int]:
    """Return the tag and the commits since it; Git itself would pick any of several tags on one commit."""
    found = _git(root, "describe", "--tags", "--long", "--match=v[0-9]*", "--abbrev=40", sha, check=False)
    if found.code != 0:
        return None, int(_git(root, "rev-list", "--count", sha).stdout)
    tag, distance, _ = found.stdout.strip().rsplit("-", 2)
    beside = _git(root, "tag", "--points-at", f"{tag}^{{commit}}", "--list", "v[0-9]*").stdout.split()
    return newest_tag(beside) or tag, int(distance)


def _submodules(root: Path, commit: str) -> Iterator[tuple[str, str]]:
    for entry in _git(root, "ls-tree", "-r", "-z", commit).stdout.split("\0"):
        meta, _, path = entry.partition("\t")
        if meta.startswith(SUBMODULE_MODE):
            yield meta.split()[2], path


def _refuse_outside_repository(root: Path) -> None:
    finished = _git(root, "rev-parse", "--is-inside-work-tree", check=False)
    if finished.stdout.strip() == "true":
        return
    said = (finished.stderr.strip().splitlines() or ["not a Git working tree"])[0]
    if "not a git repository" in said:
        raise Refusal(f"{root} is not in a Git repository; git init and commit, or run fab in the project's folder")
    raise Refusal(f"{root}: {said}")  # such as "detected dubious ownership", which Git explains well itself


def _git(root: Path, *arguments: str, check: bool = True) -> Finished:
    argv: Sequence[str] = ["git", "-C", str(root), *arguments]
    finished = run(argv, check=False)
    if check and finished.code != 0:
        said = (finished.stderr.strip() or "no message").splitlines()[0]
        raise Failed(f"git {arguments[0]} in {root}: {said}")
    return finished
