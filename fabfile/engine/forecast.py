"""Foresee a release from what AWS says now: read-only calls, then the pure fold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..plan import forecast
from ..plan.begin import begin
from ..plan.outcome import Refusal
from ..plan.release import Done, Refuse
from .observe import look_once
from .operate import Order, goal_of, journal_of, resumed, why_not_begin

if TYPE_CHECKING:
    from ..plan.settings import Settings

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
USUAL_DRAIN_S = 300


def foresee(settings: Settings, order: Order, image_id: str | None) -> forecast.Forecast:
    """Say what an order, or what is left of the release in progress, would do.

    :param image_id: the AMI that carries the version, or None when it would have to be baked.
    :raises Refusal: the order itself would be refused.
    """
    record = journal_of(settings).read()
    facts = look_once(settings, record)
    if record is None:
        if order.abort:
            raise Refusal(f"no release in progress in {settings.env}: nothing to put back")
        if reason := why_not_begin(settings, order, journal_of(settings), facts):
            raise Refusal(reason)
        env = settings.env or ""
        begun = begin(order.kind, order.version, facts, release_id="(new)", env=env, who="", wish=order.wish)
        if isinstance(begun, Refuse):
            raise Refusal(begun.reason)
        if isinstance(begun, Done):
            return forecast.Forecast((), len(facts.instances), 0, begun)
        record = replace(begun, image_id=image_id)
    else:
        record = resumed(record, order)
    return forecast.foresee(goal_of(settings, record), record, facts, USUAL_DRAIN_S)
