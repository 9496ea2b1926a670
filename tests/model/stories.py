"""The worlds that are explored: who serves at first, what is asked for, and how much may go wrong at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple
from unittest.mock import patch

from fabfile.plan import decide, warming
from fabfile.plan.release import Goal, Kind

from .engine import Engine
from .explore import ALWAYS, Explorer, Found
from .invariants import Start
from .weather import Sky
from .world import ABSENT, NEW, NOW, OLD, OUTSIDE, STANDBY, Box, Cloud, Nature

PLAIN = Goal(
    version="2.0.0",
    confirmations=1,
    warm_within_s=60,
    healthy_within_s=60,
    drain_within_s=60,
    soak_s=0,
    keep_previous=False,
    migrates=False,
)


class Bound(NamedTuple):
    """How much may go wrong in one exploration: events, crashes, and how often time may be uneven."""

    events: int = 0
    crashes: int = 0
    slow: int = 0

    @property
    def faults(self) -> int:
        """How many things go wrong."""
        return self.events + self.crashes


# A fine day on which one thing goes wrong: a second or so for each story.
SMALL = (Bound(events=1), Bound(crashes=1))
# One thing with a crash or in uneven time, and any unevenness with a crash.
LARGE = (Bound(crashes=1, slow=ALWAYS), Bound(events=1, slow=1), Bound(events=1, crashes=1))
TWO_EVENTS = (*LARGE, Bound(events=2))


NATURE = Nature()


@dataclass(frozen=True)
class Story:
    """One world and what is asked for in it.

    :param bounds: how far it is explored when there is time.
    :param quick: whether it is small enough to be explored in every run of the tests.
    """

    name: str
    cloud: Cloud
    goal: Goal = PLAIN
    nature: Nature = NATURE
    kind: Kind = Kind.RELEASE
    bounds: tuple[Bound, ...] = LARGE
    quick: bool = True

    def explorer(self, bound: Bound, most: int = 3_000_000) -> Explorer:
        """Make the exploration of this story within a bound."""
        cloud = self.cloud
        sky = Sky(*bound, wish=cloud.desired, low=cloud.desired, high=cloud.desired, max=cloud.max, min=cloud.min)
        return Explorer(Engine(self.goal, self.nature, self.kind), Start(cloud, sky, self.goal, self.nature), most)

    def explore(self, bound: Bound) -> Found:
        """Explore this story within a bound."""
        with impatient():
            return self.explorer(bound).run()


@contextmanager
def impatient() -> Iterator[None]:
    """Let an engine give up sooner: what it does after five failures it does after two, and a world stays small."""
    with patch.object(decide, "MAX_FAILURES", 2), patch.object(warming, "LAUNCHES_EACH", 1):
        yield


def fleet(count: int, *more: Box, smallest: int = 1, largest: int | None = None, zones: str = "a") -> Cloud:
    """Make a cloud in which so many old instances serve, and whatever else there is."""
    old = [Box(num, OLD, zones[num % len(zones)]) for num in range(1, count + 1)]
    return Cloud((*old, *more), smallest, count + 2 if largest is None else largest, count)


def _warm(num: int) -> Box:
    return Box(num, NEW, life=STANDBY, health=ABSENT, release="r0", standby="r0")


_STRANGERS = (
    Box(3, OLD, life=STANDBY, health=ABSENT, foreign=True),
    Box(4, OLD, life=OUTSIDE, health=ABSENT, release="r9"),
)
_SICK = Nature(new_works=False)

STORIES = (
    Story("plain", fleet(2), bounds=TWO_EVENTS),
    Story("three", fleet(3)),
    Story("tight", fleet(2, smallest=2, largest=2), bounds=TWO_EVENTS),
    Story("soak", fleet(2), replace(PLAIN, soak_s=60)),
    Story("canary", fleet(2), replace(PLAIN, canary=1, canary_s=60)),
    Story("canary of three", fleet(3), replace(PLAIN, canary=1, canary_s=60), bounds=LARGE[:2], quick=False),
    Story("batch", fleet(2), replace(PLAIN, batch=1)),
    Story("batch of three", fleet(3, largest=3), replace(PLAIN, batch=2), bounds=LARGE[:2], quick=False),
    Story("keep previous", fleet(2), replace(PLAIN, keep_previous=True)),
    Story("migrates", fleet(2), replace(PLAIN, migrates=True), bounds=LARGE[1:], quick=False),
    Story("never healthy", fleet(2), nature=_SICK),
    Story("never healthy behind the load balancer", fleet(2), nature=Nature(balanced=False)),
    Story(
        "replaced when unhealthy",
        fleet(2),
        nature=Nature(balanced=False, elb_checks=True),
        bounds=(Bound(slow=2),),
        quick=False,
    ),
    Story("sick and replaced", fleet(2), nature=Nature(elb_checks=True), bounds=(Bound(slow=2),), quick=False),
    Story("alarms", fleet(2), replace(PLAIN, soak_s=60), Nature(alarms=True), bounds=LARGE[1:]),
    Story("warm rollback", fleet(2, _warm(3), _warm(4)), kind=Kind.ROLLBACK),
    Story("colder rollback", fleet(2, _warm(3)), kind=Kind.ROLLBACK, bounds=LARGE[:2], quick=False),
    Story("sick rollback", fleet(2, _warm(3), _warm(4)), nature=_SICK, kind=Kind.ROLLBACK, bounds=LARGE[:2]),
    Story("timed", fleet(2), replace(PLAIN, at=NOW), quick=False),
    Story("staged", fleet(2), replace(PLAIN, stage=True)),
    Story("two zones", fleet(3, zones="ab"), nature=Nature(zones=("a", "b")), bounds=LARGE[:2]),
    Story(
        "two looks",
        fleet(2),
        replace(PLAIN, confirmations=2),
        bounds=(Bound(crashes=1, slow=1), Bound(events=1)),
        quick=False,
    ),
    Story("forgotten by EC2", fleet(2), nature=Nature(forgetful=True), bounds=LARGE[:2]),
    Story("strangers", fleet(2, *_STRANGERS)),
)
