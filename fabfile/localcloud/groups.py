"""Auto Scaling groups as their API has them: what may be asked, and what is answered.

What a group then does by itself is in :mod:`.scaling`. Pages followed: the API reference
(https://docs.aws.amazon.com/autoscaling/ec2/APIReference/Welcome.html), each action's own page.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import ASG_NAME_TAG, AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.ec2.exceptions import EC2ClientError

from .activities import Activity, Log
from .instances import Instance, InstanceRules
from .registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moto.ec2.models.launch_templates import LaunchTemplateVersion

    from .cloud import Cloud

COUNTED = ("Pending", "InService")  # what a group counts against its desired capacity
IDS_PER_CALL = 20


class Member(InstanceState):
    """An instance of a group, with the template version it was launched from."""

    def __init__(self, group: Group, instance: Instance, state: str, activity: Activity | None) -> None:
        instance.autoscaling_group = group  # type: ignore[attr-defined]
        super().__init__(
            instance,
            lifecycle_state=state,
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
            autoscaling_group=group,
        )
        self.machine = instance
        self.activity = activity
        self.in_service_since_s: float | None = None
        self.unhealthy_because = ""
        self.has_left_balancers = False
        self.from_template = group.template_of(instance)

    @property
    def launch_template(self) -> dict[str, Any] | None:
        """The template and version it was launched from, not what the group has now."""
        return self.from_template

    @property
    def version(self) -> int:
        """Number of the template version it was launched from; 0 when that is unknown."""
        return int(self.from_template["Version"]) if self.from_template else 0


class Group(FakeAutoScalingGroup):
    """A group that is told numbers and reaches them later."""

    autoscaling_backend: GroupRules

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._suspended: dict[str, str] = {}
        super().__init__(*args, **kwargs)
        cloud = self.autoscaling_backend.cloud
        self.members: list[Member] = []
        self.status: str | None = None
        self.log = Log(self.name, self.arn, cloud.utcnow)
        self.retry_at_s = 0.0
        self.failures = 0
        self.rebalancing = False
        self.created_time = cloud.utcnow().isoformat()

    @property
    def instances(self) -> list[InstanceState]:
        """Members, for the answers of the API."""
        return list(self.members)

    @property
    def instance_states(self) -> list[InstanceState]:
        """Members, for moto's own code."""
        return list(getattr(self, "members", ()))

    @instance_states.setter
    def instance_states(self, states: list[InstanceState]) -> None:
        """Members come and go in :mod:`.scaling` alone."""

    @property
    def suspended_processes(self) -> list[dict[str, str]]:
        """Suspended processes with the reason that Auto Scaling gives."""
        return [{"ProcessName": name, "SuspensionReason": why} for name, why in sorted(self._suspended.items())]

    @suspended_processes.setter
    def suspended_processes(self, processes: list[str]) -> None:
        cloud = self.autoscaling_backend.cloud
        why = f"User suspended at {cloud.utcnow():%Y-%m-%dT%H:%M:%SZ}"
        self._suspended = {name: self._suspended.get(name, why) for name in processes}

    def allows(self, process: str) -> bool:
        """Tell whether a process is not suspended."""
        return process not in self._suspended

    def set_desired_capacity(self, new_capacity: int | None) -> None:
        """Note the number; :mod:`.scaling` reaches it."""
        self.desired_capacity = self.min_size if new_capacity is None else new_capacity

    def counted(self) -> list[Member]:
        """Return the members that count against the desired capacity."""
        return [member for member in self.members if member.lifecycle_state in COUNTED]

    def member(self, instance_id: str) -> Member | None:
        """Return a member by its instance id."""
        return next((member for member in self.members if member.instance_id == instance_id), None)

    def registries(self) -> list[tuple[Registry, int, float]]:
        """Return ``(book, port, draining time in seconds)`` of every attached balancer that still exists."""
        backend = self.autoscaling_backend
        groups = [backend.elbv2_backend.target_groups.get(arn) for arn in self.target_group_arns]
        balancers = [backend.elb_backend.load_balancers.get(name) for name in self.load_balancer_names]
        found: list[Any] = [each for each in (*groups, *balancers) if each is not None]
        return [(each.registry, int(each.port), each.delay_s) for each in found]

    def pinned_version(self) -> LaunchTemplateVersion | None:
        """Return the template version that the group launches."""
        if self.ec2_launch_template is None:
            return None
        return self.ec2_launch_template.get_version(self.launch_template_version)

    def template_of(self, instance: Instance) -> dict[str, Any] | None:
        """Return the template version that an instance was launched from, as its tags say."""
        tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
        template_id = tags.get("aws:ec2launchtemplate:id")
        if template_id is None:
            return None
        template = self.ec2_backend.launch_templates.get(template_id)
        return {
            "LaunchTemplateId": template_id,
            "LaunchTemplateName": template.name if template else "",
            "Version": tags["aws:ec2launchtemplate:version"],
        }

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Change the group's settings; https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html."""
        minimum = self.min_size if kwargs["min_size"] is None else kwargs["min_size"]
        maximum = self.max_size if kwargs["max_size"] is None else kwargs["max_size"]
        desired = kwargs["desired_capacity"]
        refuse_bounds(minimum, maximum, desired)
        mixed = kwargs["mixed_instances_policy"]
        kwargs["desired_capacity"] = min(max(self.desired_capacity if desired is None else desired, minimum), maximum)
        kwargs["mixed_instances_policy"] = mixed if mixed or kwargs["launch_template"] else self.mixed_instances_policy
        before = (self.min_size, self.max_size, self.desired_capacity)
        super().update(*args, **kwargs)
        after = (self.min_size, self.max_size, self.desired_capacity)
        if before != after:
            self.log.note(
                f"a user request update of AutoScalingGroup constraints to min: {after[0]}, max: {after[1]}, desired: "
                f"{after[2]} changing the desired capacity from {before[2]} to {after[2]}."
            )


