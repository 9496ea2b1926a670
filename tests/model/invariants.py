"""What must be true of a release, whatever happens: each rule names what it found wrong, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fabfile.plan import decide
from fabfile.plan.release import Act, Done, Goal, Record, Stuck, Undone

from .calls import Call, RefusedError, calls_of, make
from .engine import LONG_AGO, RELEASE, Engine
from .weather import Sky
from .world import (
    ABSENT,
    COUNTED,
    DRAINING,
    HEALTHY,
    IN_SERVICE,
    LEAVING,
    NEW,
    OLD,
    OUTSIDE,
    PENDING,
    RUNNING,
    STANDBY,
    Box,
    Cloud,
    Nature,
    tick,
    works,
)

MOVES = {
    "EnterStandby",
    "ExitStandby",
    "DetachInstances",
    "TerminateInstanceInAutoScalingGroup",
    "TerminateInstances",
    "CreateTags",
    "AttachInstances",
}
SETTLES_WITHIN = 20


@dataclass(frozen=True)
class Start:
    """The world as it was when the release began."""

    cloud: Cloud
    sky: Sky
    goal: Goal
    nature: Nature


def wrong_in_state(cloud: Cloud, sky: Sky) -> Iterator[str]:
    """Yield what is wrong now: fewer serve than anybody wished for, and the environment did not take them."""
    least = sky.low - sky.harm
    if cloud.serving() < least:
        yield f"capacity: {cloud.serving()} serve, {least} should"


def wrong_in_act(engine: Engine, cloud: Cloud, record: int, act: Act, sky: Sky) -> Iterator[str]:
    """Yield what is wrong with an act, done at once in the very world in which it was decided."""
    before = cloud.seen_serving()
    for call in calls_of(act):
        yield from wrong_in_call(cloud, call, engine.records[record])
        yield from _kills(cloud, call)
        try:
            cloud, _ = make(call, cloud, engine.taken[record])
        except RefusedError as refused:
            yield f"refused: {type(act).__name__} is refused where nothing came between: {refused}"
            break
    after = cloud.seen_serving()
    if after < before and after < sky.wish:
        yield f"demand: {type(act).__name__} leaves {after} of {before} in service, {sky.wish} are wished for"


def wrong_in_call(cloud: Cloud, call: Call, record: Record) -> Iterator[str]:
    """Yield what is wrong with a call: it touches what is not ours, or kills what serves.

    What drains may be killed once the patience for it has run out.
    """
    if call.name not in MOVES:
        return
    may_drain = not any(at == LONG_AGO for _, at in record.marks)
    for instance_id in call.ids:
        box = cloud.box(instance_id)
        if box is None or box.power not in (PENDING, RUNNING):
            continue
        if box.foreign:
            yield f"foreign: {call.name} touches {box.id}, which somebody else put into Standby"
        if box.life == OUTSIDE and RELEASE not in (box.release, box.leaving):
            yield f"foreign: {call.name} touches {box.id}, which is neither the group's nor ours"
        serves = box.health not in (ABSENT, DRAINING) or (box.health == DRAINING and may_drain)
        if call.name == "TerminateInstances" and serves:
            yield f"killed: {call.name} kills {box.id}, which is {box.health} in the load balancer"


def _kills(cloud: Cloud, call: Call) -> Iterator[str]:
    """Yield what a group is asked to terminate although it serves: it is drained first, but has no reason to go."""
    if call.name == "TerminateInstanceInAutoScalingGroup":
        box = cloud.box(call.ids[0])
        if box is not None and box.health == HEALTHY and box.power == RUNNING:
            yield f"killed: {call.name} takes {box.id}, which serves"


def wrong_at_end(start: Start, cloud: Cloud, record: Record, sky: Sky, end: Done | Undone) -> Iterator[str]:
    """Yield what is wrong with a world in which a release says that it has ended."""
    stays, leaves = (NEW, OLD) if isinstance(end, Done) else (OLD, NEW)
    name = type(end).__name__
    for box in cloud.boxes:
        yield from (f"{name}: {wrong}" for wrong in _wrong_with(box, leaves, start))
    yield from (f"{name}: {wrong}" for wrong in _wrong_settings(start, cloud, sky, stays))
    settled = settle(cloud, start.nature)
    if settled is None:  # a group goes on to replace what is sick, whoever released it
        return
    serving = [box for box in settled.boxes if box.life == IN_SERVICE]
    if any(box.image != stays for box in serving):
        yield f"{name}: the {leaves} version serves afterwards"
    can_serve = all(works(box, settled, start.nature) for box in serving)
    if can_serve and settled.serving() < sky.wish:
        yield f"{name}: {settled.serving()} serve afterwards, {sky.wish} are wished for"


def why_stuck(record: Record, end: Stuck) -> str | None:
    """Return what justifies to leave a release to a person; None when nothing does.

    There are three reasons: calls that keep failing, instances that keep dying, and a way back, or an end, on which
    something took longer than the operator's patience.
    """
    if "keep dying" in end.reason:
        return "instances keep dying"
    if record.failures >= decide.MAX_FAILURES:
        return "calls keep failing"
    late = [name.partition("#")[0] for name, at in record.marks if at == LONG_AGO]
    if {"retire", "undo retire"} & {*late}:
        return "retire took too long"
    undoing = next((name for name in late if name.startswith("undo")), None)
    if record.undo is not None and undoing:
        return f"{undoing} took too long"
    return None


def settle(cloud: Cloud, nature: Nature) -> Cloud | None:
    """Let everything happen that is under way; None when that never ends."""
    for _ in range(SETTLES_WITHIN):
        after = tick(cloud, nature, frozenset())
        if after is cloud:
            return cloud
        cloud = after
    return None


def _wrong_with(box: Box, leaves: str, start: Start) -> Iterator[str]:
    if box.power not in (PENDING, RUNNING) or box.life == LEAVING:
        return
    original = start.cloud.box(box.id)
    if box.life in COUNTED and box.image == leaves:
        yield f"{box.id} of the {leaves} version is in the group"
    if box.life == OUTSIDE and RELEASE in (box.release, box.leaving):
        yield f"{box.id} is left over outside the group"
    if box.life == STANDBY and not box.foreign and not _is_kept(box, original, leaves, start.goal):
        yield f"{box.id} is left over in Standby"
    if box.life in COUNTED and box.protected and not (original and original.protected):
        yield f"{box.id} is still protected from scale-in"
    if box.life in COUNTED and box.standby:
        yield f"{box.id} in service still has the tag of an instance in Standby"


def _is_kept(box: Box, original: Box | None, leaves: str, goal: Goal) -> bool:
    warm_before = original is not None and original.life == STANDBY
    return warm_before or (goal.keep_previous and leaves == OLD and box.image == OLD and box.standby == RELEASE)


def _wrong_settings(start: Start, cloud: Cloud, sky: Sky, stays: str) -> Iterator[str]:
    # Not under what serves, where somebody wants fewer than there were: to shrink the fleet is autoscaling's to do.
    largest = max(sky.max, min(cloud.desired, start.cloud.desired))
    if cloud.max != largest:
        yield f"the maximum is {cloud.max}, not {largest}"
    if cloud.min != sky.min:
        yield f"the minimum is {cloud.min}, not {sky.min}"
    if cloud.paused != start.cloud.paused:
        yield "suspended processes are not as they were"
    if cloud.template != ("2" if stays == NEW else "1"):
        yield f"the group launches template version {cloud.template}"
    if cloud.desired < min(sky.wish, cloud.max):
        yield f"the desired capacity is {cloud.desired}, {sky.wish} are wished for"
    if cloud.desired > max(sky.wish, min(sky.high, cloud.max)):
        yield f"the desired capacity is {cloud.desired}, only {sky.wish} are wished for"
