"""Target groups as Elastic Load Balancing has them: health that is measured, and draining.

Pages followed: target health
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html) and the
deregistration delay
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.elbv2.exceptions import TargetGroupNotFoundError, TargetNotRunning, ValidationError
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeLoadBalancer, FakeTargetGroup

from .balancers import Check, MemberHealth, Pool, Seen
from .registry import Registration, Registry

if TYPE_CHECKING:
    from moto.ec2.models.instances import Instance as MotoInstance

    from .cloud import Cloud

NOT_REGISTERED = ("unused", "Target.NotRegistered", "Target is not registered to the target group")
NOT_IN_USE = (
    "unused",
    "Target.NotInUse",
    "Target group is not configured to receive traffic from the load balancer",
)
ELSEWHERE = (
    "unused",
    "Target.NotInUse",
    "Target is in an Availability Zone that is not enabled for the load balancer",
)
STOPPED = ("unused", "Target.InvalidState", "Target is in the stopped state")
DRAINING = ("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
REGISTERING = ("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = ("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")

DELAY, SLOW_START = "deregistration_delay.timeout_seconds", "slow_start.duration_seconds"


class TargetGroup(FakeTargetGroup):
    """A target group whose targets are as healthy as the balancer finds them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cloud: Cloud = self.ec2_backend.cloud  # type: ignore[attr-defined]
        self.registry = Registry(cloud, f"tg-{self.name}")
        self.zones: frozenset[str | None] = frozenset()  # enabled for the load balancers that lead here

    @property
    def delay_s(self) -> float:
        """Longest time that a target may drain."""
        return float(self.attributes[DELAY])  # type: ignore[arg-type]

    def register(self, targets: list[dict[str, Any]]) -> None:
        """Register targets; instances must be running."""
        for target in targets:
            instance = self.ec2_backend.get_instance_by_id(target["Id"])
            if instance is not None and instance.state != "running":
                raise TargetNotRunning(instance_id=target["Id"])
        for target in targets:
            self.registry.register(target["Id"], int(target.get("Port") or self.port))

    def deregister(self, targets: list[dict[str, Any]]) -> None:
        """Let targets drain; one that is not registered is no error.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html
        """
        for target in targets:
            self.registry.deregister(target["Id"], self.delay_s)

    def deregister_terminated_instances(self, instance_ids: list[str]) -> None:
        """Do nothing: what becomes of a terminated instance is seen at each tick."""

    def health_for(self, target: dict[str, Any], ec2_backend: Any) -> FakeHealthStatus:
        """Say how a target is."""
        entry = self.registry.entries.get(target["Id"])
        instance = ec2_backend.get_instance_by_id(target["Id"])
        state, reason, description = self._words(entry, instance)
        port = entry.port if entry else int(target.get("Port") or self.port)
        check_port = str(port) if self.health_check_port == "traffic-port" else self.health_check_port
        return FakeHealthStatus(target["Id"], str(port), check_port, state, reason or None, description or None)

    def _words(self, entry: Registration | None, instance: MotoInstance | None) -> tuple[str, str, str]:
        if entry is None:
            return NOT_REGISTERED
        if entry.draining:
            return DRAINING
        if not self.load_balancer_arns:
            return NOT_IN_USE
        if instance is not None and instance.availability_zone not in self.zones:
            return ELSEWHERE
        if instance is not None and instance.state in ("stopping", "stopped"):
            return STOPPED
        return _words_of_check(entry.seen)

    def check(self) -> Check:
        """Return its health check."""
        port = self.health_check_port
        matcher = getattr(self, "matcher", None) or {}
        return Check(
            path=self.health_check_path or "/" if self.health_check_protocol != "TCP" else "",
            port=int(self.port if port in (None, "traffic-port") else port),
            interval_s=float(self.health_check_interval_seconds),
            timeout_s=float(self.health_check_timeout_seconds),
            healthy_threshold=int(self.healthy_threshold_count),
            unhealthy_threshold=int(self.unhealthy_threshold_count),
            codes=matcher.get("HttpCode") or "200",
        )


