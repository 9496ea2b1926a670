"""Stories of AMIs, and of the group itself: an image that came late, one that was removed, a group that was replaced.

Each test names where it happened to other people; the circumstance is theirs, the cloud is the simulated one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fabfile.bake import bake_version
from fabfile.engine.act import Works
from fabfile.engine.operate import journal_of, serving_version
from fabfile.localcloud.models import Behaviour
from fabfile.paths import data
from fabfile.plan.image import BaseImage, Content, image_tags
from fabfile.plan.outcome import Failed
from fabfile.plan.release import Ending, Kind
from fabfile.plan.settings import Settings
from fabfile.tools import images, packer

from .conftest import Operator
from .stories import (
    OURS,
    add_image,
    assert_over,
    assert_put_back,
    assert_restored,
    assert_serves,
    change_group,
    means,
    meanwhile,
    order,
    standing,
    versions,
)

CONTENT = Content(
    project="shop",
    version="2.5.0",
    package_sha256="a" * 64,
    commit=None,
    migration=0,
    contract_floor=0,
    base=BaseImage("ami-0123456789abcdef0", "base", "/dev/sda1", 8),
    recipe_sha256="b" * 64,
    variables={},
)


ORDER = packer.Order(
    base=CONTENT.base,
    place=images.Place(None, ("10.0.0.7/32",)),
    name="shop-2.5.0-abcd",
    description="shop 2.5.0",
    tags=image_tags(CONTENT),
    run_tags={},
    variables={},
    packer=data("packer"),
    ansible=data("ansible"),
)


def image_state(operator: Operator, image_id: str) -> list[str]:
    """Return the state of an AMI; nothing where EC2 does not know it."""
    found = operator.cloud.client("ec2").describe_images(Filters=[{"Name": "image-id", "Values": [image_id]}])
    return [raw["State"] for raw in found["Images"]]


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a bake prepared, as the Apt repository and the base image would say."""
    told: Any = type("Told", (), {"name": "shop-2.5.0"})()
    monkeypatch.setattr(sys.modules["fabfile.bake"], "_prepare", lambda *_: (CONTENT, told))


