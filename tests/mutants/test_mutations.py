"""The list of mutations does not rot, and what runs them can tell a mutant that is caught from one that survives."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from .mutation import ROOT, Mutation, MutationError
from .mutations import MUTATIONS
from .run import judge, why_not_sound

CAUGHT = ("trusts counts", "has no new patience after progress")
HEALTH = "tests/plan/test_traffic.py::test_asks_every_load_balancer"


def named(name: str) -> Mutation:
    return next(each for each in MUTATIONS if each.name == name)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_each_mutation_changes_its_module_into_another_that_compiles(mutation: Mutation) -> None:
    changed = ast.parse(mutation.mutated())
    assert ast.dump(changed) != ast.dump(ast.parse(mutation.path.read_text()))


def test_each_mutation_has_a_name_of_its_own_and_is_unlike_the_others() -> None:
    assert len({each.name for each in MUTATIONS}) == len(MUTATIONS) >= 50
    assert len({each.mutated() for each in MUTATIONS}) == len(MUTATIONS)


def test_each_test_that_is_to_catch_a_mutant_exists() -> None:
    for path, _, name in {test.partition("::") for each in MUTATIONS for test in each.tests}:
        text = (ROOT / path).read_text()
        assert f"def {name.partition('[')[0] or 'test_'}" in text, f"{path} has no {name or 'test'}"


def test_says_which_mutation_does_not_fit_its_module_any_more() -> None:
    stale = replace(named("trusts counts"), old="what was there once")
    with pytest.raises(
        MutationError, match=r"trusts counts: fabfile\.plan\.traffic has 0 times: 'what was there once'"
    ):
        stale.mutated()


@pytest.mark.parametrize("name", CAUGHT)
def test_a_mutant_is_caught_by_a_test_that_fails_for_it_alone(name: str) -> None:
    mutation = named(name)
    assert why_not_sound([mutation]) is None
    verdict = judge(mutation)
    assert verdict.by is not None, str(verdict)
    assert str(verdict).startswith(f"caught    {name}: test_")


def test_a_mutant_that_no_test_notices_survives() -> None:
    verdict = judge(replace(named("skips the soak"), tests=(HEALTH,)))
    assert str(verdict) == "SURVIVED  skips the soak"


def test_a_mutant_whose_tests_cannot_be_run_survives() -> None:
    verdict = judge(replace(named("skips the soak"), tests=("tests/plan/test_nothing.py",)))
    assert verdict.by is None
    assert str(verdict).startswith("SURVIVED (the tests did not run: ERROR")


def test_tests_that_fail_by_themselves_prove_nothing() -> None:
    broken = replace(named("skips the soak"), tests=("tests/plan/test_nothing.py",))
    assert why_not_sound([broken]) is not None
