"""What runs in an env, right now."""

from __future__ import annotations

from invoke.context import Context

from .stage import settings_for_env, stage


@stage(help={"env": "which env, as in headway.envs"})
def status(c: Context, env: str | None = None) -> None:
    """Show what runs in an env: group, versions, each instance's health, the release in progress."""
    from .engine.lock import read_owner
    from .engine.observe import bystander
    from .engine.operate import journal_of, state_of
    from .show.status import render

    settings = settings_for_env(c, env)
    bucket = state_of(settings)
    record = journal_of(settings).read()
    observer = bystander(settings)
    facts = observer.look(record.id if record else None)
    print(
        render(
            facts,
            record,
            read_owner(bucket, settings.group, settings.release.lock_ttl_s) if record else None,
            observer.addresses(),
        )
    )
