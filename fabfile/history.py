"""What was released to an env, newest first."""

from __future__ import annotations

from invoke.context import Context

from .stage import settings_for_env, stage

LAST = 10


@stage(
    help={
        "env": "which env, as in headway.envs",
        "last": f"how many of the newest; default: {LAST}",
        "json": "print all that is known of each, for machines",
    }
)
def history(c: Context, env: str | None = None, last: str | None = None, json: bool = False) -> None:
    """Show the releases of an env: who, when, from what, to what, how long, how each ended, and why."""
    import shutil
    import sys
    from itertools import islice

    from .engine.convoy import groups_of, names_of
    from .engine.operate import journal_of
    from .show.history import as_json, render

    count = _count(last)
    settings = settings_for_env(c, env)
    places = groups_of(settings)
    chapters_of = (tuple(islice(journal_of(each).history(), count)) for each in places)
    groups = dict(zip(names_of(places), chapters_of, strict=True))
    if json:
        print(as_json(groups))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for group, chapters in groups.items():
        if len(groups) > 1:
            print(f"{group}:")
        print(render(chapters, settings.env or "", width))


def _count(last: str | None) -> int:
    from .plan.outcome import Refusal

    if last is None:
        return LAST
    if not last.isdecimal() or int(last) == 0:
        raise Refusal(f"--last={last}: must be how many to show, 1 or more")
    return int(last)
