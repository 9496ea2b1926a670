"""Moto's answers written quicker are the answers that moto would have written."""

from __future__ import annotations

from typing import Any

import pytest
import xmltodict  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from moto.ec2.models import ec2_backends
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import InstanceBackend

from fabfile.localcloud.quicker import write_xml
from fabfile.localcloud.quicker_instances import all_reservations, get_tags
from fabfile.localcloud.simulated import simulated_cloud
from fabfile.localcloud.world import provision_world

MOTO_ALL_RESERVATIONS, MOTO_GET_TAGS = InstanceBackend.all_reservations, TaggedEC2Resource.get_tags
NAMES = st.sampled_from(["item", "tagSet", "instanceId", "member", "Key"])
TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=12)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), TEXTS)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)


@given(content=st.dictionaries(NAMES, BODIES, max_size=4))
def test_an_answer_reads_as_xmltodict_would_have_written_it(content: dict[str, Any]) -> None:
    body = {"DescribeResponse": {"@xmlns": "http://ec2.amazonaws.com/doc/2016-11-15/", **content}}
    if has_list_in_list(content):
        return  # no protocol of AWS has one
    expected = xmltodict.unparse(body, full_document=True, short_empty_elements=True)
    assert xmltodict.parse(write_xml(body)) == xmltodict.parse(expected)


@pytest.mark.parametrize("text", ["a < b & c > d", '"quoted"', "it's", "ü", ""])
def test_text_and_attributes_are_escaped(text: str) -> None:
    body = {"Response": {"@id": text, "#text": text}}
    assert xmltodict.parse(write_xml(body)) == xmltodict.parse(xmltodict.unparse(body))


def has_list_in_list(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_list_in_list(each) for each in value.values())
    if isinstance(value, list):
        return any(isinstance(each, list) or has_list_in_list(each) for each in value)
    return False


FILTERS: list[dict[str, list[str]]] = [
    {},
    {"instance-id": []},
    {"tag:Name": ["shop-prod"]},
    {"tag:Name": ["shop*"]},
    {"tag:Name": ["shop?prod", "other"]},
    {"tag:Name": [""]},
    {"tag:missing": ["shop-prod"]},
    {"tag:odd": ["a[b]"]},
    {"tag-key": ["odd"]},
    {"tag-value": ["a*"]},
    {"instance-state-name": ["running"]},
    {"tag:Name": ["shop-prod"], "instance-state-name": ["terminated"]},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_instances_are_found_as_moto_finds_them(filters: dict[str, list[str]]) -> None:
    with simulated_cloud(seed=3, direct=True) as cloud:
        world = provision_world(cloud, capacity=3)
        ids = world.members()
        ec2 = cloud.client("ec2")
        ec2.create_tags(Resources=ids[1:], Tags=[{"Key": "odd", "Value": "a[b]"}])
        ec2.terminate_instances(InstanceIds=ids[:1])
        cloud.clock.sleep(30)
        backend = ec2_backends["123456789012"]["us-east-1"]
        for wanted in (None, ids[1:], ids[::-1], [*ids, "i-missing"]):
            asked = filters if wanted is None else {**filters, "instance-id": wanted}
            quick, slow = all_reservations(backend, asked), MOTO_ALL_RESERVATIONS(backend, asked)
            assert [vars(each) for each in quick] == [vars(each) for each in slow]
        for instance in backend.all_instances():
            assert get_tags(instance) == MOTO_GET_TAGS(instance)


def test_an_instance_that_has_come_or_gone_since_is_looked_up_anew() -> None:
    with simulated_cloud(seed=3, direct=True) as cloud:
        world = provision_world(cloud, capacity=2)
        ec2 = cloud.client("ec2")

        def seen(ids: list[str]) -> list[str]:
            found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": ids}])["Reservations"]
            return [each["InstanceId"] for reservation in found for each in reservation["Instances"]]

        old = world.members()
        assert sorted(seen(old)) == sorted(old)
        template = {"LaunchTemplateId": world.template_id}
        run = ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=2, SubnetId=world.subnets[0])
        new = [each["InstanceId"] for each in run["Instances"]]
        assert sorted(seen([*old, *new])) == sorted([*old, *new])
        cloud.clock.sleep(10)
        ec2.terminate_instances(InstanceIds=new[:1])
        cloud.clock.sleep(2 * 3600)
        assert seen(new) == new[1:]
