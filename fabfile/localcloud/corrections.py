"""Every correction of moto by name: what takes the place of what while the local cloud is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import moto.autoscaling.models as moto_autoscaling
import moto.cloudwatch.models as moto_cloudwatch
import moto.core.responses as moto_responses
import moto.ec2.models as moto_ec2
import moto.ec2.models.amis as moto_amis
import moto.ec2.models.elastic_block_store as moto_volumes
import moto.ec2.models.instances as moto_instances
import moto.ec2.models.key_pairs as moto_key_pairs
import moto.ec2.models.launch_templates as moto_launch_templates
import moto.elb.models as moto_elb
import moto.elbv2.models as moto_elbv2
import moto.s3.models as moto_s3
import moto.ssm.models as moto_ssm
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.botocore_stubber import BotocoreStubber
from moto.ec2.responses.fleets import Fleets
from moto.ec2.responses.general import General
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.elb.responses import ELBResponse

from . import (
    alarms,
    classic,
    fleets,
    group_answers,
    hook_answers,
    images,
    instances,
    policies,
    quicker,
    targets,
    templates,
)
from .group_rules import GroupRules
from .groups import Group
from .instances import Instance, InstanceRules
from .wire import answering

if TYPE_CHECKING:
    from .cloud import Cloud

ABSENT = object()  # stands for what moto does not have
CLOCKED = (
    moto_instances,
    moto_amis,
    moto_volumes,
    moto_launch_templates,
    moto_key_pairs,
    moto_autoscaling,
    moto_cloudwatch,
    moto_s3,
    moto_ssm,
    moto_responses,
)


class Ec2Rules(InstanceRules, images.ImageRules):
    """EC2, corrected."""


def swaps(cloud: Cloud) -> list[tuple[Any, str, Any]]:
    """Name every correction: ``(owner, attribute, what takes its place)``."""
    return [
        (moto_ec2.ec2_backends, "backend", _bound(Ec2Rules, cloud)),
        (moto_elb.elb_backends, "backend", _bound(classic.ClassicRules, cloud)),
        (moto_elbv2.elbv2_backends, "backend", _bound(targets.TargetRules, cloud)),
        (moto_autoscaling.autoscaling_backends, "backend", _bound(GroupRules, cloud)),
        (moto_cloudwatch.cloudwatch_backends, "backend", _bound(alarms.AlarmRules, cloud)),
        (moto_autoscaling, "FakeScalingPolicy", policies.Policy),
        (AutoScalingResponse, "put_scaling_policy", policies.put_scaling_policy),
        (AutoScalingResponse, "execute_policy", policies.execute_policy),
        (moto_instances, "Instance", Instance),
        (moto_launch_templates, "LaunchTemplate", templates.Template),
        (moto_elb, "LoadBalancer", classic.LoadBalancer),
        (moto_elbv2, "FakeTargetGroup", targets.TargetGroup),
        (moto_autoscaling, "FakeAutoScalingGroup", Group),
        (BotocoreStubber, "__call__", answering(cloud)),
        *((module, "utcnow", cloud.utcnow) for module in CLOCKED),
        (
            moto_elbv2,
            "iso_8601_datetime_with_milliseconds",
            lambda: f"{cloud.utcnow().isoformat(timespec='milliseconds')}Z",
        ),
        *quicker.swaps(),
        *((InstanceResponse, each.__name__, each) for each in (instances.run_instances,)),
        (Fleets, "create_fleet", fleets.create_fleet),
        *((General, each.__name__, each) for each in (instances.get_console_output,)),
        *(
            (LaunchTemplates, each.__name__, each)
            for each in (
                templates.create_launch_template_version,
                templates.describe_launch_template_versions,
                templates.delete_launch_template_versions,
            )
        ),
        *(
            (ELBResponse, each.__name__, each)
            for each in (
                classic.describe_instance_health,
                classic.register_instances_with_load_balancer,
                classic.deregister_instances_from_load_balancer,
            )
        ),
        *(
            (AutoScalingResponse, each.__name__, each)
            for each in (
                group_answers.create_auto_scaling_group,
                group_answers.update_auto_scaling_group,
                group_answers.delete_auto_scaling_group,
                group_answers.describe_scaling_activities,
                group_answers.describe_load_balancer_target_groups,
                group_answers.describe_load_balancers,
                group_answers.disable_metrics_collection,
                group_answers.start_instance_refresh,
                group_answers.cancel_instance_refresh,
                group_answers.describe_instance_refreshes,
                hook_answers.put_lifecycle_hook,
                hook_answers.delete_lifecycle_hook,
                hook_answers.describe_lifecycle_hooks,
                hook_answers.complete_lifecycle_action,
                hook_answers.record_lifecycle_action_heartbeat,
            )
        ),
    ]


def _bound(rules: type[Any], cloud: Cloud) -> type[Any]:
    """Make a backend class that knows its cloud, in the module where moto looks for the service's URLs."""
    service = next(base.__module__ for base in rules.__mro__ if base.__module__.startswith("moto."))
    module = ".".join([*service.split(".")[:2], "models"])
    return type(rules.__name__, (rules,), {"cloud": cloud, "__module__": module})
