"""What runs in an env, right now."""

from __future__ import annotations

from invoke.context import Context

from .stage import settings_for_env, stage


@stage(help={"env": "which env, as in headway.envs"})
def status(c: Context, env: str | None = None) -> None:
    """Show what runs in an env: group, versions, each instance's health, the release in progress."""
    from .engine.convoy import groups_of
    from .engine.observe import bystander
    from .engine.places import journal_of, owner_of
    from .show.status import render

    for number, settings in enumerate(groups_of(settings_for_env(c, env))):
        record = journal_of(settings).read()
        observer = bystander(settings)
        facts = observer.look(record)
        owner = owner_of(settings) if record else None
        print(("\n" if number else "") + render(facts, record, owner, observer.addresses()))
