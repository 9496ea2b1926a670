"""What the files of a Goose migrations folder say: their order, and how far back an older release can still run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .outcome import Refusal

MARK = re.compile(r"^[ \t]*--[ \t]*deploy:[ \t]*(?P<kind>.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
LARGEST_VERSION = 2**63 - 1  # Goose keeps versions in a PostgreSQL bigint


@dataclass(frozen=True, order=True)
class Migration:
    """One migration file.

    :param version: its number, by which Goose orders.
    :param name: the rest of its file name, without ``.sql``.
    :param contract: it takes away something that the release before needs (``-- deploy: contract``).
    """

    version: int
    name: str
    contract: bool = False


@dataclass(frozen=True)
class MigrationLevel:
    """Where a version of the project leaves its database.

    :param highest: its newest migration; 0 where it has none.
    :param contract_floor: its newest contract migration; a release whose ``highest`` is below it cannot run on this
        database any more. 0 where it has none.
    """

    highest: int
    contract_floor: int

    def can_serve(self, older: MigrationLevel) -> bool:
        """Say whether an older version still runs on the database that this one leaves."""
        return older.highest >= self.contract_floor


def read_level(files: Sequence[tuple[str, str]]) -> MigrationLevel:
    """Return the level of a version from its migrations, each ``(file name, text)``.

    :raises Refusal: a file name that Goose would not take, two files of one version, or an unknown ``-- deploy:`` mark.
    """
    migrations = read_migrations(files)
    return MigrationLevel(
        highest=max((migration.version for migration in migrations), default=0),
        contract_floor=max((migration.version for migration in migrations if migration.contract), default=0),
    )


def read_migrations(files: Iterable[tuple[str, str]]) -> tuple[Migration, ...]:
    """Return the migrations in Goose's order; files that Goose would pass over, such as a README, are passed over.

    :raises Refusal: as :func:`read_level`.
    """
    found: dict[int, tuple[str, Migration]] = {}
    for file_name, text in sorted(files):
        if not file_name.endswith((".sql", ".go")) or file_name.endswith("_test.go"):
            continue
        why = why_not_migration(file_name)
        if why:
            raise Refusal(f"migration {file_name}: {why}")
        version, name = parse_name(file_name)
        if version in found:
            raise Refusal(
                f"migrations {found[version][0]} and {file_name} both have version {version}; renumber the one that"
                " was not released yet"
            )
        found[version] = (file_name, Migration(version, name, _is_contract(file_name, text)))
    return tuple(found[version][1] for version in sorted(found))


def why_not_migration(file_name: str) -> str | None:
    """Return why Goose would not take a file of this name, or None.

    The rule is Goose's own: digits, an underscore, a name, ``.sql``; the number is above 0
    (https://pkg.go.dev/github.com/pressly/goose/v3#NumericComponent).
    """
    if file_name.endswith(".go"):
        return "is written in Go, which needs a Goose binary of the project's own; write it in SQL"
    digits, underscore, _ = file_name.partition("_")
    if not underscore or not digits.isdecimal() or not digits.isascii():
        return "must be named NUMBER_name.sql, such as 00002_add_orders.sql"
    if not 0 < int(digits) <= LARGEST_VERSION:
        return "its number must be above 0 and below 2^63"
    return None


def parse_name(file_name: str) -> tuple[int, str]:
    """Return version and name of ``00002_add_orders.sql``, here 2 and ``add_orders``.

    :raises Refusal: it is not named so.
    """
    why = why_not_migration(file_name)
    if why:
        raise Refusal(f"migration {file_name}: {why}")
    digits, _, rest = file_name.partition("_")
    return int(digits), rest.removesuffix(".sql")


def _is_contract(file_name: str, text: str) -> bool:
    kinds = {match["kind"].lower() for match in MARK.finditer(text)}
    unknown = kinds - {"contract", "expand"}
    if unknown:
        raise Refusal(
            f"migration {file_name}: unknown mark '-- deploy: {min(unknown)}'; write '-- deploy: contract' where it"
            " takes away what the release before needs, else leave it out"
        )
    return "contract" in kinds
