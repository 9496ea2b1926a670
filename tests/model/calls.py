"""What can be asked of the small cloud: the API calls of each act, in the order in which the engine's hands make them.

Every rule here has its counterpart, and its page of AWS, in fabfile/localcloud/group_rules.py or instances.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from fabfile.plan import release as acts
from fabfile.plan.fleet import Template

from .world import (
    ABSENT,
    DETACHING,
    DRAINING,
    ENTERING,
    IMAGE_OF_TEMPLATE,
    IN_SERVICE,
    JOINING,
    LEAVING,
    OUTSIDE,
    PENDING,
    RUNNING,
    SHUTTING_DOWN,
    STANDBY,
    TERMINATED,
    Box,
    Cloud,
    free_numbers,
    in_order,
    leave,
)


class RefusedError(Exception):
    """AWS does not do it, and says why.

    :param moved: because a machine is elsewhere than we believed.
    """

    def __init__(self, why: str, *, moved: bool = False) -> None:
        super().__init__(why)
        self.moved = moved


class Call(NamedTuple):
    """One API call, by its operation's name in boto3. The last two are the tools of a project, not AWS.

    :param value: what else it carries: a tag's value, a number, a template version.
    :param token: what makes a launch the same one; the tag that is set.
    """

    name: str
    ids: tuple[str, ...] = ()
    value: str | int | bool | None = None
    token: str = ""
    zone: str = ""
    number: int = 0


TOOLS = ("Bake", "Migrate")


@cache
def calls_of(act: acts.Act) -> tuple[Call, ...]:
    """Return the calls that an act is made of: a crash may fall before, between and after them."""
    return tuple(_CALLS[type(act)](act))


def _launch(act: acts.LaunchInstances) -> list[Call]:
    return [
        Call("RunInstances", value=act.template.version, token=act.token, zone=act.zone, number=act.count),
    ]


def _prepare(act: acts.PrepareGroup) -> list[Call]:
    pause = [Call("SuspendProcesses")] if act.pause else []
    return [*pause, Call("UpdateAutoScalingGroup", ("max",), act.max)]


def _restore(act: acts.RestoreGroup) -> list[Call]:
    size = [] if act.max is None else [Call("UpdateAutoScalingGroup", ("max",), act.max)]
    return [*size, *([Call("ResumeProcesses")] if act.resume else [])]


def _retire(instance_id: str, *, shrink: bool = False) -> Call:
    return Call("TerminateInstanceInAutoScalingGroup", (instance_id,), shrink)


def _point(template: Template) -> list[Call]:
    return [Call("UpdateAutoScalingGroup", ("template",), template.version)]


_CALLS: dict[type[acts.Act], Callable[..., list[Call]]] = {
    acts.BakeImage: lambda act: [Call("Bake")],
    acts.Migrate: lambda act: [Call("Migrate")],
    acts.PinTemplate: lambda act: _point(act.template),
    acts.WriteTemplateVersion: lambda act: [Call("CreateLaunchTemplateVersion")],
    acts.LaunchInstances: _launch,
    acts.PrepareGroup: _prepare,
    acts.Protect: lambda act: [Call("SetInstanceProtection", act.ids, act.protected)],
    acts.Attach: lambda act: [Call("AttachInstances", act.ids)],
    acts.PointGroup: lambda act: _point(act.template),
    acts.EnterStandby: lambda act: [Call("CreateTags", act.ids, act.release, "standby"), Call("EnterStandby", act.ids)],
    acts.ExitStandby: lambda act: [Call("ExitStandby", act.ids)],
    acts.Detach: lambda act: [Call("CreateTags", act.ids, act.release, "leaving"), Call("DetachInstances", act.ids)],
    acts.Retire: lambda act: [_retire(each) for each in act.ids],
    acts.Drop: lambda act: [_retire(each, shrink=act.shrink) for each in act.ids],
    acts.Terminate: lambda act: [Call("TerminateInstances", act.ids)],
    acts.RestoreGroup: _restore,
    acts.Resize: lambda act: [Call("UpdateAutoScalingGroup", ("desired",), act.desired)],
    acts.Untag: lambda act: [Call("DeleteTags", act.ids, None, "standby")],
}


def make(call: Call, cloud: Cloud, taken: frozenset[int]) -> tuple[Cloud, tuple[str, ...]]:
    """Make a call.

    :param taken: numbers that new machines cannot have.
    :returns: the cloud afterwards, and ids of machines that the answer names.
    :raises RefusedError: AWS answers with an error, and nothing has changed.
    """
    if call.name == "RunInstances":
        return _run_instances(call, cloud, taken)
    rule = _RULES.get(call.name)
    return (rule(call, cloud) if rule else cloud), ()


def _run_instances(call: Call, cloud: Cloud, taken: frozenset[int]) -> tuple[Cloud, tuple[str, ...]]:
    asked = f"{call.token} {call.zone} {call.value}"
    for known, count, nums in cloud.tokens:
        if known.partition(" ")[0] == call.token:
            if (known, count) != (asked, call.number):
                raise RefusedError("IdempotentParameterMismatch")
            return cloud, tuple(f"i-{num:02d}" for num in nums)
    nums = tuple(free_numbers(cloud, taken, call.number))
    image = IMAGE_OF_TEMPLATE[str(call.value)]
    release = call.token.partition("-")[0]
    boxes = tuple(Box(num, image, call.zone, PENDING, OUTSIDE, ABSENT, release=release) for num in nums)
    cloud = cloud._replace(
        boxes=in_order((*cloud.boxes, *boxes)), tokens=tuple(sorted((*cloud.tokens, (asked, call.number, nums))))
    )
    return cloud, tuple(box.id for box in boxes)


def _suspend(call: Call, cloud: Cloud) -> Cloud:
    return cloud._replace(paused=True)


def _resume(call: Call, cloud: Cloud) -> Cloud:
    return cloud._replace(paused=False)


def _update(call: Call, cloud: Cloud) -> Cloud:
    what = call.ids[0]
    if what == "template":
        return cloud._replace(template=str(call.value))
    return sized(cloud, **{what: int(call.value or 0)})


def sized(cloud: Cloud, *, min: int | None = None, max: int | None = None, desired: int | None = None) -> Cloud:  # noqa: A002
    """Change a group's sizes; a desired capacity that is not given follows the others.

    :raises RefusedError: they do not fit together.
    """
    smallest = cloud.min if min is None else min
    largest = cloud.max if max is None else max
    if largest < smallest or (desired is not None and not smallest <= desired <= largest):
        raise RefusedError("ValidationError: sizes")
    wanted = cloud.desired if desired is None else desired
    wanted = smallest if wanted < smallest else largest if wanted > largest else wanted
    return cloud._replace(min=smallest, max=largest, desired=wanted)


def _members(call: Call, cloud: Cloud, lives: tuple[str, ...]) -> list[Box]:
    found = [cloud.box(instance_id) for instance_id in call.ids]
    boxes = [box for box in found if box is not None and box.life in lives]
    if len(boxes) < len(found):
        raise RefusedError(f"ValidationError: not in {' or '.join(lives)}", moved=True)
    return boxes


def _changed(cloud: Cloud, boxes: list[Box]) -> Cloud:
    for box in boxes:
        cloud = cloud.with_box(box)
    return cloud


def _protect(call: Call, cloud: Cloud) -> Cloud:
    boxes = _members(call, cloud, (JOINING, IN_SERVICE, ENTERING, STANDBY, LEAVING, DETACHING))
    return _changed(cloud, [box._replace(protected=bool(call.value)) for box in boxes])


def _attach(call: Call, cloud: Cloud) -> Cloud:
    boxes = _members(call, cloud, (OUTSIDE,))
    if any(box.power != RUNNING for box in boxes):
        raise RefusedError("ValidationError: not running", moved=True)
    wanted = cloud.desired + len(boxes)
    if wanted > cloud.max:
        raise RefusedError("ValidationError: above max")
    return _changed(cloud, [box._replace(life=JOINING) for box in boxes])._replace(desired=wanted)


def _enter_standby(call: Call, cloud: Cloud) -> Cloud:
    boxes = _members(call, cloud, (IN_SERVICE,))
    wanted = cloud.desired - len(boxes)
    if wanted < cloud.min:
        raise RefusedError("ValidationError: below min")
    boxes = [box._replace(life=ENTERING, health=ABSENT if box.health == ABSENT else DRAINING) for box in boxes]
    return _changed(cloud, boxes)._replace(desired=wanted)


def _exit_standby(call: Call, cloud: Cloud) -> Cloud:
    boxes = _members(call, cloud, (STANDBY,))
    wanted = cloud.desired + len(boxes)
    if wanted > cloud.max:
        raise RefusedError("ValidationError: above max")
    return _changed(cloud, [box._replace(life=JOINING) for box in boxes])._replace(desired=wanted)


def _detach(call: Call, cloud: Cloud) -> Cloud:
    boxes = _members(call, cloud, (IN_SERVICE, STANDBY))
    boxes = [
        box._replace(life=DETACHING, protected=False, health=ABSENT if box.health == ABSENT else DRAINING)
        for box in boxes
    ]
    return _changed(cloud, boxes)


def _terminate_member(call: Call, cloud: Cloud) -> Cloud:
    box = cloud.box(call.ids[0])
    if box is None or box.life == OUTSIDE:
        raise RefusedError("ValidationError: Instance Id not found", moved=True)
    if box.life == LEAVING:
        return cloud
    if call.value:
        if cloud.desired <= cloud.min:
            raise RefusedError("ValidationError: desiredSize equals minSize")
        cloud = cloud._replace(desired=cloud.desired - 1)
    return cloud.with_box(leave(box))


def _terminate(call: Call, cloud: Cloud) -> Cloud:
    found = [box for box in (cloud.box(instance_id) for instance_id in call.ids) if box is not None]
    return _changed(cloud, [box._replace(power=SHUTTING_DOWN) for box in found if box.power != TERMINATED])


def _tag(call: Call, cloud: Cloud) -> Cloud:
    found = [box for box in (cloud.box(instance_id) for instance_id in call.ids) if box is not None]
    if len(found) < len(call.ids):
        raise RefusedError("InvalidInstanceID.NotFound", moved=True)
    value = str(call.value) if call.name == "CreateTags" else None
    if call.token == "leaving":
        return _changed(cloud, [box._replace(leaving=value) for box in found])
    return _changed(cloud, [box._replace(standby=value) for box in found])


_RULES: dict[str, Callable[[Call, Cloud], Cloud]] = {
    "SuspendProcesses": _suspend,
    "ResumeProcesses": _resume,
    "UpdateAutoScalingGroup": _update,
    "SetInstanceProtection": _protect,
    "AttachInstances": _attach,
    "EnterStandby": _enter_standby,
    "ExitStandby": _exit_standby,
    "DetachInstances": _detach,
    "TerminateInstanceInAutoScalingGroup": _terminate_member,
    "TerminateInstances": _terminate,
    "CreateTags": _tag,
    "DeleteTags": _tag,
}
