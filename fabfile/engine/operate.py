"""From an operator's order to a release that has ended: lock, record, loop."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..plan.begin import begin
from ..plan.fleet import Facts
from ..plan.ledger import COMMITTED
from ..plan.outcome import Refusal
from ..plan.release import Done, Ending, Goal, Kind, Record, Refuse
from ..tools.s3 import Bucket
from .act import Hands, Works
from .journal import Journal
from .lock import held
from .loop import Clock, Loop, Result, Screen
from .observe import Asker, Observer

if TYPE_CHECKING:
    from ..plan.settings import Settings


@dataclass(frozen=True)
class Order:
    """What an operator wants of an env: a version in service, or the release in progress undone."""

    kind: Kind
    version: str
    who: str
    abort: bool = False


def operate(
    settings: Settings, order: Order, *, works: Works, clock: Clock, screen: Screen, ask: Asker | None = None
) -> Result:
    """Carry an order out, or go on with it where another process left off.

    :raises Refusal: nothing was touched; the message says why and what to do.
    :raises NotRestored: another process took over.
    """
    bucket = state_of(settings)
    env = settings.env or ""
    journal = journal_of(settings)
    doing = f"{order.kind.value} {order.version}" if not order.abort else "putting back"
    with held(bucket, settings.group, who=order.who, doing=doing, ttl_s=settings.release.lock_ttl_s) as lock:
        observer = Observer(settings, clock.now, ask)
        record = journal.read()
        if record is not None:
            record = resumed(record, order)
        elif order.abort:
            raise Refusal(f"no release in progress in {env}: nothing to put back")
        else:
            facts = observer.look()
            begun = begin(order.kind, order.version, facts, release_id=secrets.token_hex(4), env=env, who=order.who)
            if isinstance(begun, Refuse):
                raise Refusal(begun.reason)
            if isinstance(begun, Done):
                return Result(Ending.DONE, begun.summary, None, facts)
            record = begun
        if not journal.write(record):
            raise Refusal(f"another process just began a release of {env}; look with: fab status --env={env}")
        loop = Loop(
            goal=goal_of(settings, record.kind, record.version),
            poll_s=settings.release.poll_s,
            observer=observer,
            hands=Hands(settings, works),
            journal=journal,
            clock=clock,
            screen=screen,
            lock=lock,
        )
        return loop.run(record)


def goal_of(settings: Settings, kind: Kind, version: str) -> Goal:
    """Say how patient to be. A rollback never migrates: the newer schema serves the older version too."""
    release = settings.release
    return Goal(
        version=version,
        confirmations=release.confirmations,
        warm_within_s=release.warm_within_s,
        healthy_within_s=release.healthy_within_s,
        drain_within_s=release.drain_within_s,
        soak_s=release.soak_s,
        keep_previous=release.keep_previous,
        migrates=kind is Kind.RELEASE and settings.database is not None and settings.database.url is not None,
    )


def state_of(settings: Settings) -> Bucket:
    """Return the place of an env's lock, record and history."""
    if not settings.release.state:
        raise Refusal("headway.release.state: must be set to s3://bucket/prefix, the place of lock, record and history")
    return Bucket(settings, settings.release.state)


def journal_of(settings: Settings) -> Journal:
    """Return the record and history of an env's group: by its name, so that projects may share a prefix."""
    return Journal(state_of(settings), settings.group)


def serving_version(journal: Journal, facts: Facts) -> str | None:
    """Return the version that the group is pointed at; where its AMI is gone, what history says was released last."""
    version = facts.version_of(facts.template_image)
    if version not in (None, "?"):
        return version
    return next((chapter.version for chapter in journal.history() if chapter.ending is Ending.DONE), None)


def previous_version(journal: Journal, serving: str | None) -> str | None:
    """Return the version that served before the one that serves now, as history has it; None when it has none.

    One that a rollback left is not gone back to: whoever rolls back twice wants to go further.
    """
    fled: set[str | None] = {serving, None, "?"}
    for chapter in journal.history():
        if chapter.ending is not Ending.DONE:
            continue
        if chapter.kind is Kind.ROLLBACK:
            fled.add(chapter.from_version)
        for version in (chapter.version, chapter.from_version):
            if version not in fled:
                return version
    return None


def resumed(record: Record, order: Order) -> Record:
    """Go on with a record, with fresh patience: what a dead process waited for says nothing about now.

    :raises Refusal: the order is another one than the record's, or comes too late to undo it.
    """
    env = record.env
    committed = record.mark(COMMITTED)
    if order.abort:
        if committed and record.undo is None:
            raise Refusal(
                f"{record.version} serves and old instances are gone already; finish with: {command(record)}, "
                f"then: fab rollback --env={env}"
            )
        record = replace(record, undo=record.undo or f"put back by {order.who}")
    elif (record.version, record.kind) != (order.version, order.kind):
        raise Refusal(why_unfinished(record))
    marks = ((COMMITTED, committed),) if committed else ()
    return replace(record, failures=0, marks=marks)


def why_unfinished(record: Record) -> str:
    """Say that a release stands open, and the two ways on."""
    return (
        f"{record.kind.value} of {record.version} in {record.env} by {record.who} is unfinished; "
        f"go on with: {command(record)}, or put back with: fab release --env={record.env} --abort"
    )


def command(record: Record) -> str:
    """Return the command that goes on with a release."""
    return f"fab {record.kind.value} --env={record.env} --version={record.version}"
