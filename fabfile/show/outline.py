"""A forecast by its parts: calls of one kind taken together, each wait once, in an operator's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from ..plan import release as acts
from ..plan.forecast import Forecast, Step
from ..plan.moment import say_duration
from ..plan.predict import is_known
from ..plan.release import Act, Wait
from ..plan.wording import counted
from .screen import describe

# What an act is done to, for those that AWS takes a few ids at a time of.
_BY_IDS = (
    *(acts.Protect, acts.Attach, acts.EnterStandby, acts.ExitStandby, acts.Detach, acts.Retire),
    *(acts.Drop, acts.Terminate, acts.Untag),
)
_WAITS = {
    "early": "wait until {until}, early enough to warm the new fleet",
    "warm": "wait until every new instance runs, passes its checks and answers",
    "healthy": "wait until every one of them is healthy in every load balancer",
    "steady": "wait until every new one is healthy in every load balancer, while old ones leave",
    "canary": "watch the canary serve beside the whole old fleet for {lasting}",
    "at": "hold the warm fleet until {until}",
    "drain": "wait until the old ones have finished their requests",
    "soak": "watch the new fleet serve for {lasting}, with the old one still warm",
    "retire": "wait until they are gone",
    "unseen": "wait until EC2 knows every instance of the group",
    "gate cutover": "wait for the other groups of this env, before anything new serves",
    "gate commit": "wait for the other groups of this env, with the old fleet still warm",
}


@dataclass(frozen=True)
class Part:
    """Steps of a forecast that are one to a person.

    :param kind: the act in snake case, or ``wait``.
    :param wait: what kind of wait it is, or None.
    :param ids: of the instances that it is done to, those that AWS has named already.
    """

    kind: str
    wait: str | None
    text: str
    steps: tuple[Step, ...]
    starts_after_s: float

    @property
    def seconds(self) -> float:
        """How long it is taken to last."""
        return sum(step.seconds for step in self.steps)

    @property
    def calls(self) -> dict[str, int]:
        """The calls that change something, by name."""
        return dict(Counter(call for step in self.steps for call in step.calls))

    @property
    def count(self) -> int | None:
        """How many instances it is done to, or None for what is done to no instance."""
        counts = [number for step in self.steps if (number := _count(step.what)) is not None]
        return sum(counts) if counts else None

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the instances that it is done to, those that AWS has named already."""
        return tuple(i for step in self.steps for i in _ids(step.what) if is_known(i))


def outline(forecast: Forecast, zone: tzinfo | None = None) -> tuple[Part, ...]:
    """Take the steps of a forecast together: what an operator would see as one.

    :param zone: in which moments are said; default: this machine's.
    """
    parts: list[Part] = []
    passed_s = 0.0
    for steps in _runs(forecast.steps):
        first = steps[0]
        lasting_s = sum(step.seconds for step in steps)
        if isinstance(first.what, Wait):
            text, kind, wait = _say_wait(first.what, lasting_s, zone), "wait", first.what.name
        else:
            text, kind, wait = _say_acts(steps), _snake(type(first.what).__name__), None
        parts.append(Part(kind, wait, text, tuple(steps), passed_s))
        passed_s += lasting_s
    return tuple(parts)


def _runs(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Yield steps that belong together. Another look at the same is no step of its own; it lasts as part of one."""
    runs: list[list[Step]] = []
    waits: dict[tuple[str, datetime | None], list[Step]] = {}
    for step in steps:
        what = step.what
        known = waits.get((what.mark, what.wake)) if isinstance(what, Wait) else None
        if known is not None or (isinstance(what, Wait) and what.name == "look"):
            run = known if known is not None else runs[-1] if runs else None
            if run is not None:
                # Its time, but nothing that it does: the calls of a wait are none.
                run[-1] = replace(run[-1], seconds=run[-1].seconds + step.seconds, reads=run[-1].reads + step.reads)
            continue
        if runs and _belongs(runs[-1][-1].what, what):
            runs[-1].append(step)
            continue
        runs.append([step])
        if isinstance(what, Wait):
            waits[what.mark, what.wake] = runs[-1]
    yield from runs


def _belongs(before: Act | Wait, what: Act | Wait) -> bool:
    if type(before) is not type(what) or isinstance(what, Wait):
        return False
    if isinstance(before, acts.Protect) and isinstance(what, acts.Protect):
        return before.protected == what.protected
    return isinstance(what, (*_BY_IDS, acts.LaunchInstances))


def _say_acts(steps: list[Step]) -> str:
    first, facts = steps[0].what, steps[0].facts
    if not isinstance(first, Act):
        raise TypeError(f"no act: {first!r}")
    if isinstance(first, acts.LaunchInstances):
        zones: Counter[str] = Counter()
        for step in steps:
            if isinstance(step.what, acts.LaunchInstances):
                zones[step.what.zone] += step.what.count
        each = ", ".join(f"{number} in {zone}" for zone, number in sorted(zones.items()))
        where = f" in {first.zone}" if len(zones) == 1 else f": {each}"
        return f"start {counted(zones.total(), 'instance')} of {first.image_id}{where}"
    if isinstance(first, _BY_IDS):
        return describe(replace(first, ids=tuple(i for step in steps for i in _ids(step.what))), facts)
    return describe(first, facts)


def _say_wait(wait: Wait, lasting_s: float, zone: tzinfo | None) -> str:
    pattern = _WAITS.get(wait.name.removeprefix("undo "))
    if pattern is None:
        return f"wait for {wait.what}"
    until = f"{wait.wake.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" if wait.wake else "its moment"
    return pattern.format(until=until, lasting=say_duration(lasting_s))


def _ids(what: Act | Wait) -> tuple[str, ...]:
    return what.ids if isinstance(what, _BY_IDS) else ()


def _count(what: Act | Wait) -> int | None:
    if isinstance(what, acts.LaunchInstances):
        return what.count
    return len(what.ids) if isinstance(what, _BY_IDS) else None


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
