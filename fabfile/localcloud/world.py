"""The usual world of a release: two zones, a group behind an application load balancer and a classic one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .models import Behaviour
from .simulated import SimulatedCloud

PORT = 8080


@dataclass
class World:
    """What :func:`provision_world` made. Ids are AWS's."""

    cloud: SimulatedCloud
    group: str
    template_id: str
    subnets: tuple[str, ...]
    target_group_arn: str
    load_balancer: str
    image_ids: dict[str, str] = field(default_factory=dict)

    def image(self, version: str, behaviour: Behaviour | None = None, tags: dict[str, str] | None = None) -> str:
        """Register an image of a version; return its id."""
        image_id = f"ami-{len(self.image_ids) + 1:017x}"
        behaviour = behaviour or Behaviour(version=version)
        self.cloud.add_image(image_id, behaviour, {"headway:version": version, **(tags or {})}, f"shop-{version}")
        self.image_ids[version] = image_id
        return image_id

    def describe_group(self) -> dict[str, Any]:
        """Return the group as the API shows it."""
        groups = self.cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])
        return dict(groups["AutoScalingGroups"][0])

    def members(self, state: str | None = "InService") -> list[str]:
        """Return the ids of the group's instances that are in a lifecycle state (None for all)."""
        return [
            each["InstanceId"]
            for each in self.describe_group()["Instances"]
            if state is None or each["LifecycleState"] == state
        ]

    def health(self) -> dict[str, str]:
        """Return the health of each target by instance id."""
        answer = self.cloud.client("elbv2").describe_target_health(TargetGroupArn=self.target_group_arn)
        return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in answer["TargetHealthDescriptions"]}

    def classic_health(self) -> dict[str, str]:
        """Return the health of each instance in the classic load balancer by its id."""
        answer = self.cloud.client("elb").describe_instance_health(LoadBalancerName=self.load_balancer)
        return {each["InstanceId"]: each["State"] for each in answer["InstanceStates"]}

    def versions_served(self) -> set[str]:
        """Return the versions that new requests reach in any load balancer."""
        balancers = self.cloud.balancers
        return {self.cloud.hosts.version(each) for pool in balancers.pools for each in balancers.serving(pool)}


def provision_world(  # noqa: PLR0913 - a word for each thing that a story may want otherwise
    cloud: SimulatedCloud,
    *,
    name: str = "shop-prod",
    capacity: int = 2,
    min_size: int | None = None,
    max_size: int | None = None,
    version: str = "1.0.0",
    behaviour: Behaviour | None = None,
    delay_s: int = 10,
    beside: World | None = None,
) -> World:
    """Make a VPC with two zones, a launch template, load balancers and a group, all in service.

    :param capacity: instances of the group; without other sizes it may halve and double.
    :param version: version that the first image serves.
    :param behaviour: how its machines behave.
    :param delay_s: seconds that load balancers may take to drain.
    :param beside: a world of the same cloud, whose images this one launches as well.
    """
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    subnets = tuple(
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.99.{16 * index}.0/20", AvailabilityZone=f"us-east-1{zone}")[
            "Subnet"
        ]["SubnetId"]
        for index, zone in enumerate("ab")
    )
    target_group = _application_balancer(cloud, name, vpc, subnets, delay_s)
    _classic_balancer(cloud, name, subnets, delay_s)
    world = World(cloud, name, "", subnets, target_group, f"{name}-classic")
    if beside is not None:
        world.image_ids = beside.image_ids
    image_id = world.image_ids.get(version) or world.image(version, behaviour)
    template = ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"ImageId": image_id, "InstanceType": "t3.small"}
    )
    world.template_id = template["LaunchTemplate"]["LaunchTemplateId"]
    cloud.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=capacity // 2 if min_size is None else min_size,
        MaxSize=capacity * 2 if max_size is None else max_size,
        DesiredCapacity=capacity,
        LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": "1"},
        VPCZoneIdentifier=",".join(subnets),
        TargetGroupARNs=[target_group],
        LoadBalancerNames=[world.load_balancer],
        HealthCheckType="ELB",
        HealthCheckGracePeriod=60,
        Tags=[{"Key": "Name", "Value": name, "PropagateAtLaunch": True}],
    )
    if capacity:
        cloud.until(lambda: _is_settled(world, capacity))
    return world


def _is_settled(world: World, capacity: int) -> bool:
    balancers = world.cloud.balancers
    pools = [pool for pool in balancers.pools if world.group in pool]
    return len(pools) == 2 and all(len(balancers.serving(pool)) == capacity for pool in pools)


def _application_balancer(cloud: SimulatedCloud, name: str, vpc: str, subnets: tuple[str, ...], delay_s: int) -> str:
    elbv2 = cloud.client("elbv2")
    balancer = elbv2.create_load_balancer(Name=name, Subnets=list(subnets))["LoadBalancers"][0]["LoadBalancerArn"]
    target_group = elbv2.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=PORT,
        VpcId=vpc,
        HealthCheckPath="/health",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elbv2.modify_target_group_attributes(
        TargetGroupArn=target_group,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(delay_s)}],
    )
    elbv2.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}],
    )
    return str(target_group)


def _classic_balancer(cloud: SimulatedCloud, name: str, subnets: tuple[str, ...], delay_s: int) -> None:
    elb = cloud.client("elb")
    elb.create_load_balancer(
        LoadBalancerName=f"{name}-classic",
        Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": PORT}],
        Subnets=list(subnets),
    )
    elb.configure_health_check(
        LoadBalancerName=f"{name}-classic",
        HealthCheck={
            "Target": f"HTTP:{PORT}/health",
            "Interval": 5,
            "Timeout": 2,
            "HealthyThreshold": 2,
            "UnhealthyThreshold": 2,
        },
    )
    elb.modify_load_balancer_attributes(
        LoadBalancerName=f"{name}-classic",
        LoadBalancerAttributes={"ConnectionDraining": {"Enabled": True, "Timeout": delay_s}},
    )
