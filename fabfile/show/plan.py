"""What a release would do, for a person to read before it does."""

from __future__ import annotations

from collections.abc import Iterator

from ..plan.forecast import Forecast
from ..plan.release import Act, Done
from .screen import describe

_WAITS = {
    "warm": "until every new instance runs, passes its checks and answers",
    "healthy": "until every one of them is healthy in every load balancer",
    "drain": "until the old ones have finished their requests",
    "soak": "and watch, with the old ones still warm",
}


def render(forecast: Forecast) -> str:
    """Draw the steps, the peak, the calls and the estimate of a forecast."""
    if not forecast.steps and isinstance(forecast.ending, Done):
        return f"{forecast.ending.summary}: nothing to do"
    lines = ["It would, touching nothing now:"]
    lines += [f"{number:3}. {line}" for number, line in enumerate(_lines(forecast), 1)]
    calls = ", ".join(f"{count} {name}" for name, count in sorted(forecast.calls().items()))
    minutes, seconds = divmod(round(forecast.seconds), 60)
    lines += [
        "",
        f"at the peak  {forecast.peak} instances",
        f"calls        {calls}",
        f"about        {minutes} min {seconds} s",
    ]
    return "\n".join(lines)


def _lines(forecast: Forecast) -> Iterator[str]:
    """Yield a line for each act, and one for each wait that an operator would notice."""
    seen = set()
    for step in forecast.steps:
        if isinstance(step.what, Act):
            yield describe(step.what, step.facts)
        elif step.what.mark in _WAITS and step.what.mark not in seen:
            seen.add(step.what.mark)
            yield f"wait {_WAITS[step.what.mark]}"
