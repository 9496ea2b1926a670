"""The way back: to the version before, or to any that was ever published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from .stage import settings_for_env, stage

if TYPE_CHECKING:
    from .plan.settings import Settings


@stage(
    help={
        "env": "which env, as in headway.envs",
        "version": "which published version; default: the one that served before",
        "plan": "print what would happen, and touch nothing (so does fab --dry)",
    }
)
def rollback(c: Context, env: str | None = None, version: str | None = None, plan: bool = False) -> None:
    """Bring an earlier version back into service; never runs down-migrations."""
    from .engine.operate import Order
    from .plan.release import Kind
    from .release import change, conclude, show_plan, who

    settings = settings_for_env(c, env)
    target = version or _target(settings)
    order = Order(Kind.ROLLBACK, target, who())
    if plan or c.config.run.dry:
        show_plan(settings, order)
        return
    conclude(settings, change(c, settings, order))


def _target(settings: Settings) -> str:
    """Find what to roll back to: an unfinished rollback's own target, else the version that served before."""
    from .engine.observe import look_once
    from .engine.operate import journal_of, previous_version, serving_version, why_unfinished
    from .plan.outcome import Refusal
    from .plan.release import Kind

    journal = journal_of(settings)
    unfinished = journal.read()
    if unfinished is not None and unfinished.kind is Kind.ROLLBACK:
        return unfinished.version
    if unfinished is not None:
        raise Refusal(why_unfinished(unfinished))
    serving = serving_version(journal, look_once(settings))
    previous = previous_version(journal, serving)
    if previous is None:
        raise Refusal(
            f"history knows no version before {serving or 'the first release'} in {settings.env}; name one: "
            f"fab rollback --env={settings.env} --version=..."
        )
    return previous
