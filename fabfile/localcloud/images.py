"""AMIs as EC2 has them: they take time to make, and their names are unique.

Page followed: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami

from .instances import Instance

if TYPE_CHECKING:
    from .cloud import Cloud


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
