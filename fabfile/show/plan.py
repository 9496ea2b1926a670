"""What a release would do, for a person to read before it does."""

from __future__ import annotations

from ..plan.forecast import Forecast
from ..plan.release import Act, Done
from .screen import describe


def render(forecast: Forecast) -> str:
    """Draw the steps, the peak, the calls and the estimate of a forecast."""
    if not forecast.steps and isinstance(forecast.ending, Done):
        return f"{forecast.ending.summary}: nothing to do"
    lines = ["It would, touching nothing now:"]
    for number, step in enumerate(forecast.steps, 1):
        what = describe(step.what, step.facts) if isinstance(step.what, Act) else f"wait: {step.what.what}"
        lines.append(f"{number:3}. {what}")
    calls = ", ".join(f"{count} {name}" for name, count in sorted(forecast.calls().items()))
    minutes, seconds = divmod(round(forecast.seconds), 60)
    lines += [
        "",
        f"at the peak  {forecast.peak} instances",
        f"calls        {calls}",
        f"about        {minutes} min {seconds} s",
    ]
    return "\n".join(lines)
