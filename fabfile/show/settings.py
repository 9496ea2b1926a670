"""The reference of settings in README.md: ``python -m fabfile.show.settings`` brings it up to date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..plan.settings import Setting

BEGIN = "<!-- settings -->"
END = "<!-- /settings -->"


def reference(settings: Iterable[Setting]) -> str:
    """Render the settings as Markdown: a table for each section."""
    return "\n".join(_lines(settings))


def with_reference(text: str, settings: Iterable[Setting]) -> str:
    """Return a document with the reference between its two marks.

    :raises ValueError: it lacks a mark.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document must have a line {BEGIN} and after it a line {END}")
    return f"{before}{BEGIN}\n{reference(settings)}\n{END}{after}"


def _lines(settings: Iterable[Setting]) -> Iterator[str]:
    for above, group in groupby(settings, key=lambda setting: setting.path[:-1]):
        rows = list(group)
        yield f"\n**`{'.'.join(('headway', *above))}`**: {rows[0].about}\n"
        yield "| setting | type | default | meaning |"
        yield "|---|---|---|---|"
        for row in rows:
            default = f"`{row.default}`" if row.default and row.default != "must be set" else row.default
            yield f"| `{row.path[-1]}` | {row.type} | {_cell(default)} | {_cell(row.meaning)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", r"\<") if "`" not in text else text.replace("|", r"\|")


if __name__ == "__main__":
    from ..plan.settings import describe_settings

    readme = Path("README.md")
    readme.write_text(with_reference(readme.read_text(), describe_settings()))
