"""Git's answers, from real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fabfile.plan.outcome import Refusal
from fabfile.tools import git

AUTHOR = {
    "GIT_AUTHOR_NAME": "n",
    "GIT_AUTHOR_EMAIL": "n@example.com",
    "GIT_COMMITTER_NAME": "n",
    "GIT_COMMITTER_EMAIL": "n@example.com",
    "GIT_COMMITTER_DATE": "2024-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def sh(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], env={**os.environ, **AUTHOR}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(root: Path, files: dict[str, str], message: str = "m") -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sh(root, "add", "-A")
    sh(root, "commit", "-q", "--allow-empty", "-m", message)
    return sh(root, "rev-parse", "HEAD")


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    sh(folder, "init", "-q", "-b", "main")
    return folder


def test_a_tagged_commit_is_at_distance_zero(root: Path) -> None:
    sha = commit(root, {"a": "1"})
    sh(root, "tag", "v1.4.0")
    described = git.describe(root)
    assert (described.tag, described.distance, described.sha) == ("v1.4.0", 0, sha)
    assert not described.dirty
    assert not described.shallow


def test_commits_since_the_tag_are_counted_and_other_tags_passed_over(root: Path) -> None:
    commit(root, {"a": "1"})
    sh(root, "tag", "-a", "v1.4.0", "-m", "annotated")
    commit(root, {"a": "2"})
    sh(root, "tag", "nightly")
    sh(root, "tag", "vendored")
    commit(root, {"a": "3"})
    assert (git.describe(root).tag, git.describe(root).distance) == ("v1.4.0", 2)
    assert git.describe(root, "HEAD~1").distance == 1


def test_of_two_tags_on_one_commit_the_higher_version_counts(root: Path) -> None:
    commit(root, {"a": "1"})
    for tag in ("v1.5.0-rc1", "v1.5.0", "v1.4.9"):
        sh(root, "tag", tag)
    assert git.describe(root).tag == "v1.5.0"


def test_without_a_tag_there_is_none(root: Path) -> None:
    commit(root, {"a": "1"})
    commit(root, {"a": "2"})
    assert (git.describe(root).tag, git.describe(root).distance) == (None, 2)


def test_a_changed_file_makes_it_dirty_and_is_named_and_so_is_a_new_one(root: Path) -> None:
    commit(root, {"a": "1", ".gitignore": "*.log\n"})
    (root / "a").write_text("2")
    (root / "new file").write_text("")
    (root / "x.log").write_text("")
    assert git.describe(root).dirty
    assert git.uncommitted(root) == ("a", "new file")


def test_a_shallow_clone_is_known_as_one(root: Path, tmp_path: Path) -> None:
    commit(root, {"a": "1"})
    commit(root, {"a": "2"})
    sh(tmp_path, "clone", "-q", "--depth=1", f"file://{root}", "clone")
    assert git.describe(tmp_path / "clone").shallow


def test_outside_a_repository_it_is_refused_with_a_way_out(tmp_path: Path) -> None:
    for ask in (git.describe, git.commit_of, lambda at: git.export_working_tree(at, tmp_path / "out")):
        with pytest.raises(Refusal, match="git init"):
            ask(tmp_path)


def test_a_repository_without_a_commit_is_refused(root: Path) -> None:
    with pytest.raises(Refusal, match="no commit yet"):
        git.commit_of(root)


@pytest.mark.parametrize("ref", ["nonsense", "--all", "HEAD~9", ""])
def test_an_unknown_commit_is_refused_by_name(root: Path, ref: str) -> None:
    commit(root, {"a": "1"})
    with pytest.raises(Refusal) as refused:
        git.commit_of(root, ref)
    assert repr(ref) in str(refused.value)


def test_an_export_is_the_commit_and_nothing_of_the_working_tree(root: Path, tmp_path: Path) -> None:
    sha = commit(root, {"a": "committed", "sub/run.sh": "x"})
    (root / "sub/run.sh").chmod(0o755)
    (root / "link").symlink_to("a")
    sha = commit(root, {})
    (root / "a").write_text("changed")
    (root / "new").write_text("")
    git.export(root, sha, tmp_path / "out")
    out = tmp_path / "out"
    assert files_of(out) == ["a", "link", "sub/run.sh"]
    assert (out / "a").read_text() == "committed"
    assert os.access(out / "sub/run.sh", os.X_OK)
    assert not os.access(out / "a", os.X_OK)
    assert (out / "link").is_symlink()
    assert (out / "a").stat().st_mtime == git.commit_time(root, sha) == 1704164645


def test_an_export_below_the_top_holds_only_that_folder(root: Path, tmp_path: Path) -> None:
    sha = commit(root, {"shop/a": "1", "other/b": "1"})
    git.export(root / "shop", sha, tmp_path / "out")
    git.export_working_tree(root / "shop", tmp_path / "tree")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "tree") == ["a"]


def test_the_line_ends_of_an_export_do_not_depend_on_a_persons_configuration(root: Path, tmp_path: Path) -> None:
    sha = commit(root, {"a": "one\ntwo\n", ".gitattributes": "* text=auto\n"})
    sh(root, "config", "core.autocrlf", "true")
    git.export(root, sha, tmp_path / "out")
    assert (tmp_path / "out/a").read_bytes() == b"one\ntwo\n"


def test_the_working_tree_is_exported_as_it_is_without_what_git_ignores(root: Path, tmp_path: Path) -> None:
    commit(root, {"a": "1", "gone": "1", ".gitignore": "secret\n"})
    (root / "a").write_text("2")
    (root / "gone").unlink()
    (root / "new").write_text("")
    (root / "secret").write_text("")
    (root / "dangling").symlink_to("nowhere")
    (root / "build/artefacts").mkdir(parents=True)
    for ours in ("artefacts/old", "artefacts.commit", "shop_1.0_all.deb"):
        (root / "build" / ours).write_text("")
    git.export_working_tree(root, tmp_path / "out")
    assert files_of(tmp_path / "out") == [".gitignore", "a", "dangling", "new"]
    assert (tmp_path / "out/a").read_text() == "2"
    assert "build/" not in " ".join(git.uncommitted(root))


def test_submodules_are_exported_and_one_that_is_not_checked_out_is_refused(root: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    sh(library, "init", "-q", "-b", "main")
    commit(library, {"lib.c": "1"})
    commit(root, {"a": "1"})
    sh(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor/library")
    sha = commit(root, {})
    git.export(root, sha, tmp_path / "out")
    git.export_working_tree(root, tmp_path / "tree")
    expected = [".gitmodules", "a", "vendor/library/lib.c"]
    assert files_of(tmp_path / "out") == files_of(tmp_path / "tree") == expected
    sh(root, "submodule", "--quiet", "deinit", "-f", "vendor/library")
    with pytest.raises(Refusal, match="git submodule update"):
        git.export(root, sha, tmp_path / "again")
