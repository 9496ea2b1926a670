"""What a team sets up once in its AWS account, set up in the lab with the same calls, as often as one likes.

Each env gets a launch template, an application load balancer with its target group, a classic load balancer, and an
Auto Scaling group that is empty until the first release: there is no image of the application before.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..plan.fleet import CAPACITY_TAG
from ..plan.outcome import Refusal
from ..tools.aws import client, split_s3_url

if TYPE_CHECKING:
    from ..plan.settings import Settings

HTTP_PORT = 80
CHECK_INTERVAL_S, CHECK_TIMEOUT_S = (
    2,
    1,
)  # AWS takes 5 s or more (and a shorter timeout); nobody waits at a laptop for realism in that
THRESHOLD = 2
DRAIN_S = 10
ROOM_TO_GROW = 4  # a group's maximum, as a multiple of its capacity: a release doubles it for a while
LONGEST_NAME = 32


@dataclass(frozen=True)
class Network:
    """The lab's VPC as the API knows it."""

    vpc: str
    subnets: tuple[str, ...]


def provision(settings: Settings, database_url: str | None) -> None:
    """Set one env up, or complete what is there.

    :param settings: of the env; its endpoint is the lab.
    :param database_url: of the env's database, kept as the SSM parameter that ``database.url`` names.
    :raises Refusal: no base image of the lab fits ``bake.source_name``.
    """
    refuse_missing_base_image(settings)
    _make_buckets(settings)
    _open_apt_repository(settings)
    _keep_database_url(settings, database_url)
    network = _network(settings)
    firewall = _make_security_group(settings, network)
    _make_template(settings, firewall, database_url)
    target_group = _make_application_balancer(settings, network, firewall)
    classic = _make_classic_balancer(settings, network, firewall)
    _make_group(settings, network, target_group, classic)


def refuse_missing_base_image(settings: Settings) -> None:
    """Refuse when a bake would find no base image.

    :raises Refusal: it would not.
    """
    found = client("ec2", settings).describe_images(
        Owners=list(settings.bake.source_owners), Filters=[{"Name": "name", "Values": [settings.bake.source_name]}]
    )["Images"]
    if not found:
        raise Refusal(
            f"no base AMI of the lab at port {settings.lab.port} is named {settings.bake.source_name} "
            "(it was started for another project): fab lab.down, then fab lab.up here"
        )


def _make_buckets(settings: Settings) -> None:
    urls = [settings.release.state, settings.apt.publish]
    s3 = client("s3", settings)
    have = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for name in dict.fromkeys(split_s3_url(url)[0] for url in urls if url and url.startswith("s3://")):
        if name not in have:
            place = {"CreateBucketConfiguration": {"LocationConstraint": settings.region}}
            s3.create_bucket(Bucket=name, **({} if settings.region == "us-east-1" else place))


def _open_apt_repository(settings: Settings) -> None:
    """Let instances read the Apt repository, as a bucket policy does on AWS: apt asks without credentials."""
    if settings.apt.publish is None or not settings.apt.publish.startswith("s3://"):
        return
    bucket, prefix = split_s3_url(settings.apt.publish)
    files = f"arn:aws:s3:::{bucket}/{prefix}/*" if prefix else f"arn:aws:s3:::{bucket}/*"
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": files}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    client("s3", settings).put_bucket_policy(Bucket=bucket, Policy=policy)


def _keep_database_url(settings: Settings, database_url: str | None) -> None:
    where = settings.database.url if settings.database else None
    if database_url is not None and where is not None:
        name = where.removeprefix("ssm:")
        client("ssm", settings).put_parameter(Name=name, Value=database_url, Type="SecureString", Overwrite=True)


def _network(settings: Settings) -> Network:
    """Find the account's default VPC and its default subnets."""
    ec2 = client("ec2", settings)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    subnets.sort(key=lambda subnet: subnet["AvailabilityZone"])
    return Network(vpc, tuple(subnet["SubnetId"] for subnet in subnets))


def _make_security_group(settings: Settings, network: Network) -> str:
    ec2 = client("ec2", settings)
    name = settings.group
    found = ec2.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [network.vpc]}]
    )["SecurityGroups"]
    if found:
        return str(found[0]["GroupId"])
    made = ec2.create_security_group(GroupName=name, Description=f"Instances of {name}", VpcId=network.vpc)
    ports = sorted({HTTP_PORT, settings.release.health.port})
    ec2.authorize_security_group_ingress(
        GroupId=made["GroupId"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
            for port in ports
        ],
    )
    return str(made["GroupId"])


def _make_template(settings: Settings, firewall: str, database_url: str | None) -> None:
    ec2 = client("ec2", settings)
    name = settings.group
    if ec2.describe_launch_templates(Filters=[{"Name": "launch-template-name", "Values": [name]}])["LaunchTemplates"]:
        return
    data = {
        "ImageId": _base_image(settings),
        "InstanceType": settings.bake.instance_type,
        "SecurityGroupIds": [firewall],
        "UserData": base64.b64encode(user_data(settings, database_url).encode()).decode(),
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}],
    }
    ec2.create_launch_template(LaunchTemplateName=name, VersionDescription="before releases", LaunchTemplateData=data)


