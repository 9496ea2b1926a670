"""What Headway reads from the names and texts of migrations, against what Goose makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.plan.migrations import Migration, MigrationLevel, parse_name, read_level, read_migrations
from fabfile.plan.outcome import Refusal

EXPAND = "-- +goose Up\nALTER TABLE orders ADD note text;\n"
CONTRACT = "-- deploy: contract\n-- +goose Up\nALTER TABLE orders DROP note;\n"


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("00001_orders.sql", (1, "orders")),
        ("20240102030405_add_orders.sql", (20240102030405, "add_orders")),
        ("7_.sql", (7, "")),
    ],
)
def test_a_number_and_a_name_are_read_from_a_file_name(file_name: str, expected: tuple[int, str]) -> None:
    assert parse_name(file_name) == expected


@pytest.mark.parametrize(
    "file_name", ["orders.sql", "1.sql", "_orders.sql", "0_orders.sql", "-1_orders.sql", "1a_orders.sql", "²_x.sql"]
)
def test_a_name_that_goose_would_not_take_is_refused_by_name(file_name: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_level([(file_name, EXPAND)])
    assert file_name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_migration_in_go_is_refused_because_the_plain_binary_cannot_run_it() -> None:
    with pytest.raises(Refusal, match="SQL"):
        read_level([("00001_orders.go", "package migrations")])


def test_two_files_of_one_version_are_refused_and_both_named() -> None:
    with pytest.raises(Refusal, match=r"00001_a\.sql and 1_b\.sql"):
        read_level([("1_b.sql", EXPAND), ("00001_a.sql", EXPAND)])


def test_files_that_goose_passes_over_are_passed_over() -> None:
    assert read_migrations([("README.md", ""), ("1_a_test.go", ""), ("1_a.sql", EXPAND)]) == (Migration(1, "a"),)


def test_migrations_come_in_the_order_of_their_numbers_not_of_their_names() -> None:
    files = [("10_c.sql", EXPAND), ("9_b.sql", EXPAND), ("0001_a.sql", EXPAND)]
    assert [migration.version for migration in read_migrations(files)] == [1, 9, 10]


def test_no_migration_is_level_zero() -> None:
    assert read_level([]) == MigrationLevel(highest=0, contract_floor=0)


def test_the_floor_is_the_newest_contract_migration() -> None:
    files = [("1_a.sql", EXPAND), ("2_b.sql", CONTRACT), ("3_c.sql", EXPAND)]
    assert read_level(files) == MigrationLevel(highest=3, contract_floor=2)


@pytest.mark.parametrize("mark", ["-- deploy: contract", "--deploy:contract", "  -- Deploy: CONTRACT  "])
def test_the_mark_is_read_however_it_is_spaced(mark: str) -> None:
    assert read_level([("5_a.sql", f"-- +goose Up\n{mark}\nDROP TABLE a;\n")]).contract_floor == 5


def test_a_mark_that_says_neither_contract_nor_expand_is_refused() -> None:
    with pytest.raises(Refusal, match="contrakt"):
        read_level([("1_a.sql", "-- deploy: contrakt\n")])


def test_an_older_version_can_serve_until_a_contract_that_it_does_not_know() -> None:
    old = read_level([("1_a.sql", EXPAND)])
    expanded = read_level([("1_a.sql", EXPAND), ("2_b.sql", EXPAND)])
    contracted = read_level([("1_a.sql", EXPAND), ("2_b.sql", EXPAND), ("3_c.sql", CONTRACT)])
    assert expanded.can_serve(old)
    assert not contracted.can_serve(old)
    assert not contracted.can_serve(expanded)
    assert contracted.can_serve(contracted)


@given(st.dictionaries(st.integers(1, 2**63 - 1), st.booleans(), max_size=8))
def test_the_floor_never_passes_the_highest_and_every_version_can_serve_itself(contracts: dict[int, bool]) -> None:
    level = read_level([(f"{version}_x.sql", CONTRACT if c else EXPAND) for version, c in contracts.items()])
    assert level.highest == max(contracts, default=0)
    assert level.contract_floor <= level.highest
    assert level.can_serve(level)