class Book(OrderedDict[str, Any]):
    """Groups by name, with Auto Scaling's error for a missing one."""

    def __missing__(self, key: str) -> Any:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{key}' not found")


class GroupRules(AutoScalingBackend):
    """What may be asked of groups."""

    cloud: Cloud
    ec2_backend: InstanceRules

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.autoscaling_groups = Book()
        self.past: list[Activity] = []  # of deleted groups

    def groups(self) -> list[Group]:
        """Return all groups."""
        return list(self.autoscaling_groups.values())

    def create_auto_scaling_group(self, name: str, *args: Any, **kwargs: Any) -> FakeAutoScalingGroup:
        """Create a group, whose instances come later."""
        if name in self.autoscaling_groups:
            raise AutoscalingClientError(
                "AlreadyExists",
                f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
            )
        minimum, maximum = int(kwargs["min_size"]), int(kwargs["max_size"])
        desired = kwargs["desired_capacity"]
        refuse_bounds(minimum, maximum, None if desired is None else int(desired))
        grace_s = kwargs["health_check_period"]
        group = super().create_auto_scaling_group(name, *args, **kwargs)
        group.health_check_grace_period = int(grace_s or 0)  # the API's default; 300 is the console's
        assert isinstance(group, Group)  # noqa: S101 - the class is swapped together with this one
        try:
            self.refuse_template(group)
        except AutoscalingClientError:
            del self.autoscaling_groups[name]
            raise
        group.log.note(f"a user request created an AutoScalingGroup changing the desired capacity from 0 to {desired}.")
        return group

    def update_auto_scaling_group(self, name: str, *args: Any, **kwargs: Any) -> FakeAutoScalingGroup:
        """Change a group, or nothing of it when the template cannot be launched."""
        group: Group = self.autoscaling_groups[name]
        before = (group.ec2_launch_template, getattr(group, "launch_template_version", None), dict(group.__dict__))
        try:
            updated = super().update_auto_scaling_group(name, *args, **kwargs)
            self.refuse_template(group)
        except (AutoscalingClientError, EC2ClientError):
            group.__dict__.clear()
            group.__dict__.update(before[2])
            raise
        return updated

    def refuse_template(self, group: Group) -> None:
        """Raise Auto Scaling's error for a template that cannot be launched."""
        try:
            version = group.pinned_version()
            if version is not None:
                self.ec2_backend.why_not_image(version.image_id)
        except EC2ClientError as error:
            raise ValidationError(
                f"You must use a valid fully-formed launch template. {error.message}",
            ) from None

    def update_attached_elbs(self, group_name: str) -> None:
        """Do nothing: members are registered as they come into service."""

    def update_attached_target_groups(self, group_name: str) -> None:
        """Do nothing: members are registered as they come into service."""

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        """Do nothing: a group finds out by its health checks."""

    def set_desired_capacity(self, group_name: str, desired_capacity: int | None) -> None:
        """Set the number; https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetDesiredCapacity.html."""
        group: Group = self.autoscaling_groups[group_name]
        wanted = int(desired_capacity or 0)
        if wanted > group.max_size:
            raise ValidationError(
                f"New SetDesiredCapacity value {wanted} is above max value {group.max_size} for the AutoScalingGroup."
            )
        if wanted < group.min_size:
            raise ValidationError(
                f"New SetDesiredCapacity value {wanted} is below min value {group.min_size} for the AutoScalingGroup."
            )
        if wanted != group.desired_capacity:
            group.log.note(
                "a user request explicitly set group desired capacity changing the desired capacity from "
                f"{group.desired_capacity} to {wanted}."
            )
        group.desired_capacity = wanted

    def change_capacity(self, group_name: str, scaling_adjustment: int | None) -> None:
        """Follow a scaling policy, within the group's bounds."""
        group: Group = self.autoscaling_groups[group_name]
        wanted = (group.desired_capacity or 0) + (scaling_adjustment or 0)
        group.desired_capacity = min(max(wanted, group.min_size), group.max_size)

    def attach_instances(self, group_name: str, instance_ids: list[str]) -> None:
        """Take running instances in; https://docs.aws.amazon.com/autoscaling/ec2/userguide/attach-instance-asg.html."""
        group: Group = self.autoscaling_groups[group_name]
        refuse_many(instance_ids)
        desired, wanted = group.desired_capacity or 0, len(instance_ids)
        if desired + wanted > group.max_size:
            raise ValidationError(sizes_message(group, f"attach {wanted} more instance(s)"))
        machines = [self._attachable(group, instance_id) for instance_id in instance_ids]
        group.desired_capacity = desired + wanted
        for machine in machines:
            machine.add_tags({ASG_NAME_TAG: group.name})
            activity = group.log.begin(
                f"Attaching an existing EC2 instance: {machine.id}",
                f"an instance was added in response to user request, increasing the capacity from {desired} to "
                f"{group.desired_capacity}.",
            )
            group.members.append(Member(group, machine, "Pending", activity))

    def _attachable(self, group: Group, instance_id: str) -> Instance:
        instance = self.cloud.instances.get(instance_id)
        if instance is None:
            raise ValidationError(f"Invalid Instances: [{instance_id}]. Instance does not exist")
        owner = next((g for g in self.groups() if g.member(instance_id)), None)
        if owner is not None:
            raise ValidationError(f"Instance {instance_id} is already part of AutoScalingGroup:{owner.name}")
        if instance.state != "running":
            raise ValidationError(f"Instance {instance_id} is not in correct state. It must be running")
        if instance.availability_zone not in group.availability_zones:
            raise ValidationError(
                f"Instance {instance_id} is in {instance.availability_zone}, which is not one of the Availability "
                f"Zones of the group: {group.availability_zones}"
            )
        if instance.image_id not in self.ec2_backend.amis:
            raise ValidationError(f"The AMI '{instance.image_id}' of instance {instance_id} does not exist any more")
        return instance

    def detach_instances(self, group_name: str, instance_ids: list[str], should_decrement: bool) -> Any:
        """Let instances go; https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DetachInstances.html."""
        group: Group = self.autoscaling_groups[group_name]
        members = self._members(group, instance_ids, ("InService", "Standby"))
        self._decrement(group, members, decrement=should_decrement, verb="detach")
        return [self._leave(group, member, "Detaching", "Detaching EC2 instance", "detached") for member in members]

    def enter_standby_instances(self, group_name: str, instance_ids: list[str], should_decrement: bool) -> Any:
        """Take instances out of service; https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html."""
        group: Group = self.autoscaling_groups[group_name]
        members = self._members(group, instance_ids, ("InService",))
        self._decrement(group, members, decrement=should_decrement, verb="place into standby")
        return [
            self._leave(group, member, "EnteringStandby", "Moving EC2 instance to Standby", "moved to standby")
            for member in members
        ]

    def exit_standby_instances(self, group_name: str, instance_ids: list[str]) -> Any:
        """Take instances back into service; the desired capacity grows with them."""
        group: Group = self.autoscaling_groups[group_name]
        members = self._members(group, instance_ids, ("Standby",))
        desired = group.desired_capacity or 0
        if desired + len(members) > group.max_size:
            raise ValidationError(sizes_message(group, f"return from standby {len(members)} more instance(s)"))
        group.desired_capacity = desired + len(members)
        for member in members:
            member.lifecycle_state = "Pending"
            member.activity = group.log.begin(
                f"Moving EC2 instance out of Standby: {member.instance_id}",
                f"instance {member.instance_id} was moved out of standby in response to a user request, increasing "
                f"the capacity from {desired} to {group.desired_capacity}.",
                status="PreInService",
            )
        return [member.activity for member in members]

    def terminate_instance(self, instance_id: str, should_decrement: bool) -> Any:
        """Terminate a member, with or without a replacement.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
        """
        group = next((g for g in self.groups() if g.member(instance_id)), None)
        member = group.member(instance_id) if group else None
        if group is None or member is None:
            raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
        if member.lifecycle_state.startswith("Terminat"):
            return member.activity
        if should_decrement:
            if (group.desired_capacity or 0) - 1 < group.min_size:
                raise ValidationError(
                    f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without "
                    "replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity "
                    "flag to false or lower group's min size."
                )
            group.desired_capacity = (group.desired_capacity or 0) - 1
        return self.terminate_member(group, member, "in response to a user request")

    def terminate_member(self, group: Group, member: Member, why: str) -> Activity:
        """Begin to take a member out of service for good: drained first, then shut down."""
        member.lifecycle_state = "Terminating"
        member.activity = group.log.begin(
            f"Terminating EC2 instance: {member.instance_id}",
            f"instance {member.instance_id} was taken out of service {why}.",
        )
        return member.activity

    def delete_auto_scaling_group(self, group_name: str, force: bool = False) -> None:
        """Delete a group; with instances only by force, and then with them."""
        group: Group = self.autoscaling_groups[group_name]
        if group.members and not force:
            raise AutoscalingClientError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
                "still in the group.",
            )
        group.status = "Delete in progress"
        group.min_size = group.desired_capacity = 0
        for member in group.members:
            if not member.lifecycle_state.startswith("Terminat"):
                self.terminate_member(group, member, "as its group is deleted")
        if not group.members:
            self.forget(group)

    def forget(self, group: Group) -> None:
        """Let a deleted group be gone."""
        self.past.extend(group.log.activities)
        self.autoscaling_groups.pop(group.name, None)

    def set_instance_health(self, instance_id: str, health_status: str) -> None:
        """Take a user's word on an instance's health."""
        found = next((m for g in self.groups() for m in g.members if m.instance_id == instance_id), None)
        if found is None:
            raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
        found.health_status = health_status
        found.unhealthy_because = "a user health-check" if health_status == "Unhealthy" else ""

    def set_instance_protection(self, group_name: str, instance_ids: list[str], protected_from_scale_in: Any) -> None:
        """Protect members from scale-in, or stop protecting them."""
        group: Group = self.autoscaling_groups[group_name]
        for instance_id in instance_ids:
            member = group.member(instance_id)
            if member is None:
                raise ValidationError(f"The instance {instance_id} is not part of Auto Scaling group {group_name}.")
            member.protected_from_scale_in = bool(protected_from_scale_in)

    def attach_load_balancer_target_groups(self, group_name: str, target_group_arns: list[str]) -> None:
        """Attach target groups, and register who serves already."""
        known = set(self.autoscaling_groups[group_name].target_group_arns)
        super().attach_load_balancer_target_groups(group_name, target_group_arns)
        self._register_all(group_name, [arn for arn in target_group_arns if arn not in known], [])

    def detach_load_balancer_target_groups(self, group_name: str, target_group_arns: list[str]) -> None:
        """Detach target groups; their targets drain."""
        group: Group = self.autoscaling_groups[group_name]
        for arn in target_group_arns:
            self.elbv2_backend.deregister_targets(arn, [{"Id": member.instance_id} for member in group.members])
        group.target_group_arns = [arn for arn in group.target_group_arns if arn not in target_group_arns]

    def attach_load_balancers(self, group_name: str, load_balancer_names: list[str]) -> None:
        """Attach classic load balancers, and register who serves already."""
        known = set(self.autoscaling_groups[group_name].load_balancer_names)
        super().attach_load_balancers(group_name, load_balancer_names)
        self._register_all(group_name, [], [name for name in load_balancer_names if name not in known])

    def detach_load_balancers(self, group_name: str, load_balancer_names: list[str]) -> None:
        """Detach classic load balancers; their instances drain."""
        group: Group = self.autoscaling_groups[group_name]
        for name in load_balancer_names:
            self.elb_backend.deregister_instances(name, [member.instance_id for member in group.members])
        group.load_balancer_names = [name for name in group.load_balancer_names if name not in load_balancer_names]

    def _register_all(self, group_name: str, arns: Sequence[str], names: Sequence[str]) -> None:
        group: Group = self.autoscaling_groups[group_name]
        serving = [m.instance_id for m in group.members if m.lifecycle_state == "InService"]
        if not group.allows("AddToLoadBalancer"):
            return
        for arn in arns:
            self.elbv2_backend.register_targets(arn, [{"Id": instance_id} for instance_id in serving])
        for name in names:
            self.elb_backend.register_instances(name, serving)

    def _members(self, group: Group, instance_ids: list[str], states: tuple[str, ...]) -> list[Member]:
        refuse_many(instance_ids)
        members = []
        for instance_id in instance_ids:
            member = group.member(instance_id)
            if member is None:
                raise ValidationError(f"The instance {instance_id} is not part of Auto Scaling group {group.name}.")
            if member.lifecycle_state not in states:
                raise ValidationError(f"The instance {instance_id} is not in {' or '.join(states)}.")
            members.append(member)
        return members

    def _decrement(self, group: Group, members: list[Member], *, decrement: bool, verb: str) -> None:
        counted = [member for member in members if member.lifecycle_state in COUNTED]
        if not decrement:
            return
        if (group.desired_capacity or 0) - len(counted) < group.min_size:
            raise ValidationError(sizes_message(group, f"{verb} {len(counted)} instance(s)"))
        group.desired_capacity = (group.desired_capacity or 0) - len(counted)

    def _leave(self, group: Group, member: Member, state: str, title: str, done: str) -> Activity:
        was_registered = member.lifecycle_state == "InService"
        member.lifecycle_state = state
        member.has_left_balancers = not was_registered
        member.activity = group.log.begin(
            f"{title}: {member.instance_id}",
            f"instance {member.instance_id} was {done} in response to a user request.",
            progress=50,
        )
        return member.activity


def refuse_many(instance_ids: Sequence[str]) -> None:
    """Raise Auto Scaling's error for more instances than one call may name."""
    if len(instance_ids) > IDS_PER_CALL:
        raise ValidationError(
            f"1 validation error detected: Value '{list(instance_ids)}' at 'instanceIds' failed to satisfy constraint: "
            f"Member must have length less than or equal to {IDS_PER_CALL}"
        )


def refuse_bounds(minimum: int, maximum: int, desired: int | None) -> None:
    """Raise Auto Scaling's error for sizes that contradict each other."""
    if maximum < minimum:
        raise ValidationError(f"Max bound, {maximum}, must be greater than or equal to min bound, {minimum}")
    if desired is not None and not minimum <= desired <= maximum:
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{minimum} and max size:{maximum}"
        )


def sizes_message(group: Group, wish: str) -> str:
    """Word the refusal of a change that the group's sizes do not allow."""
    return (
        f"AutoScalingGroup {group.name} has min-size={group.min_size}, max-size={group.max_size}, and "
        f"desired-size={group.desired_capacity}. To {wish}, please update the AutoScalingGroup sizes appropriately."
    )