@pytest.mark.usefixtures("prepared")
def test_an_image_that_came_although_the_wait_for_it_failed_is_taken(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hashicorp/packer#9705: "Error waiting for AMI. Reason: <nil>", and the AMI is there all the same."""
    cloud, built = operator.cloud, list[str]()

    def build(*_: object) -> str:
        built.append(cloud.add_image("ami-00000000000000a25", Behaviour(version="2.5.0"), image_tags(CONTENT)))
        raise Failed("bake failed: Error waiting for AMI. Reason: <nil>")

    monkeypatch.setattr(packer, "build", build)
    assert bake_version(operator.settings, "2.5.0") == "ami-00000000000000a25"
    assert bake_version(operator.settings, "2.5.0") == "ami-00000000000000a25"
    assert len(built) == 1


@pytest.mark.usefixtures("prepared")
def test_an_image_that_is_not_available_yet_is_not_released(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hashicorp/packer#6536: the wait gave up after ten minutes; the AMI became available later, by itself."""
    cloud, pending = operator.cloud, [True]
    real = images.read_baked

    def read(settings: Any) -> Any:
        return tuple(replace(each, available=each.available and not pending) for each in real(settings))

    def build(*_: object) -> str:
        cloud.add_image("ami-00000000000000a25", Behaviour(version="2.5.0"), image_tags(CONTENT))
        raise Failed("bake failed: Error waiting for AMI: ResourceNotReady: exceeded wait attempts")

    monkeypatch.setattr(packer, "build", build)
    monkeypatch.setattr(images, "read_baked", read)
    works = Works(bake=lambda version: bake_version(operator.settings, version), migrate=lambda _: None)
    ours, before = means(operator, works=lambda _: works), standing(operator)
    assert_restored(order(operator, "2.5.0", with_means=ours), "exceeded wait attempts")
    assert "LaunchInstances" not in operator.screen.acts
    assert_put_back(operator, before)
    pending.clear()
    assert order(operator, "2.5.0", with_means=ours).ending is Ending.DONE
    assert_serves(operator, "2.5.0", 3, before)


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:1"])
def test_packer_waits_long_enough_for_an_image(tmp_path: Path, endpoint: str | None) -> None:
    """hashicorp/packer#8299: by its defaults Packer stops waiting for an AMI before a big one is there."""
    settings = Settings.model_validate({"name": "shop", "endpoint": endpoint})
    packer.lay_out(settings, ORDER, tmp_path)
    told = json.loads((tmp_path / packer.VARIABLES).read_text())
    assert told["poll_s"] * told["poll_attempts"] >= 3600
    polling = re.search(r"aws_polling {(.*?)}", (data("packer") / packer.TEMPLATE).read_text(), re.DOTALL)
    assert polling is not None
    assert " ".join(polling.group(1).split()) == "delay_seconds = var.poll_s max_attempts = var.poll_attempts"


def gone_well(operator: Operator) -> None:
    assert operator.release("2.0.0").ending is Ending.DONE


def failed(operator: Operator) -> None:
    assert operator.release("3.0.0").ending is Ending.RESTORED


def failed_late(operator: Operator) -> None:
    add_image(operator, "4.0.0", sick_s=40)
    assert operator.release("4.0.0", soak_s=60).ending is Ending.RESTORED


def gone_back(operator: Operator) -> None:
    gone_well(operator)
    assert operator.release("1.0.0", Kind.ROLLBACK).ending is Ending.DONE


ENDINGS = [gone_well, failed, failed_late, gone_back]


@pytest.mark.parametrize("ends", ENDINGS)
def test_the_image_that_the_group_launches_is_there_however_a_release_ends(
    operator: Operator, ends: Callable[[Operator], None]
) -> None:
    """wata727/packer-plugin-amazon-ami-management#30: the AMI of the group was deregistered, and scaling out failed.

    And CloudSnorkel/cdk-github-runners#991: a failed deploy deleted the AMI that the launch template points to.
    Asked for, and found nowhere (8): the images of the fleets to go back to are kept as well: none is ever removed.
    """
    ends(operator)
    serving = versions(operator)
    change_group(operator, DesiredCapacity=5)
    operator.cloud.until(lambda: operator.serving() == 5)
    assert versions(operator) == dict.fromkeys(serving, 5)
    for version, image_id in operator.world.image_ids.items():
        assert image_state(operator, image_id) == ["available"], version


def test_no_part_of_headway_removes_an_image_or_a_template_version() -> None:
    """wata727/packer-plugin-amazon-ami-management#30, CloudSnorkel/cdk-github-runners#991: by construction."""
    package = data("packer").parent / "fabfile"
    sources = [path for path in package.rglob("*.py") if "localcloud" not in path.parts]
    assert len(sources) > 50
    forbidden = re.compile(r"\.(deregister_image|delete_snapshot|delete_launch_template\w*)\(")
    assert [path.name for path in sources if forbidden.search(path.read_text())] == []


def test_a_fleet_whose_image_somebody_removed_serves_on_when_a_release_fails(operator: Operator) -> None:
    """wata727/packer-plugin-amazon-ami-management#30, once it has happened: nothing of the old fleet is risked."""
    operator.cloud.client("ec2").deregister_image(ImageId=operator.world.image_ids["1.0.0"])
    before = standing(operator)
    assert_restored(operator.release("3.0.0"), "was not ready")
    assert_put_back(operator, before)
    assert operator.fewest_serving >= 3


def test_a_release_heals_a_group_whose_image_somebody_removed(operator: Operator) -> None:
    """wata727/packer-plugin-amazon-ami-management#30: the next release gives the group an image that is there."""
    operator.cloud.client("ec2").deregister_image(ImageId=operator.world.image_ids["1.0.0"])
    before = standing(operator)
    assert operator.release("2.0.0").ending is Ending.DONE
    assert_serves(operator, "2.0.0", 3, before)
    change_group(operator, DesiredCapacity=4)
    operator.cloud.until(lambda: operator.serving() == 4)


def test_an_image_that_is_removed_in_the_middle_costs_no_capacity(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudSnorkel/cdk-github-runners#991: the new image goes while its fleet warms up: EC2 attaches none of it."""
    before = standing(operator)
    new = operator.world.image_ids["2.0.0"]
    meanwhile(
        monkeypatch, "PrepareGroup", lambda: operator.cloud.client("ec2").deregister_image(ImageId=new), after=False
    )
    assert_restored(operator.release("2.0.0"), "does not exist any more")
    assert_put_back(operator, before)
    assert operator.fewest_serving >= 3


def identity(operator: Operator) -> dict[str, Any]:
    """Read all that an IaC tool knows a group by."""
    group = operator.world.describe_group()
    known = ["AutoScalingGroupName", "AutoScalingGroupARN", "CreatedTime", "MinSize", "MaxSize", "VPCZoneIdentifier"]
    known += ["TargetGroupARNs", "LoadBalancerNames", "HealthCheckType", "HealthCheckGracePeriod", "Tags"]
    return {key: group[key] for key in known} | {"template": group["LaunchTemplate"]["LaunchTemplateId"]}


@pytest.mark.parametrize("ends", ENDINGS)
def test_the_group_is_the_very_same_one_afterwards(operator: Operator, ends: Callable[[Operator], None]) -> None:
    """awslabs/codedeploy-blue-green#2: after a blue/green deployment the group that the IaC owns no longer exists."""
    before = identity(operator)
    ends(operator)
    assert identity(operator) == before
    names = [
        raw["AutoScalingGroupName"]
        for raw in operator.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    ]
    assert names == [operator.world.group]
    assert_over(operator)


def test_history_knows_what_serves_after_its_image_was_removed(operator: Operator) -> None:
    """wata727/packer-plugin-amazon-ami-management#30: one whose AMI is gone can still be named."""
    gone_well(operator)
    operator.cloud.client("ec2").deregister_image(ImageId=operator.world.image_ids["2.0.0"])
    result = operator.release("1.0.0", Kind.ROLLBACK)
    assert result.ending is Ending.DONE
    assert serving_version(journal_of(operator.settings), result.facts) == "1.0.0"
    again = operator.world.image("2.0.0+1", Behaviour(version="2.0.0"), {**OURS, "headway:version": "2.0.0"})
    operator.world.image_ids["2.0.0"] = again
    assert operator.release("2.0.0").ending is Ending.DONE
    assert operator.carried() == {"2.0.0"}
