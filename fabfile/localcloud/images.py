"""AMIs and launch templates as EC2 has them: images take time, names are unique, versions build on versions.

Pages followed: CreateImage (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html) and
CreateLaunchTemplateVersion
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html).
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.utils import parse_user_data

from .instances import Instance, once

if TYPE_CHECKING:
    from .cloud import Cloud

VERSIONS_PER_PAGE = 200


class Saving:
    """An image in the making: its machine is stopped if it runs, saved, and booted again if it ran."""

    def __init__(self, image: Ami, instance: Instance, *, reboot: bool) -> None:
        self.image = image
        self.instance = instance
        self._boots_again = instance.state == "running" and reboot
        self._stopped = instance.state == "stopped" or not reboot
        self._saved: Future[None] | None = None
        if not self._stopped:
            instance.imaging = True
            instance.cloud.order(lambda: instance.cloud.hosts.stop(instance.id))

    def step(self, *, is_stopped: bool) -> bool:
        """Go one step further; tell whether it is over."""
        cloud = self.instance.cloud
        self._stopped = self._stopped or is_stopped
        if self._stopped and self._saved is None:
            self._saved = cloud.workers.submit(cloud.hosts.save_image, self.instance.id, self.image.id)
        if self._saved is None or not self._saved.done():
            return False
        error = self._saved.exception()
        self.image.state = "failed" if error else "available"
        if error:
            self.image.state_reason = {"Code": "Client.InternalError", "Message": str(error)}  # type: ignore[attr-defined]
        if self._boots_again:
            self.instance.imaging = False
            spec = self.instance.spec()
            cloud.order(lambda: cloud.hosts.start(spec))
        return True


class ImageRules(EC2Backend):
    """Images that are made from machines."""

    cloud: Cloud

    def _load_amis(self) -> None:
        """Know no image that no machine here could be started from."""

    def create_image(
        self, instance_id: str, name: str, description: str, tag_specifications: list[dict[str, Any]]
    ) -> Ami:
        """Make an image: pending at once, available when the disk is saved."""
        self._refuse_taken_name(name)
        instance = self.get_instance(instance_id)
        if not isinstance(instance, Instance) or instance.state not in ("running", "stopped"):
            raise EC2ClientError("IncorrectState", f"Instance '{instance_id}' is not running or stopped")
        of_image = [spec for spec in tag_specifications if spec["ResourceType"] != "snapshot"]
        image = super().create_image(instance_id, name, description, of_image)
        for spec in tag_specifications:
            if spec["ResourceType"] == "snapshot":
                image.ebs_snapshot.add_tags({tag["Key"]: tag["Value"] for tag in spec["Tags"]})
        self._dress(image)
        image.state = "pending"
        self.cloud.savings.append(Saving(image, instance, reboot=True))
        return image

    def add_image(self, image_id: str, name: str, tags: dict[str, str], owner_id: str | None = None) -> Ami:
        """Register an image that the hosts know already, under an id of the caller's."""
        self._refuse_taken_name(name)
        image = Ami(self, image_id, name=name, owner_id=owner_id, tags=tags, architecture="x86_64")
        self._dress(image)
        self.amis[image_id] = image
        return image

    def deregister_image(self, ami_id: str) -> None:
        """Forget an image, and its disk with it."""
        super().deregister_image(ami_id)
        self.cloud.order(lambda: self.cloud.hosts.delete_image(ami_id))

    def _refuse_taken_name(self, name: str) -> None:
        for image in self.amis.values():
            if image.name == name and image.owner_id == self.account_id:
                raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")

    def _dress(self, image: Ami) -> None:
        image.creation_date = self.cloud.utcnow()
        image.root_device_type = "ebs"
        image.virtualization_type = "hvm"
        image.hypervisor = "xen"
        image.architecture = image.architecture or "x86_64"


def create_launch_template_version(self: LaunchTemplates) -> ActionResult:
    """Build a version on its source version, once for each client token."""

    def answer() -> dict[str, Any]:
        template = _template(self)
        given = dict(self._get_param("LaunchTemplateData", {}))
        if "UserData" in given:
            given["UserData"] = parse_user_data(given["UserData"])
        source = self._get_param("SourceVersion")
        inherited = dict(template.get_version(source).data) if source else {}
        self.error_on_dryrun()
        version = template.create_version({**inherited, **given}, self._get_param("VersionDescription"))
        version.create_time = self.ec2_backend.cloud.utcnow()  # type: ignore[attr-defined]
        return {"LaunchTemplateVersion": _shown(self, template, version)}

    return once(self, "CreateLaunchTemplateVersion", answer)  # type: ignore[no-any-return]


def describe_launch_template_versions(self: LaunchTemplates) -> ActionResult:
    """Show all versions page by page, instead of the first fifteen."""
    versions = self.ec2_backend.describe_launch_template_versions(
        template_name=self._get_param("LaunchTemplateName"),
        template_id=self._get_param("LaunchTemplateId"),
        versions=self._get_param("Versions", []),
        min_version=self._get_int_param("MinVersion"),
        max_version=self._get_int_param("MaxVersion"),
        max_results=10**6,
    )
    start = int(self._get_param("NextToken") or 0)
    end = start + self._get_int_param("MaxResults", VERSIONS_PER_PAGE)
    result: dict[str, Any] = {
        "LaunchTemplateVersions": [_shown(self, template, version) for template, version in versions[start:end]]
    }
    if end < len(versions):
        result["NextToken"] = str(end)
    return ActionResult(result)


def _template(response: LaunchTemplates) -> LaunchTemplate:
    name, template_id = response._get_param("LaunchTemplateName"), response._get_param("LaunchTemplateId")
    if name:
        return response.ec2_backend.get_launch_template_by_name(name)
    return response.ec2_backend.get_launch_template(template_id)


def _shown(response: LaunchTemplates, template: LaunchTemplate, version: LaunchTemplateVersion) -> dict[str, Any]:
    return {
        "CreateTime": version.create_time,
        "CreatedBy": f"arn:{response.partition}:iam::{response.current_account}:root",
        "DefaultVersion": template.is_default(version),
        "LaunchTemplateData": version.data,
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionDescription": version.description,
        "VersionNumber": version.number,
    }
