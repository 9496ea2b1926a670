"""EC2 instances as EC2 has them: a life in steps behind every state, instead of moto's running-at-once.

Pages followed: the instance life cycle
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html), status checks
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html) and idempotency
(https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import EC2ClientError, OperationNotPermitted4
from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import Instance as MotoInstance
from moto.ec2.models.instances import InstanceState, Reservation, StateReason
from moto.ec2.responses.general import General
from moto.ec2.responses.instances import InstanceResponse

from . import parameters
from .direct_kept import Versioned
from .hosts import HostSpec, HostState, Power
from .quicker_instances import lose_places

if TYPE_CHECKING:
    from moto.ec2.models.elastic_network_interfaces import NetworkInterface
    from moto.ec2.models.launch_templates import LaunchTemplateVersion

    from .cloud import Cloud

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
IMPAIRED_AFTER_S = 600.0  # a machine whose checks have not passed by then is not "initializing" any more
USER_SHUTDOWN = StateReason("Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown")
OWN_SHUTDOWN = StateReason(
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown", "Client.InstanceInitiatedShutdown"
)
LOST = StateReason("Server.InternalError: Internal error on launch", "Server.InternalError")

_run_instances = InstanceResponse.run_instances


class Instance(Versioned, MotoInstance):
    """An instance with a machine behind it, whose state follows the machine's."""

    def __init__(self, ec2_backend: Any, image_id: str, user_data: Any, security_groups: Any, **kwargs: Any) -> None:
        super().__init__(ec2_backend, image_id, user_data, security_groups, **kwargs)
        self.cloud: Cloud = ec2_backend.cloud
        self.launch_time = self.cloud.utcnow()
        self.launched_at_s = self.cloud.time_s()
        self.started = False  # the machine is being started since the instance last became pending
        self.imaging = False  # its machine stands still for a moment, for an image of its disk
        self.running_since_s: float | None = None
        self.checks = "initializing"
        # Spot instances cannot be protected: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html
        is_spot = bool(kwargs.get("instance_market_options"))
        self.disable_api_termination = not is_spot and bool(self._data_of_template().get("DisableApiTermination"))
        for nic in self.nics.values():
            nic.delete_on_termination = True  # the default of a primary interface
        self._enter("pending")
        self.cloud.adopt(self)

    @property
    def private_ip_address(self) -> str | None:
        """The address, which a terminated instance has given back."""
        return None if self.state == "terminated" else super().private_ip_address

    @property
    def network_interfaces(self) -> list[NetworkInterface]:
        """The interfaces, which a terminated instance has lost."""
        return [] if self.state == "terminated" else super().network_interfaces

    @property
    def instance_status(self) -> dict[str, Any]:
        """What the status check says, for DescribeInstanceStatus."""
        if self.state != "running":
            return {"Status": "not-applicable"}
        detail = {"ok": "passed", "impaired": "failed"}.get(self.checks, self.checks)
        return {"Status": self.checks, "Details": [{"Name": "reachability", "Status": detail}]}

    system_status = instance_status

    def spec(self) -> HostSpec:
        """Return what its machine is to be."""
        user_data = self.user_data.decode() if isinstance(self.user_data, Base64EncodedString) else ""
        pair = self.ec2_backend.key_pairs.get(self.key_name)
        tags = tuple((tag["key"], tag["value"]) for tag in self.get_tags())
        return HostSpec(
            self.id, self.image_id, self.private_ip or "", user_data, pair.public_key.strip() if pair else None, tags
        )

    def close_to(self, placement: dict[str, Any]) -> None:
        """Be in the placement group that a request names, or else its template."""
        named = placement.get("GroupName") or self._data_of_template().get("Placement", {}).get("GroupName")
        self.placement.group_name = named or ""

    def _data_of_template(self) -> dict[str, Any]:
        tags = {tag["key"]: tag["value"] for tag in self.get_tags()}
        template = self.ec2_backend.launch_templates.get(tags.get("aws:ec2launchtemplate:id"))
        found: dict[str, Any] = template.get_version(tags["aws:ec2launchtemplate:version"]).data if template else {}
        return found

    def start(self) -> InstanceState:
        """Boot again after a stop."""
        previous = self._state
        if self.state not in ("stopped", "pending", "running"):
            raise wrong_state(self, "start")
        if self.state == "stopped":
            self.started = False
            self._enter("pending")
        return previous

    def stop(self) -> InstanceState:
        """Power off, keeping the disk."""
        previous = self._state
        if self.state not in ("running", "stopping", "stopped"):
            raise wrong_state(self, "stop")
        if self.state == "running":
            self._enter("stopping", USER_SHUTDOWN)
            self.cloud.order(lambda: self.cloud.hosts.stop(self.id))
        return previous

    def terminate(self) -> InstanceState:
        """Begin to shut down for good; :meth:`see` ends it when the machine is gone."""
        previous = self._state
        if self.state not in ("shutting-down", "terminated"):
            self._enter("shutting-down", USER_SHUTDOWN)
            if self.started:
                self.cloud.order(self._shut_down)
        return previous

    def _shut_down(self) -> None:
        if self.state != "terminated":
            self.cloud.hosts.terminate(self.id)

    def fail_to_boot(self, message: str) -> None:
        """End, as no machine could be started."""
        self.end(StateReason(f"Server.InternalError: {message}", "Server.InternalError"))

    def see(self, host: HostState | None, now_s: float) -> None:
        """Follow the machine: ``host`` is what it is now, None when there is none."""
        if self.state == "terminated":
            return
        if host is None or host.power is Power.GONE:
            self.end(None if self.state == "shutting-down" else LOST if self.state == "pending" else OWN_SHUTDOWN)
        elif host.power is Power.RUNNING and self.state in ("pending", "running"):
            self._run(host.checks_pass, now_s)
        elif host.power is Power.STOPPED and not self.imaging and self.state in ("pending", "running", "stopping"):
            reason = self.state_reason if self.state == "stopping" else OWN_SHUTDOWN
            self._enter("stopped", reason)

    def end(self, reason: StateReason | None) -> None:
        """Be terminated: interfaces, volumes and the address are given back."""
        kept = reason or self.state_reason
        super().terminate()
        for address in self._private_ips:
            self.ec2_backend.get_subnet(self.subnet_id).del_subnet_ip(address)
        self._private_ips = set()
        self._enter("terminated", kept)

    def _run(self, checks_pass: bool, now_s: float) -> None:
        if self.state == "pending":
            self._enter("running")
            self.running_since_s = now_s
            self.checks = "initializing"
        if checks_pass:
            self.checks = "ok"
        elif self.checks == "ok" or now_s - (self.running_since_s or now_s) > IMPAIRED_AFTER_S:
            self.checks = "impaired"

    def _enter(self, state: str, reason: StateReason | None = None) -> None:
        self._state = InstanceState(state, CODES[state])
        self.cloud.changes += 1
        self.state_reason = reason or StateReason()
        self.since_s = self.cloud.time_s()
        when = self.cloud.utcnow().strftime("%Y-%m-%d %H:%M:%S UTC")
        self._reason = f"User initiated ({when})" if reason is USER_SHUTDOWN else ""


