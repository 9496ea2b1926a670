"""Lifecycle hooks: what lets an instance wait while it comes into a group, or while it leaves it.

Pages followed: how hooks work
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html), when they run and when not
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html: on launches and terminations, not on
attaching, detaching and Standby) and how they end
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/completing-lifecycle-hooks.html).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import ValidationError

if TYPE_CHECKING:
    from .groups import Group, Member

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
ABANDON, CONTINUE = "ABANDON", "CONTINUE"
TIMED_OUT = "Heartbeat Timeout"
COMPLETED = "Lifecycle Action Completed with ABANDON Result"
LONGEST_S = 172_800
HOOKS_PER_GROUP = 50

_numbers = count(1)


@dataclass(frozen=True)
class Hook:
    """A lifecycle hook, under the names that the API's answers have."""

    lifecycle_hook_name: str
    auto_scaling_group_name: str
    lifecycle_transition: str
    heartbeat_timeout: int = 3600
    default_result: str = ABANDON
    notification_target_arn: str | None = None
    role_arn: str | None = None
    notification_metadata: str | None = None

    @property
    def global_timeout(self) -> int:
        """Longest time, in seconds, that heartbeats may keep an instance waiting."""
        return min(LONGEST_S, 100 * self.heartbeat_timeout)


@dataclass
class Waiting:
    """One lifecycle action: an instance waits for a hook to be completed, or for its time to be over."""

    hook: Hook
    token: str
    until_s: float
    latest_s: float


def begin(group: Group, member: Member, transition: str, now_s: float) -> bool:
    """Let a member wait for all hooks of a transition at once; tell whether there are any."""
    for hook in group.hooks.values():
        if hook.lifecycle_transition == transition:
            token = f"{next(_numbers):08x}-0000-4000-8000-00000000beef"
            latest_s = now_s + hook.global_timeout
            member.waits[hook.lifecycle_hook_name] = Waiting(hook, token, now_s + hook.heartbeat_timeout, latest_s)
    return bool(member.waits)


def expire(member: Member, now_s: float) -> None:
    """End the waits whose time is over with the default result of their hooks."""
    for waiting in list(member.waits.values()):
        if now_s >= min(waiting.until_s, waiting.latest_s):
            end(member, waiting, waiting.hook.default_result, TIMED_OUT)


def end(member: Member, waiting: Waiting, result: str, why: str) -> None:
    """End one wait: ABANDON ends all others with it and, of a launch, the launch."""
    member.waits.pop(waiting.hook.lifecycle_hook_name, None)
    if result == ABANDON:
        member.waits.clear()
        member.abandoned_because = (
            "Instance failed to complete user's Lifecycle Action: "
            f"Lifecycle Action with token {waiting.token} was abandoned: {why}"
        )


def put(group: Group, name: str, given: dict[str, Any]) -> None:
    """Make a hook, or change one: what is not given of one that is there stays.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html

    :param given: fields of :class:`Hook` by name; those that are None are not given.
    """
    changes = {key: value for key, value in given.items() if value is not None}
    _refuse(group, name, changes)
    before = group.hooks.get(name)
    kept = {key: value for key, value in vars(before).items() if value is not None} if before else {}
    identity = {"lifecycle_hook_name": name, "auto_scaling_group_name": group.name}
    group.hooks[name] = Hook(**{**kept, **changes, **identity})


def delete(group: Group, name: str) -> None:
    """Take a hook away; who waits for it goes on: a launch is abandoned, a termination continues.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteLifecycleHook.html
    """
    hook = group.hooks.pop(name, None)
    if hook is None:
        raise ValidationError(f"No Lifecycle Hook found with name: {name}")
    result = ABANDON if hook.lifecycle_transition == LAUNCHING else CONTINUE
    for member in group.members:
        waiting = member.waits.get(name)
        if waiting is not None:
            end(member, waiting, result, COMPLETED)


def find(group: Group, name: str, *, instance_id: str | None, token: str | None) -> tuple[Member, Waiting]:
    """Find who waits for a hook, by instance or by token.

    :raises ValidationError: nobody does.
    """
    matches: Callable[[Member, Waiting], bool] = lambda member, waiting: (  # noqa: E731 - one line each
        waiting.token == token if token else member.instance_id == instance_id
    )
    for member in group.members:
        waiting = member.waits.get(name)
        if waiting is not None and matches(member, waiting):
            return member, waiting
    what = f"token {token}" if token else f"instance ID {instance_id}"
    raise ValidationError(f"No active Lifecycle Action found with {what}")


def _refuse(group: Group, name: str, changes: dict[str, Any]) -> None:
    transition = changes.get("lifecycle_transition")
    timeout_s = changes.get("heartbeat_timeout", 3600)
    if name not in group.hooks and transition is None:
        raise ValidationError("A lifecycle transition must be specified when creating a lifecycle hook")
    if transition not in (None, LAUNCHING, TERMINATING):
        raise ValidationError(f"Invalid Lifecycle Transition: {transition}")
    if not 30 <= timeout_s <= 7200:
        raise ValidationError(f"HeartbeatTimeout must be between 30 and 7200 seconds (got {timeout_s})")
    if changes.get("default_result", ABANDON) not in (ABANDON, CONTINUE):
        raise ValidationError(f"Invalid Default Result: {changes['default_result']}")
    if name not in group.hooks and len(group.hooks) >= HOOKS_PER_GROUP:
        raise ValidationError(f"Limit of {HOOKS_PER_GROUP} lifecycle hooks reached")
