"""Foresee a release from what AWS says now: read-only calls, then the pure fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..plan import forecast
from ..plan.begin import begin, why_not_now
from ..plan.fleet import Facts
from ..plan.forecast import Forecast, Pace, Subject
from ..plan.outcome import Refusal
from ..plan.release import Done, Record, Refuse
from .loop import FAR_POLL_S, FAR_S
from .observe import Asker, Observer
from .operate import (
    Order,
    goal_of,
    is_in_the_way,
    is_timed_anew,
    journal_of,
    put_aside,
    resumed,
    why_frozen_for,
    why_not_begin,
)
from .ways import why_unfinished

if TYPE_CHECKING:
    from ..plan.settings import Settings


def foresee(
    settings: Settings,
    order: Order,
    image_id: str | None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ask: Asker | None = None,
) -> Forecast:
    """Say what an order, or what is left of the release in progress, would do.

    :param image_id: the AMI that carries the version, or None when it would have to be baked.
    :param now: the clock.
    :param ask: asks applications for their health; default: over HTTP.
    :raises Refusal: the order itself would be refused.
    """
    record = journal_of(settings).read()
    observer = Observer(settings, now, ask)
    facts = observer.look(record)
    pace = Pace(poll_s=settings.release.poll_s, far_s=FAR_S, far_poll_s=FAR_POLL_S, drain_s=observer.drain_s())
    if record is not None and record.env != (settings.env or ""):
        raise Refusal(why_unfinished(record))
    if record is None:
        return _new(settings, order, image_id, facts, pace)
    if not is_in_the_way(record, order):
        resume = resumed(record, order)
        told = forecast.foresee(goal_of(settings, resume), resume, facts, pace)
        frozen = None
        if is_timed_anew(record, order):
            if reason := why_not_now(order.wish, facts):
                raise Refusal(reason)
            frozen = why_frozen_for(settings, order, facts)
        return replace(_warned(told, frozen), subject=_subject(settings, resume, abort=order.abort))
    aside = put_aside(record, order)
    first = forecast.foresee(goal_of(settings, aside), aside, facts, pace)
    return _joined(first, _new(settings, order, image_id, first.after or facts, pace))


def _new(settings: Settings, order: Order, image_id: str | None, facts: Facts, pace: Pace) -> Forecast:
    """Foresee an order from its beginning. A freeze does not keep anybody from asking."""
    env = settings.env or ""
    if order.abort:
        raise Refusal(f"no release in progress in {env}: nothing to put back")
    if reason := why_not_begin(settings, order, journal_of(settings), facts):
        raise Refusal(reason)
    begun = begin(order.kind, order.version, facts, release_id="(new)", env=env, who="", wish=order.wish)
    if isinstance(begun, Refuse):
        raise Refusal(begun.reason)
    if isinstance(begun, Done):
        alive = sum(i.alive for i in facts.instances.values())
        subject = Subject(order.kind, env, facts.group.name, order.version, order.version)
        return Forecast((), alive, 0, begun, now=alive, subject=subject)
    record = replace(begun, image_id=image_id)
    told = forecast.foresee(goal_of(settings, record), record, facts, pace)
    return replace(_warned(told, why_frozen_for(settings, order, facts)), subject=_subject(settings, record))


def _warned(told: Forecast, frozen: str | None) -> Forecast:
    """Say first that the moment lies in a freeze window, if it does: that keeps nobody from asking."""
    return replace(told, warnings=(*([frozen] if frozen else []), *told.warnings))


def _subject(settings: Settings, record: Record, *, abort: bool = False) -> Subject:
    return Subject(record.kind, record.env, settings.group, record.version, record.from_version, abort)


def _joined(first: Forecast, then: Forecast) -> Forecast:
    """Put one forecast after another."""
    return replace(
        then,
        steps=(*first.steps, *then.steps),
        peak=max(first.peak, then.peak),
        seconds=first.seconds + then.seconds,
        now=first.now,
        assumptions=tuple(dict.fromkeys((*first.assumptions, *then.assumptions))),
        warnings=tuple(dict.fromkeys((*first.warnings, *then.warnings))),
    )
