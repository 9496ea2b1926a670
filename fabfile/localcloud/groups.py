"""Auto Scaling groups and their members: what is known of them.

What may be asked of them is in :mod:`.group_rules`, what they do by themselves in :mod:`.scaling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from moto.autoscaling.models import FakeAutoScalingGroup, InstanceState

from .activities import Activity, Log
from .direct_kept import Versioned
from .instances import Instance
from .mixed import ON_DEMAND, SPOT, identify

if TYPE_CHECKING:
    from moto.ec2.models.launch_templates import LaunchTemplateVersion

    from .group_rules import GroupRules
    from .hooks import Hook, Waiting
    from .refreshes import Refresh
    from .registry import Registry

COUNTED = (
    "Pending",
    "Pending:Wait",
    "Pending:Proceed",
    "InService",
)  # what a group counts against its desired capacity


class Sizes(NamedTuple):
    """How many instances a group may and should have."""

    smallest: int
    largest: int
    desired: int


class Balancer(NamedTuple):
    """A target group or classic load balancer of a group: its book, its instances' port, its draining time."""

    registry: Registry
    port: int
    delay_s: float
    vpc_id: str


class Member(Versioned, InstanceState):
    """An instance of a group, with the template version it was launched from."""

    def __init__(self, group: Group, instance: Instance, activity: Activity | None) -> None:
        instance.autoscaling_group = group  # type: ignore[attr-defined]
        super().__init__(
            instance,
            lifecycle_state="Pending",
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
            autoscaling_group=group,
        )
        self.machine = instance
        self.activity = activity
        self.in_service_since_s: float | None = None
        self.impaired_since_s: float | None = None
        self.unhealthy_because = ""
        self.has_left_balancers = False
        self.runs_launch_hooks = False  # until it is in service, where the group itself has launched it
        self.waits: dict[str, Waiting] = {}  # by hook: the lifecycle actions that it waits for
        self.abandoned_because = ""
        self.is_released = False  # no hook of its termination holds it any more
        self.from_template = group.template_of(instance)

    @property
    def launch_template(self) -> dict[str, Any] | None:
        """The template and version it was launched from, not what the group has now."""
        return self.from_template

    @property
    def lifecycle(self) -> str:
        """On which terms it runs: ``spot`` or ``on-demand``."""
        return SPOT if self.machine.lifecycle == SPOT else ON_DEMAND

    @property
    def version(self) -> int:
        """Number of the template version it was launched from; 0 when that is unknown."""
        return int(self.from_template["Version"]) if self.from_template else 0

    @property
    def is_going(self) -> bool:
        """Whether it is being terminated already."""
        return self.lifecycle_state.startswith("Terminat")


