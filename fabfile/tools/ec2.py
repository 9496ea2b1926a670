"""EC2: instances, launch templates, images; by the ids that are asked for, never by counting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..plan.fleet import (
    ANYWHERE,
    LEAVING_TAG,
    PROJECT_TAG,
    RELEASE_TAG,
    STANDBY_TAG,
    VERSION_TAG,
    Image,
    Instance,
    Lifecycle,
    Mix,
    Place,
    Power,
    Template,
)

if TYPE_CHECKING:
    from ..plan.settings import Settings

from .aws import client

_IDS_A_CALL = 100
_PAGE = {"PageSize": 1000}
# EC2 Auto Scaling's own tag on each instance of a group.
_GROUP_TAG = "aws:autoscaling:groupName"


def read_instances(settings: Settings, ids: Sequence[str], tagged: Mapping[str, str]) -> dict[str, Instance]:
    """Read the group's instances, those with one of some tags, and those asked for by id: a page for a thousand.

    :param ids: those that must be among them; what no tag found is asked for by id.
    :param tagged: tags to look for, by key.
    :returns: facts by id, without what only the group knows (see :func:`..tools.autoscaling.read_group`); an id that
        EC2 does not know yet, or any more, is left out (eventual consistency:
        https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html).
    """
    found: dict[str, dict[str, Any]] = {}
    pages = client("ec2", settings).get_paginator("describe_instances")
    for key, value in {_GROUP_TAG: settings.group, **tagged}.items():
        filters = [{"Name": f"tag:{key}", "Values": [value]}]
        _gather(pages.paginate(Filters=filters, PaginationConfig=_PAGE), found)
    for chunk in _chunks(sorted(set(ids) - found.keys()), _IDS_A_CALL):
        # A filter answers with what exists; InstanceIds would fail as a whole for one id that is not known yet.
        _gather(pages.paginate(Filters=[{"Name": "instance-id", "Values": chunk}]), found)
    return {instance_id: _instance(raw) for instance_id, raw in found.items()}


def _gather(pages: Iterable[dict[str, Any]], into: dict[str, dict[str, Any]]) -> None:
    for page in pages:
        for reservation in page["Reservations"]:
            for raw in reservation["Instances"]:
                into[raw["InstanceId"]] = raw


def read_passing(settings: Settings, ids: Sequence[str]) -> set[str]:
    """Return the instances among `ids` that pass EC2's own status checks."""
    ec2 = client("ec2", settings)
    passing: set[str] = set()
    for chunk in _chunks(sorted(ids), _IDS_A_CALL):
        for status in ec2.describe_instance_status(InstanceIds=chunk)["InstanceStatuses"]:
            if status["InstanceStatus"]["Status"] == "ok" and status["SystemStatus"]["Status"] == "ok":
                passing.add(status["InstanceId"])
    return passing


def _instance(raw: dict[str, Any]) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    return Instance(
        id=raw["InstanceId"],
        image_id=raw.get("ImageId", ""),
        zone=raw.get("Placement", {}).get("AvailabilityZone", ""),
        address=raw.get("PrivateIpAddress", ""),
        power=Power(raw["State"]["Name"]),
        checks_pass=False,
        lifecycle=Lifecycle.OUTSIDE,
        release=tags.get(RELEASE_TAG),
        standby=tags.get(STANDBY_TAG),
        leaving=tags.get(LEAVING_TAG),
        spot=raw.get("InstanceLifecycle") == "spot",
    )


@dataclass(frozen=True)
class Blueprint:
    """A version of a launch template: its number, its AMI, and what a launch from it may have to say once more.

    :param interfaces: its network interfaces, as the API has them.
    :param placement: its placement, as the API has it.
    """

    template: Template
    image_id: str
    interfaces: tuple[Mapping[str, Any], ...] = ()
    placement: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """Instances to start: how many of which template version, where, under which token, with which tags."""

    blueprint: Blueprint
    count: int
    subnet: str
    token: str
    tags: dict[str, str]
    place: Place = ANYWHERE

    @property
    def template(self) -> dict[str, str]:
        """The template version as the API takes it."""
        return {"LaunchTemplateId": self.blueprint.template.id, "Version": self.blueprint.template.version}

    @property
    def tag_specifications(self) -> list[dict[str, Any]]:
        """The tags as the API takes them."""
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        return [{"ResourceType": "instance", "Tags": tags}]


