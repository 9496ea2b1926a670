"""The start of a release: what can be refused, and what must be written down before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable

from .fleet import Facts, Lifecycle
from .in_use import why_not_in_use
from .release import Before, Done, Kind, Record, Refuse, Wish
from .wording import counted


def begin(
    kind: Kind, version: str, facts: Facts, *, release_id: str, env: str, who: str, wish: Wish | None = None
) -> Record | Done | Refuse:
    """Start a release: refuse what can be refused, and write down what must be put back.

    :returns: the record; Done when this version already serves everywhere; Refuse with the reason and the way out.
    """
    group = facts.group
    if reason := why_not_release(facts):
        return Refuse(reason)
    serving = [i for i in facts.instances.values() if i.lifecycle is Lifecycle.IN_SERVICE and i.alive]
    carried = {facts.version_of(i.image_id) for i in serving}
    if serving and carried == {version} and facts.version_of(facts.template_image) == version:
        return Done(f"{version} already serves {group.name} on {counted(len(serving), 'instance')}", changed=False)
    return Record(
        id=release_id,
        env=env,
        kind=kind,
        version=version,
        from_version=facts.version_of(facts.template_image),
        who=who,
        started_at=facts.at,
        before=Before(
            min=group.min,
            max=group.max,
            desired=group.desired,
            suspended=group.suspended,
            template=group.template,
            image_id=facts.template_image,
            protected=tuple(sorted(i.id for i in serving if i.protected)),
        ),
        wanted=max(group.desired, len(serving)) or group.capacity or max(group.min, 1),
        wish=wish or Wish(),
        # What sounds before the new version serves says nothing about it.
        deaf=tuple(sorted(name for name, alarm in facts.alarms.items() if alarm.sounds)),
    )


def why_not_now(wish: Wish, facts: Facts) -> str | None:
    """Return why a timed release cannot be on time, or None."""
    if wish.at is not None and wish.at <= facts.at:
        return f"--at: {wish.at.astimezone():%Y-%m-%d %H:%M:%S} has gone by; choose a later moment"
    return None


def why_not_watched(alarms: Iterable[str], facts: Facts) -> str | None:
    """Return which alarm of the settings does not exist, or None."""
    missing = sorted(set(alarms) - facts.alarms.keys())
    return f"there is no CloudWatch alarm {missing[0]!r}; correct headway.release.alarms" if missing else None


def why_not_hooked(facts: Facts) -> str | None:
    """Return why a group whose hooks prepare new instances cannot be released to, or None.

    Instances that are attached do not run them
    (https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html).
    """
    if not facts.group.launch_hooks:
        return None
    return (
        f"{facts.group.name} runs the hook {facts.group.launch_hooks[0]} on instances that it launches, but not on "
        "those that a release attaches; let the image do what the hook does, and set headway.release.launch_hooks: skip"
    )


def why_not_release(facts: Facts) -> str | None:
    """Return why this group cannot be released to as it is now, with the way out; None when it can.

    Attaching and leaving Standby need the Launch process, and instances join their load balancers by
    AddToLoadBalancer (https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html).
    """
    if facts.group.unsupported:
        return facts.group.unsupported
    stopped = facts.group.suspended & {"Launch", "Terminate", "AddToLoadBalancer"}
    if stopped:
        names = " ".join(sorted(stopped))
        return (
            f"{facts.group.name} has {', '.join(sorted(stopped))} suspended, which a release needs; "
            f"resume with: aws autoscaling resume-processes --auto-scaling-group-name {facts.group.name} "
            f"--scaling-processes {names}"
        )
    return why_not_in_use(facts)