def user_data(settings: Settings, database_url: str | None) -> str:
    """Make the cloud-config that gives an env's instances what differs from env to env: the unit's variables.

    JSON is YAML, and quotes every value rightly.
    """
    variables = {settings.test.database_variable: database_url} if database_url else {}
    service = settings.package.service
    path = (service.environment_file if service else None) or f"/etc/{settings.name}/environment"
    content = "".join(f"{key}={value}\n" for key, value in variables.items())
    files = [{"path": path, "content": content, "permissions": "0640", "owner": "root:root"}]
    return "#cloud-config\n" + json.dumps({"write_files": files}, indent=2) + "\n"


def _base_image(settings: Settings) -> str:
    images = client("ec2", settings).describe_images(
        Owners=list(settings.bake.source_owners), Filters=[{"Name": "name", "Values": [settings.bake.source_name]}]
    )["Images"]
    return str(max(images, key=lambda image: image["CreationDate"])["ImageId"])


def _make_application_balancer(settings: Settings, network: Network, firewall: str) -> str:
    """Make the target group, the load balancer and the listener between them; returns the target group's ARN."""
    elb = _unchecked_client("elbv2", settings)
    name = balancer_name(settings.group)
    group = _found(lambda: elb.describe_target_groups(Names=[name])["TargetGroups"]) or _make_target_group(
        elb, settings, name, network.vpc
    )
    balancer = (
        _found(lambda: elb.describe_load_balancers(Names=[name])["LoadBalancers"])
        or elb.create_load_balancer(
            Name=name, Subnets=list(network.subnets), SecurityGroups=[firewall], Scheme="internet-facing"
        )["LoadBalancers"][0]
    )
    if not elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]:
        elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=HTTP_PORT,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
        )
    return str(group["TargetGroupArn"])


def _make_target_group(elb: Any, settings: Settings, name: str, vpc: str) -> dict[str, Any]:
    health = settings.release.health
    group: dict[str, Any] = elb.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=health.port,
        VpcId=vpc,
        HealthCheckPath=health.path,
        HealthCheckIntervalSeconds=CHECK_INTERVAL_S,
        HealthCheckTimeoutSeconds=CHECK_TIMEOUT_S,
        HealthyThresholdCount=THRESHOLD,
        UnhealthyThresholdCount=THRESHOLD,
        Matcher={"HttpCode": "200"},
    )["TargetGroups"][0]
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN_S)}
    elb.modify_target_group_attributes(TargetGroupArn=group["TargetGroupArn"], Attributes=[delay])
    return group


def _make_classic_balancer(settings: Settings, network: Network, firewall: str) -> str:
    elb = _unchecked_client("elb", settings)
    name = balancer_name(settings.group, "-classic")
    health = settings.release.health
    if _found(lambda: elb.describe_load_balancers(LoadBalancerNames=[name])["LoadBalancerDescriptions"]):
        return name
    elb.create_load_balancer(
        LoadBalancerName=name,
        Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": HTTP_PORT, "InstancePort": health.port}],
        Subnets=list(network.subnets),
        SecurityGroups=[firewall],
    )
    elb.configure_health_check(
        LoadBalancerName=name,
        HealthCheck={
            "Target": f"HTTP:{health.port}{health.path}",
            "Interval": CHECK_INTERVAL_S,
            "Timeout": CHECK_TIMEOUT_S,
            "HealthyThreshold": THRESHOLD,
            "UnhealthyThreshold": THRESHOLD,
        },
    )
    elb.modify_load_balancer_attributes(
        LoadBalancerName=name,
        LoadBalancerAttributes={"ConnectionDraining": {"Enabled": True, "Timeout": DRAIN_S}},
    )
    return name


def _make_group(settings: Settings, network: Network, target_group: str, classic: str) -> None:
    scaling = client("autoscaling", settings)
    name = settings.group
    if scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]:
        return
    tag = {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": CAPACITY_TAG}
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "1"},
        MinSize=0,
        DesiredCapacity=0,
        MaxSize=max(settings.lab.capacity, 1) * ROOM_TO_GROW,
        VPCZoneIdentifier=",".join(network.subnets),
        TargetGroupARNs=[target_group],
        LoadBalancerNames=[classic],
        HealthCheckType="ELB",
        HealthCheckGracePeriod=30,
        Tags=[{**tag, "Value": str(settings.lab.capacity), "PropagateAtLaunch": False}],
    )


def balancer_name(group: str, suffix: str = "") -> str:
    """Name an env's load balancer after its group, with the letters and the length that ELB allows.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
    """
    plain = re.sub(r"[^A-Za-z0-9-]", "-", group)
    return plain[: LONGEST_NAME - len(suffix)].strip("-") + suffix


def _unchecked_client(service: str, settings: Settings) -> Any:
    """Return a client that sends what boto3 itself would refuse: the short interval of health checks."""
    import boto3
    from botocore.config import Config

    make: Any = boto3.client
    return make(
        service,
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the lab takes any
        config=Config(parameter_validation=False),
    )


def _found(ask: Callable[[], list[dict[str, Any]]]) -> dict[str, Any] | None:
    """First of what is asked for, or None where the API answers that there is no such thing."""
    from botocore.exceptions import ClientError

    try:
        answers = ask()
    except ClientError as error:
        if "NotFound" in error.response["Error"]["Code"]:
            return None
        raise
    return answers[0] if answers else None
