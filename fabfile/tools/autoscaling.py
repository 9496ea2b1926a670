"""EC2 Auto Scaling: one group, its instances, and the calls that move them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..plan.fleet import CAPACITY_TAG, Group, Lifecycle, Template
from ..plan.outcome import Refusal
from . import ec2
from .aws import client

if TYPE_CHECKING:
    from ..plan.settings import Settings


@dataclass(frozen=True)
class Membership:
    """What a group says of one of its instances."""

    lifecycle: Lifecycle
    healthy: bool
    protected: bool


@dataclass(frozen=True)
class GroupFacts:
    """A group with its members and the load balancers that it registers them with."""

    group: Group
    template_image: str
    members: dict[str, Membership]
    target_groups: tuple[str, ...]
    classic: tuple[str, ...]
    subnet_ids: tuple[str, ...]


def read_group(settings: Settings, last: GroupFacts | None = None) -> GroupFacts:
    """Read the env's group.

    :param last: what was read before: what cannot have changed since is not read again.
    :raises Refusal: there is no such group; the message names those that there are.
    """
    autoscaling = client("autoscaling", settings)
    answer = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[settings.group])
    if not answer["AutoScalingGroups"]:
        page = autoscaling.describe_auto_scaling_groups(MaxRecords=20)
        names = ", ".join(raw["AutoScalingGroupName"] for raw in page["AutoScalingGroups"]) or "none"
        raise Refusal(f"no Auto Scaling group {settings.group!r} (there are: {names}); set headway.release.group")
    raw = answer["AutoScalingGroups"][0]
    template, image = _template(settings, raw.get("LaunchTemplate"), last)
    subnet_ids = tuple(subnet for subnet in raw.get("VPCZoneIdentifier", "").split(",") if subnet)
    if last is not None and last.subnet_ids == subnet_ids:
        subnets = last.group.subnets
    else:
        subnets = ec2.read_zones(settings, subnet_ids) if subnet_ids else {}
    return GroupFacts(
        group=_group(raw, template, subnets),
        template_image=image,
        members={member["InstanceId"]: _membership(member) for member in raw["Instances"]},
        target_groups=tuple(raw.get("TargetGroupARNs", [])),
        classic=tuple(raw.get("LoadBalancerNames", [])),
        subnet_ids=subnet_ids,
    )


def _template(
    settings: Settings, specification: dict[str, Any] | None, last: GroupFacts | None
) -> tuple[Template, str]:
    if not specification:
        return Template("", ""), ""
    template_id, pinned = specification["LaunchTemplateId"], specification.get("Version", "$Default")
    # A numbered version never changes; $Latest and $Default may at any time.
    if last is not None and last.group.template == Template(template_id, pinned):
        return last.group.template, last.template_image
    return ec2.read_template(settings, template_id, pinned)


def _group(raw: dict[str, Any], template: Template, subnets: Mapping[str, str]) -> Group:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    capacity = tags.get(CAPACITY_TAG, "")
    return Group(
        name=raw["AutoScalingGroupName"],
        min=raw["MinSize"],
        max=raw["MaxSize"],
        desired=raw["DesiredCapacity"],
        template=template,
        pinned=raw.get("LaunchTemplate", {}).get("Version", ""),
        suspended=frozenset(process["ProcessName"] for process in raw.get("SuspendedProcesses", [])),
        subnets=subnets,
        capacity=int(capacity) if capacity.isdigit() else None,
        protects_new=raw.get("NewInstancesProtectedFromScaleIn", False),
        # Keys that begin with aws: are AWS's own; a request that sets them is refused.
        tags=tuple(
            (tag["Key"], tag["Value"])
            for tag in raw.get("Tags", [])
            if tag.get("PropagateAtLaunch") and not tag["Key"].startswith("aws:")
        ),
        unsupported=_why_unsupported(raw, subnets),
    )


def _why_unsupported(raw: dict[str, Any], subnets: Mapping[str, str]) -> str | None:
    name = raw["AutoScalingGroupName"]
    if raw.get("LaunchConfigurationName"):
        return (
            f"{name} uses launch configuration {raw['LaunchConfigurationName']}, which cannot be versioned; "
            "move it to a launch template: "
            "https://docs.aws.amazon.com/autoscaling/ec2/userguide/migrate-to-launch-templates.html"
        )
    if raw.get("MixedInstancesPolicy"):
        return f"{name} has a mixed-instances policy, which cannot be released to yet; give it a launch template"
    if not raw.get("LaunchTemplate"):
        return f"{name} has no launch template; give it one"
    if not subnets:
        return f"{name} names no subnets (VPCZoneIdentifier); set them, so that instances can be started beside it"
    return None


def _membership(member: dict[str, Any]) -> Membership:
    return Membership(
        lifecycle=_lifecycle(member["LifecycleState"]),
        healthy=member["HealthStatus"].lower() == "healthy",
        protected=member.get("ProtectedFromScaleIn", False),
    )


def _lifecycle(state: str) -> Lifecycle:
    """Fold hooks and detaching into the states that a release tells apart."""
    if state.startswith(("Terminat", "Detach")):
        return Lifecycle.LEAVING
    if state.startswith("Pending"):
        return Lifecycle.PENDING
    try:
        return Lifecycle(state)
    except ValueError:
        # Warmed:* instances serve nobody and are not ours to move.
        return Lifecycle.OUTSIDE


def attach_instances(settings: Settings, ids: Sequence[str]) -> None:
    """Attach instances; the group registers them with its load balancers and its desired capacity grows by them.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AttachInstances.html
    """
    client("autoscaling", settings).attach_instances(AutoScalingGroupName=settings.group, InstanceIds=list(ids))


def enter_standby(settings: Settings, ids: Sequence[str]) -> None:
    """Move instances to Standby, the desired capacity shrinking by them, so that nothing replaces them.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html
    """
    client("autoscaling", settings).enter_standby(
        AutoScalingGroupName=settings.group, InstanceIds=list(ids), ShouldDecrementDesiredCapacity=True
    )


def exit_standby(settings: Settings, ids: Sequence[str]) -> None:
    """Bring instances back from Standby; the desired capacity grows by them."""
    client("autoscaling", settings).exit_standby(AutoScalingGroupName=settings.group, InstanceIds=list(ids))


def retire_instances(settings: Settings, ids: Iterable[str]) -> None:
    """Terminate instances in Standby.

    Not by detaching first: that "may cause other instances to terminate unexpectedly"
    (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html).
    The desired capacity does not count them, so it is left alone.
    """
    autoscaling = client("autoscaling", settings)
    for instance_id in ids:
        autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
        )


def protect_instances(settings: Settings, ids: Sequence[str], protected: bool) -> None:
    """Shield instances from scale-in, or end it."""
    client("autoscaling", settings).set_instance_protection(
        AutoScalingGroupName=settings.group, InstanceIds=list(ids), ProtectedFromScaleIn=protected
    )


def point_group(settings: Settings, template: Template) -> None:
    """Make a group launch this template version from now on; what runs is not touched."""
    client("autoscaling", settings).update_auto_scaling_group(
        AutoScalingGroupName=settings.group,
        LaunchTemplate={"LaunchTemplateId": template.id, "Version": template.version},
    )


def set_size(settings: Settings, *, maximum: int | None = None, desired: int | None = None) -> None:
    """Set a group's maximum size, its desired capacity, or both in one call; None leaves a number as it is."""
    sizes = {"MaxSize": maximum, "DesiredCapacity": desired}
    given = {key: value for key, value in sizes.items() if value is not None}
    if given:
        client("autoscaling", settings).update_auto_scaling_group(AutoScalingGroupName=settings.group, **given)


def pause(settings: Settings, processes: Iterable[str]) -> None:
    """Suspend scaling processes, by name."""
    names = sorted(processes)
    if names:
        client("autoscaling", settings).suspend_processes(AutoScalingGroupName=settings.group, ScalingProcesses=names)


def resume(settings: Settings, processes: Iterable[str]) -> None:
    """Resume scaling processes, by name: none named would resume all of them, which is never meant."""
    names = sorted(processes)
    if names:
        client("autoscaling", settings).resume_processes(AutoScalingGroupName=settings.group, ScalingProcesses=names)