def wrong_state(instance: Instance, verb: str) -> EC2ClientError:
    """Make the error of an action that an instance's state does not allow."""
    return EC2ClientError(
        "IncorrectInstanceState",
        f"The instance '{instance.id}' is not in a state from which it can be {verb}ed".replace("stoped", "stopped"),
    )


class InstanceRules(EC2Backend):
    """RunInstances with the checks and choices that EC2 makes."""

    cloud: Cloud

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.answered: dict[tuple[str, str], tuple[str, Any]] = {}  # (action, client token): (request, answer)

    def run_instances(
        self, image_id: str, count: int, user_data: Any, security_group_names: list[str], **kwargs: Any
    ) -> Reservation:
        """Launch; https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html."""
        version = self.version_of(kwargs["launch_template"]) if kwargs.get("launch_template") else None
        if version is not None:
            image_id = parameters.image_of(self, image_id or version.image_id)
            _place_by_template(version, kwargs)
        self._place_by_default(kwargs)
        self.why_not_image(image_id)
        key_name = kwargs.get("key_name") or (version.data.get("KeyName") if version else None)
        if key_name and key_name not in self.key_pairs:
            raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{key_name}' does not exist")
        zone = self._zone(kwargs)
        if self.cloud.faults.lacks_capacity(zone, self.cloud.time_s()):
            kind = kwargs.get("instance_type", "")
            raise EC2ClientError(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone})."
                " Our system will be working on provisioning additional capacity.",
            )
        try:
            return super().run_instances(image_id, count, user_data, security_group_names, **kwargs)
        except StopIteration:  # moto's, of a subnet that has no address left
            raise EC2ClientError(
                "InsufficientFreeAddressesInSubnet",
                "The specified subnet does not have enough free addresses to satisfy the request.",
            ) from None

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[MotoInstance, InstanceState]]:
        """Terminate, zone by zone: one that is protected keeps all that are named of its zone alive.

        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
        """
        named = self.get_multi_instances_by_id(instance_ids)
        kept = {each.availability_zone: each for each in named if each.disable_api_termination}
        free = [each.id for each in named if each.availability_zone not in kept]
        ended = super().terminate_instances(free) if free or not kept else []
        for protected in kept.values():
            raise OperationNotPermitted4(protected.id)
        return ended

    def all_reservations(self, filters: Any = None) -> list[Reservation]:
        """Return all reservations, without what an answer that is behind does not know yet."""
        unseen_since_s = self.cloud.memory.unseen_since_s
        found: list[Reservation] = super().all_reservations(filters)
        if unseen_since_s is None:
            return found
        for reservation in found:
            reservation.instances = [
                each for each in reservation.instances if not _is_launched_since(each, unseen_since_s)
            ]
        return [reservation for reservation in found if reservation.instances]

    def get_instance_by_id(self, instance_id: str) -> MotoInstance | None:
        """Find an instance, without looking at all of them."""
        known = self.cloud.instances.get(instance_id)
        if known is not None and known.ec2_backend is self:
            return known
        return super().get_instance_by_id(instance_id)

    def version_of(self, given: dict[str, Any]) -> LaunchTemplateVersion:
        """Return the template version that a request names, by id or name; the default one without a version."""
        if "LaunchTemplateId" in given:
            template = self.get_launch_template(given["LaunchTemplateId"])
        else:
            template = self.get_launch_template_by_name(given["LaunchTemplateName"])
        return template.get_version(given.get("Version") or "$Default")

    def why_not_image(self, image_id: str) -> None:
        """Raise EC2's error for an image that cannot be launched."""
        image = self.amis.get(parameters.image_of(self, image_id))
        if image is None:
            raise EC2ClientError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        if image.state != "available":
            raise EC2ClientError(
                "InvalidAMIID.Unavailable", f"The image ID '{image_id}' is not available (it is {image.state})"
            )

    def reboot_instances(self, instance_ids: list[str]) -> list[MotoInstance]:
        """Leave machines as they are: nobody here depends on a reboot."""
        return self.get_multi_instances_by_id(instance_ids)

    def forget_terminated(self, after_s: float) -> None:
        """Stop showing instances that were terminated this long ago."""
        lose_places(self)
        for reservation in list(self.reservations.values()):
            kept = [each for each in reservation.instances if not _is_long_gone(each, after_s)]
            if len(kept) < len(reservation.instances):
                reservation.instances = kept
            if not kept:
                del self.reservations[reservation.id]

    def _place_by_default(self, kwargs: dict[str, Any]) -> None:
        """Choose a default subnet where the request names none, as RunInstances does."""
        nics = kwargs.get("nics") or ()
        if kwargs.get("subnet_id") or any(nic.get("SubnetId") or nic.get("NetworkInterfaceId") for nic in nics):
            return
        defaults = self.get_default_subnets()
        zone = kwargs.get("placement") or min(defaults, default="")
        default = defaults[zone].id if zone in defaults else None
        if nics:
            nics[0]["SubnetId"] = default
        else:
            kwargs["subnet_id"] = default

    def _zone(self, kwargs: dict[str, Any]) -> str:
        subnet = kwargs.get("subnet_id") or next((n["SubnetId"] for n in kwargs.get("nics", ()) if "SubnetId" in n), "")
        if subnet:
            return str(self.get_subnet(subnet).availability_zone)
        return str(kwargs.get("placement") or f"{self.region_name}a")


