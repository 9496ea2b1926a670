"""What an AMI is made of, what it is called, and which existing one is the same. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .fleet import PROJECT_TAG, VERSION_TAG

COMMIT_TAG = "headway:commit"
PACKAGE_TAG = "headway:package-sha256"
INPUTS_TAG = "headway:inputs"
BASE_TAG = "headway:base"
MIGRATION_TAG = "headway:migration"
CONTRACT_FLOOR_TAG = "headway:contract-floor"
BUILDER_TAG = "headway:builder"
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html: what a name may hold, and how much of it.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9()\[\] ./\-'@_]")
_NAME_LENGTH = 128


@dataclass(frozen=True)
class BaseImage:
    """The AMI that a bake starts from.

    :param root_device: name of its root volume, such as ``/dev/sda1``.
    :param root_gib: size of that volume.
    """

    id: str
    name: str
    root_device: str
    root_gib: int


@dataclass(frozen=True)
class Baked:
    """An AMI of this account."""

    id: str
    name: str
    created: datetime
    available: bool
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """What goes into an image: two bakes of equal content give images that are as good as equal.

    :param commit: the commit that the package was built from, where the repository knows it.
    :param migration: number of the highest database migration in the package; 0 for none.
    :param contract_floor: number of its highest contract migration; 0 for none.
    :param recipe_sha256: of all that provisions: roles, templates, Packer's configuration.
    :param variables: what the roles are told.
    """

    project: str
    version: str
    package_sha256: str
    commit: str | None
    migration: int
    contract_floor: int
    base: BaseImage
    recipe_sha256: str
    variables: Mapping[str, Any]

    @property
    def inputs(self) -> str:
        """SHA-256 over everything that can make a difference to what the image holds."""
        return inputs_hash(self.package_sha256, self.base.id, self.recipe_sha256, self.variables)


def inputs_hash(package_sha256: str, base_image: str, recipe_sha256: str, variables: Mapping[str, Any]) -> str:
    """Hash what an image is made of: equal inputs give equal hashes, whatever the order of the variables."""
    parts = [package_sha256, base_image, recipe_sha256, variables]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def choose_image(images: Iterable[Baked], inputs: str) -> str | None:
    """Return the newest usable image made of exactly these inputs, or None."""
    return _newest(image for image in images if image.tags.get(INPUTS_TAG) == inputs)


def image_of_version(images: Iterable[Baked], project: str, version: str) -> str | None:
    """Return the newest usable image that carries a version, whatever else went into it, or None."""
    return _newest(
        image for image in images if image.tags.get(PROJECT_TAG) == project and image.tags.get(VERSION_TAG) == version
    )


def _newest(images: Iterable[Baked]) -> str | None:
    usable = sorted((image.created, image.id) for image in images if image.available)
    return usable[-1][1] if usable else None


def image_name(content: Content, taken: Collection[str]) -> str:
    """Name an image ``NAME-VERSION-HASH``, with a number behind it when that name is taken already.

    An account has each name once, and a Debian version may hold characters that a name may not; the tags tell the
    exact version.

    :param taken: names of the images that exist.
    """
    end = f"-{content.inputs[:8]}"
    start = _NOT_IN_NAMES.sub("_", f"{content.project}-{content.version}")
    name = f"{start[: _NAME_LENGTH - len(end)]}{end}"
    number = 2
    while name in taken:
        name = f"{start[: _NAME_LENGTH - len(end) - len(str(number)) - 1]}{end}-{number}"
        number += 1
    return name


def image_tags(content: Content) -> dict[str, str]:
    """Return the tags that tell what is in an image."""
    tags = {
        "Name": f"{content.project} {content.version}",
        PROJECT_TAG: content.project,
        VERSION_TAG: content.version,
        PACKAGE_TAG: content.package_sha256,
        INPUTS_TAG: content.inputs,
        BASE_TAG: content.base.id,
        MIGRATION_TAG: str(content.migration),
        CONTRACT_FLOOR_TAG: str(content.contract_floor),
    }
    return {**tags, COMMIT_TAG: content.commit} if content.commit else tags


def builder_tags(content: Content) -> dict[str, str]:
    """Return the tags of what a bake makes on its way: enough to find it again, too little to be taken for an image."""
    return {
        "Name": f"headway bake of {content.project} {content.version}",
        BUILDER_TAG: f"{content.project}/{content.inputs[:8]}",
    }


def why_not_image(image: Baked | None, content: Content) -> str | None:
    """Return why a finished image is not what was asked for, or None when it is."""
    if image is None:
        return "EC2 does not know it"
    if not image.available:
        return "it is not available"
    wrong = [key for key, value in image_tags(content).items() if image.tags.get(key) != value]
    return f"its tags are not what was baked: {', '.join(wrong)}" if wrong else None
