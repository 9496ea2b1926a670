"""Every state that a release of a small fleet can come to: the rules hold in each, and they can be broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fabfile.plan import leaving, traffic
from fabfile.plan.fleet import Facts
from fabfile.plan.release import EnterStandby, PointGroup, Terminate

from .known import is_known
from .stories import SMALL, STORIES, Bound, Story

BY_NAME = {story.name: story for story in STORIES}


def broken(story: Story, bound: Bound) -> list[str]:
    """Explore a story; return the rules that were broken and are not known to be, each with a way there."""
    found = story.explore(bound)
    assert found.whole
    assert found.ends
    return [str(each) for each in found.violations.values() if not is_known(each.rule, bound.faults, story.name)]


@pytest.mark.parametrize("bound", SMALL, ids=lambda bound: f"{bound.events}-{bound.crashes}-{bound.slow}")
@pytest.mark.parametrize("name", [name for name, story in BY_NAME.items() if story.quick])
def test_no_rule_is_broken_in_any_state(name: str, bound: Bound) -> None:
    assert broken(BY_NAME[name], bound) == []


@pytest.mark.parametrize("name", [name for name, story in BY_NAME.items() if story.nature.new_works])
def test_a_day_on_which_nothing_happens_ends_well(name: str) -> None:
    story = BY_NAME[name]
    found = story.explore(Bound())
    good = "Staged" if story.goal.stage else "Done" if story.nature.balanced else "Undone"
    assert good in found.ends
    if story.goal.at is None and not story.nature.elb_checks:
        assert len(found.ends) == 1


Part = Callable[..., Any]


def skipping(*_: Any) -> None:
    """Leave a part of the road out."""


def killing(part: Part) -> Part:
    """Terminate at once what was to be put into Standby."""

    def deadly(*given: Any) -> Any:
        done = part(*given)
        return Terminate(done.ids) if isinstance(done, EnterStandby) else done

    return deadly


def pointing(part: Part) -> Part:
    """Point the group to its template again and again."""
    return lambda side, facts: PointGroup(side.template)


@pytest.mark.parametrize(
    ("room", "part", "change", "story", "rule"),
    [
        (traffic, "healthy", lambda _: skipping, "plain", "demand:"),
        (Facts, "out_everywhere", lambda _: lambda *_: True, "plain", "killed:"),
        (traffic, "stand_by", killing, "plain", "killed:"),
        (traffic, "room", lambda _: skipping, "tight", "refused:"),
        (traffic, "point", pointing, "plain", "livelock:"),
        (leaving, "restore", lambda _: skipping, "plain", "Done: the maximum"),
        (leaving, "retire", lambda _: skipping, "plain", "Done:"),
        (leaving, "_is_kept", lambda _: lambda *_: True, "plain", "Done:"),
    ],
)
def test_finds_what_is_wrong_with_a_worse_engine(
    monkeypatch: pytest.MonkeyPatch, room: Any, part: str, change: Callable[[Part], Part], story: str, rule: str
) -> None:
    monkeypatch.setattr(room, part, change(getattr(room, part)))
    found = BY_NAME[story].explorer(Bound(crashes=1), 20_000).run()
    assert [each for each in found.violations.values() if each.rule.startswith(rule)]
