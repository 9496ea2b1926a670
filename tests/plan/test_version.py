"""Versions: what Git says becomes what Debian orders."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabfile.plan.outcome import Refusal
from fabfile.plan.version import (
    Described,
    compare_versions,
    newest,
    newest_tag,
    version_key,
    version_of,
    version_of_tag,
    why_not_version,
)

SHA = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
IN_ORDER = [
    "0.9.9",
    "1.0.0~alpha1",
    "1.0.0~rc1",
    "1.0.0~rc1+2.g1a2b3c4",
    "1.0.0~rc2",
    "1.0.0",
    "1.0.0+5.gfffffff",
    "1.0.0+10.g0000000",
    "1.0.1~rc1",
    "1.0.1",
    "1.10.0",
]
# Debian policy 5.6.12: what an upstream version may be made of, with an epoch and a revision now and then.
UPSTREAM = st.from_regex(r"[0-9][A-Za-z0-9.+~]{0,8}", fullmatch=True)
DEBIAN = st.builds(
    lambda epoch, upstream, revision: f"{epoch}{upstream}{revision}",
    st.sampled_from(["", "", "0:", "1:"]),
    st.one_of(UPSTREAM, st.from_regex(r"[0-9][a1.+~-]{0,6}", fullmatch=True)),
    st.sampled_from(["", "", "-1", "-0", "-1~b"]),
).filter(lambda version: not version.endswith("-"))


def described(tag: str | None, distance: int = 0, *, shallow: bool = False) -> Described:
    return Described(tag=tag, distance=distance, sha=SHA, shallow=shallow)


@pytest.mark.parametrize(
    ("tag", "distance", "version"),
    [
        ("v1.4.0", 0, "1.4.0"),
        ("1.4.0", 0, "1.4.0"),
        ("v1.4.0", 5, "1.4.0+5.g1a2b3c4"),
        ("v1.5.0-rc1", 0, "1.5.0~rc1"),
        ("v1.5.0-rc.2", 0, "1.5.0~rc.2"),
        ("v1.5.0-rc1", 3, "1.5.0~rc1+3.g1a2b3c4"),
        ("v1.5.0-beta", 0, "1.5.0~beta"),
    ],
)
def test_a_commit_gets_the_version_of_its_tag(tag: str, distance: int, version: str) -> None:
    assert version_of(described(tag, distance)) == version
    assert why_not_version(version) is None


@pytest.mark.parametrize(
    "tag", ["release-7", "v1.2", "v01.2.3", "v1.2.3.4", "v1.2.3-1", "v1.2.3-rc01", "1:1.2.3", "v1.2.3\n"]
)
def test_a_malformed_tag_is_refused_with_the_way_out(tag: str) -> None:
    assert version_of_tag(tag) is None
    with pytest.raises(Refusal, match=r"tag the release that way, or give --version="):
        version_of(described(tag))


def test_a_commit_without_a_tag_is_refused_with_the_way_out() -> None:
    with pytest.raises(Refusal, match=r"no tag .*git fetch --tags"):
        version_of(described(None))


@pytest.mark.parametrize(("tag", "distance"), [(None, 0), ("v1.4.0", 3)])
def test_a_shallow_clone_is_not_counted_in(tag: str | None, distance: int) -> None:
    with pytest.raises(Refusal, match="--unshallow"):
        version_of(described(tag, distance, shallow=True))


def test_a_tagged_commit_needs_no_history() -> None:
    assert version_of(described("v1.4.0", shallow=True)) == "1.4.0"


def test_of_several_tags_on_a_commit_the_highest_counts() -> None:
    assert newest_tag(["v1.4.0-rc3", "v1.4.0", "deployed", "v1.3.9"]) == "v1.4.0"
    assert newest_tag(["deployed"]) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("latest", "write one such as .*fab apt.list"),
        ("v1.2.3", r"did you mean 1\.2\.3\?"),
        ("1.5.0-rc1", r"did you mean 1\.5\.0~rc1\?"),
        ("1.2-3", "hyphen"),
        ("1_0", "letters, digits"),
        ("1:0.1", "epoch"),
        ("", "start with a digit"),
        ("²", "start with a digit"),
        ("1.0/../x", "letters, digits"),
        ("1.0\n", "letters, digits"),
    ],
)
def test_a_bad_version_is_answered_with_what_was_meant(text: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(why_not_version(text))


def test_versions_of_ours_are_in_debian_order() -> None:
    assert sorted([*IN_ORDER[6:], *IN_ORDER[:6]], key=version_key) == IN_ORDER
    assert newest(reversed(IN_ORDER)) == "1.10.0"
    assert newest([]) is None


def test_differently_written_versions_can_be_equal() -> None:
    assert compare_versions("1.04", "1.4") == 0
    assert compare_versions("1.0", "1.0.0") == -1


@settings(max_examples=300, deadline=None)
@given(DEBIAN, DEBIAN)
def test_the_order_is_that_of_dpkg(a: str, b: str) -> None:
    def dpkg(relation: str) -> bool:
        argv = ["dpkg", "--compare-versions", a, relation, b]
        return subprocess.run(argv, check=False, stderr=subprocess.DEVNULL).returncode == 0

    assert compare_versions(a, b) == (-1 if dpkg("lt") else 0 if dpkg("eq") else 1)
    assert compare_versions(b, a) == -compare_versions(a, b)
