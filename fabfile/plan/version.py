"""Versions of packages: made from what Git says, and ordered as Debian orders them.

Debian's order is what ``apt`` and ``dpkg`` go by, so it is the only one used anywhere in Headway:
``1.5.0~rc1 < 1.5.0 < 1.5.0+5.g1a2b3c4 < 1.5.0+10.g0c0ffee < 1.5.1~rc1``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from .outcome import Refusal

SHORT_SHA = 7
TAG = re.compile(
    r"v?(?P<numbers>(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2})"
    r"(?:-(?P<before>(?:alpha|beta|pre|rc)(?:\.?(?:0|[1-9][0-9]*))?))?"
)
# Debian policy 5.6.12 without epoch and revision: an epoch is forever and spoils file names, and a "-" would turn
# what looks like a pre-release into a revision, which sorts above the release.
VERSION = re.compile(r"[0-9][A-Za-z0-9.+~]*")
PART = re.compile(r"([^0-9]*)([0-9]*)")


@dataclass(frozen=True)
class Described:
    """What Git says of one commit.

    :param tag: the nearest tag that this commit descends from, such as ``v1.4.0``; None when there is none.
    :param distance: commits since that tag; 0 on the tag itself.
    :param sha: the commit, 40 hexadecimal digits.
    :param dirty: the working tree differs from the commit.
    :param shallow: the clone's history is cut off, so that ``tag`` and ``distance`` may be wrong.
    """

    tag: str | None
    distance: int
    sha: str
    dirty: bool = False
    shallow: bool = False


def version_of(described: Described) -> str:
    """Return the package version of a commit: ``1.4.0``, ``1.4.0+5.g1a2b3c4`` or ``1.5.0~rc1``.

    :raises Refusal: no tag, one that is no version, or a shallow clone, in which commits cannot be counted.
    """
    short = described.sha[:SHORT_SHA]
    if described.shallow and (described.tag is None or described.distance):
        raise Refusal(
            f"version of {short}: this clone is shallow, so the commits since the last tag cannot be counted;"
            " git fetch --tags --unshallow, or give --version="
        )
    if described.tag is None:
        raise Refusal(
            f"version of {short}: no tag such as v1.4.0 before this commit; git fetch --tags, or git tag v0.1.0,"
            " or give --version="
        )
    base = version_of_tag(described.tag)
    if base is None:
        raise Refusal(
            f"version of {short}: the tag {described.tag!r} is not vMAJOR.MINOR.PATCH or vMAJOR.MINOR.PATCH-rcN;"
            " tag the release that way, or give --version="
        )
    return f"{base}+{described.distance}.g{short}" if described.distance else base


def version_of_tag(tag: str) -> str | None:
    """Return the version that a release tag stands for, or None where it is not a release tag.

    ``v1.5.0-rc1`` becomes ``1.5.0~rc1``, because ``~`` sorts before the end of a version and ``-`` after it.
    """
    match = TAG.fullmatch(tag)
    if match is None:
        return None
    return match["numbers"] + (f"~{match['before']}" if match["before"] else "")


def newest_tag(tags: Iterable[str]) -> str | None:
    """Return the tag with the highest version, for a commit that carries several; None where none is a release tag."""
    versions = {version: tag for tag in tags if (version := version_of_tag(tag)) is not None}
    highest = newest(versions)
    return None if highest is None else versions[highest]


def why_not_version(text: str) -> str | None:
    """Return why a text cannot be the version of a package of ours, with the way out, or None where it can.

    The syntax is Debian policy 5.6.12 (https://www.debian.org/doc/debian-policy/ch-controlfields.html#version)
    without epoch and revision.
    """
    if VERSION.fullmatch(text):
        return None
    meant = version_of_tag(text)
    hint = f"; did you mean {meant}?" if meant else ""
    if not text or not text[0].isdecimal() or not text[0].isascii():
        way_out = hint or "; write one such as 1.4.0 (fab apt.list shows those that there are)"
        return f"version {text!r} does not start with a digit{way_out}"
    if ":" in text:
        return f"version {text!r} has an epoch, which could never be taken back; leave out what is before the colon"
    if "-" in text:
        return f"version {text!r} has a hyphen, which sorts above the release; write ~ for what comes before it{hint}"
    return f"version {text!r} may only have letters, digits and . + ~"


def compare_versions(a: str, b: str) -> int:
    """Order two versions as dpkg does: -1 where ``a`` is older, 0 where they are equal, 1 where ``a`` is newer.

    Full Debian versions (``epoch:upstream-revision``) are ordered too; the rules are Debian policy 5.6.12.
    """
    for left, right in zip(_split(a), _split(b), strict=True):
        order = _compare_part(left, right)
        if order:
            return order
    return 0


version_key = functools.cmp_to_key(compare_versions)
"""Key for ``sorted`` that puts versions in Debian's order."""


def newest(versions: Iterable[str]) -> str | None:
    """Return the highest version, or None of none."""
    return max(versions, key=version_key, default=None)


def _split(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if hyphen else (epoch, rest, "")


def _compare_part(a: str, b: str) -> int:
    """Compare turn by turn a run of other characters, then a run of digits, until one differs."""
    for (text_a, number_a), (text_b, number_b) in zip_longest(PART.findall(a), PART.findall(b), fillvalue=("", "")):
        left, right = _weights(text_a, text_b), _weights(text_b, text_a)
        if left == right:
            left, right = [int(number_a or 0)], [int(number_b or 0)]
        if left != right:
            return -1 if left < right else 1
    return 0


def _weights(text: str, other: str) -> list[int]:
    """Weigh each character: ``~`` before the end, the end before letters, letters before all else."""
    padded = text.ljust(len(other), "\0")
    return [_weight(character) for character in padded]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    if character == "\0":
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256
