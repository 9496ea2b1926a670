"""The Apt repository's texts: what is written is read back, and what may be added."""

from __future__ import annotations

import gzip
import lzma
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.plan.repository import (
    Digest,
    Release,
    Stanza,
    added,
    architectures,
    by_hash_path,
    has,
    indexes,
    merged,
    parse_packages,
    parse_release,
    parse_stanza,
    pool_path,
    published,
    release_of,
    release_text,
    repository_url,
    sources_text,
    stanza_text,
    unpacked,
    why_not_added,
    why_not_repository,
)
from fabfile.plan.settings import Settings
from fabfile.plan.version import version_key

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def stanza(version: str, *, name: str = "shop", arch: str = "all", sha256: str = "a" * 64, more: str = "") -> Stanza:
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nDescription: Orders\n over HTTP\n{more}"
    return parse_stanza(stanza_text(control, f"pool/{name}_{version}.deb", Digest(123, sha256)))


def settings(**apt: object) -> Settings:
    return Settings.model_validate({"name": "shop", "apt": apt})


def test_an_index_reads_back_as_it_was_written() -> None:
    stanzas = (stanza("1.4.0"), stanza("1.5.0"), stanza("0.1", name="till"))
    for index in indexes(stanzas, "main", ["amd64"]):
        assert parse_packages(unpacked(index.path, index.content)) == stanzas


def test_an_empty_index_is_read_too() -> None:
    assert indexes((), "main", ["amd64"])[0].content == b""
    assert parse_packages("") == ()


def test_an_index_comes_in_three_forms_and_each_has_a_path_of_its_content() -> None:
    plain, packed_gz, packed_xz = indexes((stanza("1.4.0"),), "main", ["amd64"])
    assert gzip.decompress(packed_gz.content) == lzma.decompress(packed_xz.content) == plain.content
    assert plain.by_hash == f"main/binary-amd64/by-hash/SHA256/{plain.digest.sha256}"
    assert packed_xz.by_hash == by_hash_path("main/binary-amd64/Packages.xz", packed_xz.digest.sha256)


def test_every_architecture_lists_its_packages_and_those_for_any() -> None:
    stanzas = (
        stanza("1.0", name="any"),
        stanza("1.0", name="arm", arch="arm64"),
        stanza("1.0", name="risc", arch="riscv64"),
    )
    archs = architectures(["i386"], stanzas)
    assert archs == ("amd64", "arm64", "i386", "riscv64")
    listed = {
        index.path: [each.package for each in parse_packages(index.content.decode())]
        for index in indexes(stanzas, "main", archs)
        if index.path.endswith("Packages")
    }
    assert listed == {
        "main/binary-amd64/Packages": ["any"],
        "main/binary-arm64/Packages": ["any", "arm"],
        "main/binary-i386/Packages": ["any"],
        "main/binary-riscv64/Packages": ["any", "risc"],
    }
    again = merged(parse_packages(index.content.decode()) for index in indexes(stanzas, "main", archs)[::3])
    assert again == stanzas


@given(st.permutations(["1.0~rc1", "1.0", "1.0+2.gabc", "1.0+10.gabc", "1.10"]))
def test_a_version_finds_its_place_in_whatever_order_they_come(versions: list[str]) -> None:
    stanzas: tuple[Stanza, ...] = ()
    for version in versions:
        stanzas = added(stanzas, stanza(version))
    assert [each.version for each in stanzas] == sorted(versions, key=version_key)
    assert [each.version for each in published(stanzas, "shop")] == [each.version for each in stanzas]


def test_what_is_published_says_what_the_package_said() -> None:
    more = "Headway-Commit: 1a2b\nHeadway-Migration: 7\nHeadway-Contract-Floor: 3\n"
    one = published([stanza("1.4.0", more=more), stanza("9", name="till")], "shop")[0]
    assert (one.version, one.commit, one.migration, one.contract_floor) == ("1.4.0", "1a2b", 7, 3)
    assert (one.filename, one.size_bytes, one.sha256) == ("pool/shop_1.4.0.deb", 123, "a" * 64)


def test_a_foreign_package_has_no_migrations() -> None:
    one = published([stanza("1.4.0")], "shop")[0]
    assert (one.commit, one.migration, one.contract_floor) == (None, 0, 0)


