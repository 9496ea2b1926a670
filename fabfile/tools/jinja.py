"""Templates: a file and values in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def render(template: Path, values: Mapping[str, object]) -> str:
    """Fill a template; a value that it wants and does not get is an error, never an empty place."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - no HTML
    return environment.from_string(template.read_text()).render(values)
