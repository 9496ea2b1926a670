"""What a release would do, for a person to read before it does, at whatever hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from ..plan.forecast import Ending, Forecast, Subject, say_assumption
from ..plan.moment import say_duration
from ..plan.release import Done, Staged, Undone
from ..plan.wording import counted
from .outline import Part, outline

WIDTH = 13
# The longest stretch of steps that is looked for again, such as a batch.
LONGEST_ROUND = 24


def render(forecast: Forecast, zone: tzinfo | None = None) -> str:
    """Draw what a forecast says: warnings first, the steps, what they cost, and what that rests on.

    :param zone: in which moments are said; default: this machine's.
    """
    if not forecast.steps and isinstance(forecast.ending, Done):
        return f"{forecast.ending.summary}: nothing to do"
    lines = [_heading(forecast.subject), *_warnings(forecast), "It would, touching nothing now:"]
    parts = outline(forecast, zone)
    number = 0
    for stretch, times in _rounds(parts):
        first = number + 1
        for part in stretch:
            number += 1
            lines.append(f"{number:3}. {part.text}{_costs(part)}")
        if times > 1:
            lines.append(f"     … {first} to {number} again, {counted(times - 1, 'time')}")
    lines += ["", *_sums(forecast), *_ending(forecast.ending)]
    return "\n".join(line for line in lines if line is not None)


def _heading(subject: Subject | None) -> str | None:
    if subject is None:
        return None
    source = subject.from_version or "nothing"
    if subject.abort:
        return f"put {subject.group} ({subject.env}) back from {subject.version} to {source}"
    return f"{subject.kind.value} {subject.version} to {subject.group} ({subject.env}), which runs {source}"


def _warnings(forecast: Forecast) -> Iterator[str]:
    for warning in forecast.warnings:
        yield f"  mind: {warning}"


def _costs(part: Part) -> str:
    """Say how long a wait lasts, and how many calls an act takes where one does not do."""
    if part.kind == "wait":
        # Those that last for so long have said so.
        return "" if part.wait in ("canary", "soak", "at", "early") else f" (about {say_duration(part.seconds)})"
    calls = sum(part.calls.values())
    return f" ({calls} calls)" if len(part.steps) > 1 else ""


def _sums(forecast: Forecast) -> Iterator[str]:
    more = forecast.peak - forecast.now
    yield _row("at the peak", f"{counted(forecast.peak, 'instance')}, {f'{more} more than' if more else 'as'} now")
    changes = forecast.calls()
    yield _row("calls", f"{sum(changes.values())} that change something, and about {forecast.reads()} that only read")
    for service in sorted({name.partition(":")[0] for name in changes}):
        of_it = ((name.partition(":")[2], count) for name, count in sorted(changes.items()) if name.startswith(service))
        yield _row("", f"{service}: {', '.join(f'{count} {name}' for name, count in of_it)}")
    yield _row("about", say_duration(forecast.seconds))
    for assumption in forecast.assumptions:
        yield _row("", f"if {say_assumption(assumption)}")


def _ending(ending: Ending) -> Iterator[str]:
    if isinstance(ending, Done | Staged):
        yield _row("in the end", ending.summary)
    elif isinstance(ending, Undone):
        yield _row("in the end", "everything is as it was before")
    else:
        yield _row("in the end", f"it would fail: {ending.reason}")


def _row(name: str, text: str) -> str:
    return f"{name:{WIDTH}}{text}"


def _rounds(parts: Sequence[Part]) -> Iterator[tuple[Sequence[Part], int]]:
    """Yield stretches of parts, each with how often it comes in a row: a round that repeats, such as a batch, once."""
    signs = [(part.kind, part.wait) for part in parts]
    at = 0
    while at < len(parts):
        length, times = _round_at(signs, at)
        yield parts[at : at + length], times
        at += length * times


def _round_at(signs: Sequence[tuple[str, str | None]], at: int) -> tuple[int, int]:
    """Return the length of the round that starts here and how often it comes, itself among them."""
    for length in range(2, min(LONGEST_ROUND, (len(signs) - at) // 2) + 1):
        first = signs[at : at + length]
        times = 1
        while signs[at + length * times : at + length * (times + 1)] == first:
            times += 1
        if times > 1:
            return length, times
    return 1, 1