class Group(FakeAutoScalingGroup):
    """A group that is told numbers and reaches them later."""

    autoscaling_backend: GroupRules

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._suspended: dict[str, str] = {}
        super().__init__(*args, **kwargs)
        cloud = self.autoscaling_backend.cloud
        self._members: dict[str, Member] = {}
        self.hooks: dict[str, Hook] = {}
        self.refreshes: list[Refresh] = []  # newest first
        self.scheduled_until = cloud.clock.now()  # what recurs has been looked at until here
        self.cools_until_s = 0.0
        self.instance_lifecycle_policy: dict[str, Any] = {}
        self.status: str | None = None
        self.log = Log(self.name, self.arn, cloud.utcnow)
        self.retry_at_s = 0.0
        self.failures = 0
        self.rebalancing = False
        self.proven: set[str] = set()  # pools in which an instance of the group has passed its checks
        self.created_time = cloud.utcnow().isoformat()

    @property
    def members(self) -> list[Member]:
        """Members, in the order in which they came."""
        return list(self._members.values())

    def join(self, member: Member) -> None:
        """Take a member in."""
        self._members[member.instance_id] = member

    def leave(self, member: Member) -> None:
        """Let a member go."""
        del self._members[member.instance_id]

    @property
    def instances(self) -> list[InstanceState]:
        """Members, for the answers of the API."""
        return list(self._members.values())

    @property
    def instance_states(self) -> list[InstanceState]:
        """Members, for moto's own code."""
        return list(getattr(self, "_members", {}).values())

    @instance_states.setter
    def instance_states(self, states: list[InstanceState]) -> None:
        """Ignore: members come and go in :mod:`.scaling` alone."""

    @property
    def launch_template(self) -> dict[str, Any] | None:
        """The template, where it is the group's own and not its mixed-instances policy's."""
        return None if self.mixed_instances_policy else super().launch_template

    @property
    def suspended_processes(self) -> list[dict[str, str]]:
        """Suspended processes with the reason that Auto Scaling gives."""
        return [{"ProcessName": name, "SuspensionReason": why} for name, why in sorted(self._suspended.items())]

    @suspended_processes.setter
    def suspended_processes(self, processes: list[str]) -> None:
        cloud = self.autoscaling_backend.cloud
        why = f"User suspended at {cloud.utcnow():%Y-%m-%dT%H:%M:%SZ}"
        self._suspended = {name: self._suspended.get(name, why) for name in processes}

    @property
    def sizes(self) -> Sizes:
        """How many instances it may and should have."""
        return Sizes(self.min_size or 0, self.max_size or 0, self.desired_capacity or 0)

    def allows(self, process: str) -> bool:
        """Tell whether a process is not suspended."""
        return process not in self._suspended

    def set_desired_capacity(self, new_capacity: int | None) -> None:
        """Note the number; :mod:`.scaling` reaches it."""
        self.desired_capacity = self.min_size if new_capacity is None else new_capacity

    @property
    def retains(self) -> bool:
        """Whether it keeps instances whose termination a hook has abandoned.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-lifecycle-policy.html
        """
        return dict(self.instance_lifecycle_policy.get("RetentionTriggers", {})).get("TerminateHookAbandon") == "retain"

    def counted(self) -> list[Member]:
        """Return the members that count against the desired capacity."""
        return [member for member in self._members.values() if member.lifecycle_state in COUNTED]

    def serving(self) -> list[Member]:
        """Return the members in service."""
        return [member for member in self._members.values() if member.lifecycle_state == "InService"]

    def member(self, instance_id: str) -> Member | None:
        """Return a member by its instance id."""
        return self._members.get(instance_id)

    def balancers(self) -> list[Balancer]:
        """Return every attached balancer that still exists."""
        backend = self.autoscaling_backend
        groups = [backend.elbv2_backend.target_groups.get(arn) for arn in self.target_group_arns]
        classic = [backend.elb_backend.load_balancers.get(name) for name in self.load_balancer_names]
        found: list[Any] = [each for each in (*groups, *classic) if each is not None]
        return [Balancer(each.registry, int(each.port), each.delay_s, each.vpc_id or "") for each in found]

    def _set_launch_configuration(
        self, launch_config_name: str, launch_template: Any, mixed_instances_policy: Any
    ) -> None:
        """Follow a template, or the one of a policy, which moto takes by its id alone."""
        policy = mixed_instances_policy
        if policy and not launch_template:
            specification = identify(policy["LaunchTemplate"]["LaunchTemplateSpecification"])
            policy = {"LaunchTemplate": {"LaunchTemplateSpecification": specification}}
        super()._set_launch_configuration(launch_config_name, launch_template, policy)

    def pinned_version(self) -> LaunchTemplateVersion | None:
        """Return the template version that the group launches."""
        if self.ec2_launch_template is None:
            return None
        return self.ec2_launch_template.get_version(self.launch_template_version)

    def template_of(self, instance: Instance) -> dict[str, Any] | None:
        """Return the template version that an instance was launched from, as EC2's tags on it say.

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-launch-templates.html
        """
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
        """Change settings; sizes that are not given follow those that are.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html
        """
        before = self.sizes
        smallest = before.smallest if kwargs["min_size"] is None else int(kwargs["min_size"])
        largest = before.largest if kwargs["max_size"] is None else int(kwargs["max_size"])
        desired = before.desired if kwargs["desired_capacity"] is None else int(kwargs["desired_capacity"])
        kwargs["desired_capacity"] = min(max(desired, smallest), largest)
        if not kwargs["launch_template"]:
            kwargs["mixed_instances_policy"] = kwargs["mixed_instances_policy"] or self.mixed_instances_policy
        super().update(*args, **kwargs)
        if self.sizes != before:
            self.log.note(
                f"a user request update of AutoScalingGroup constraints to min: {self.sizes.smallest}, max: "
                f"{self.sizes.largest}, desired: {self.sizes.desired} changing the desired capacity from "
                f"{before.desired} to {self.sizes.desired}."
            )