def run_instances(settings: Settings, wanted: Wanted) -> list[str]:
    """Start instances from a template version, all or none, once for each token.

    https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html

    :returns: their ids.
    """
    answer = client("ec2", settings).run_instances(
        LaunchTemplate=wanted.template,
        MinCount=wanted.count,
        MaxCount=wanted.count,
        ClientToken=wanted.token,
        TagSpecifications=wanted.tag_specifications,
        **_where(wanted),
        **_from_reservation(wanted.place),
    )
    return [raw["InstanceId"] for raw in answer["Instances"]]


def _where(wanted: Wanted) -> dict[str, Any]:
    """Say the subnet, and the placement group where the group has one.

    "If you specify a network interface, you must specify any subnets as part of the network interface", and a template
    specifies it as well: EC2 refuses both on the same request. What a request has overwrites what the template has, so
    the interface is said again as a whole, in the subnet that the group would choose; the placement likewise.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
    """
    blueprint = wanted.blueprint
    where: dict[str, Any] = {"SubnetId": wanted.subnet}
    if blueprint.interfaces:
        where = {"NetworkInterfaces": [_interface(each, wanted.subnet) for each in blueprint.interfaces]}
    if wanted.place.placement_group:
        # The subnet says which zone; GroupId and GroupName exclude each other.
        left_out = ("AvailabilityZone", "AvailabilityZoneId", "GroupId")
        kept = {name: value for name, value in blueprint.placement.items() if name not in left_out}
        where["Placement"] = {**kept, "GroupName": wanted.place.placement_group}
    return where


def _interface(template: Mapping[str, Any], subnet: str) -> dict[str, Any]:
    """Make a request's network interface of a template's, which may leave out that it is the first one."""
    return {"DeviceIndex": 0, **template, "SubnetId": subnet}


def _from_reservation(place: Place) -> dict[str, Any]:
    """Say which Capacity Reservation to launch into.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CapacityReservationSpecification.html
    """
    if not place.reservations:
        return {}
    said: dict[str, Any] = {"CapacityReservationPreference": place.reservations}
    if place.reservation:
        is_group = place.reservation.startswith("arn:")
        name = "CapacityReservationResourceGroupArn" if is_group else "CapacityReservationId"
        said["CapacityReservationTarget"] = {name: place.reservation}
    return {"CapacityReservationSpecification": said}


def create_fleet(settings: Settings, wanted: Wanted, *, mix: Mix, spot: int) -> tuple[list[str], str]:
    """Start instances of the types and on the terms of a mixed-instances policy, as many as there is capacity for.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instant-fleet.html. An override's subnet and placement group
    take the place of the template's, whose network interface keeps its other fields
    (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FleetLaunchTemplateOverridesRequest.html; Karpenter
    launches so: https://github.com/aws/karpenter-provider-aws/pull/5437).

    :param spot: how many of them are spot.
    :returns: their ids, and why there are fewer, or "".
    """
    alike: dict[str, Any] = {"MaxPrice": mix.spot_max_price} if mix.spot_max_price else {}
    if wanted.place.placement_group:
        alike["Placement"] = {"GroupName": wanted.place.placement_group}
    types = [_fleet_override(each) for each in json.loads(mix.types)] or [{}]
    overrides = [
        {**each, **alike, "SubnetId": wanted.subnet, "Priority": float(place)} for place, each in enumerate(types)
    ]
    answer = client("ec2", settings).create_fleet(
        Type="instant",
        ClientToken=wanted.token,
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": wanted.template, "Overrides": overrides}],
        TargetCapacitySpecification={
            "TotalTargetCapacity": wanted.count,
            "OnDemandTargetCapacity": wanted.count - spot,
            "SpotTargetCapacity": spot,
            "DefaultTargetCapacityType": "on-demand",
        },
        OnDemandOptions={"AllocationStrategy": mix.on_demand_strategy},
        SpotOptions={"AllocationStrategy": mix.spot_strategy},
        TagSpecifications=wanted.tag_specifications,
    )
    ids = [instance_id for raw in answer.get("Instances", []) for instance_id in raw["InstanceIds"]]
    errors = {f"{raw.get('ErrorCode')}: {raw.get('ErrorMessage')}" for raw in answer.get("Errors", [])}
    return ids, "; ".join(sorted(errors)) if len(ids) < wanted.count else ""


