"""The start of a release: what can be refused, and what must be written down before anything is touched."""

from __future__ import annotations

from .fleet import Facts, Lifecycle
from .release import Before, Done, Kind, Record, Refuse
from .wording import counted


def begin(kind: Kind, version: str, facts: Facts, *, release_id: str, env: str, who: str) -> Record | Done | Refuse:
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
    return None
