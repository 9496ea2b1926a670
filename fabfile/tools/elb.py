"""Load balancers, target groups and classic ones alike: who is registered, and how healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..plan.fleet import Balancer, Health, Registration
from .aws import client

if TYPE_CHECKING:
    from ..plan.settings import Settings

# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
_TARGET_STATES = {
    "initial": Health.INITIAL,
    "healthy": Health.HEALTHY,
    "unhealthy": Health.UNHEALTHY,
    "unhealthy.draining": Health.DRAINING,
    "draining": Health.DRAINING,
    "unused": Health.UNUSED,
}
# "unavailable" for any other reason: the load balancer itself cannot tell.
_NOT_CHECKED = "Target.HealthCheckDisabled"
_NO_OVERRIDE = {"no_override", "unknown"}
# What drains has requests to finish, whatever else is said of it; what is used on one port alone is not healthy.
_WORST_FIRST = (Health.DRAINING, Health.UNHEALTHY, Health.INITIAL, Health.UNUSED, Health.HEALTHY)
# A classic load balancer says InService of an instance that it is still draining
# (https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html).
_CLASSIC_DRAINING = "deregistration currently in progress"


@dataclass(frozen=True)
class Delays:
    """How long load balancers take over those that come and go.

    :param drain_s: seconds that a leaving instance has to finish its requests.
    :param slow_start_s: seconds from the time that a new instance is healthy until it gets its full share of requests,
        in a target group with others that do; 0 when it gets it at once.
    """

    drain_s: float
    slow_start_s: float


def read_balancers(settings: Settings, target_groups: Sequence[str], classic: Sequence[str]) -> tuple[Balancer, ...]:
    """Read the health of every registered instance in each load balancer: one call for each."""
    return (
        *(_read_target_group(settings, arn) for arn in target_groups),
        *(_read_classic(settings, name) for name in classic),
    )


def _read_target_group(settings: Settings, arn: str) -> Balancer:
    answer = client("elbv2", settings).describe_target_health(TargetGroupArn=arn)
    registrations: dict[str, Registration] = {}
    for raw in answer["TargetHealthDescriptions"]:
        instance_id, target = raw["Target"]["Id"], _read_target(raw)
        also = registrations.get(instance_id)  # on another port
        registrations[instance_id] = _joined(also, target) if also else target
    # arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID
    return Balancer(arn.split("/")[1], "target group", registrations)


def _read_target(raw: Mapping[str, Any]) -> Registration:
    """Read the health of one target; one that is not checked gets traffic.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/zonal-shift.html
    """
    told = raw["TargetHealth"]
    reason = told.get("Reason", "")
    if told["State"] == "unavailable":
        health = Health.HEALTHY if reason == _NOT_CHECKED else Health.INITIAL
    else:
        health = _TARGET_STATES.get(told["State"], Health.UNHEALTHY)
    override = raw.get("AdministrativeOverride", {}).get("State", "")
    return Registration(health, reason, told.get("Description", ""), "" if override in _NO_OVERRIDE else override)


def _joined(one: Registration, other: Registration) -> Registration:
    """Say of an instance that is registered on several ports what is true of all: the worst.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetDescription.html
    """
    worst = min(one, other, key=lambda target: _WORST_FIRST.index(target.health))
    if worst.health is Health.UNUSED and one.health is not other.health:
        # It gets requests on the other port, so it is neither out of the load balancer nor wholly in.
        return replace(worst, health=Health.INITIAL)
    return worst


def _read_classic(settings: Settings, name: str) -> Balancer:
    answer = client("elb", settings).describe_instance_health(LoadBalancerName=name)
    registrations: dict[str, Registration] = {}
    for raw in answer["InstanceStates"]:
        description = raw.get("Description", "")
        reason = raw.get("ReasonCode", "")
        if _CLASSIC_DRAINING in description:
            health = Health.DRAINING
        elif raw["State"] == "InService":
            health = Health.HEALTHY
        else:
            # ReasonCode "ELB": the load balancer is not done registering it yet; "Instance": the instance failed.
            health = Health.INITIAL if reason == "ELB" else Health.UNHEALTHY
        registrations[raw["InstanceId"]] = Registration(health, "" if reason == "N/A" else reason, description)
    return Balancer(name, "classic", registrations)


def read_addresses(settings: Settings, target_groups: Sequence[str], classic: Sequence[str]) -> tuple[str, ...]:
    """Return the URLs that lead to a group: one for each listener of each of its load balancers.

    A gateway load balancer has none: its listener takes packets, on every port and of every protocol
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html).
    """
    urls: list[str] = []
    if target_groups:
        elbv2 = client("elbv2", settings)
        groups = elbv2.describe_target_groups(TargetGroupArns=list(target_groups[:20]))["TargetGroups"]
        arns = sorted({arn for group in groups for arn in group["LoadBalancerArns"]})
        for balancer in elbv2.describe_load_balancers(LoadBalancerArns=arns)["LoadBalancers"] if arns else ():
            listeners = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
            urls += [_url(raw["Protocol"], balancer["DNSName"], raw["Port"]) for raw in listeners if "Port" in raw]
    if classic:
        elb = client("elb", settings)
        for raw in elb.describe_load_balancers(LoadBalancerNames=list(classic))["LoadBalancerDescriptions"]:
            for listener in raw["ListenerDescriptions"]:
                inner = listener["Listener"]
                urls.append(_url(inner["Protocol"], raw["DNSName"], inner["LoadBalancerPort"]))
    return tuple(urls)


def read_delays(settings: Settings, target_groups: Sequence[str], classic: Sequence[str]) -> Delays:
    """Return how long load balancers take over instances that come and go: of them all, the longest.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html
    """
    drain_s = slow_start_s = 0.0
    for arn in target_groups:
        answer = client("elbv2", settings).describe_target_group_attributes(TargetGroupArn=arn)
        attributes = {each["Key"]: each["Value"] for each in answer["Attributes"]}
        drain_s = max(drain_s, float(attributes.get("deregistration_delay.timeout_seconds", 300)))
        slow_start_s = max(slow_start_s, float(attributes.get("slow_start.duration_seconds", 0)))
    for name in classic:
        answer = client("elb", settings).describe_load_balancer_attributes(LoadBalancerName=name)
        draining = answer["LoadBalancerAttributes"].get("ConnectionDraining", {})
        drain_s = max(drain_s, float(draining.get("Timeout", 300)) if draining.get("Enabled") else 0.0)
    return Delays(drain_s, slow_start_s)


def _url(protocol: str, host: str, port: int) -> str:
    scheme = protocol.lower()
    usual = {"http": 80, "https": 443}.get(scheme)
    return f"{scheme}://{host}" if port == usual else f"{scheme}://{host}:{port}"
