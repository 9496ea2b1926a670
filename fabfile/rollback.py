"""The way back: to the version before, or to any that was ever published."""

from __future__ import annotations

from invoke.context import Context

from .release import HELP
from .stage import settings_for_env, stage


@stage(
    help={
        **{key: HELP[key] for key in ("env", "plan", "json", "wait", "batch", "soak", "at")},
        "version": "which published version; default: the one that served before",
        "yes": "also to a version that history knows as bad",
    },
    optional=["wait"],
    auto_shortflags=False,
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
    from .plan.outcome import Refusal
    from .plan.release import Kind
    from .release import change, conclude, show_plan
    from .wishes import read_version, read_wait, read_wish, whence, who, why_not_json

    if reason := why_not_json(plan=plan or c.config.run.dry, json=json):
        raise Refusal(reason)
    version = read_version(version)
    settings = settings_for_env(c, env)
    wish = read_wish(batch=batch, soak=soak, at=at)
    order = Order(Kind.ROLLBACK, version or "", who(), wish=wish, wait_s=read_wait(wait), bad=yes, link=whence())
    if plan or c.config.run.dry:
        show_plan(settings, order, as_json=json)
        return
    conclude(settings, change(c, settings, order))
