"""EC2 as its pages describe it: instances, images, key pairs and launch templates of the simulated cloud."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fabfile.localcloud.faults import Fault
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world


@pytest.fixture
def world(cloud: SimulatedCloud) -> World:
    return provision_world(cloud, capacity=0)


@pytest.fixture
def ec2(cloud: SimulatedCloud) -> Any:
    return cloud.client("ec2")


def run(world: World, **changes: Any) -> list[str]:
    """Run instances of the world's template; return their ids."""
    request = {
        "LaunchTemplate": {"LaunchTemplateId": world.template_id, "Version": "$Latest"},
        "SubnetId": world.subnets[0],
        "MinCount": 1,
        "MaxCount": 1,
        **changes,
    }
    answer = world.cloud.client("ec2").run_instances(**request)
    return [instance["InstanceId"] for instance in answer["Instances"]]


def describe(world: World, instance_id: str) -> dict[str, Any]:
    answer = world.cloud.client("ec2").describe_instances(InstanceIds=[instance_id])
    return dict(answer["Reservations"][0]["Instances"][0])


def state(world: World, instance_id: str) -> str:
    return str(describe(world, instance_id)["State"]["Name"])


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


# https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html


def test_a_repeated_client_token_answers_with_the_same_instances(world: World, ec2: Any) -> None:
    first = run(world, MinCount=2, MaxCount=2, ClientToken="once")
    assert run(world, MinCount=2, MaxCount=2, ClientToken="once") == first
    assert sum(len(each["Instances"]) for each in ec2.describe_instances()["Reservations"]) == 2


def test_a_client_token_with_other_parameters_is_refused(world: World) -> None:
    run(world, ClientToken="once")
    with pytest.raises(ClientError) as error:
        run(world, ClientToken="once", MinCount=2, MaxCount=2)
    assert code(error) == "IdempotentParameterMismatch"


def test_a_launch_that_failed_may_be_repeated_with_its_token(world: World, cloud: SimulatedCloud) -> None:
    cloud.faults.refuse_capacity("us-east-1a", Fault(times=1))
    with pytest.raises(ClientError) as error:
        run(world, ClientToken="once")
    assert code(error) == "InsufficientInstanceCapacity"
    assert len(run(world, ClientToken="once")) == 1


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html


def test_an_instance_is_pending_until_its_machine_runs_and_shutting_down_until_it_is_gone(
    world: World, cloud: SimulatedCloud, ec2: Any
) -> None:
    (instance_id,) = run(world)
    assert state(world, instance_id) == "pending"
    cloud.until(lambda: state(world, instance_id) == "running")
    ec2.terminate_instances(InstanceIds=[instance_id])
    assert state(world, instance_id) == "shutting-down"
    cloud.until(lambda: state(world, instance_id) == "terminated")
    assert cloud.hosts.machines == {}
    assert "PrivateIpAddress" not in describe(world, instance_id)


