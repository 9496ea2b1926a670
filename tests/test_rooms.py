"""The rules between the rooms, held by reading imports: who may know whom, and what may be loaded early."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fabfile"
FILES = sorted(PACKAGE.rglob("*.py"))

MAY_KNOW = {
    "plan": set(),
    "tools": {"plan"},
    "engine": {"plan", "tools"},
    "show": {"plan", "engine"},
    "localcloud": {"plan", "tools"},
}

# Time, facts and files are arguments of what decides. Everything here computes, and nothing else.
PURE = {
    *("__future__", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "difflib", "email", "enum"),
    *("functools", "gzip", "hashlib", "heapq", "invoke.exceptions", "itertools", "json", "lzma", "math", "operator"),
    *("pathlib.PurePosixPath", "pydantic", "re", "statistics", "string", "textwrap", "types", "typing", "zlib"),
    "zoneinfo",  # it reads the zone database, which is the same for everybody
}

# Slow to load, so loaded by the function that needs it. The local cloud is a process of its own: it may.
HEAVY = {"boto3", "botocore", "debian", "docker", "jinja2", "moto", "psycopg", "pydantic", "requests", "rich", "yaml"}
AWS = {"boto3", "botocore", "moto"}


@dataclass(frozen=True)
class Import:
    """One imported name: absolute (`boto3.session`), or relative and then resolved (`.plan.settings`)."""

    file: Path
    line: int
    name: str
    at_start: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(PACKAGE.parent)}:{self.line} imports {self.name}"

    def is_of(self, names: set[str]) -> bool:
        """Tell whether it is one of these modules, or something inside one."""
        return any(self.name == name or self.name.startswith(f"{name}.") for name in names)

    @property
    def room(self) -> str:
        """The room of a relative import; empty for a module at the top."""
        parts = self.name.lstrip(".").split(".")
        return parts[0] if (PACKAGE / parts[0]).is_dir() else ""


def imports_of(file: Path) -> Iterator[Import]:
    tree = ast.parse(file.read_text())
    lazy = set()
    for node in ast.walk(tree):
        only_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if only_for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lazy |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in names_of(node, file):
                yield Import(file, node.lineno, name, id(node) not in lazy)


def names_of(node: ast.Import | ast.ImportFrom, file: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = node.module or ""
    if node.level:
        folder = file.parent.relative_to(PACKAGE).parts
        module = ".".join(("", *folder[: len(folder) - node.level + 1], *filter(None, [module])))
    return [f"{module}.{alias.name}" if module else f".{alias.name}" for alias in node.names]


def room_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


EVERY = [one for file in FILES for one in imports_of(file)]


@pytest.mark.parametrize("room", sorted(MAY_KNOW))
def test_a_room_knows_only_the_rooms_below_it(room: str) -> None:
    wrong = [
        str(one)
        for one in EVERY
        if room_of(one.file) == room and one.name.startswith(".") and one.room not in {room, *MAY_KNOW[room]}
    ]
    assert not wrong


def test_every_room_has_its_rule() -> None:
    assert {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")} == set(MAY_KNOW)


def test_what_decides_reads_no_clock_no_file_and_no_network() -> None:
    wrong = [
        str(one)
        for one in EVERY
        if room_of(one.file) == "plan" and not one.name.startswith(".") and not one.is_of(PURE)
    ]
    assert not wrong


def test_what_decides_is_told_the_time() -> None:
    clocks = {"now", "today", "utcnow"}
    wrong = [
        f"{file.relative_to(PACKAGE.parent)}:{node.lineno} asks .{node.func.attr}()"
        for file in (PACKAGE / "plan").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in clocks
    ]
    assert not wrong


def test_no_stage_calls_aws_itself() -> None:
    assert not [str(one) for one in EVERY if room_of(one.file) == "" and one.is_of(AWS)]


def test_what_is_slow_to_load_is_loaded_where_it_is_used() -> None:
    schema = PACKAGE / "plan"  # pydantic's classes cannot wait; nobody loads them early (tests/test_listing.py)
    wrong = [
        str(one)
        for one in EVERY
        if one.at_start
        and room_of(one.file) != "localcloud"
        and one.is_of(HEAVY - {"pydantic"} if schema in one.file.parents else HEAVY)
    ]
    assert not wrong


def test_the_package_has_no_name_for_itself() -> None:
    # It is `fabfile` in the checkout and `headway` when installed: two names would be two sets of classes.
    assert not [str(one) for one in EVERY if one.is_of({"fabfile", "headway"})]


def test_no_module_at_the_top_hides_a_library() -> None:
    # `fab` puts the folder of the package first on sys.path, where these would be found before the library.
    ours = {path.stem for path in PACKAGE.glob("*") if path.suffix in {"", ".py"}} - {"__init__", "__pycache__"}
    installed = set(importlib.metadata.packages_distributions()) - {"headway", "fabfile"}
    assert not ours & (installed | sys.stdlib_module_names)
