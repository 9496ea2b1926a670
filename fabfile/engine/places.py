"""Where the lock, the record and the history of an env's group are, and which versions they know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.fleet import Facts
from ..plan.outcome import Refusal
from ..plan.past import last_released, previous_version
from ..plan.release import Kind
from ..tools.s3 import Bucket
from .journal import Former, Journal
from .lock import Owner, read_owner
from .observe import look_once
from .ways import was_put_aside, why_unfinished

if TYPE_CHECKING:
    from ..plan.settings import Settings


def state_of(settings: Settings) -> Bucket:
    """Return the place of an env's lock, record and history."""
    if not settings.release.state:
        raise Refusal("headway.release.state: must be set to s3://bucket/prefix, the place of lock, record and history")
    return Bucket(settings, settings.release.state)


def name_of(settings: Settings) -> str:
    """Return what an env's group goes by there.

    By its own name, so that projects may share a prefix; and by its region, since every region may have one of that
    name.
    """
    return f"{settings.region}/{settings.group}"


def journal_of(settings: Settings) -> Journal:
    """Return the record and history of an env's group."""
    return Journal(state_of(settings), name_of(settings), Former(settings.group, settings.env or ""))


def owner_of(settings: Settings) -> Owner | None:
    """Return who holds the lock of an env's group and lives, or None."""
    bucket, ttl_s = state_of(settings), settings.release.lock_ttl_s
    return read_owner(bucket, name_of(settings), ttl_s) or read_owner(bucket, settings.group, ttl_s)


def serving_version(journal: Journal, facts: Facts) -> str | None:
    """Return the version that the group is pointed at; where its AMI is gone, what history says was released last."""
    version = facts.version_of(facts.template_image)
    return last_released(journal.history()) if version in (None, "?") else version


def target_of(settings: Settings) -> str:
    """Find what to roll a group back to: an unfinished rollback's own target, else the version that served before.

    :raises Refusal: history knows none, or a release is unfinished.
    """
    journal = journal_of(settings)
    unfinished = journal.read()
    if unfinished is not None and unfinished.kind is Kind.ROLLBACK:
        return unfinished.version
    if unfinished is not None and not unfinished.staged and not was_put_aside(unfinished):
        raise Refusal(why_unfinished(unfinished))
    serving = serving_version(journal, look_once(settings))
    previous = previous_version(journal.history(), serving)
    if previous is None:
        raise Refusal(
            f"history knows no version before {serving or 'the first release'} in {settings.env}; name one: "
            f"fab rollback --env={settings.env} --version=..."
        )
    return previous