def test_a_terminated_instance_is_forgotten_after_about_an_hour(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    (instance_id,) = run(world)
    cloud.clock.sleep(30)
    ec2.terminate_instances(InstanceIds=[instance_id])
    cloud.clock.sleep(1800)
    assert state(world, instance_id) == "terminated"
    cloud.clock.sleep(2400)
    with pytest.raises(ClientError) as error:
        describe(world, instance_id)
    assert code(error) == "InvalidInstanceID.NotFound"


def test_an_instance_that_is_terminated_before_it_booted_never_boots(
    world: World, cloud: SimulatedCloud, ec2: Any
) -> None:
    (instance_id,) = run(world)
    ec2.terminate_instances(InstanceIds=[instance_id])
    cloud.clock.sleep(30)
    assert state(world, instance_id) == "terminated"


def test_an_instance_stops_and_starts_again_at_the_same_address(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    (instance_id,) = run(world)
    cloud.until(lambda: state(world, instance_id) == "running")
    address = describe(world, instance_id)["PrivateIpAddress"]
    ec2.stop_instances(InstanceIds=[instance_id])
    assert state(world, instance_id) == "stopping"
    cloud.until(lambda: state(world, instance_id) == "stopped")
    assert describe(world, instance_id)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    ec2.start_instances(InstanceIds=[instance_id])
    assert state(world, instance_id) == "pending"
    cloud.until(lambda: state(world, instance_id) == "running")
    assert describe(world, instance_id)["PrivateIpAddress"] == address


def test_a_terminated_instance_cannot_be_stopped(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    (instance_id,) = run(world)
    ec2.terminate_instances(InstanceIds=[instance_id])
    with pytest.raises(ClientError) as error:
        ec2.stop_instances(InstanceIds=[instance_id])
    assert code(error) == "IncorrectInstanceState"


def test_a_machine_that_cannot_be_started_ends_the_instance_and_says_why(world: World, cloud: SimulatedCloud) -> None:
    cloud.hosts.images.clear()
    (instance_id,) = run(world)
    cloud.clock.sleep(2)
    assert state(world, instance_id) == "terminated"
    assert "no machine can be made of image" in describe(world, instance_id)["StateReason"]["Message"]


def test_a_machine_that_dies_ends_its_instance(world: World, cloud: SimulatedCloud) -> None:
    (instance_id,) = run(world)
    cloud.until(lambda: state(world, instance_id) == "running")
    cloud.hosts.kill(instance_id)
    cloud.clock.sleep(1)
    assert state(world, instance_id) == "terminated"


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html


def test_status_checks_are_initializing_before_they_pass(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    (instance_id,) = run(world)
    assert ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"] == []  # only running ones
    cloud.until(lambda: state(world, instance_id) == "running")
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert (status["InstanceStatus"]["Status"], status["SystemStatus"]["Status"]) == ("initializing", "initializing")
    cloud.clock.sleep(30)
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert (status["InstanceStatus"]["Status"], status["SystemStatus"]["Status"]) == ("ok", "ok")
    cloud.hosts.script(instance_id, checks_s=None)
    cloud.clock.sleep(1)
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert status["InstanceStatus"]["Status"] == "impaired"


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html


def test_instances_come_from_the_version_that_is_asked_for(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    second = world.image("2.0.0")
    ec2.create_launch_template_version(
        LaunchTemplateId=world.template_id, SourceVersion="1", LaunchTemplateData={"ImageId": second}
    )
    images = {}
    for version in ("$Latest", "$Default", "1", "2"):
        (instance_id,) = run(world, LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": version})
        found = describe(world, instance_id)
        tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        images[version] = (found["ImageId"], tags["aws:ec2launchtemplate:version"])
    first = world.image_ids["1.0.0"]
    assert images == {"$Latest": (second, "2"), "$Default": (first, "1"), "1": (first, "1"), "2": (second, "2")}


def test_as_many_as_possible_are_launched_up_to_the_maximum(world: World) -> None:
    assert len(run(world, MinCount=1, MaxCount=3)) == 3


def test_the_machine_gets_what_the_template_and_the_request_say(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=b"ssh-ed25519 " + _ED25519 + b" me")
    user_data = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    ec2.create_launch_template_version(
        LaunchTemplateId=world.template_id,
        SourceVersion="1",
        LaunchTemplateData={
            "UserData": user_data,
            "KeyName": "mine",
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "shop"}]}],
        },
    )
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "release", "Value": "r1"}]}]
    (instance_id,) = run(world, TagSpecifications=tags)
    cloud.clock.sleep(1)
    spec = cloud.hosts.machines[instance_id].spec
    assert spec.user_data == "#!/bin/sh\necho hello\n"
    assert spec.public_key == "ssh-ed25519 " + _ED25519.decode() + " me"
    assert {("team", "shop"), ("release", "r1")} <= set(spec.tags)


def test_addresses_are_unique_lie_in_the_subnet_and_are_those_of_interface_and_machine(
    world: World, cloud: SimulatedCloud, ec2: Any
) -> None:
    ids = run(world, MinCount=5, MaxCount=5, SubnetId=world.subnets[1])
    cloud.clock.sleep(1)
    addresses = {describe(world, each)["PrivateIpAddress"] for each in ids}
    assert len(addresses) == 5
    assert all(address.startswith("10.99.16.") for address in addresses)
    assert {cloud.hosts.machines[each].spec.address for each in ids} == addresses
    interfaces = ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [world.subnets[1]]}])
    assert {each["PrivateIpAddress"] for each in interfaces["NetworkInterfaces"]} == addresses
    assert {describe(world, each)["Placement"]["AvailabilityZone"] for each in ids} == {"us-east-1b"}


