"""The stage that changes what serves: new instances, health, load balancers, autoscaling, old instances out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from invoke.context import Context

from .stage import project_root, settings_for_env, stage

if TYPE_CHECKING:
    from pathlib import Path

    from .engine.loop import Result
    from .engine.operate import Means, Order
    from .plan.settings import Settings
    from .stopping import Stopping


HELP = {
    "env": "which env, as in headway.envs",
    "version": "which published version; default: that of the commit",
    "plan": "print what would happen, and touch nothing (so does fab --dry)",
    "json": "with --plan: for machines",
    "abort": "undo the release in progress",
    "wait": "wait in line for another release to end: --wait, or at most --wait=30m",
    "batch": "replace so many instances at a time",
    "canary": "serve with so many new instances first",
    "canary-for": "watch the canary so long, such as 5m",
    "soak": "watch the new fleet so long with the old one still warm, such as 10m",
    "at": 'start the cutover at this moment: "09:00", "+20m", "2026-12-01 09:00 Europe/Berlin"',
    "override-freeze": "why it is released in a freeze window; kept in history",
}


# Short flags of two tasks that mean different things, such as -a, are a trap.
@stage(help=HELP, optional=["wait"], auto_shortflags=False)
def release(
    c: Context,
    env: str | None = None,
    version: str | None = None,
    plan: bool = False,
    json: bool = False,
    abort: bool = False,
    wait: str | None = None,
    batch: str | None = None,
    canary: str | None = None,
    canary_for: str | None = None,
    soak: str | None = None,
    at: str | None = None,
    override_freeze: str | None = None,
) -> None:
    """Bring a version into service with no downtime; resume by the same command."""
    from .engine.operate import Order
    from .plan.outcome import Refusal
    from .plan.release import Kind
    from .wishes import read_version, read_wait, read_wish, whence, who, why_not_json

    if reason := why_not_json(plan=plan or c.config.run.dry, json=json):
        raise Refusal(reason)
    version = read_version(version)
    settings = settings_for_env(c, env)
    wish = read_wish(batch=batch, canary=canary, canary_for=canary_for, soak=soak, at=at, override=override_freeze)
    target = "" if abort else version or _version_of_commit(c)
    order = Order(Kind.RELEASE, target, who(), abort=abort, wish=wish, wait_s=read_wait(wait), link=whence())
    if plan or c.config.run.dry:
        show_plan(settings, order, as_json=json)
        return
    conclude(settings, change(c, settings, order), asked_to_undo=abort)


@stage(
    name="stage",
    help={key: HELP[key] for key in ("env", "version", "wait", "override-freeze")},
    optional=["wait"],
    auto_shortflags=False,
)
def stage_fleet(
    c: Context,
    env: str | None = None,
    version: str | None = None,
    wait: str | None = None,
    override_freeze: str | None = None,
) -> None:
    """Warm a version's fleet beside the one that serves; fab release of that version uses it."""
    from .engine.operate import Order
    from .plan.release import Kind, Wish
    from .wishes import read_version, read_wait, whence, who

    target = read_version(version)
    settings = settings_for_env(c, env)
    wish = Wish(stage=True, override=override_freeze)
    target = target or _version_of_commit(c)
    order = Order(Kind.RELEASE, target, who(), wish=wish, wait_s=read_wait(wait), link=whence())
    if c.config.run.dry:
        show_plan(settings, order)
        return
    conclude(settings, change(c, settings, order))


class Outcome(NamedTuple):
    """How a release ended in each group, and the signal that stopped it, or 0."""

    results: list[Result]
    stopped_by: int


def change(c: Context, settings: Settings, order: Order) -> Outcome:
    """Run a release or a rollback to its end in every group of an env, in front of the operator.

    :raises Refusal: nothing was touched.
    """
    from .engine.convoy import operate_all
    from .plan.outcome import Failed, Refusal
    from .stopping import stopping_softly

    # What to roll back to may be found under the lock only.
    if (order.version or order.abort) and (
        reason := _why_not_available(settings, order) or _why_not_migratable(settings, order)
    ):
        raise Refusal(reason)
    with stopping_softly() as stopping:
        means = _means(settings, stopping, project_root(c))
        try:
            return Outcome(operate_all(settings, order, means), stopping.number or 0)
        except KeyboardInterrupt:
            means.say(f"stopped at once; look with: fab status --env={settings.env}; {_ways(settings.env)}")
            raise
        except Refusal as refusal:
            # Stopped in line, say: nothing was touched, but who stopped it must not be told that it was refused.
            if stopping.number is None:
                raise
            raise Failed(str(refusal), code=128 + stopping.number) from refusal


