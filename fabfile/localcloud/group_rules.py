"""What may be asked of Auto Scaling groups, and when it is refused.

Pages followed: the API reference (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/Welcome.html), attaching and
detaching (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html), standby
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import ASG_NAME_TAG, AutoScalingBackend, FakeAutoScalingGroup
from moto.ec2.exceptions import EC2ClientError

from . import mixed
from .activities import Activity
from .groups import COUNTED, Group, Member
from .instances import Instance, InstanceRules
from .schedule import why_not_recurrence

if TYPE_CHECKING:
    from .cloud import Cloud

IDS_PER_CALL = 20


class Book(OrderedDict[str, FakeAutoScalingGroup]):
    """Groups by name, with Auto Scaling's error for a missing one."""

    def __missing__(self, key: str) -> Any:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{key}' not found")


class GroupRules(AutoScalingBackend):
    """The API of groups."""

    cloud: Cloud
    ec2_backend: InstanceRules

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.autoscaling_groups = Book()
        self.past: list[Activity] = []  # activities of deleted groups

    def group(self, name: str) -> Group:
        """Return a group by its name, or Auto Scaling's error for a missing one."""
        group = self.autoscaling_groups[name]
        assert isinstance(group, Group)  # noqa: S101 - the class is swapped together with these rules
        return group

    def groups(self) -> list[Group]:
        """Return all groups."""
        return [self.group(name) for name in self.autoscaling_groups]

    def create_auto_scaling_group(self, name: str, *args: Any, **kwargs: Any) -> FakeAutoScalingGroup:
        """Create a group, whose instances come later."""
        if name in self.autoscaling_groups:
            raise AutoscalingClientError(
                "AlreadyExists",
                f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
            )
        desired = kwargs["desired_capacity"]
        _refuse_sizes(kwargs["min_size"], kwargs["max_size"], desired)
        self._refuse_template(kwargs["launch_template"])
        kwargs["mixed_instances_policy"] = self._whole_policy(kwargs, None)
        grace_s = kwargs["health_check_period"]
        super().create_auto_scaling_group(name, *args, **kwargs)
        group = self.group(name)
        group.health_check_grace_period = int(grace_s or 0)  # the API's default; 300 is the console's
        group.log.note(
            f"a user request created an AutoScalingGroup changing the desired capacity from 0 to {group.sizes.desired}."
        )
        return group

    def update_auto_scaling_group(self, name: str, *args: Any, **kwargs: Any) -> FakeAutoScalingGroup:
        """Change a group, or nothing of it."""
        group = self.group(name)
        sizes = group.sizes
        _refuse_sizes(
            sizes.smallest if kwargs["min_size"] is None else kwargs["min_size"],
            sizes.largest if kwargs["max_size"] is None else kwargs["max_size"],
            kwargs["desired_capacity"],
        )
        self._refuse_template(kwargs["launch_template"])
        kwargs["mixed_instances_policy"] = self._whole_policy(kwargs, group.mixed_instances_policy)
        return super().update_auto_scaling_group(name, *args, **kwargs)

    def set_desired_capacity(self, group_name: str, desired_capacity: int | None) -> None:
        """Set the number; https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetDesiredCapacity.html."""
        group, wanted = self.group(group_name), int(desired_capacity or 0)
        sizes = group.sizes
        wrong = ""
        if wanted > sizes.largest:
            wrong = f"above max value {sizes.largest}"
        elif wanted < sizes.smallest:
            wrong = f"below min value {sizes.smallest}"
        if wrong:
            raise ValidationError(f"New SetDesiredCapacity value {wanted} is {wrong} for the AutoScalingGroup.")
        if wanted != sizes.desired:
            group.log.note(
                "a user request explicitly set group desired capacity changing the desired capacity from "
                f"{sizes.desired} to {wanted}."
            )
        group.desired_capacity = wanted

    def put_scheduled_update_group_action(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Schedule a change, by a recurrence and a time zone that there are."""
        self.group(name)
        why_not = why_not_recurrence(kwargs.get("recurrence"), kwargs.get("timezone"))
        if why_not:
            raise ValidationError(why_not)
        return super().put_scheduled_update_group_action(name, *args, **kwargs)

    def attach_instances(self, group_name: str, instance_ids: list[str]) -> None:
        """Take running instances in; the desired capacity grows with them."""
        group = self.group(group_name)
        _refuse_many(instance_ids)
        desired, wanted = group.sizes.desired, group.sizes.desired + len(instance_ids)
        if not group.allows("Launch"):
            raise ValidationError(
                f"Cannot attach instances to AutoScalingGroup {group_name} while the Launch process is suspended"
            )
        if wanted > group.sizes.largest:
            raise ValidationError(_sizes_message(group, f"attach {len(instance_ids)} more instance"))
        machines = [self._attachable(group, instance_id) for instance_id in instance_ids]
        group.desired_capacity = wanted
        for machine in machines:
            machine.add_tags({ASG_NAME_TAG: group.name})
            activity = group.log.begin(
                f"Attaching an existing EC2 instance: {machine.id}",
                "an instance was added in response to user request, increasing the capacity from "
                f"{desired} to {wanted}.",
            )
            group.join(Member(group, machine, activity))

    def _attachable(self, group: Group, instance_id: str) -> Instance:
        instance = self.cloud.instances.get(instance_id)
        if instance is None:
            raise ValidationError(f"Invalid Instances: [{instance_id}]. Instance does not exist")
        owner = next((each for each in self.groups() if each.member(instance_id)), None)
        if owner is not None:
            raise ValidationError(f"Instance {instance_id} is already part of AutoScalingGroup:{owner.name}")
        if instance.state != "running":
            raise ValidationError(f"Instance {instance_id} is not in correct state: it is {instance.state}")
        if instance.availability_zone not in group.availability_zones:
            raise ValidationError(
                f"Instance {instance_id} is in {instance.availability_zone}, which is not one of the Availability "
                f"Zones of the group: {group.availability_zones}"
            )
        if instance.image_id not in self.ec2_backend.amis:
            raise ValidationError(f"The AMI '{instance.image_id}' of instance {instance_id} does not exist any more")
        if any(balancer.vpc_id not in ("", instance.vpc_id) for balancer in group.balancers()):
            raise ValidationError(f"Instance {instance_id} is not in the VPC of the group's load balancers")
        return instance

    def detach_instances(self, group_name: str, instance_ids: list[str], should_decrement: bool) -> Any:
        """Let instances go, with or without replacements."""
        group = self.group(group_name)
        members = self._members(group, instance_ids, ("InService", "Standby"))
        # The flag counts for an instance in Standby as well, which was taken off the desired capacity before:
        # "other instances may terminate unexpectedly", says the page on detaching.
        self._decrement(group, members, "detach", decrement=should_decrement)
        return [self._leave(group, member, "Detaching", "Detaching EC2 instance", "detached") for member in members]

    def enter_standby_instances(self, group_name: str, instance_ids: list[str], should_decrement: bool) -> Any:
        """Take instances out of service, with or without replacements."""
        group = self.group(group_name)
        members = self._members(group, instance_ids, ("InService",))
        self._decrement(group, members, "place into standby", decrement=should_decrement)
        return [
            self._leave(group, member, "EnteringStandby", "Moving EC2 instance to Standby", "moved to standby")
            for member in members
        ]

    def exit_standby_instances(self, group_name: str, instance_ids: list[str]) -> Any:
        """Take instances back into service; the desired capacity grows with them."""
        group = self.group(group_name)
        members = self._members(group, instance_ids, ("Standby",))
        if not group.allows("Launch"):
            raise ValidationError(
                f"Cannot move instances out of Standby for AutoScalingGroup {group_name} while the Launch process is "
                "suspended"
            )
        desired, wanted = group.sizes.desired, group.sizes.desired + len(members)
        if wanted > group.sizes.largest:
            raise ValidationError(_sizes_message(group, f"return from standby {len(members)} more instance"))
        group.desired_capacity = wanted
        for member in members:
            member.lifecycle_state = "Pending"
            member.activity = group.log.begin(
                f"Moving EC2 instance out of Standby: {member.instance_id}",
                f"instance {member.instance_id} was moved out of standby in response to a user request, increasing "
                f"the capacity from {desired} to {wanted}.",
                status="PreInService",
                progress=30,
            )
        return [member.activity for member in members]

    def terminate_instance(self, instance_id: str, should_decrement: bool) -> Any:
        """Terminate a member, with or without a replacement.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
        """
        group, member = self._managed(instance_id)
        if member.is_going:
            return member.activity
        if should_decrement:
            if group.sizes.desired <= group.sizes.smallest:
                raise ValidationError(
                    f"Currently, desiredSize equals minSize ({group.sizes.smallest}). Terminating instance without "
                    "replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity "
                    "flag to false or lower group's min size."
                )
            group.desired_capacity = group.sizes.desired - 1
        return self.terminate_member(group, member, "in response to a user request")

    def terminate_member(self, group: Group, member: Member, why: str) -> Activity:
        """Begin to take a member out of service for good: drained first, then shut down."""
        member.lifecycle_state = "Terminating"
        member.waits.clear()
        member.activity = group.log.begin(
            f"Terminating EC2 instance: {member.instance_id}",
            f"instance {member.instance_id} was taken out of service {why}.",
        )
        return member.activity

    def delete_auto_scaling_group(self, group_name: str, force: bool = False) -> None:
        """Delete a group; with instances only by force, and then with them."""
        group = self.group(group_name)
        if group.members and not force:
            raise AutoscalingClientError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
                "still in the group.",
            )
        group.status = "Delete in progress"
        group.min_size = group.desired_capacity = 0
        group.hooks.clear()  # by force is "without waiting", says API_DeleteAutoScalingGroup
        for member in group.members:
            member.waits.clear()
            if not member.is_going:
                self.terminate_member(group, member, "as its group is deleted")
        if not group.members:
            self.forget(group)

    def forget(self, group: Group) -> None:
        """Let a deleted group be gone."""
        self.past.extend(group.log.activities)
        self.autoscaling_groups.pop(group.name, None)

    def set_instance_health(self, instance_id: str, health_status: str) -> None:
        """Take a user's word on an instance's health."""
        _, member = self._managed(instance_id)
        member.health_status = health_status
        member.unhealthy_because = "a user health-check" if health_status == "Unhealthy" else ""

    def set_instance_protection(self, group_name: str, instance_ids: list[str], protected_from_scale_in: Any) -> None:
        """Protect members from scale-in, or stop protecting them."""
        group = self.group(group_name)
        for member in [_member(group, instance_id) for instance_id in instance_ids]:
            member.protected_from_scale_in = bool(protected_from_scale_in)

    def attach_load_balancer_target_groups(self, group_name: str, target_group_arns: list[str]) -> None:
        """Attach target groups, and register who serves already."""
        group = self.group(group_name)
        new = [arn for arn in target_group_arns if arn not in group.target_group_arns]
        group.target_group_arns = [*group.target_group_arns, *new]
        for arn in new:
            self.elbv2_backend.register_targets(arn, [{"Id": each.instance_id} for each in self._registrable(group)])

    def detach_load_balancer_target_groups(self, group_name: str, target_group_arns: list[str]) -> None:
        """Detach target groups; their targets drain."""
        group = self.group(group_name)
        for arn in target_group_arns:
            self.elbv2_backend.deregister_targets(arn, [{"Id": member.instance_id} for member in group.members])
        group.target_group_arns = [arn for arn in group.target_group_arns if arn not in target_group_arns]

    def attach_load_balancers(self, group_name: str, load_balancer_names: list[str]) -> None:
        """Attach classic load balancers, and register who serves already."""
        group = self.group(group_name)
        new = [name for name in load_balancer_names if name not in group.load_balancer_names]
        group.load_balancer_names = [*group.load_balancer_names, *new]
        for name in new:
            self.elb_backend.register_instances(name, [each.instance_id for each in self._registrable(group)])

    def detach_load_balancers(self, group_name: str, load_balancer_names: list[str]) -> None:
        """Detach classic load balancers; their instances drain."""
        group = self.group(group_name)
        for name in load_balancer_names:
            self.elb_backend.deregister_instances(name, [member.instance_id for member in group.members])
        group.load_balancer_names = [name for name in group.load_balancer_names if name not in load_balancer_names]

    def update_attached_elbs(self, group_name: str) -> None:
        """Do nothing: members are registered as they come into service."""

    def update_attached_target_groups(self, group_name: str) -> None:
        """Do nothing: members are registered as they come into service."""

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        """Do nothing: a group finds out by its health checks."""

    def _registrable(self, group: Group) -> list[Member]:
        return group.serving() if group.allows("AddToLoadBalancer") else []

    def _managed(self, instance_id: str) -> tuple[Group, Member]:
        for group in self.groups():
            member = group.member(instance_id)
            if member is not None:
                return group, member
        raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")

    def _members(self, group: Group, instance_ids: list[str], states: tuple[str, ...]) -> list[Member]:
        _refuse_many(instance_ids)
        members = [_member(group, instance_id) for instance_id in instance_ids]
        for member in members:
            if member.lifecycle_state not in states:
                raise ValidationError(f"The instance {member.instance_id} is not in {' or '.join(states)}.")
        return members

    def _decrement(self, group: Group, members: list[Member], verb: str, *, decrement: bool) -> None:
        if not decrement:
            return
        if group.sizes.desired - len(members) < group.sizes.smallest:
            raise ValidationError(_sizes_message(group, f"{verb} {len(members)} instance"))
        group.desired_capacity = group.sizes.desired - len(members)

    def _leave(self, group: Group, member: Member, state: str, title: str, done: str) -> Activity:
        member.has_left_balancers = member.lifecycle_state not in COUNTED
        member.lifecycle_state = state
        member.activity = group.log.begin(
            f"{title}: {member.instance_id}",
            f"instance {member.instance_id} was {done} in response to a user request.",
            progress=50,
        )
        return member.activity

    def _whole_policy(self, given: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any] | None:
        """Make a mixed-instances policy whole; None where a request has none."""
        policy = given["mixed_instances_policy"]
        if not policy:
            return None
        if given["launch_template"] or given["launch_config_name"]:
            raise ValidationError(
                "Valid requests must contain either LaunchTemplate, LaunchConfigurationName or MixedInstancesPolicy "
                "parameter."
            )
        whole = mixed.complete(policy, before, self.ec2_backend)
        self._refuse_template(mixed.identify(whole["LaunchTemplate"]["LaunchTemplateSpecification"]))
        return whole

    def _refuse_template(self, given: dict[str, Any] | None) -> None:
        """Raise Auto Scaling's error for a template that cannot be launched."""
        if not given:
            return
        asked = {key: value for key, value in given.items() if value}
        try:
            self.ec2_backend.why_not_image(self.ec2_backend.version_of(asked).image_id)
        except EC2ClientError as error:
            raise ValidationError(f"You must use a valid fully-formed launch template. {error.message}") from None


def _member(group: Group, instance_id: str) -> Member:
    member = group.member(instance_id)
    if member is None:
        raise ValidationError(f"The instance {instance_id} is not part of Auto Scaling group {group.name}.")
    return member


def _refuse_many(instance_ids: Sequence[str]) -> None:
    if len(instance_ids) > IDS_PER_CALL:
        raise ValidationError(
            f"1 validation error detected: Value '{list(instance_ids)}' at 'instanceIds' failed to satisfy constraint: "
            f"Member must have length less than or equal to {IDS_PER_CALL}"
        )


def _refuse_sizes(smallest: Any, largest: Any, desired: Any) -> None:
    if int(largest) < int(smallest):
        raise ValidationError(f"Max bound, {largest}, must be greater than or equal to min bound, {smallest}")
    if desired is not None and not int(smallest) <= int(desired) <= int(largest):
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{smallest} and max size:{largest}"
        )


def _sizes_message(group: Group, wish: str) -> str:
    sizes = group.sizes
    return (
        f"AutoScalingGroup {group.name} has min-size={sizes.smallest}, max-size={sizes.largest}, and desired-size="
        f"{sizes.desired}. To {wish}, please update the AutoScalingGroup sizes appropriately."
    )
