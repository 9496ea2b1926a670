"""What else happens in a cloud: machines die, policies scale, people change their minds, versions turn out bad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fabfile.plan.release import Record

from .calls import RefusedError, sized
from .world import (
    ABSENT,
    DRAINING,
    ENTERING,
    IN_SERVICE,
    LEAVING,
    NEW,
    OUTSIDE,
    PENDING,
    RUNNING,
    TERMINATED,
    Box,
    Cloud,
    Nature,
)


class Sky(NamedTuple):
    """What the environment did, and may still do.

    :param events: so many more things may happen.
    :param crashes: the engine may be killed so many more times.
    :param slow: so many more times one machine, or the group, may be quicker than everything else, or a deadline may
        pass although something is under way. Where nothing is, it passes anyway.
    :param wish: instances that autoscaling and people want in service now, beneath all that a release moved.
    :param low: the lowest wish so far.
    :param high: the wish as it would be if nobody had ever wished for fewer: a release need not follow downwards.
    :param harm: instances that the environment took out of service without wishing for fewer.
    :param max: the maximum that the group is to have; `min` the minimum.
    """

    events: int
    crashes: int
    slow: int
    wish: int
    low: int
    high: int
    max: int
    min: int
    harm: int = 0

    def wishing(self, wish: int) -> Sky:
        """Return the sky after one of the wishes of autoscaling or a person, held within the group's sizes."""
        wish = min(max(wish, self.min), self.max)
        return self._replace(wish=wish, low=min(self.low, wish))


EVERYTHING = 99  # more than any world here has


def happenings(
    cloud: Cloud, nature: Nature, sky: Sky, start: Sky, record: Record, meant: tuple[str, ...]
) -> Iterator[tuple[str, Cloud, Sky]]:
    """Yield each thing that may happen now, with the world after it.

    :param start: the sky before anything happened, for the sizes that people start from.
    :param meant: machines and settings that the calls under way are about. Who changes one of these at the very moment
        between our look and our call is overwritten, for AWS has no conditional writes: nobody can tell whose doing
        it was, and no engine could help it.
    """
    sky = sky._replace(events=sky.events - 1)
    for box in _different(cloud, record):
        if box.power in (PENDING, RUNNING) and (box.life != OUTSIDE or box.release):
            yield f"{box.id} dies", cloud.with_box(box._replace(power=TERMINATED)), sky._replace(harm=sky.harm + 1)
        if box.life == IN_SERVICE and box.power == RUNNING and box.id not in meant:
            yield _stood_by(cloud, sky, box)
    if not cloud.sick and any(box.image == NEW and box.power == RUNNING for box in cloud.boxes):
        yield "the new version turns sick", cloud._replace(sick=True), sky._replace(harm=sky.harm + EVERYTHING)
    if nature.alarms and not cloud.alarm:
        yield "an alarm sounds", cloud._replace(alarm=True), sky
    yield from _resizings(cloud, sky, start, meant)
    if "desired" in meant:
        return
    if cloud.desired < cloud.max:
        # Room that only a release made has to be given back, whoever took it.
        after = sky.wishing(sky.wish + 1) if sky.wish < sky.max else sky._replace(harm=sky.harm + 1)
        after = after._replace(high=min(sky.high + 1, max(sky.max, sky.high)))
        yield "a policy scales out", cloud._replace(desired=cloud.desired + 1), after
    if cloud.desired > cloud.min:
        # Whom a group takes is its own choice, and it may take who serves while another is not there yet.
        after = sky.wishing(sky.wish - 1)
        after = after._replace(harm=sky.harm + (after.low == sky.low))
        yield "a policy scales in", cloud._replace(desired=cloud.desired - 1), after


def _different(cloud: Cloud, record: Record) -> Iterator[Box]:
    """Yield one of each kind of machine: what happens to the others of its kind is the same story."""
    kinds = set()
    for box in cloud.boxes:
        lists = (record.launched, record.attached, record.recalled, record.rested, record.watched)
        kind = (box._replace(num=0), *(box.id in each for each in lists))
        if kind not in kinds and box.life != LEAVING:
            kinds.add(kind)
            yield box


def _stood_by(cloud: Cloud, sky: Sky, box: Box) -> tuple[str, Cloud, Sky]:
    health = ABSENT if box.health == ABSENT else DRAINING
    # One that has our tag already, or still, is taken for ours: the tag is all that there is to go by.
    away = cloud.with_box(box._replace(life=ENTERING, health=health, foreign=box.standby is None))
    label = f"a person puts {box.id} into Standby"
    if cloud.desired > cloud.min:
        return label, away._replace(desired=cloud.desired - 1), sky.wishing(sky.wish - 1)._replace(low=sky.low - 1)
    return f"{label}, to be replaced", away, sky._replace(harm=sky.harm + 1)


def _resizings(cloud: Cloud, sky: Sky, start: Sky, meant: tuple[str, ...]) -> Iterator[tuple[str, Cloud, Sky]]:
    for what, size in (
        ("max", start.max + 7),  # a number that no release comes to by itself
        ("max", start.max - 1),
        ("min", start.min + 1),
        ("min", start.min - 1),
    ):
        if what in meant:
            continue
        try:
            changed = sized(cloud, **{what: size})
        except RefusedError:
            continue
        after = sky._replace(**{what: size})
        if changed != cloud and size >= 0 and after.min <= after.max:
            # A maximum that cuts the desired capacity cuts away what autoscaling had wished for, and says not whose.
            cut = max(cloud.desired - changed.desired, 0)
            wish = max(sky.wish - cut, min(sky.wish, start.wish))
            yield (
                f"a person sets {what} to {size}",
                changed,
                after.wishing(wish)._replace(high=max(sky.high, after.min)),
            )
