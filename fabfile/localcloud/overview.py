"""What there is in a lab, asked of its API: groups, instances and load balancers with their health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..tools.aws import client
from .provision import HTTP_PORT, balancer_name

if TYPE_CHECKING:
    from ..plan.settings import Settings


@dataclass(frozen=True)
class BalancerLine:
    """A load balancer: its URL, and the health of each instance by id."""

    kind: str
    url: str
    health: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class InstanceLine:
    """An instance of a group."""

    instance_id: str
    address: str
    image_id: str
    state: str
    zone: str


@dataclass(frozen=True)
class EnvLines:
    """An env in the lab; ``exists`` is False before it was set up."""

    env: str
    group: str
    exists: bool
    desired: int = 0
    maximum: int = 0
    instances: tuple[InstanceLine, ...] = ()
    balancers: tuple[BalancerLine, ...] = ()


def look(settings: Settings) -> EnvLines:
    """Ask for everything of one env."""
    scaling = client("autoscaling", settings)
    groups = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[settings.group])["AutoScalingGroups"]
    if not groups:
        return EnvLines(settings.env or "", settings.group, exists=False)
    group = groups[0]
    members = {each["InstanceId"]: each["LifecycleState"] for each in group["Instances"]}
    return EnvLines(
        settings.env or "",
        settings.group,
        exists=True,
        desired=group["DesiredCapacity"],
        maximum=group["MaxSize"],
        instances=_instances(settings, members),
        balancers=(_application(settings), _classic(settings)),
    )


def other_instances(settings: Settings, known: set[str]) -> list[str]:
    """Ids of instances that belong to none of the groups looked at: builders, new fleets."""
    pages = (
        client("ec2", settings)
        .get_paginator("describe_instances")
        .paginate(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}])
    )
    found = [each["InstanceId"] for page in pages for part in page["Reservations"] for each in part["Instances"]]
    return [instance_id for instance_id in found if instance_id not in known]


def _instances(settings: Settings, members: dict[str, str]) -> tuple[InstanceLine, ...]:
    if not members:
        return ()
    answer = client("ec2", settings).describe_instances(InstanceIds=list(members))
    return tuple(
        InstanceLine(
            each["InstanceId"],
            each.get("PrivateIpAddress", "-"),
            each["ImageId"],
            f"{each['State']['Name']}, {members[each['InstanceId']]}",
            each["Placement"]["AvailabilityZone"],
        )
        for part in answer["Reservations"]
        for each in part["Instances"]
    )


def _application(settings: Settings) -> BalancerLine:
    elb = client("elbv2", settings)
    name = balancer_name(settings.group)
    balancer = elb.describe_load_balancers(Names=[name])["LoadBalancers"][0]
    group = elb.describe_target_groups(Names=[name])["TargetGroups"][0]
    health = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    return BalancerLine(
        "application", _url(balancer), tuple((each["Target"]["Id"], _said(each["TargetHealth"])) for each in health)
    )


def _classic(settings: Settings) -> BalancerLine:
    elb = client("elb", settings)
    name = balancer_name(settings.group, "-classic")
    balancer = elb.describe_load_balancers(LoadBalancerNames=[name])["LoadBalancerDescriptions"][0]
    health = elb.describe_instance_health(LoadBalancerName=name)["InstanceStates"]
    return BalancerLine("classic", _url(balancer), tuple((each["InstanceId"], each["State"]) for each in health))


def _url(balancer: dict[str, Any]) -> str:
    return f"http://{balancer['DNSName']}" + ("" if HTTP_PORT == 80 else f":{HTTP_PORT}")


def _said(health: dict[str, Any]) -> str:
    return str(health["State"]) + (f" ({health['Reason']})" if health.get("Reason") else "")
