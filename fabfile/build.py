"""The stage build: the project's artefacts, made in a container from a clean export of a commit."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from invoke.context import Context

from .stage import project_root, settings_for, stage

if TYPE_CHECKING:
    from .plan.settings import Settings

SOURCES = "/src"  # where the project's files are in its containers
ARTEFACTS = Path("build") / "artefacts"
BUILT_FROM = Path("build") / "artefacts.commit"  # the commit that they are of


@stage(help={"commit": "What to build: a commit, branch or tag (default: HEAD)"})
def build(c: Context, commit: str = "HEAD") -> None:
    """Build the artefacts of a commit in Docker."""
    build_artefacts(project_root(c), settings_for(c), commit)


def build_artefacts(root: Path, settings: Settings, commit: str = "HEAD") -> Path:
    """Build a commit in a container of the production-like image, and return the folder with what came out.

    What is built is the commit, not the working tree. The folder is replaced as a whole; a failed build leaves the
    earlier one as it was.

    :raises Refusal: no repository, commit, Dockerfile or Docker.
    :raises Failed: the command failed; its exit code becomes ours, and its output was on the screen.
    """
    from .plan.outcome import Failed, Refusal
    from .tools import docker, git
    from .tools.folders import locked, replace_folder
    from .tools.session import session

    output = PurePosixPath(settings.build.output)
    if output.is_absolute() or ".." in output.parts:
        raise Refusal(f"headway.build.output: {settings.build.output!r} must be a folder below the project's own")
    sha = git.commit_of(root, commit)
    _say_what_is_built(root, commit, sha)
    with session() as run:
        say_what_was_left(run.swept)
        sources = run.folder / "sources"
        git.export(root, sha, sources)
        image = production_image(settings, sources)
        say(f"build: {settings.build.command}")
        container = docker.create(
            run,
            "build",
            image,
            entrypoint="sh",
            command=("-c", settings.build.command),
            environment={"SOURCE_DATE_EPOCH": str(git.commit_time(root, sha))},
            options=("--init", "--workdir", SOURCES),
        )
        docker.copy_in(container, sources, SOURCES, docker.user_of(run, image))
        code = docker.run_attached(container)
        if code != 0:
            raise Failed(f"build: `{settings.build.command}` failed with exit code {code}", code=code)
        fresh = run.folder / "artefacts"
        docker.copy_out(container, f"{SOURCES}/{settings.build.output}", fresh, "headway.build.output")
        artefacts, built_from = root / ARTEFACTS, root / BUILT_FROM
        with locked(artefacts.parent):
            built_from.unlink(missing_ok=True)  # killed in between, we leave artefacts of no known commit: built again
            replace_folder(artefacts, fresh)
            built_from.write_text(f"{sha}\n")
    say(f"build: {_count(artefacts)} in {artefacts}")
    return artefacts


def artefacts_of(root: Path, settings: Settings, sha: str) -> Path:
    """Return the folder with the artefacts of a commit (40 hexadecimal digits), built now unless they are there."""
    built_from = root / BUILT_FROM
    if (root / ARTEFACTS).is_dir() and built_from.is_file() and built_from.read_text().strip() == sha:
        return root / ARTEFACTS
    return build_artefacts(root, settings, sha)


def production_image(settings: Settings, sources: Path) -> str:
    """Return the image that is like production: the one that is set, or the one made from the project's Dockerfile."""
    from .tools import docker

    if settings.build.image:
        docker.ensure_image(settings.build.image)
        return settings.build.image
    say(f"docker: image from {settings.build.dockerfile}")
    return docker.build_image(sources, settings.build.dockerfile, f"headway/{settings.name}-build")


def say(line: str) -> None:
    """Print a line at once: what containers print comes right after it, also into a pipe."""
    print(line, flush=True)


def say_what_was_left(swept: tuple[str, ...]) -> None:
    """Tell about what killed runs had left."""
    if swept:
        say(f"docker: removed what an earlier run left: {', '.join(swept)}")


def _say_what_is_built(root: Path, commit: str, sha: str) -> None:
    from .tools import git

    differing = git.uncommitted(root) if commit == "HEAD" else ()
    if differing:
        shown = ", ".join(differing[:5]) + (" ..." if len(differing) > 5 else "")
        say(f"build: commit {sha[:12]}, without the changes that are not committed: {shown}")
    else:
        say(f"build: commit {sha[:12]}")


def _count(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} file{'' if len(sizes) == 1 else 's'} ({sum(sizes) / 1e6:.1f} MB)"
