"""Values survive being written down, whatever their fields are, and whichever Headway wrote them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Literal

import pytest

from fabfile.engine.written import read_as, written

NOW = datetime(2026, 11, 24, 9, 0, 0, 5, tzinfo=UTC)


class Colour(Enum):
    """A choice."""

    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Inner:
    """A value in a value."""

    name: str
    at: datetime | None = None


@dataclass(frozen=True)
class Other:
    """Another one."""

    number: int


@dataclass(frozen=True)
class Outer:
    """A field of every kind."""

    required: str
    colour: Colour = Colour.RED
    maybe: Inner | None = None
    either: Inner | Other | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[str, datetime] | None = None
    pairs: tuple[tuple[str, datetime], ...] = ()
    colours: frozenset[Colour] = frozenset()
    inners: frozenset[Inner] = frozenset()
    by_name: dict[str, Inner] = field(default_factory=dict)
    by_number: dict[int, list[str]] = field(default_factory=dict)
    patience: timedelta = timedelta(seconds=3)
    ratio: float = 0.5
    on: bool = False
    mode: Literal["a", "b"] = "a"
    any: Any = None


FULL = Outer(
    required="x",
    colour=Colour.GREEN,
    maybe=Inner("m", NOW),
    either=Other(3),
    many=(Inner("a"), Inner("b", NOW)),
    pair=("p", NOW),
    pairs=(("warm", NOW), ("soak", NOW)),
    colours=frozenset(Colour),
    inners=frozenset({Inner("a"), Inner("b")}),
    by_name={"a": Inner("a", NOW)},
    by_number={1: ["x"], 2: []},
    patience=timedelta(minutes=2),
    ratio=2.5,
    on=True,
    mode="b",
    any=[1, {"x": None}],
)


@pytest.mark.parametrize("value", [FULL, Outer("only")])
def test_comes_back_as_it_was(value: Outer) -> None:
    assert read_as(Outer, written(value)) == value


def test_what_an_older_one_did_not_know_takes_its_default() -> None:
    assert read_as(Outer, b'{"required": "x"}') == Outer("x")


def test_what_a_newer_one_knows_is_left_out() -> None:
    assert read_as(Outer, b'{"required": "x", "brand_new": {"a": 1}, "maybe": {"name": "m", "new": 2}}') == Outer(
        "x", maybe=Inner("m")
    )


def test_is_written_the_same_way_every_time() -> None:
    assert written(FULL) == written(read_as(Outer, written(FULL)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"not json", "Expecting value"),
        (b"[]", "expected dict"),
        (b"{}", "Outer lacks required"),
        (b'{"required": 3}', "expected str, got 3"),
        (b'{"required": "x", "colour": "blue"}', "'blue' is not a valid Colour"),
        (b'{"required": "x", "pairs": [["a"]]}', "expected 2 values"),
        (b'{"required": "x", "pair": [1, 2]}', "cannot be any of"),
        (b'{"required": "x", "on": "yes"}', "expected bool"),
        (b'{"required": "x", "pairs": [["a", "2026-11-24T09:00:00"]]}', "expected a time with its zone"),
        (b'{"required": "x", "patience": "long"}', "cannot be meant"),
        (b'{"required": "x", "patience": 1e300}', "cannot be meant"),
        (b"[" * 100_000, "cannot be meant"),
    ],
)
def test_nonsense_is_told_and_never_half_read(body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_as(Outer, body)


def test_is_json_that_a_person_can_read() -> None:
    assert json.loads(written(Inner("a", NOW))) == {"name": "a", "at": "2026-11-24T09:00:00.000005+00:00"}