def test_a_version_with_the_same_bytes_is_there_already() -> None:
    assert why_not_added([stanza("1.4.0")], stanza("1.4.0")) is None
    assert has([stanza("1.4.0")], stanza("1.4.0"))
    assert not has([stanza("1.4.0")], stanza("1.5.0"))


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (stanza("1.4.0", sha256="b" * 64), "other bytes"),
        (stanza("1.4.0", sha256="b" * 64, arch="amd64"), "other bytes"),
        (stanza("1.04.0"), "the same version as 1.4.0"),
    ],
)
def test_a_version_never_changes(new: Stanza, reason: str) -> None:
    assert reason in (why_not_added([stanza("1.4.0")], new) or "")


def test_another_project_may_have_the_same_version() -> None:
    assert why_not_added([stanza("1.4.0")], stanza("1.4.0", name="till", sha256="b" * 64)) is None


def test_an_index_entry_without_a_file_is_an_error() -> None:
    with pytest.raises(ValueError, match="filename"):
        parse_packages("Package: shop\nVersion: 1\nArchitecture: all\nSize: 1\nSHA256: aa\n")


def test_a_release_reads_back_as_it_was_written() -> None:
    made = indexes((stanza("1.4.0"),), "main", ["amd64", "arm64"])
    release = release_of(None, "stable", "main", ["amd64", "arm64"], made)
    text = release_text(release, NOW)
    assert parse_release(text) == release
    assert "Date: Mon, 06 May 2024 07:08:09 GMT\n" in text
    assert "Acquire-By-Hash: yes\n" in text


def test_other_components_stay_as_they_are() -> None:
    theirs = {"extra/binary-amd64/Packages": Digest(1, "c" * 64)}
    before = Release("stable", ("extra",), ("amd64",), theirs)
    after = release_of(before, "stable", "main", ["amd64"], indexes((stanza("1"),), "main", ["amd64"]))
    assert after.components == ("extra", "main")
    assert after.files["extra/binary-amd64/Packages"] == Digest(1, "c" * 64)
    assert "main/binary-amd64/Packages" in after.files


def test_the_signed_part_is_taken_out_of_a_clear_signed_text() -> None:
    release = Release("stable", ("main",), ("amd64",), {"main/binary-amd64/Packages": Digest(1, "c" * 64)})
    text = release_text(release, NOW)
    signed = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{text}-----BEGIN PGP SIGNATURE-----\n\nx\n"
    assert parse_release(signed) == release
    with pytest.raises(ValueError, match="nobody signed"):
        parse_release(f"{text}\n{signed}")


def test_what_is_no_release_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a Release"):
        parse_release("<html>It works!</html>")


def test_a_file_in_the_pool_is_named_by_its_content_and_has_no_plus() -> None:
    path = pool_path("main", "shop", "1.4.0+5.g1a2b3c4", "all", "abcdef0123456789" * 4)
    assert path == "pool/main/s/shop/abcdef0123456789/shop_1.4.0-5.g1a2b3c4_all.deb"


@pytest.mark.parametrize(
    ("publish", "extra", "url"),
    [
        ("s3://b/p", {}, "https://b.s3.us-east-1.amazonaws.com/p"),
        ("s3://b", {"endpoint": "http://127.0.0.1:4750"}, "http://127.0.0.1:4750/b"),
        ("s3://b/p/", {"endpoint": "http://127.0.0.1:4750/"}, "http://127.0.0.1:4750/b/p"),
        ("/srv/apt", {}, "file:///srv/apt"),
        ("file:///srv/apt", {}, "file:///srv/apt"),
        (None, {}, None),
    ],
)
def test_a_place_has_an_address_by_itself(publish: str | None, extra: dict[str, str], url: str | None) -> None:
    assert repository_url(Settings.model_validate({"apt": {"publish": publish}, **extra})) == url


def test_the_address_that_is_set_comes_first() -> None:
    assert repository_url(settings(publish="s3://b/p", url="https://apt.example.com")) == "https://apt.example.com"


def test_a_sources_file_says_which_key_it_trusts() -> None:
    text = sources_text(settings(url="https://apt.example.com", suite="edge"))
    assert text == (
        "Types: deb\nURIs: https://apt.example.com\nSuites: edge\nComponents: main\n"
        "Signed-By: /etc/apt/keyrings/shop-archive-keyring.asc\n"
    )
    inline = sources_text(settings(url="https://apt.example.com"), "-----BEGIN-----\n\nabc\n-----END-----\n")
    assert inline.endswith("Signed-By:\n -----BEGIN-----\n .\n abc\n -----END-----\n")


@pytest.mark.parametrize("key", ["suite", "component"])
def test_a_suite_that_is_no_folder_name_is_refused(key: str) -> None:
    assert f"headway.apt.{key}" in (why_not_repository(settings(**{key: "../x"})) or "")
    assert why_not_repository(settings()) is None
