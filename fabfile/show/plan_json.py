"""What a release would do, for machines: one JSON document, whose form is kept.

``format`` is raised when something that was there changes its meaning or goes; what is new may be added without.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..plan.forecast import Ending, Forecast
from ..plan.release import Done, Refuse, Staged, Stuck, Undo, Undone
from .outline import Part, outline

FORMAT = 1

_ENDINGS: dict[type, str] = {
    Done: "done",
    Staged: "staged",
    Undone: "restored",
    Undo: "turned back",
    Stuck: "stuck",
    Refuse: "refused",
}


def render(forecasts: Sequence[Forecast]) -> str:
    """Write the forecasts of an env's groups, of one group or several, as one JSON document.

    Times are in seconds from the start, moments are not named: the document says the same for the same plan.
    """
    first = next((each.subject for each in forecasts if each.subject), None)
    document = {
        "format": FORMAT,
        "env": first.env if first else None,
        "kind": ("abort" if first.abort else first.kind.value) if first else None,
        "groups": [_group(each) for each in forecasts],
    }
    return json.dumps(document, indent=1)


def _group(forecast: Forecast) -> dict[str, Any]:
    subject = forecast.subject
    return {
        "group": subject.group if subject else None,
        "from": subject.from_version if subject else None,
        "to": subject.version if subject else None,
        "steps": [_step(number, part) for number, part in enumerate(outline(forecast), 1)],
        "instances_now": forecast.now,
        "peak_instances": forecast.peak,
        "calls": dict(sorted(forecast.calls().items())),
        "read_calls": forecast.reads(),
        "seconds": _rounded(forecast.seconds),
        "assumptions": [{"what": each.what, "seconds": _rounded(each.seconds)} for each in forecast.assumptions],
        "ending": {"kind": _kind(forecast.ending), "text": _text(forecast.ending)},
        "warnings": list(forecast.warnings),
    }


def _step(number: int, part: Part) -> dict[str, Any]:
    return {
        "number": number,
        "kind": part.kind,
        "wait": part.wait,
        "text": part.text,
        "instances": part.count,
        "ids": list(part.ids),
        "api_calls": part.calls,
        "starts_after_s": _rounded(part.starts_after_s),
        "seconds": _rounded(part.seconds),
    }


def _rounded(seconds: float) -> float:
    return round(float(seconds), 1)


def _kind(ending: Ending) -> str:
    if isinstance(ending, Done) and not ending.changed:
        return "nothing to do"
    return _ENDINGS[type(ending)]


def _text(ending: Ending) -> str:
    return ending.summary if isinstance(ending, Done | Staged) else ending.reason
