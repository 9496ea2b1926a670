"""The stage that changes what serves: new instances, health, load balancers, autoscaling, old instances out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from .stage import project_root, settings_for_env, stage

if TYPE_CHECKING:
    from pathlib import Path

    from .engine.loop import Result
    from .engine.operate import Order
    from .plan.settings import Settings


@stage(
    help={
        "env": "which env, as in headway.envs",
        "version": "which published version; default: that of the commit",
        "plan": "print what would happen, and touch nothing (so does fab --dry)",
        "abort": "undo the release in progress",
    }
)
def release(
    c: Context, env: str | None = None, version: str | None = None, plan: bool = False, abort: bool = False
) -> None:
    """Bring a version into service with no downtime; resume by the same command."""
    from .engine.operate import Order
    from .plan.release import Kind

    settings = settings_for_env(c, env)
    target = "" if abort else version or _version_of_commit(c)
    order = Order(Kind.RELEASE, target, who(), abort=abort)
    if plan or c.config.run.dry:
        show_plan(settings, order)
        return
    conclude(settings, change(c, settings, order), asked_to_undo=abort)


def change(c: Context, settings: Settings, order: Order) -> Result:
    """Run a release or a rollback to its end, in front of the operator.

    :raises Refusal: nothing was touched.
    """
    from .engine.act import Works
    from .engine.loop import real_clock
    from .engine.operate import operate
    from .plan.outcome import Refusal
    from .show.screen import PlainScreen

    if reason := _why_not_available(settings, order):
        raise Refusal(reason)
    clock = real_clock()
    root = project_root(c)
    works = Works(bake=lambda wanted: _bake(settings, wanted, root), migrate=lambda wanted: _migrate(settings, wanted))
    try:
        return operate(settings, order, works=works, clock=clock, screen=PlainScreen(clock.now))
    except KeyboardInterrupt:
        env = settings.env
        print(
            f"stopped half way: both fleets may serve; the same command goes on, release --env={env} --abort puts back"
        )
        raise


def conclude(settings: Settings, result: Result, *, asked_to_undo: bool = False) -> None:
    """Say how it ended and what to do next.

    :param asked_to_undo: whether having put everything back is what was asked for.
    :raises Restored: it failed, and everything is as it was (exit code 3).
    :raises NotRestored: it failed, and a person has to look (exit code 4).
    """
    from .plan.outcome import NotRestored, Restored
    from .plan.release import Ending
    from .show.status import what_serves

    if result.ending is Ending.DONE:
        print(result.why)
        return
    serves = what_serves(result.facts)
    env = settings.env
    if result.ending is Ending.RESTORED and asked_to_undo:
        print(f"put back; {serves}")
        return
    if result.ending is Ending.RESTORED:
        raise Restored(f"failed and put back: {result.why}\n  now: {serves}\n  look with: fab status --env={env}")
    raise NotRestored(
        f"failed and NOT put back: {result.why}\n  now: {serves}\n"
        f"  look with: fab status --env={env}; try again to put back with: fab release --env={env} --abort"
    )


def show_plan(settings: Settings, order: Order) -> None:
    """Print what an order would do, from read-only calls alone."""
    from .engine.forecast import foresee
    from .plan.outcome import Refusal
    from .show.plan import render

    if reason := _why_not_available(settings, order):
        raise Refusal(reason)
    image_id = None if order.abort else _find_image(settings, order.version)
    print(render(foresee(settings, order, image_id)))


def _why_not_available(settings: Settings, order: Order) -> str | None:
    """Return why a version cannot be had. A rollback to an AMI that is there needs no Apt repository."""
    from .plan.release import Kind
    from .tools.apt import why_not_published

    if order.abort or (order.kind is Kind.ROLLBACK and _find_image(settings, order.version)):
        return None
    return why_not_published(settings, settings.name, order.version)


def who() -> str:
    """Name the person, or the build, that gives the order."""
    import getpass
    import os
    import socket

    author = os.environ.get("DRONE_COMMIT_AUTHOR")
    if author:
        return f"{author} (build {os.environ.get('DRONE_BUILD_NUMBER', '?')})"
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _version_of_commit(c: Context) -> str:
    from .plan.version import version_of
    from .tools.git import describe

    return version_of(describe(project_root(c)))


def _find_image(settings: Settings, version: str) -> str | None:
    from .bake import find_image

    return find_image(settings, version)


def _bake(settings: Settings, version: str, root: Path) -> str:
    """Take the newest AMI that carries the version, the very one that served if it is there; bake only without one."""
    from .bake import bake_version

    found = _find_image(settings, version)
    if found is not None:
        print(f"  {found} carries {version}")
        return found
    return bake_version(settings, version, root=root)


def _migrate(settings: Settings, version: str) -> None:
    import tempfile
    from pathlib import Path

    from .migrate import migrate_up
    from .package import unpack_migrations

    with tempfile.TemporaryDirectory(prefix="headway-migrations-") as scratch:
        folder = unpack_migrations(settings, version, Path(scratch))
        if folder is not None:
            print(migrate_up(settings, folder))