class TargetRules(ELBv2Backend):
    """Load balancers with addresses that can be reached, and the pools behind them."""

    cloud: Cloud

    def create_load_balancer(self, name: str, *args: Any, **kwargs: Any) -> FakeLoadBalancer:
        """Create a load balancer at an address of this machine."""
        balancer = super().create_load_balancer(name, *args, **kwargs)
        if self.cloud.address_of is not None:
            balancer.dns_name = self.cloud.address_of(name)
        return balancer

    def modify_target_group_attributes(self, target_group_arn: str, attributes: dict[str, Any]) -> None:
        """Set attributes of a target group within their ranges, the longest delay (which moto refuses) included.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
        """
        _check_range(attributes, DELAY, 0, 3600)
        if attributes.get(SLOW_START, "0") != "0":
            _check_range(attributes, SLOW_START, 30, 900)
        super().modify_target_group_attributes(
            target_group_arn, {key: value for key, value in attributes.items() if key != DELAY}
        )
        if DELAY in attributes:
            self.target_groups[target_group_arn].attributes[DELAY] = attributes[DELAY]

    def describe_target_health(self, target_group_arn: str, targets: list[dict[str, Any]]) -> list[FakeHealthStatus]:
        """Say how the named targets are, or all that are registered or drain."""
        group = self.target_groups.get(target_group_arn)
        if group is None:
            raise TargetGroupNotFoundError
        asked = targets or [{"Id": entry.instance_id} for entry in _book(group).entries.values()]
        instances = self.ec2_backend
        return [group.health_for(target, instances) for target in asked]

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        """Do nothing: what becomes of a terminated instance is seen at each tick."""

    def registries(self) -> list[Registry]:
        """Return the books of all target groups."""
        return [_book(group) for group in self.target_groups.values()]

    def step(self) -> None:
        """Follow instances that go away, and end draining when its time has come.

        A target shows as draining for the whole delay, even when its last request ended long before.
        """
        sockets = self._sockets()
        for arn, group in self.target_groups.items():
            group.load_balancer_arns = sorted({balancer for balancer, _, _ in sockets.get(arn, ())})
            group.zones = frozenset(  # type: ignore[attr-defined]
                subnet.availability_zone
                for balancer in group.load_balancer_arns
                for subnet in self.load_balancers[balancer].subnets
            )
            group.deregister([{"Id": instance_id} for instance_id in _book(group).going()])
            _book(group).expire(idle_is_over=False)

    def pools(self) -> list[Pool]:
        """Return what the balancers are to serve."""
        sockets = self._sockets()
        return [
            Pool(
                _book(group).pool,
                tuple((host, port) for _, host, port in sockets.get(arn, ())),
                group.check(),
                _book(group).members(zones=group.zones),
            )
            for arn, group in self.target_groups.items()
            if isinstance(group, TargetGroup)
        ]

    def _sockets(self) -> dict[str, list[tuple[str, str, int]]]:
        """Return ``(load balancer ARN, address, port)`` of the listeners that lead to each target group."""
        sockets: dict[str, list[tuple[str, str, int]]] = {}
        for balancer in self.load_balancers.values():
            for listener in balancer.listeners.values():
                arns = [
                    arn
                    for rule in listener.rules.values()
                    for action in rule.actions
                    for arn in self._get_target_group_arns_from(action.data)
                ]
                for arn in dict.fromkeys(arns):
                    sockets.setdefault(arn, []).append((balancer.arn, balancer.dns_name, int(listener.port)))
        return sockets


def _check_range(attributes: dict[str, Any], key: str, least: int, most: int) -> None:
    value = str(attributes.get(key, least))
    if not (value.isdecimal() and least <= int(value) <= most):
        message = f"'{key}' value '{value}' must be between '{least}-{most}' inclusive"
        raise ValidationError(message)


def _words_of_check(seen: MemberHealth | None) -> tuple[str, str, str]:
    if seen is None:
        return REGISTERING
    if seen.seen is Seen.INITIAL:
        return CHECKING
    if seen.seen is Seen.HEALTHY:
        return ("healthy", "", "")
    return ("unhealthy", seen.reason or "Target.FailedHealthChecks", seen.description or "Health checks failed")


def _book(group: FakeTargetGroup) -> Registry:
    assert isinstance(group, TargetGroup)  # noqa: S101 - every group of this backend is one
    return group.registry