def _is_launched_since(instance: MotoInstance, since_s: float) -> bool:
    return isinstance(instance, Instance) and instance.launched_at_s > since_s


def _is_long_gone(instance: MotoInstance, after_s: float) -> bool:
    if not isinstance(instance, Instance) or instance.state != "terminated":
        return False
    return instance.cloud.time_s() - instance.since_s > after_s


def _place_by_template(version: LaunchTemplateVersion, kwargs: dict[str, Any]) -> None:
    """Take subnet, zone and security groups of the template where the request has none."""
    interface: dict[str, Any] = next(iter(version.data.get("NetworkInterfaces", [])), {})
    if not kwargs.get("nics"):
        kwargs["subnet_id"] = kwargs.get("subnet_id") or interface.get("SubnetId")
        kwargs["security_group_ids"] = kwargs.get("security_group_ids") or list(interface.get("Groups", []))
    if not kwargs.get("placement"):
        kwargs["placement"] = version.data.get("Placement", {}).get("AvailabilityZone")


def once(response: Any, action: str, answer: Any) -> Any:
    """Answer a request with a client token that was answered before as it was answered before.

    Same token and other parameters: IdempotentParameterMismatch
    (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html).
    """
    token = response._get_param("ClientToken")
    answered = response.ec2_backend.answered
    request = json.dumps({k: v for k, v in response.params.items() if k != "ClientToken"}, sort_keys=True, default=str)
    if token and (action, token) in answered:
        earlier, result = answered[action, token]
        if earlier != request:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return ActionResult(result)
    result = answer()
    if token:
        answered[action, token] = (request, result)
    return ActionResult(result)


