"""What an instance printed on its console, and why EC2 itself says that it is not well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..plan.evidence import Verdict
from ..plan.fleet import Power
from .aws import client

if TYPE_CHECKING:
    from ..plan.settings import Settings

_MOST_CHARACTERS = 64 * 1024  # all that EC2 keeps


def read_console(settings: Settings, instance_id: str) -> str:
    """Read what an instance printed: the newest where its type can tell, else what was kept of its last transition.

    The latest output "is supported on instance types that use the Nitro hypervisor"; the other is posted "shortly after
    an instance transition state", so early in a boot there may be nothing yet
    (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html).

    :returns: text, decoded (botocore undoes the base64); empty when nothing was printed yet.
    """
    from botocore.exceptions import ClientError

    ec2 = client("ec2", settings, in_haste=True)
    try:
        answer = ec2.get_console_output(InstanceId=instance_id, Latest=True)
    except ClientError as error:
        if error.response["Error"]["Code"] != "UnsupportedOperation":
            raise
        answer = ec2.get_console_output(InstanceId=instance_id)
    return str(answer.get("Output", ""))[-_MOST_CHARACTERS:]


def read_verdicts(settings: Settings, ids: Sequence[str]) -> dict[str, Verdict]:
    """Read why EC2 changed the state of instances, and which of its status checks they do not pass; two calls.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html and
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatus.html

    :returns: by id; an id that EC2 does not know any more is left out.
    """
    if not ids:
        return {}
    ec2 = client("ec2", settings, in_haste=True)
    # A filter answers with what exists; InstanceIds would fail as a whole for one id that is gone.
    named = [{"Name": "instance-id", "Values": list(ids)}]
    found = [raw for group in ec2.describe_instances(Filters=named)["Reservations"] for raw in group["Instances"]]
    running = [raw["InstanceId"] for raw in found if raw["State"]["Name"] == Power.RUNNING.value]
    checks: dict[str, tuple[str, ...]] = {}
    if running:
        for raw in ec2.describe_instance_status(InstanceIds=running)["InstanceStatuses"]:
            checks[raw["InstanceId"]] = tuple(_failing(raw))
    return {
        raw["InstanceId"]: Verdict(
            _reason(raw.get("StateReason"), raw.get("StateTransitionReason", "")), checks.get(raw["InstanceId"], ())
        )
        for raw in found
    }


def _reason(reason: dict[str, Any] | None, transition: str) -> str:
    if not reason:
        return transition
    code, message = reason.get("Code", ""), reason.get("Message", "")
    if code == Power.PENDING.value:
        return ""
    return message if message.startswith(code) else f"{code}: {message}"


def _failing(raw: dict[str, Any]) -> list[str]:
    lines = []
    for key, name in (("SystemStatus", "system"), ("InstanceStatus", "instance"), ("AttachedEbsStatus", "EBS")):
        status = raw.get(key, {}).get("Status", "ok")
        if status not in ("ok", "not-applicable"):
            details = [f"{each['Name']} {each['Status']}" for each in raw[key].get("Details", [])]
            lines.append(f"{name} status check: {', '.join([status, *details])}")
    lines += [f"{event['Code']}: {event.get('Description', '')}" for event in raw.get("Events", [])]
    return lines
