"""What a package holds: its metadata, its control file, and the values of its templates. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import Package, Service, Settings

# useradd(8): portable names; the kernel's utmp holds 32 characters.
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*")
MAINTAINER = re.compile(r"[^<>,\n]+ <[^<>\s]+@[^<>\s]+>")

# Debian policy 7.1. One that apt cannot read would spoil the whole repository's index, for every version in it.
_ALTERNATIVE = r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?( *\( *(<<|<=|=|>=|>>) *[0-9A-Za-z.+~:-]+ *\))?"
RELATION = re.compile(rf" *{_ALTERNATIVE}( *\| *{_ALTERNATIVE})* *")


def migrations_folder(name: str) -> str:
    """Return where a package keeps its migrations."""
    return f"/usr/share/{name}/migrations"


def metadata_file(name: str) -> str:
    """Return where a package says what it is."""
    return f"/usr/share/{name}/headway.json"


def unit_file(name: str) -> str:
    """Return where a package keeps its systemd unit."""
    return f"/usr/lib/systemd/system/{name}.service"


@dataclass(frozen=True)
class Metadata:
    """What a package says about itself to releases and rollbacks.

    :param commit: the commit it was built from.
    :param migration: number of its highest database migration; 0 for none.
    :param contract_floor: number of its highest contract migration; 0 for none.
    """

    name: str
    version: str
    commit: str
    migration: int = 0
    contract_floor: int = 0

    def as_json(self) -> str:
        """Return the text of ``/usr/share/NAME/headway.json``."""
        values = {
            "name": self.name,
            "version": self.version,
            "commit": self.commit,
            "migration": self.migration,
            "contract_floor": self.contract_floor,
        }
        return json.dumps(values, indent=2) + "\n"


def why_not_packaged(settings: Settings) -> str | None:
    """Return why these settings cannot become a package, with the path of the one that is wrong, or None."""
    reasons = (_why_not_words(settings.package), _why_not_files(settings.package), _why_not_service(settings))
    return next((reason for reason in reasons if reason), None)


def _why_not_words(package: Package) -> str | None:
    if "\n" in package.description or not package.description.strip():
        return f"headway.package.description: must be one line (got {package.description!r})"
    if not MAINTAINER.fullmatch(package.maintainer):
        return f"headway.package.maintainer: must be Name <address> (got {package.maintainer!r})"
    if not ARCHITECTURE.fullmatch(package.architecture):
        return f"headway.package.architecture: must be all, amd64, arm64 … (got {package.architecture!r})"
    wrong = next((word for word in package.depends if not RELATION.fullmatch(word)), None)
    if wrong is not None:
        return f"headway.package.depends: {wrong!r} is not like python3, libc6 (>= 2.36) or default-mta | exim4"
    return None


def _why_not_files(package: Package) -> str | None:
    if not package.files:
        return "headway.package.files: nothing to package; map a path below the build's output to one on the instance"
    for source, target in package.files.items():
        if PurePosixPath(source).is_absolute() or ".." in PurePosixPath(source).parts:
            return f"headway.package.files: {source!r} must be a path below the build's output"
        if reason := _why_not_target(target):
            return f"headway.package.files.{source}: {reason}"
    reasons = (_why_not_target(path) for path in package.conffiles)
    return next((f"headway.package.conffiles: {reason}" for reason in reasons if reason), None)


def _why_not_target(path: str) -> str | None:
    parts = PurePosixPath(path).parts
    if not path.startswith("/") or path.startswith("//") or ".." in parts or len(parts) < 2 or "\n" in path:
        return f"{path!r} must be an absolute path on the instance"
    return None


def _why_not_service(settings: Settings) -> str | None:
    service = settings.package.service
    if service is None:
        return None
    if not service.command.startswith("/") or "\n" in service.command:
        return f"headway.package.service.command: must be one line with an absolute path (got {service.command!r})"
    if not USER.fullmatch(user_of(settings)):
        return f"headway.package.service.user: {user_of(settings)!r} cannot be a user's name; set one with a-z 0-9 _ -"
    file = environment_file_of(settings)
    if _why_not_target(file) or re.search(r"\s", file):
        return f"headway.package.service.environment_file: {file!r} must be an absolute path without blanks"
    return None


def user_of(settings: Settings) -> str:
    """Return the system user that the service runs as."""
    service = settings.package.service
    return (service.user if service else None) or settings.name


def environment_file_of(settings: Settings) -> str:
    """Return the file that the service's variables come from."""
    service = settings.package.service
    return (service.environment_file if service else None) or f"/etc/{settings.name}/environment"


def control_text(settings: Settings, metadata: Metadata, installed_kib: int) -> str:
    """Return the control file (Debian policy 5.3), with our metadata in fields of its own that reach the Apt index."""
    package = settings.package
    fields: list[tuple[str, object]] = [
        ("Package", metadata.name),
        ("Version", metadata.version),
        ("Architecture", package.architecture),
        ("Maintainer", package.maintainer),
        ("Installed-Size", installed_kib),
        ("Depends", ", ".join(package.depends)),
        ("Section", "misc"),
        ("Priority", "optional"),
        ("Description", package.description.strip()),
        ("Headway-Commit", metadata.commit),
        ("Headway-Migration", metadata.migration),
        ("Headway-Contract-Floor", metadata.contract_floor),
    ]
    return "".join(f"{name}: {value}\n" for name, value in fields if value != "")


def template_values(settings: Settings, service: Service) -> dict[str, object]:
    """Return what the templates of the unit and of the maintainer scripts are filled with."""
    return {
        "name": settings.name,
        "description": settings.package.description.strip(),
        "user": user_of(settings),
        "environment_file": environment_file_of(settings),
        "command": service.command,
        "open_files": service.open_files,
        "stop_timeout_s": service.stop_timeout_s,
    }


def installed_kib(sizes_bytes: Iterable[int], folders: int) -> int:
    """Return Installed-Size (Debian policy 5.6.20): each file rounded up to a KiB, and a KiB for each folder."""
    return sum((size + 1023) // 1024 for size in sizes_bytes) + folders