def run_instances(self: InstanceResponse) -> ActionResult:
    """Honour the client token, and launch MaxCount rather than MinCount."""

    def answer() -> Any:
        _refuse_two_networks(self)
        self.params["MinCount"] = self._get_param("MaxCount")
        reservation: Any = _run_instances(self).result
        for instance in reservation.instances:
            instance.close_to(self._get_param("Placement", {}))
        return reservation

    return once(self, "RunInstances", answer)  # type: ignore[no-any-return]


def _refuse_two_networks(response: InstanceResponse) -> None:
    """Refuse subnet or security groups beside network interfaces, whichever of the two the launch template has.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
    """
    given = response._get_param("LaunchTemplate", {})
    data = response.ec2_backend.version_of(given).data if given else {}
    if not (response._get_param("NetworkInterfaces") or data.get("NetworkInterfaces")):
        return
    for name, words in (("SubnetId", "subnet ID"), ("SecurityGroupIds", "security groups")):
        if response._get_param(name) or data.get(name):
            raise EC2ClientError(
                "InvalidParameterCombination",
                f"Network interfaces and an instance-level {words} may not be specified on the same request",
            )


def get_console_output(self: General) -> ActionResult:
    """Show what the machine printed, instead of a sample."""
    instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
    cloud: Cloud = instance.ec2_backend.cloud
    output = cloud.hosts.console(instance.id) if isinstance(instance, Instance) and instance.started else ""
    answer = {"InstanceId": instance.id, "Timestamp": cloud.utcnow()}
    if output:
        answer["Output"] = Base64EncodedString.from_raw_string(output)
    return ActionResult(answer)
