"""EC2: instances, launch templates, images; by the ids that are asked for, never by counting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..plan.fleet import PROJECT_TAG, RELEASE_TAG, VERSION_TAG, Image, Instance, Lifecycle, Power, Template

if TYPE_CHECKING:
    from ..plan.settings import Settings

from .aws import client

_IDS_A_CALL = 100


def read_instances(settings: Settings, ids: Sequence[str], release_id: str | None) -> dict[str, Instance]:
    """Read instances by id, and those that a release started, in as few calls as the API allows.

    :returns: facts by id, without what only the group knows (see :func:`..tools.autoscaling.read_group`); an id that
        EC2 does not know yet, or any more, is left out (eventual consistency:
        https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html).
    """
    found: dict[str, dict[str, Any]] = {}
    ec2 = client("ec2", settings)
    pages = ec2.get_paginator("describe_instances")
    for chunk in _chunks(sorted(ids), _IDS_A_CALL):
        # A filter answers with what exists; InstanceIds would fail as a whole for one id that is not known yet.
        _gather(pages.paginate(Filters=[{"Name": "instance-id", "Values": chunk}]), found)
    if release_id:
        _gather(pages.paginate(Filters=[{"Name": f"tag:{RELEASE_TAG}", "Values": [release_id]}]), found)
    passing = _read_checks(ec2, [i for i, raw in found.items() if raw["State"]["Name"] == Power.RUNNING.value])
    return {instance_id: _instance(raw, instance_id in passing) for instance_id, raw in found.items()}


def _gather(pages: Iterable[dict[str, Any]], into: dict[str, dict[str, Any]]) -> None:
    for page in pages:
        for reservation in page["Reservations"]:
            for raw in reservation["Instances"]:
                into[raw["InstanceId"]] = raw


def _read_checks(ec2: Any, ids: list[str]) -> set[str]:
    passing: set[str] = set()
    for chunk in _chunks(ids, _IDS_A_CALL):
        for status in ec2.describe_instance_status(InstanceIds=chunk)["InstanceStatuses"]:
            if status["InstanceStatus"]["Status"] == "ok" and status["SystemStatus"]["Status"] == "ok":
                passing.add(status["InstanceId"])
    return passing


def _instance(raw: dict[str, Any], checks_pass: bool) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    return Instance(
        id=raw["InstanceId"],
        image_id=raw.get("ImageId", ""),
        zone=raw.get("Placement", {}).get("AvailabilityZone", ""),
        address=raw.get("PrivateIpAddress", ""),
        power=Power(raw["State"]["Name"]),
        checks_pass=checks_pass,
        lifecycle=Lifecycle.OUTSIDE,
        release=tags.get(RELEASE_TAG),
        standby=tags.get("headway:standby"),
    )


def run_instances(
    settings: Settings, *, template: Template, count: int, subnet: str, token: str, tags: dict[str, str]
) -> list[str]:
    """Start instances from a template version, all or none, once for each token.

    https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html

    :returns: their ids.
    """
    answer = client("ec2", settings).run_instances(
        LaunchTemplate={"LaunchTemplateId": template.id, "Version": template.version},
        MinCount=count,
        MaxCount=count,
        SubnetId=subnet,
        ClientToken=token,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}],
    )
    return [raw["InstanceId"] for raw in answer["Instances"]]


def tag_resources(settings: Settings, ids: Sequence[str], tags: dict[str, str]) -> None:
    """Set tags on resources, overwriting those of the same key."""
    client("ec2", settings).create_tags(Resources=list(ids), Tags=[{"Key": k, "Value": v} for k, v in tags.items()])


def untag_resources(settings: Settings, ids: Sequence[str], keys: Sequence[str]) -> None:
    """Take tags off resources; those without them stay as they are."""
    client("ec2", settings).delete_tags(Resources=list(ids), Tags=[{"Key": key} for key in keys])


def terminate_instances(settings: Settings, ids: Sequence[str]) -> None:
    """Terminate instances; those already gone stay gone."""
    client("ec2", settings).terminate_instances(InstanceIds=list(ids))


def read_images(settings: Settings) -> dict[str, Image]:
    """Read the AMIs of this project, by id."""
    pages = client("ec2", settings).get_paginator("describe_images")
    images: dict[str, Image] = {}
    for page in pages.paginate(Owners=["self"], Filters=[{"Name": f"tag:{PROJECT_TAG}", "Values": [settings.name]}]):
        for raw in page["Images"]:
            tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
            images[raw["ImageId"]] = Image(raw["ImageId"], tags.get(VERSION_TAG, "?"))
    return images


def read_template(settings: Settings, template_id: str, version: str) -> tuple[Template, str]:
    """Resolve a template version, which may be ``$Latest`` or ``$Default``, to its number and its AMI."""
    answer = client("ec2", settings).describe_launch_template_versions(LaunchTemplateId=template_id, Versions=[version])
    found = answer["LaunchTemplateVersions"][0]
    return Template(template_id, str(found["VersionNumber"])), found["LaunchTemplateData"].get("ImageId", "")


def write_template_version(settings: Settings, source: Template, image_id: str, token: str) -> str:
    """Write a version of a launch template that differs from its source by the image alone; return its number.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html
    """
    answer = client("ec2", settings).create_launch_template_version(
        LaunchTemplateId=source.id,
        SourceVersion=source.version,
        VersionDescription=f"headway {token}",
        LaunchTemplateData={"ImageId": image_id},
        ClientToken=token,
    )
    return str(answer["LaunchTemplateVersion"]["VersionNumber"])


def read_zones(settings: Settings, subnets: Sequence[str]) -> dict[str, str]:
    """Return zone to subnet id, the first subnet of each zone."""
    answer = client("ec2", settings).describe_subnets(SubnetIds=list(subnets))
    zones: dict[str, str] = {}
    for raw in sorted(answer["Subnets"], key=lambda subnet: list(subnets).index(subnet["SubnetId"])):
        zones.setdefault(raw["AvailabilityZone"], raw["SubnetId"])
    return zones


def _chunks(items: Sequence[str], size: int) -> Iterable[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
