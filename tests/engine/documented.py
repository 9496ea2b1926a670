"""The errors that AWS documents, action by action: what each call of a release must expect to be answered with.

Pages followed: the errors that botocore's service models carry for each operation; for EC2, whose model names none,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html; those that all actions of a service have,
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/CommonErrors.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fabfile.localcloud.direct import THROTTLED, TRANSIENT
from fabfile.localcloud.errors import STATUSES, THROTTLING, documented
from fabfile.localcloud.faults import Fault, Faults, Lost
from fabfile.localcloud.simulated import RETRIES_OF_RELEASES


class Sort(Enum):
    """What kind of thing goes wrong; of each sort one stands for the others where there is no time for all."""

    REFUSED = "AWS does not do it"
    BUSY = "AWS cannot do it now"
    LOST = "AWS did it, and the answer was lost"


@dataclass(frozen=True)
class Error:
    """One thing that a call may be answered with instead of its answer.

    :param code: the error's code; for a lost answer, what is lost.
    :param message: what AWS says, where anything depends on it.
    :param tries: how often it is met: boto3 tries again by itself, and is to be out of patience.
    """

    code: str
    sort: Sort
    message: str = ""
    tries: int = 1

    def strike(self, faults: Faults, name: str, *, once: bool) -> None:
        """Let it meet an action from now on."""
        fault = Fault(times=self.tries if once else None)
        if self.sort is Sort.LOST:
            faults.lose_answer(name, fault, Lost[self.code])
        else:
            faults.fail(name, self.code, self.message, fault)

    def __str__(self) -> str:
        return self.code if self.sort is not Sort.LOST else f"answer lost ({self.code}, {self.tries} times)"


# In these words, or with these codes, AWS tells what is in its books. It never does so by mistake: S3 is strongly
# consistent (https://aws.amazon.com/s3/consistency/), and NoSuchKey says that there is no such object.
TRUE = {"NoSuchKey", "PreconditionFailed"}
COMMON = {
    "autoscaling": ("AccessDeniedException", "ExpiredToken", "InternalFailure", "ServiceUnavailable"),
    "elb": ("AccessDenied", "ExpiredToken", "InternalFailure", "ServiceUnavailable"),
    "elbv2": ("AccessDenied", "ExpiredToken", "InternalFailure", "ServiceUnavailable"),
    "cloudwatch": ("AccessDenied", "InternalServiceFault", "ServiceUnavailable"),
    "s3": ("AccessDenied", "ExpiredToken", "InternalError", "RequestTimeout", "ServiceUnavailable"),
    "ec2": ("UnauthorizedOperation", "RequestExpired", "InternalError", "ServiceUnavailable", "Unavailable"),
}
OF_ACTION = {
    "ec2:RunInstances": (
        "InstanceLimitExceeded",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientInstanceCapacity",
        "InvalidAMIID.NotFound",
        "InvalidLaunchTemplateId.NotFound",
        "InvalidParameterValue",
        "IdempotentParameterMismatch",
        "PendingVerification",
        "ResourceLimitExceeded",
        "Unsupported",
        "VcpuLimitExceeded",
    ),
    "ec2:CreateFleet": (
        "InsufficientInstanceCapacity",
        "InstanceLimitExceeded",
        "InvalidLaunchTemplateId.NotFound",
        "MaxSpotInstanceCountExceeded",
        "UnfulfillableCapacity",
    ),
    "ec2:TerminateInstances": ("InvalidInstanceID.NotFound", "OperationNotPermitted"),
    "ec2:CreateTags": ("InvalidInstanceID.NotFound", "InvalidID", "TagLimitExceeded"),
    "ec2:DeleteTags": ("InvalidInstanceID.NotFound", "InvalidID"),
    "ec2:CreateLaunchTemplateVersion": ("InvalidLaunchTemplateId.NotFound", "ResourceLimitExceeded"),
    "ec2:DescribeLaunchTemplateVersions": ("InvalidLaunchTemplateId.NotFound",),
    "ec2:DescribeSubnets": ("InvalidSubnetID.NotFound",),
    "ec2:DescribeInstanceStatus": ("InvalidInstanceID.NotFound",),
    "s3:PutObject": ("ConditionalRequestConflict", "OperationAborted"),
    "s3:DeleteObject": ("ConditionalRequestConflict",),
}
# EC2 Auto Scaling has one code for all that an instance's or a group's state does not allow.
STATES = {
    "AttachInstances": "Instance i-1 is not in correct state. Instance(s) must be in running state.",
    "EnterStandby": "The instance i-1 is not in InService.",
    "ExitStandby": "The instance i-1 is not in Standby.",
    "DetachInstances": "The instance i-1 is not part of Auto Scaling group shop-prod.",
    "SetInstanceProtection": "The instance i-1 is not in InService or EnteringStandby or Standby.",
    "TerminateInstanceInAutoScalingGroup": "Instance Id not found - No managed instance found for instance ID: i-1",
    "UpdateAutoScalingGroup": "You must use a valid fully-formed launch template.",
    "SuspendProcesses": "Group shop-prod is pending delete",
    "ResumeProcesses": "Group shop-prod is pending delete",
}
READS = ("Describe", "Get", "List")


def is_read(name: str) -> bool:
    """Tell whether an action, such as ``ec2:DescribeInstances``, changes nothing."""
    return name.partition(":")[2].startswith(READS)


def errors_of(name: str) -> list[Error]:
    """Return what an action, such as ``ec2:RunInstances``, may be answered with."""
    service, _, action = name.partition(":")
    codes = [THROTTLING.get(service, "Throttling"), *COMMON[service], *documented(action, service)]
    errors = [_error(code) for code in dict.fromkeys((*codes, *OF_ACTION.get(name, ()))) if code not in TRUE]
    if service == "autoscaling" and action in STATES:
        errors.append(Error("ValidationError", Sort.REFUSED, STATES[action]))
    lost = [Error("CONNECTION", Sort.LOST), Error("CONNECTION", Sort.LOST, tries=RETRIES_OF_RELEASES + 1)]
    return [*errors, *lost, Error("SERVER_ERROR", Sort.LOST, tries=RETRIES_OF_RELEASES + 1)]


def _error(code: str) -> Error:
    is_tried_again = code in THROTTLED or STATUSES.get(code, 400) in TRANSIENT
    if is_tried_again:
        return Error(code, Sort.BUSY, tries=RETRIES_OF_RELEASES + 1)
    return Error(code, Sort.REFUSED)


def one_of_each_sort(errors: list[Error]) -> list[Error]:
    """Return the first error of each sort; of lost answers one that boto3 has no patience for."""
    found: dict[Sort, Error] = {}
    for error in errors:
        if error.sort is not Sort.LOST or error.tries > 1:
            found.setdefault(error.sort, error)
    return list(found.values())
