"""The way back: to the version before, or to any that was ever published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from .release import HELP
from .stage import settings_for_env, stage

if TYPE_CHECKING:
    from .plan.settings import Settings


@stage(
    help={
        **{key: HELP[key] for key in ("env", "plan", "json", "wait", "batch", "soak", "at")},
        "version": "which published version; default: the one that served before",
        "yes": "also to a version that history knows as bad",
    },
    optional=["wait"],
)
def rollback(
    c: Context,
    env: str | None = None,
    version: str | None = None,
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
    wait: str | None = None,
    batch: str | None = None,
    soak: str | None = None,
    at: str | None = None,
) -> None:
    """Bring an earlier version back into service; never runs down-migrations."""
    from .engine.operate import Order
    from .plan.release import Kind
    from .release import change, conclude, show_plan
    from .wishes import read_wait, read_wish, whence, who

    settings = settings_for_env(c, env)
    wish = read_wish(batch=batch, soak=soak, at=at)
    target = version or _target(settings)
    order = Order(Kind.ROLLBACK, target, who(), wish=wish, wait_s=read_wait(wait), bad=yes, link=whence())
    if plan or json or c.config.run.dry:
        show_plan(settings, order, as_json=json)
        return
    conclude(settings, change(c, settings, order))


def _target(settings: Settings) -> str:
    """Find what to roll back to: an unfinished rollback's own target, else the version that served before."""
    from .engine.convoy import groups_of
    from .engine.observe import look_once
    from .engine.operate import journal_of, serving_version
    from .engine.ways import why_unfinished
    from .plan.outcome import Refusal
    from .plan.past import previous_version
    from .plan.release import Kind

    first = groups_of(settings)[0]
    journal = journal_of(first)
    unfinished = journal.read()
    if unfinished is not None and unfinished.kind is Kind.ROLLBACK:
        return unfinished.version
    if unfinished is not None and not unfinished.staged:
        raise Refusal(why_unfinished(unfinished))
    serving = serving_version(journal, look_once(first))
    previous = previous_version(journal.history(), serving)
    if previous is None:
        raise Refusal(
            f"history knows no version before {serving or 'the first release'} in {settings.env}; name one: "
            f"fab rollback --env={settings.env} --version=..."
        )
    return previous
