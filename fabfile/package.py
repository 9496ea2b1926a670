"""The stage package: a Debian package of the artefacts, the service, the migrations, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from invoke.context import Context

from .build import artefacts_of
from .plan.outcome import Refusal
from .stage import project_root, settings_for, stage

if TYPE_CHECKING:
    from .plan.contents import Metadata
    from .plan.migrations import MigrationLevel
    from .plan.settings import Settings
    from .tools.dpkg import Member

FOLDER = Path("build")
SCRIPTS = ("postinst", "prerm", "postrm")


@stage(help={"version": "Version of the package (default: that of the commit, from its tag)"})
def package(c: Context, version: str | None = None) -> None:
    """Make the Debian package of the commit."""
    root, settings = project_root(c), settings_for(c)
    _say_size(make_package(root, settings, version))


def make_package(root: Path, settings: Settings, version: str | None = None) -> Path:
    """Make the package of the commit that is checked out, and return its path; the same commit gives the same bytes.

    The artefacts are built where ``build/artefacts`` does not hold those of this very commit.

    :param version: instead of the one that the commit's tag gives.
    :raises Refusal: no version, or settings that cannot become a package; nothing was built.
    """
    from .plan.contents import Metadata, why_not_packaged
    from .plan.version import version_of, why_not_version
    from .tools import git

    described = git.describe(root)
    version = version or version_of(described)
    if reason := why_not_version(version) or why_not_packaged(settings):
        raise Refusal(reason)
    if described.dirty:
        _say("package: the commit, without the changes that are not committed")
    artefacts = artefacts_of(root, settings, described.sha)
    with TemporaryDirectory(prefix="headway-package-") as scratch:
        migrations = _migrations(root, settings, described.sha, Path(scratch))
        level = _level(migrations)
        metadata = Metadata(settings.name, version, described.sha, level.highest, level.contract_floor)
        members = list(_members(settings, artefacts, migrations, metadata))
        path = package_path(root, settings, version)
        _write(path, settings, metadata, members, git.commit_time(root, described.sha))
    return path


def package_path(root: Path, settings: Settings, version: str) -> Path:
    """Return where the package of a version is, once it is made."""
    return root / FOLDER / f"{settings.name}_{version}_{settings.package.architecture}.deb"


def unpack_migrations(settings: Settings, version: str, into: Path) -> Path | None:
    """Copy the migrations of a published version into a folder; None where it has none.

    :raises Refusal: the version is not published.
    """
    from .plan.contents import migrations_folder
    from .tools import apt, dpkg

    with TemporaryDirectory(prefix="headway-fetch-") as scratch:
        deb = apt.fetch(settings, settings.name, version, Path(scratch))
        return into if dpkg.unpack_folder(deb, migrations_folder(settings.name), into) else None


def _migrations(root: Path, settings: Settings, sha: str, scratch: Path) -> tuple[Path, ...]:
    """Return the commit's migrations, whatever the working tree holds."""
    from .tools import git

    if settings.database is None:
        return ()
    git.export(root, sha, scratch)
    folder = scratch / settings.database.migrations
    if not folder.is_dir():
        raise Refusal(f"headway.database.migrations: commit {sha[:12]} has no folder {settings.database.migrations!r}")
    return tuple(sorted(path for path in folder.iterdir() if path.suffix == ".sql" and path.is_file()))


def _level(migrations: tuple[Path, ...]) -> MigrationLevel:
    from .plan.migrations import read_level
    from .tools import goose

    return read_level([(path.name, goose.read_text(path)) for path in migrations])


def _members(settings: Settings, artefacts: Path, migrations: tuple[Path, ...], metadata: Metadata) -> Iterator[Member]:
    """Yield all files of the package."""
    from .paths import data
    from .plan.contents import metadata_file, migrations_folder, template_values, unit_file
    from .tools.dpkg import Member, members_below
    from .tools.jinja import render

    for source, target in settings.package.files.items():
        found = artefacts / source
        if not found.exists():
            there = ", ".join(sorted(path.name for path in artefacts.iterdir())) or "nothing"
            raise Refusal(f"headway.package.files: no {source!r} in the build's output (there: {there})")
        inside = target.endswith("/") and found.is_file()
        yield from members_below(found, f"{target}{found.name}" if inside else target)
    for path in migrations:
        yield Member(f"{migrations_folder(settings.name)}/{path.name}", path)
    yield Member(metadata_file(settings.name), metadata.as_json().encode())
    if settings.package.service:
        values = template_values(settings, settings.package.service)
        unit = render(data("templates") / "deb" / "service.j2", values)
        yield Member(unit_file(settings.name), unit.encode())


def _write(path: Path, settings: Settings, metadata: Metadata, members: list[Member], time_s: int) -> None:
    from .paths import data
    from .plan.contents import control_text, installed_kib, template_values
    from .tools.dpkg import folders_of, write_deb
    from .tools.jinja import render

    scripts: dict[str, str] = {}
    if settings.package.service:
        values = template_values(settings, settings.package.service)
        scripts = {name: render(data("templates") / "deb" / f"{name}.j2", values) for name in SCRIPTS}
    size = installed_kib((member.size_bytes for member in members), len(folders_of(members)))
    control = control_text(settings, metadata, size)
    write_deb(path, control, members, scripts=scripts, conffiles=settings.package.conffiles, time_s=time_s)


def _say_size(path: Path) -> None:
    from .tools.dpkg import read_deb

    deb = read_deb(path)
    _say(f"package: {path} ({deb.size_bytes / 1e6:.1f} MB, sha256 {deb.sha256})")


def _say(line: str) -> None:
    print(line, flush=True)
