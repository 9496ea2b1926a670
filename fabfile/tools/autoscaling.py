"""EC2 Auto Scaling: one group, its instances, and the calls that move them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..plan.fleet import CAPACITY_TAG, Group, Lifecycle, Mix, Place, Template
from ..plan.outcome import Refusal
from . import ec2
from .aws import client
from .unsuited import reservations_of, specifications, why_unsuited

if TYPE_CHECKING:
    from ..plan.settings import Settings


# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Instance.html: of LifecycleState. An instance whose root
# volume is replaced is out of service until it comes back, one in quarantine until somebody decides.
_LIFECYCLES = {
    "Pending": Lifecycle.PENDING,
    "Pending:Wait": Lifecycle.PENDING,
    "Pending:Proceed": Lifecycle.PENDING,
    "Quarantined": Lifecycle.PENDING,
    "ReplacingRootVolume": Lifecycle.PENDING,
    "ReplacingRootVolume:Wait": Lifecycle.PENDING,
    "ReplacingRootVolume:Proceed": Lifecycle.PENDING,
    "RootVolumeReplaced": Lifecycle.PENDING,
    "InService": Lifecycle.IN_SERVICE,
    "EnteringStandby": Lifecycle.ENTERING_STANDBY,
    "Standby": Lifecycle.STANDBY,
}
# A hook of its termination was abandoned, and the group keeps it until somebody ends it by hand; it does not count it
# (https://docs.aws.amazon.com/autoscaling/ec2/userguide/manage-retained-instances.html).
_RETAINED = "Terminating:Retained"
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstanceRefresh.html
_REFRESH_ENDED = {"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"}


@dataclass(frozen=True)
class Membership:
    """What a group says of one of its instances."""

    lifecycle: Lifecycle
    healthy: bool
    protected: bool


@dataclass(frozen=True)
class Hooks:
    """What else acts on a group's instances, or would launch from its template.

    :param launching: its lifecycle hooks that run when instances launch; `ending`: those for when they go.
    :param refresh: the instance refresh that goes on.
    :param sharer: another group that launches the newest version of its template, whatever that is.
    """

    launching: tuple[str, ...] = ()
    ending: tuple[str, ...] = ()
    refresh: str | None = None
    sharer: str | None = None


@dataclass(frozen=True)
class GroupFacts:
    """A group with its members and the load balancers that it registers them with.

    :param retained: instances that it has let go of and keeps for somebody to look at; they are no members any more.
    """

    group: Group
    blueprint: ec2.Blueprint
    members: dict[str, Membership]
    target_groups: tuple[str, ...]
    classic: tuple[str, ...]
    subnet_ids: tuple[str, ...]
    hooks: Hooks
    retained: tuple[str, ...] = ()


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
    specification = next(specifications(raw), None)
    blueprint = _blueprint(settings, specification, last)
    subnet_ids = tuple(subnet for subnet in raw.get("VPCZoneIdentifier", "").split(",") if subnet)
    if last is not None and last.subnet_ids == subnet_ids:
        subnets = last.group.subnets
    else:
        subnets = ec2.read_zones(settings, subnet_ids) if subnet_ids else {}
    hooks = last.hooks if last is not None else _read_hooks(settings, blueprint.template)
    return GroupFacts(
        group=_group(raw, blueprint, subnets, hooks),
        blueprint=blueprint,
        members={each["InstanceId"]: _membership(each) for each in raw["Instances"] if not _is_retained(each)},
        target_groups=_sources(raw, "TargetGroupARNs", "elbv2"),
        classic=_sources(raw, "LoadBalancerNames", "elb"),
        subnet_ids=subnet_ids,
        hooks=hooks,
        retained=tuple(sorted(each["InstanceId"] for each in raw["Instances"] if _is_retained(each))),
    )


def _is_retained(member: dict[str, Any]) -> bool:
    return bool(member["LifecycleState"] == _RETAINED)


def _sources(raw: dict[str, Any], listed: str, kind: str) -> tuple[str, ...]:
    """Name a group's load balancers of a kind, as it was given them: in their own list, as traffic sources, or both.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TrafficSourceIdentifier.html

    :param kind: the type of traffic source; target groups may leave it out.
    """
    default = "elbv2" if kind == "elbv2" else ""
    sources = [each["Identifier"] for each in raw.get("TrafficSources", []) if each.get("Type", default) == kind]
    return tuple(dict.fromkeys([*raw.get(listed, []), *sources]))


def _read_hooks(settings: Settings, template: Template) -> Hooks:
    """Read what else acts on a group's instances: hooks, an instance refresh, who shares its template."""
    autoscaling = client("autoscaling", settings)
    found = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=settings.group)["LifecycleHooks"]
    refreshes = autoscaling.describe_instance_refreshes(AutoScalingGroupName=settings.group, MaxRecords=5)
    running = [
        raw["InstanceRefreshId"] for raw in refreshes["InstanceRefreshes"] if raw["Status"] not in _REFRESH_ENDED
    ]

    def named(transition: str) -> tuple[str, ...]:
        return tuple(
            sorted(raw["LifecycleHookName"] for raw in found if raw["LifecycleTransition"].endswith(transition))
        )

    refresh = running[0] if running else None
    return Hooks(
        named("LAUNCHING"), named("TERMINATING"), refresh, _sharer(settings, template) if template.id else None
    )


