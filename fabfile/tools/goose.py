"""Goose: SQL migrations, run up and never down."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..plan.outcome import Refusal
from . import docker
from .postgres import redacted, with_options
from .process import run
from .session import Session

# The id that Goose's own library locks with (crc32 of "goose"); its command line takes no lock at all. See
# https://pkg.go.dev/github.com/pressly/goose/v3/lock#DefaultLockID.
LOCK_ID = 4097083626
LOCK_TIMEOUT_SQLSTATE = "55P03"  # lock_not_available: https://www.postgresql.org/docs/current/errcodes-appendix.html
LOOKED_AT = {".sql", ".go"}
TIMESTAMP = re.compile(r"^\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2} ", re.MULTILINE)


@dataclass(frozen=True)
class GooseRun:
    """What `goose up` did.

    :param code: its exit code.
    :param output: what it said, without times and secrets.
    """

    code: int
    output: str

    @property
    def lock_timed_out(self) -> bool:
        """A migration waited for a table too long; nothing of it was kept, and it can be tried again."""
        return self.code != 0 and f"SQLSTATE {LOCK_TIMEOUT_SQLSTATE}" in self.output


def why_not_installed() -> str | None:
    """Return why migrations cannot be run on this machine, with the way out; None where they can."""
    return None if shutil.which("goose") else "goose is not installed, or not on PATH; scripts/setup installs it"


def read_files(folder: Path) -> list[tuple[str, str]]:
    """Return file name and text of what Goose would look at in a folder; anything else may lie there too.

    :raises Refusal: a file is not text.
    """
    return [(path.name, read_text(path)) for path in sorted(folder.iterdir()) if path.suffix in LOOKED_AT]


def read_text(path: Path) -> str:
    """Return the text of a migration.

    :raises Refusal: it is none.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(f"migration {path.name}: is not UTF-8 text (at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise Refusal(f"migration {path.name}: cannot be read ({error.strerror})") from None


def up(dsn: str, folder: Path, lock_timeout_s: float, statement_timeout_s: float) -> GooseRun:
    """Run the migrations of a folder that the database has not seen, with the `goose` of this machine.

    :param dsn: connection string; it goes by environment, and is cut out of the output.
    :param lock_timeout_s: seconds that a statement may wait for a lock.
    :param statement_timeout_s: seconds that a statement may take.
    :raises Refusal: Goose is not installed.
    """
    timeouts = f"-c lock_timeout={lock_timeout_s * 1000:.0f} -c statement_timeout={statement_timeout_s * 1000:.0f}"
    argv = ["goose", "-env=none", "-dir", str(folder), "up"]
    finished = run(argv, env=_variables(with_options(dsn, timeouts)), check=False)
    output = TIMESTAMP.sub("", redacted(finished.stdout + finished.stderr, dsn)).strip()
    return GooseRun(finished.code, redacted(output, with_options(dsn, timeouts)))


def up_in_docker(session: Session, network: str, image: str, dsn: str, folder: Path) -> int:
    """Run the migrations of a folder from a container on a network; the output goes to the screen.

    :param dsn: connection string, as seen from that network.
    :returns: Goose's exit code.
    """
    container = docker.create(
        session,
        "goose",
        image,
        entrypoint="goose",
        command=("-env=none", "-dir", "/migrations", "up"),
        environment=_variables(dsn),
        network=network,
    )
    docker.copy_in(container, folder, "/migrations")
    return docker.run_attached(container)


def _variables(dsn: str) -> dict[str, str]:
    return {"GOOSE_DRIVER": "postgres", "GOOSE_TABLE": "goose_db_version", "GOOSE_DBSTRING": dsn}