def test_addresses_and_interfaces_of_the_terminated_are_given_back(
    world: World, cloud: SimulatedCloud, ec2: Any
) -> None:
    for _ in range(3):
        ids = run(world, MinCount=100, MaxCount=100)  # the subnet has 251 addresses
        ec2.terminate_instances(InstanceIds=ids)
        cloud.clock.sleep(10)
    interfaces = ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [world.subnets[0]]}])
    assert interfaces["NetworkInterfaces"] == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ImageId": "ami-00000000000000bad"}, "InvalidAMIID.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"LaunchTemplate": {"LaunchTemplateName": "none"}}, "InvalidLaunchTemplateName.NotFoundException"),
    ],
)
def test_what_does_not_exist_cannot_be_launched(world: World, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ClientError) as error:
        run(world, **changes)
    assert code(error) == expected


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html


def test_an_image_is_pending_while_its_disk_is_saved_and_boots_what_was_saved(
    world: World, cloud: SimulatedCloud, ec2: Any
) -> None:
    (builder,) = run(world)
    cloud.until(lambda: state(world, builder) == "running")
    cloud.hosts.script(builder, version="9.9.9")
    ec2.stop_instances(InstanceIds=[builder])
    cloud.until(lambda: state(world, builder) == "stopped")
    tags = [{"ResourceType": kind, "Tags": [{"Key": "version", "Value": "9.9.9"}]} for kind in ("image", "snapshot")]
    image_id = ec2.create_image(InstanceId=builder, Name="shop-9.9.9", TagSpecifications=tags)["ImageId"]
    (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    assert (image["State"], image["Tags"]) == ("pending", [{"Key": "version", "Value": "9.9.9"}])
    with pytest.raises(ClientError) as error:
        run(world, ImageId=image_id)
    assert code(error) == "InvalidAMIID.Unavailable"
    cloud.clock.sleep(1)
    (image,) = ec2.describe_images(ImageIds=[image_id])["Images"]
    assert (image["State"], image["RootDeviceType"]) == ("available", "ebs")
    (copy,) = run(world, ImageId=image_id)
    cloud.clock.sleep(1)
    assert cloud.hosts.version(copy) == "9.9.9"


def test_a_running_instance_is_restarted_for_its_image_and_stays_running_by_name(
    world: World, cloud: SimulatedCloud, ec2: Any
) -> None:
    (builder,) = run(world)
    cloud.until(lambda: state(world, builder) == "running")
    image_id = ec2.create_image(InstanceId=builder, Name="live")["ImageId"]
    cloud.until(lambda: ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"] == "available")
    cloud.clock.sleep(30)
    assert state(world, builder) == "running"
    assert cloud.hosts.status(builder) == 200


def test_the_name_of_an_image_is_taken_until_it_is_deregistered(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    (builder,) = run(world)
    cloud.until(lambda: state(world, builder) == "running")
    image_id = ec2.create_image(InstanceId=builder, Name="shop")["ImageId"]
    with pytest.raises(ClientError) as error:
        ec2.create_image(InstanceId=builder, Name="shop")
    assert code(error) == "InvalidAMIName.Duplicate"
    cloud.clock.sleep(60)
    ec2.deregister_image(ImageId=image_id)
    cloud.clock.sleep(1)
    assert image_id not in cloud.hosts.images
    assert ec2.create_image(InstanceId=builder, Name="shop")["ImageId"] != image_id


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateKeyPair.html


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_created_key_pair_opens_what_its_public_key_locks(
    world: World, cloud: SimulatedCloud, ec2: Any, kind: str, tmp_path: Path
) -> None:
    material = ec2.create_key_pair(KeyName="temporary", KeyType=kind)["KeyMaterial"]
    (instance_id,) = run(world, KeyName="temporary")
    cloud.clock.sleep(1)
    private = tmp_path / "key"
    private.write_text(material)
    private.chmod(0o600)
    derived = subprocess.run(["ssh-keygen", "-y", "-f", str(private)], capture_output=True, text=True, check=True)
    public = cloud.hosts.machines[instance_id].spec.public_key or ""
    assert derived.stdout.split()[:2] == public.split()[:2]


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html


def test_the_console_shows_what_the_machine_printed(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    (instance_id,) = run(world)
    assert "Output" not in ec2.get_console_output(InstanceId=instance_id)
    cloud.clock.sleep(1)
    assert "booting ami-" in ec2.get_console_output(InstanceId=instance_id)["Output"]


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html


def test_a_version_keeps_what_its_source_version_says_and_it_does_not(world: World, ec2: Any) -> None:
    template = {"LaunchTemplateId": world.template_id}
    ec2.create_launch_template_version(**template, SourceVersion="1", LaunchTemplateData={"ImageId": "ami-2"})
    ec2.create_launch_template_version(**template, LaunchTemplateData={"ImageId": "ami-3"})
    versions = ec2.describe_launch_template_versions(**template, Versions=["2", "3"])["LaunchTemplateVersions"]
    assert [version["LaunchTemplateData"] for version in versions] == [
        {"ImageId": "ami-2", "InstanceType": "t3.small"},
        {"ImageId": "ami-3"},
    ]


def test_a_version_is_made_once_for_each_token(world: World, ec2: Any) -> None:
    request = {"LaunchTemplateId": world.template_id, "SourceVersion": "1", "ClientToken": "once"}
    made = [ec2.create_launch_template_version(**request, LaunchTemplateData={"ImageId": "ami-2"}) for _ in range(2)]
    assert [each["LaunchTemplateVersion"]["VersionNumber"] for each in made] == [2, 2]
    with pytest.raises(ClientError) as error:
        ec2.create_launch_template_version(**request, LaunchTemplateData={"ImageId": "ami-3"})
    assert code(error) == "IdempotentParameterMismatch"


def test_all_versions_can_be_listed(world: World, ec2: Any) -> None:
    for number in range(2, 22):
        ec2.create_launch_template_version(
            LaunchTemplateId=world.template_id, SourceVersion="1", LaunchTemplateData={"ImageId": f"ami-{number}"}
        )
    pages = ec2.get_paginator("describe_launch_template_versions").paginate(
        LaunchTemplateId=world.template_id, PaginationConfig={"PageSize": 8}
    )
    numbers = [each["VersionNumber"] for page in pages for each in page["LaunchTemplateVersions"]]
    assert numbers == list(range(1, 22))


def test_deleted_versions_are_gone_and_their_numbers_are_not_given_again(world: World, ec2: Any) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteLaunchTemplateVersions.html."""
    template = {"LaunchTemplateId": world.template_id}

    def make() -> int:
        answer = ec2.create_launch_template_version(**template, SourceVersion="1", LaunchTemplateData={})
        return int(answer["LaunchTemplateVersion"]["VersionNumber"])

    def numbers(**asked: Any) -> list[int]:
        found = ec2.describe_launch_template_versions(**template, **asked)["LaunchTemplateVersions"]
        return [each["VersionNumber"] for each in found]

    assert [make(), make(), make()] == [2, 3, 4]
    answer = ec2.delete_launch_template_versions(**template, Versions=["1", "2", "4", "9"])
    gone = [each["VersionNumber"] for each in answer["SuccessfullyDeletedLaunchTemplateVersions"]]
    kept = {
        each["VersionNumber"]: each["ResponseError"]["Code"]
        for each in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]
    }
    assert gone == [2, 4]
    assert kept == {1: "unexpectedError", 9: "launchTemplateVersionDoesNotExist"}
    assert numbers() == [1, 3]
    assert numbers(Versions=["$Latest"]) == [3]
    assert make() == 5
    assert numbers(MinVersion="3", MaxVersion="4") == [3]
    with pytest.raises(ClientError, match=r"InvalidLaunchTemplateId\.VersionNotFound"):
        numbers(Versions=["2"])


def test_a_subnet_without_addresses_launches_nothing(world: World, ec2: Any) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html."""
    vpc_id = ec2.describe_subnets(SubnetIds=[world.subnets[0]])["Subnets"][0]["VpcId"]
    small = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.99.64.0/28", AvailabilityZone="us-east-1a")["Subnet"]
    run(world, SubnetId=small["SubnetId"], MinCount=11, MaxCount=11)
    with pytest.raises(ClientError, match="InsufficientFreeAddressesInSubnet"):
        run(world, SubnetId=small["SubnetId"])


def test_a_subnet_beside_network_interfaces_is_refused_even_where_the_template_has_them(world: World, ec2: Any) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html: of SubnetId."""
    interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": True}
    ec2.create_launch_template_version(
        LaunchTemplateId=world.template_id, SourceVersion="1", LaunchTemplateData={"NetworkInterfaces": [interface]}
    )
    with pytest.raises(ClientError, match="Network interfaces and an instance-level subnet ID may not be") as error:
        run(world)
    assert code(error) == "InvalidParameterCombination"
    answer = ec2.run_instances(
        LaunchTemplate={"LaunchTemplateId": world.template_id, "Version": "$Latest"},
        NetworkInterfaces=[{**interface, "SubnetId": world.subnets[1]}],
        MinCount=1,
        MaxCount=1,
    )
    assert answer["Instances"][0]["SubnetId"] == world.subnets[1]


def test_one_that_is_protected_keeps_all_of_its_zone_from_being_terminated(
    world: World, cloud: SimulatedCloud, ec2: Any
) -> None:
    """The example of https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html."""
    near, far, beside = (run(world, SubnetId=world.subnets[index])[0] for index in (0, 1, 1))
    ec2.modify_instance_attribute(InstanceId=far, DisableApiTermination={"Value": True})
    with pytest.raises(ClientError, match=f"The instance '{far}' may not be terminated") as error:
        ec2.terminate_instances(InstanceIds=[near, far, beside])
    assert code(error) == "OperationNotPermitted"
    cloud.clock.sleep(10)
    assert [state(world, each) for each in (near, far, beside)] == ["terminated", "running", "running"]
    ec2.modify_instance_attribute(InstanceId=far, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[far, beside])
    cloud.clock.sleep(10)
    assert state(world, far) == state(world, beside) == "terminated"


def test_a_template_may_name_its_image_by_a_parameter(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-launch-template.html."""
    image_id, named = world.image("2.0.0"), {"ImageId": "resolve:ssm:/shop/ami"}
    cloud.client("ssm").put_parameter(Name="/shop/ami", Type="String", Value=image_id)
    ec2.create_launch_template_version(LaunchTemplateId=world.template_id, SourceVersion="1", LaunchTemplateData=named)
    assert describe(world, run(world)[0])["ImageId"] == image_id

    def shown(**changes: Any) -> str:
        asked = {"LaunchTemplateId": world.template_id, "Versions": ["$Latest"], **changes}
        versions = ec2.describe_launch_template_versions(**asked)["LaunchTemplateVersions"]
        return str(versions[0]["LaunchTemplateData"]["ImageId"])

    assert (shown(), shown(ResolveAlias=True)) == (named["ImageId"], image_id)


def test_throttled_calls_are_tried_again_in_virtual_time(world: World, cloud: SimulatedCloud, ec2: Any) -> None:
    cloud.faults.throttle("DescribeInstances", Fault(times=2))
    assert ec2.describe_instances()["ResponseMetadata"]["RetryAttempts"] == 2
    cloud.faults.throttle("DescribeInstances", Fault())
    with pytest.raises(ClientError) as error:
        ec2.describe_instances()
    assert code(error) == "RequestLimitExceeded"


def test_a_slow_boot_is_pending_for_as_long_as_it_takes(world: World, cloud: SimulatedCloud) -> None:
    cloud.hosts.script_next(Behaviour(boot_s=120))
    (instance_id,) = run(world)
    assert 119 <= cloud.until(lambda: state(world, instance_id) == "running") <= 123


_ED25519 = b"AAAAC3NzaC1lZDI1NTE5AAAAIJ5hR0zzYgqz9Vv0uQqT2Jg0yBfYQm8m6GmSxq0yqQnE"