def _means(settings: Settings, stopping: Stopping, root: Path) -> Means:
    """Put together what a release is carried out with, on the screen of an operator who may stop it."""
    from .engine.act import Works
    from .engine.convoy import groups_of, names_of
    from .engine.loop import Clock, real_clock
    from .engine.operate import Means
    from .engine.witness import Witness
    from .show.screen import PlainScreen, quietly

    now = real_clock().now
    groups = groups_of(settings)
    names = {(each.region, each.group): name for each, name in zip(groups, names_of(groups), strict=True)}

    def works(each: Settings) -> Works:
        def bake(wanted: str) -> str:
            with stopping.at_once():
                return _bake(each, wanted, root)

        def migrate(wanted: str) -> None:
            with stopping.at_once():
                _migrate(each, wanted)

        return Works(bake, migrate)

    return Means(
        works=works,
        clock=Clock(now, stopping.sleep),
        screen=lambda each: PlainScreen(now, named=names[each.region, each.group] if len(groups) > 1 else ""),
        witness=Witness,
        stop=stopping.asked,
        say=quietly(print),
        lacks=partial(_why_not_available, settings),
        ahead=True,
    )


def conclude(settings: Settings, outcome: Outcome, *, asked_to_undo: bool = False) -> None:
    """Say how it ended and what to do next.

    :param asked_to_undo: whether having put everything back is what was asked for.
    :raises Restored: it failed, and everything is as it was (exit code 3).
    :raises NotRestored: it failed, and a person has to look (exit code 4).
    :raises Failed: it was stopped by a signal.
    """
    from .plan.outcome import Failed, NotRestored, Restored
    from .plan.release import Ending
    from .show.ending import render
    from .show.screen import quietly

    text = render(settings.env or "", outcome.results, asked_to_undo=asked_to_undo)
    endings = {result.ending for result in outcome.results}
    if Ending.NOT_RESTORED in endings:
        raise NotRestored(text)
    if Ending.STOPPED in endings:
        raise Failed(text, code=128 + outcome.stopped_by)
    if Ending.RESTORED in endings and not asked_to_undo:
        # One that had nothing to do is as it was, too; one that went forward is not.
        parted = any(each.record and each.ending in (Ending.DONE, Ending.STAGED) for each in outcome.results)
        raise NotRestored(text) if parted else Restored(text)
    quietly(print)(text)


def _ways(env: str | None) -> str:
    return f"the same command goes on, fab release --env={env} --abort puts back"


def show_plan(settings: Settings, order: Order, *, as_json: bool = False) -> None:
    """Print what an order would do, from read-only calls alone."""
    from .engine.convoy import groups_of
    from .engine.forecast import foresee
    from .engine.places import target_of
    from .plan.outcome import Refusal
    from .show import plan, plan_json

    if not order.version and not order.abort:
        order = replace(order, version=target_of(groups_of(settings)[0]))
    if reason := _why_not_available(settings, order):
        raise Refusal(reason)
    forecasts = [
        foresee(each, order, None if order.abort else _find_image(each, order.version)) for each in groups_of(settings)
    ]
    print(plan_json.render(forecasts) if as_json else "\n\n".join(plan.render(each) for each in forecasts))


def _why_not_available(settings: Settings, order: Order) -> str | None:
    """Return why a version cannot be had, where something of it is still to be had."""
    from .engine.convoy import groups_of
    from .tools.apt import why_not_published

    if order.abort or not any(_needs_package(each, order) for each in groups_of(settings)):
        return None
    return why_not_published(settings, settings.name, order.version)


def _needs_package(settings: Settings, order: Order) -> bool:
    """Whether a group has yet to get a version's package: to bake an AMI of it, or to migrate the database for it."""
    return _find_image(settings, order.version) is None or _needs_migration(settings, order)


def _why_not_migratable(settings: Settings, order: Order) -> str | None:
    """Return why a group's database cannot be migrated from here, where it is to be."""
    from .engine.convoy import groups_of
    from .migrate import why_not_migratable

    if order.abort:
        return None
    needing = (each for each in groups_of(settings) if _needs_migration(each, order))
    return next((reason for each in needing if (reason := why_not_migratable(each))), None)


def _needs_migration(settings: Settings, order: Order) -> bool:
    """Whether the migrations of a version are still to be run for a group."""
    from .engine.places import journal_of
    from .plan.release import Kind

    if order.kind is Kind.ROLLBACK or settings.database is None or settings.database.url is None:
        return False
    record = journal_of(settings).read()
    return record is None or record.version != order.version or not record.migrated


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
    from .show.screen import quietly

    found = _find_image(settings, version)
    if found is not None:
        quietly(print)(f"  {found} carries {version}")
        return found
    return bake_version(settings, version, root=root)


def _migrate(settings: Settings, version: str) -> None:
    import tempfile
    from pathlib import Path

    from .migrate import migrate_up
    from .package import unpack_migrations
    from .show.screen import quietly

    with tempfile.TemporaryDirectory(prefix="headway-migrations-") as scratch:
        folder = unpack_migrations(settings, version, Path(scratch))
        if folder is not None:
            quietly(print)(str(migrate_up(settings, folder)))