def _fleet_override(override: dict[str, Any]) -> dict[str, Any]:
    """Take of a group's override what an EC2 Fleet's has as well, by the same names."""
    names = ("InstanceType", "InstanceRequirements")
    return {name: override[name] for name in names if name in override}


def tag_resources(settings: Settings, ids: Sequence[str], tags: dict[str, str]) -> None:
    """Set tags on resources, overwriting those of the same key."""
    client("ec2", settings).create_tags(Resources=list(ids), Tags=[{"Key": k, "Value": v} for k, v in tags.items()])


def untag_resources(settings: Settings, ids: Sequence[str], keys: Sequence[str]) -> None:
    """Take tags off resources; those without them stay as they are."""
    client("ec2", settings).delete_tags(Resources=list(ids), Tags=[{"Key": key} for key in keys])


def terminate_instances(settings: Settings, ids: Sequence[str]) -> None:
    """Terminate instances, also those that termination protection guards; those already gone stay gone.

    One of them that is protected keeps all of its zone alive, until its protection is lifted
    (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html). It is there for what a launch
    template or somebody wanted to keep, and not for what a release has replaced: Auto Scaling itself does not heed it
    (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_ChangingDisableAPITermination.html).

    :param ids: instances that are a release's own to end.
    """
    from botocore.exceptions import ClientError

    ec2 = client("ec2", settings)
    try:
        ec2.terminate_instances(InstanceIds=list(ids))
    except ClientError as error:
        if error.response["Error"].get("Code") != "OperationNotPermitted" or not _lift_protection(ec2, ids):
            raise
        ec2.terminate_instances(InstanceIds=list(ids))


def _lift_protection(ec2: Any, ids: Sequence[str]) -> list[str]:
    """End the termination protection of those that have it; returns them."""
    attribute = "disableApiTermination"
    protected = [
        instance_id
        for instance_id in ids
        if ec2.describe_instance_attribute(InstanceId=instance_id, Attribute=attribute)["DisableApiTermination"][
            "Value"
        ]
    ]
    for instance_id in protected:
        ec2.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": False})
    return protected


def read_images(settings: Settings) -> dict[str, Image]:
    """Read the AMIs of this project, by id."""
    pages = client("ec2", settings).get_paginator("describe_images")
    images: dict[str, Image] = {}
    for page in pages.paginate(Owners=["self"], Filters=[{"Name": f"tag:{PROJECT_TAG}", "Values": [settings.name]}]):
        for raw in page["Images"]:
            tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
            images[raw["ImageId"]] = Image(raw["ImageId"], tags.get(VERSION_TAG, "?"))
    return images


def read_template(settings: Settings, template_id: str, version: str) -> Blueprint:
    """Resolve a template version, which may be ``$Latest`` or ``$Default``, to its number and what it says.

    An AMI that it names by a parameter of Systems Manager (``resolve:ssm:``) is read as the AMI that this is now. The
    version that a release writes has its AMI by id, so that nothing but a release changes what the group launches.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html
    """
    answer = client("ec2", settings).describe_launch_template_versions(
        LaunchTemplateId=template_id, Versions=[version], ResolveAlias=True
    )
    found = answer["LaunchTemplateVersions"][0]
    data = found["LaunchTemplateData"]
    return Blueprint(
        template=Template(template_id, str(found["VersionNumber"])),
        image_id=data.get("ImageId", ""),
        interfaces=tuple(data.get("NetworkInterfaces", [])),
        placement=data.get("Placement", {}),
    )


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
    """Return zone to subnet id: of each zone the subnet with most free addresses, the first of those alike.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Subnet.html
    """
    answer = client("ec2", settings).describe_subnets(SubnetIds=list(subnets))
    order = {subnet: place for place, subnet in enumerate(subnets)}
    zones: dict[str, str] = {}
    for raw in sorted(answer["Subnets"], key=lambda each: (-each["AvailableIpAddressCount"], order[each["SubnetId"]])):
        zones.setdefault(raw["AvailabilityZone"], raw["SubnetId"])
    return zones


def _chunks(items: Sequence[str], size: int) -> Iterable[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
