"""What an image is made of, its name and tags, and which existing image is the same."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.plan.image import (
    Baked,
    BaseImage,
    Content,
    builder_tags,
    choose_image,
    image_name,
    image_of_version,
    image_tags,
    inputs_hash,
    why_not_image,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONTENT = Content(
    project="shop",
    version="1.4.0+5.gabc",
    package_sha256="a" * 64,
    commit="c" * 40,
    migration=7,
    contract_floor=3,
    base=BaseImage("ami-base", "debian-12", "/dev/xvda", 8),
    recipe_sha256="b" * 64,
    variables={"tuning_open_files_soft": 1024, "app_apt_url": "http://apt"},
)


def baked(image_id: str, minutes: int = 0, *, available: bool = True, **tags: str) -> Baked:
    named = {**image_tags(CONTENT), **{key.replace("__", ":").replace("_", "-"): value for key, value in tags.items()}}
    return Baked(image_id, image_id, NOON + timedelta(minutes=minutes), available, named)


@pytest.mark.parametrize(
    "change",
    [
        {"package_sha256": "d" * 64},
        {"base": BaseImage("ami-newer", "debian-12", "/dev/xvda", 8)},
        {"recipe_sha256": "d" * 64},
        {"variables": {**CONTENT.variables, "tuning_open_files_soft": 1025}},
    ],
)
def test_each_thing_that_goes_into_an_image_changes_its_inputs(change: dict[str, Any]) -> None:
    assert replace(CONTENT, **change).inputs != CONTENT.inputs


def test_what_an_image_is_called_does_not_change_its_inputs() -> None:
    assert replace(CONTENT, project="other", version="9", commit=None).inputs == CONTENT.inputs


def test_the_order_of_variables_does_not_change_the_inputs() -> None:
    assert inputs_hash("p", "b", "r", {"a": 1, "b": {"c": 2, "d": 3}}) == inputs_hash(
        "p", "b", "r", {"b": {"d": 3, "c": 2}, "a": 1}
    )


def test_values_cannot_move_from_one_input_into_the_next() -> None:
    assert inputs_hash("ab", "c", "r", {}) != inputs_hash("a", "bc", "r", {})


@given(project=st.text(min_size=2), version=st.text(min_size=1), taken=st.integers(0, 3))
def test_a_name_is_one_that_aws_takes_and_is_not_taken(project: str, version: str, taken: int) -> None:
    content = replace(CONTENT, project=project, version=version)
    names: set[str] = set()
    for _ in range(taken + 1):
        name = image_name(content, names)
        assert name not in names
        assert re.fullmatch(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}", name)
        names.add(name)


def test_a_name_tells_project_version_and_inputs() -> None:
    assert image_name(CONTENT, ()) == f"shop-1.4.0_5.gabc-{CONTENT.inputs[:8]}"
    assert image_name(CONTENT, {image_name(CONTENT, ())}) == f"shop-1.4.0_5.gabc-{CONTENT.inputs[:8]}-2"


def test_tags_tell_exactly_what_is_inside() -> None:
    assert image_tags(CONTENT) == {
        "Name": "shop 1.4.0+5.gabc",
        "headway:project": "shop",
        "headway:version": "1.4.0+5.gabc",
        "headway:commit": "c" * 40,
        "headway:package-sha256": "a" * 64,
        "headway:inputs": CONTENT.inputs,
        "headway:base": "ami-base",
        "headway:migration": "7",
        "headway:contract-floor": "3",
    }
    assert "headway:commit" not in image_tags(replace(CONTENT, commit=None))


def test_what_a_bake_leaves_on_its_way_is_never_taken_for_an_image() -> None:
    unfinished = Baked("ami-1", "n", NOON, True, builder_tags(CONTENT))
    assert choose_image([unfinished], CONTENT.inputs) is None
    assert image_of_version([unfinished], "shop", CONTENT.version) is None


def test_the_newest_available_image_of_the_same_inputs_is_chosen() -> None:
    images = [
        baked("ami-older"),
        baked("ami-newer", 5),
        baked("ami-pending", 9, available=False),
        baked("ami-other", 9, headway__inputs="x"),
    ]
    assert choose_image(images, CONTENT.inputs) == "ami-newer"
    assert choose_image(images, "unheard of") is None


def test_an_image_of_a_version_is_found_whatever_else_went_into_it() -> None:
    images = [baked("ami-1", headway__inputs="x"), baked("ami-2", 5, headway__project="other")]
    assert image_of_version(images, "shop", "1.4.0+5.gabc") == "ami-1"
    assert image_of_version(images, "shop", "1.4.0") is None


def test_a_finished_image_is_held_against_what_was_asked_for() -> None:
    assert why_not_image(baked("ami-1"), CONTENT) is None
    assert why_not_image(None, CONTENT) == "EC2 does not know it"
    assert why_not_image(baked("ami-1", available=False), CONTENT) == "it is not available"
    wrong = why_not_image(baked("ami-1", headway__version="1.4.1"), CONTENT)
    assert wrong == "its tags are not what was baked: headway:version"