def _sharer(settings: Settings, template: Template) -> str | None:
    """Find another group that launches the newest version of a template: a call for each hundred groups of the region.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingGroups.html
    """
    pages = client("autoscaling", settings).get_paginator("describe_auto_scaling_groups")
    for page in pages.paginate(PaginationConfig={"PageSize": 100}):
        for raw in page["AutoScalingGroups"]:
            newest = any(
                (each.get("LaunchTemplateId"), each.get("Version")) == (template.id, "$Latest")
                for each in specifications(raw)
            )
            if newest and raw["AutoScalingGroupName"] != settings.group:
                return str(raw["AutoScalingGroupName"])
    return None


def _blueprint(settings: Settings, specification: dict[str, Any] | None, last: GroupFacts | None) -> ec2.Blueprint:
    if not specification:
        return ec2.Blueprint(Template("", ""), "")
    template_id, pinned = specification["LaunchTemplateId"], specification.get("Version", "$Default")
    # A numbered version never changes; $Latest and $Default may at any time.
    if last is not None and last.group.template == Template(template_id, pinned):
        return last.blueprint
    return ec2.read_template(settings, template_id, pinned)


def _group(raw: dict[str, Any], blueprint: ec2.Blueprint, subnets: Mapping[str, str], hooks: Hooks) -> Group:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    capacity = tags.get(CAPACITY_TAG, "")
    return Group(
        name=raw["AutoScalingGroupName"],
        min=raw["MinSize"],
        max=raw["MaxSize"],
        desired=raw["DesiredCapacity"],
        template=blueprint.template,
        pinned=next(specifications(raw), {}).get("Version", ""),
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
        unsupported=why_unsuited(raw, blueprint, subnets, refresh=hooks.refresh, sharer=hooks.sharer),
        mix=_mix(raw.get("MixedInstancesPolicy")),
        launch_hooks=hooks.launching,
        end_hooks=hooks.ending,
        place=_place(raw),
    )


def _place(raw: dict[str, Any]) -> Place:
    """Read what a group asks for wherever it launches; ``default`` leaves Capacity Reservations to the template.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CapacityReservationSpecification.html
    """
    preference, targets = reservations_of(raw)
    return Place(
        placement_group=raw.get("PlacementGroup") or "",
        reservations="" if preference == "default" else preference,
        reservation=targets[0] if targets else "",
    )


def _mix(policy: dict[str, Any] | None) -> Mix | None:
    """Read a mixed-instances policy, with the values that AWS takes for those left out.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstancesDistribution.html
    """
    if not policy:
        return None
    distribution = policy.get("InstancesDistribution") or {}
    return Mix(
        on_demand_base=int(distribution.get("OnDemandBaseCapacity", 0)),
        on_demand_percent=int(distribution.get("OnDemandPercentageAboveBaseCapacity", 100)),
        on_demand_strategy=distribution.get("OnDemandAllocationStrategy") or "prioritized",
        spot_strategy=distribution.get("SpotAllocationStrategy") or "lowest-price",
        spot_max_price=distribution.get("SpotMaxPrice") or None,
        types=json.dumps(policy.get("LaunchTemplate", {}).get("Overrides", []), sort_keys=True),
    )


def _membership(member: dict[str, Any]) -> Membership:
    return Membership(
        lifecycle=_lifecycle(member["LifecycleState"]),
        healthy=member["HealthStatus"].lower() == "healthy",
        protected=member.get("ProtectedFromScaleIn", False),
    )


def _lifecycle(state: str) -> Lifecycle:
    """Fold hooks and detaching into the states that a release tells apart.

    A state that is new to us is of a member all the same: it is not in service, and nobody else's to end.
    """
    if state.startswith("Warmed:"):
        # Those of a warm pool serve nobody and are not ours to move.
        return Lifecycle.OUTSIDE
    if state.startswith(("Terminat", "Detach")):
        return Lifecycle.LEAVING
    return _LIFECYCLES.get(state, Lifecycle.PENDING)


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


def detach_instances(settings: Settings, ids: Sequence[str]) -> None:
    """Take instances in Standby out of a group.

    The desired capacity does not count them, so it is left alone: to lower it as well "may cause other instances to
    terminate unexpectedly"
    (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html).
    """
    client("autoscaling", settings).detach_instances(
        AutoScalingGroupName=settings.group, InstanceIds=list(ids), ShouldDecrementDesiredCapacity=False
    )


def retire_instances(settings: Settings, ids: Iterable[str], *, shrink: bool) -> None:
    """Have a group terminate instances.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html

    :param shrink: whether the desired capacity loses their places; it has none for those in Standby.
    """
    autoscaling = client("autoscaling", settings)
    for instance_id in ids:
        autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=shrink
        )


def protect_instances(settings: Settings, ids: Sequence[str], protected: bool) -> None:
    """Shield instances from scale-in, or end it."""
    client("autoscaling", settings).set_instance_protection(
        AutoScalingGroupName=settings.group, InstanceIds=list(ids), ProtectedFromScaleIn=protected
    )


def point_group(settings: Settings, template: Template, *, mixed: bool = False) -> None:
    """Make a group launch this template version from now on; what runs is not touched.

    :param mixed: whether it names the template in a mixed-instances policy, whose other parts stay as they are.
    """
    autoscaling = client("autoscaling", settings)
    named = {"LaunchTemplateId": template.id, "Version": template.version}
    if not mixed:
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=settings.group, LaunchTemplate=named)
        return
    answer = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[settings.group])
    policy = answer["AutoScalingGroups"][0]["MixedInstancesPolicy"]
    changed = {**policy, "LaunchTemplate": {**policy["LaunchTemplate"], "LaunchTemplateSpecification": named}}
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=settings.group, MixedInstancesPolicy=changed)


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
