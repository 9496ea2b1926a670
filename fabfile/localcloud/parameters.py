"""AMIs by a parameter of Systems Manager instead of their id, as launch templates may name them.

Page followed: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-launch-template.html, of a Systems Manager
parameter instead of an AMI ID.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.ec2.exceptions import EC2ClientError
from moto.ssm.models import ssm_backends

if TYPE_CHECKING:
    from .instances import InstanceRules

PREFIX = "resolve:ssm:"


def image_of(rules: InstanceRules, image_id: str) -> str:
    """Return the AMI id that is meant by ``resolve:ssm:``, a parameter's name and maybe ``:`` with a version or label.

    :raises EC2ClientError: there is no such parameter.
    """
    if not image_id.startswith(PREFIX):
        return image_id
    name = image_id.removeprefix(PREFIX)
    found = ssm_backends[rules.account_id][rules.region_name].get_parameter(name)
    if found is None:
        raise EC2ClientError("InvalidParameterValue", f"There is no parameter {name} in Systems Manager")
    return str(found.value)
