"""Explores every story as far as its bounds say, on all cores: what `scripts/test --model` runs.

`scripts/test --model plain --bound 2,1,0` explores one story within another bound: events, crashes, uneven times.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

from .explore import Violation
from .known import is_known
from .stories import STORIES, Bound, Story


class Outcome(NamedTuple):
    """What one exploration came to."""

    name: str
    bound: Bound
    states: int
    whole: bool
    ends: Counter[str]
    violations: tuple[Violation, ...]
    took_s: float


def main(given: list[str] | None = None) -> int:
    """Explore, say what was found, and how many states there were; 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="scripts/test --model", description=__doc__.partition("\n")[0])
    parser.add_argument("stories", nargs="*", help=f"names of stories ({', '.join(each.name for each in STORIES)})")
    parser.add_argument("--bound", type=_bound, help="events,crashes,slow for every story")
    arguments = parser.parse_args(given)
    stories = [each for each in STORIES if not arguments.stories or each.name in arguments.stories]
    if not stories:
        parser.error(f"no such story: {', '.join(arguments.stories)}")
    jobs = [(each, bound) for each in stories for bound in ((arguments.bound,) if arguments.bound else each.bounds)]
    # The largest first, so that no core is left alone with one at the end.
    jobs.sort(key=lambda job: job[1], reverse=True)
    outcomes = []
    with ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(_explore, *job) for job in jobs]):
            outcomes.append(future.result())
            print(_line(outcomes[-1]), flush=True)
    return _verdict(outcomes)


def _bound(text: str) -> Bound:
    numbers = [int(each) for each in text.split(",")]
    return Bound(*numbers)


def _explore(story: Story, bound: Bound) -> Outcome:
    began = time.monotonic()
    found = story.explore(bound)
    violations = tuple(found.violations.values())
    return Outcome(story.name, bound, found.states, found.whole, found.ends, violations, time.monotonic() - began)


def _line(outcome: Outcome) -> str:
    bound = outcome.bound
    ends = ", ".join(f"{count} {end}" for end, count in outcome.ends.most_common() if end != "Stuck")
    cut = "" if outcome.whole else " (and more)"
    return (
        f"{outcome.name}: {bound.events} events, {bound.crashes} crashes, {bound.slow} uneven: "
        f"{outcome.states} states{cut} in {outcome.took_s:.0f} s; {ends}"
    )


def _verdict(outcomes: list[Outcome]) -> int:
    broken: dict[tuple[str, str | None], tuple[Outcome, Violation]] = {}
    for outcome in outcomes:
        for violation in outcome.violations:
            kind = violation.kind, is_known(violation.rule, outcome.bound.faults, outcome.name)
            shortest = broken.get(kind)
            if shortest is None or len(violation.trace) < len(shortest[1].trace):
                broken[kind] = outcome, violation
    unknown = 0
    for (_, known), (outcome, violation) in broken.items():
        if known:
            print(f"known: {outcome.name}: {violation.rule}: {known}")
        else:
            unknown += 1
            print(f"\n{outcome.name}: {violation}")
    cut = [outcome for outcome in outcomes if not outcome.whole]
    for outcome in cut:
        print(f"{outcome.name}: more states than fit within {outcome.bound}")
    print(f"states: {sum(outcome.states for outcome in outcomes)}")
    return 1 if unknown or cut else 0
