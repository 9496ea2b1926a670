"""Groups of one name in several regions, and what a Headway left that did not tell them apart."""

from __future__ import annotations

import pytest

from fabfile.engine.journal import Journal
from fabfile.engine.lock import held
from fabfile.engine.operate import Order, locked
from fabfile.engine.places import journal_of, name_of, owner_of, state_of
from fabfile.plan.outcome import Refusal
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Ending, Kind
from fabfile.plan.settings import Settings

from ..plan.fleets import NOW, record
from .conftest import Operator


def region(operator: Operator, env: str, region: str) -> Settings:
    """Return the settings of an env in a region, whose group has the same name as everywhere."""
    release = {**operator.release_settings, "group": operator.world.group}
    return read_settings({"name": "shop", "release": release, "envs": {env: {"region": region}}}, env)


def test_groups_of_one_name_in_two_regions_have_nothing_in_common(operator: Operator) -> None:
    here, there = operator.settings, region(operator, "eu", "eu-west-1")
    assert journal_of(here).write(record())
    with held(state_of(here), name_of(here), who="ann", doing="x", ttl_s=60):
        assert journal_of(there).read() is None
        assert owner_of(there) is None
        with locked(there, Order(Kind.RELEASE, "2.0.0", "bob"), operator.means):
            assert owner_of(here) is not None
    journal_of(here).close(record(), Ending.DONE, "fine", NOW)
    assert list(journal_of(there).history()) == []


def left_by_an_earlier_headway(operator: Operator) -> Journal:
    """Have a release stopped half way; return its record, where a Headway keeps it that knows no regions."""
    operator.stop_after(14)
    operator.release("2.0.0")
    operator.stop = lambda: False
    unfinished = journal_of(operator.settings).read()
    assert unfinished is not None
    bucket = state_of(operator.settings)
    for key in bucket.keys(name_of(operator.settings)):
        stored = bucket.read(key)
        assert stored is not None
        bucket.delete(key, stored.etag)
    former = Journal(bucket, operator.settings.group)
    assert former.write(unfinished)
    return former


def test_goes_on_with_what_an_earlier_headway_began(operator: Operator) -> None:
    former = left_by_an_earlier_headway(operator)
    old = former.read()
    assert old is not None
    assert old.launched
    with pytest.raises(Refusal, match=r"release of 2\.0\.0 in prod by ann is unfinished"):
        operator.release("3.0.0")
    assert operator.release("2.0.0").ending is Ending.DONE
    assert set(old.launched) == set(operator.world.members()), "it launched none anew"
    assert former.read() is None
    assert not list(former.history())
    assert [each.id for each in journal_of(operator.settings).history()] == [old.id]


def test_waits_for_an_earlier_headway_that_is_still_at_it(operator: Operator) -> None:
    left_by_an_earlier_headway(operator)
    with held(state_of(operator.settings), operator.settings.group, who="cem", doing="release 2.0.0", ttl_s=60):
        owner = owner_of(operator.settings)
        assert owner is not None
        assert owner.who == "cem"
        with pytest.raises(Refusal, match="cem is at it since"):
            operator.release("2.0.0")
    assert operator.release("2.0.0").ending is Ending.DONE


def test_leaves_alone_what_an_earlier_headway_began_in_another_env(operator: Operator) -> None:
    former = left_by_an_earlier_headway(operator)
    there = region(operator, "eu", "eu-west-1")
    assert journal_of(there).read() is None
    with locked(there, Order(Kind.RELEASE, "2.0.0", "bob"), operator.means):
        journal_of(there).sweep()
    assert former.read() is not None


def test_remembers_what_an_earlier_headway_released(operator: Operator) -> None:
    former = Journal(state_of(operator.settings), operator.settings.group)
    former.write(record(id="r0"))
    former.close(record(id="r0"), Ending.DONE, "fine", NOW)
    operator.release("2.0.0")
    newest, before = journal_of(operator.settings).history()
    assert (newest.version, before.id) == ("2.0.0", "r0")
    assert list(journal_of(region(operator, "eu", "eu-west-1")).history()) == []
