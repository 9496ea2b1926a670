"""Packages: what we write, Debian's own dpkg-deb reads; what it writes, we read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fabfile.plan.outcome import Refusal
from fabfile.tools.dpkg import Link, Member, members_below, read_deb, unpack_folder, write_deb

TIME_S = 1_700_000_000
CONTROL = (
    "Package: shop\nVersion: 1.4.0\nArchitecture: all\nMaintainer: The Shop <s@example.com>\n"
    "Description: Orders\n over HTTP\nHeadway-Commit: 1a2b\n"
)
MEMBERS = [
    Member("/usr/bin/shop", b"#!/bin/sh\n", executable=True),
    Member("/etc/shop/shop.conf", b"a=1\n"),
    Member("/usr/share/shop/" + "long/" * 40 + "näme", b"odd"),
    Member("/usr/share/shop/current", Link("v1")),
]


def write(into: Path, members: list[Member] | None = None, **options: object) -> Path:
    arguments: dict[str, object] = {"scripts": {"postinst": "#!/bin/sh\n"}, "time_s": TIME_S, **options}
    write_deb(into, CONTROL, MEMBERS if members is None else members, **arguments)  # type: ignore[arg-type]
    return into


def dpkg_deb(*argv: object) -> str:
    done = subprocess.run(["dpkg-deb", *map(str, argv)], check=True, capture_output=True, text=True)
    return done.stdout


def tree(root: Path, mode: int, time_s: int) -> Path:
    for name in ("b/two", "a/one", "c"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(mode)
        os.utime(path, (time_s, time_s))
    return root


def test_debians_own_tool_reads_what_we_write(tmp_path: Path) -> None:
    deb = write(tmp_path / "shop.deb", conffiles=["/etc/shop/shop.conf"])
    assert dpkg_deb("--field", deb) == CONTROL
    dpkg_deb("--raw-extract", deb, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "usr/bin/shop").stat().st_mode & 0o777 == 0o755
    assert (out / "etc/shop/shop.conf").stat().st_mode & 0o777 == 0o644
    assert (out / "usr/share/shop" / ("long/" * 40) / "näme").read_text() == "odd"
    assert (out / "usr/share/shop/current").readlink() == Path("v1")
    assert (out / "DEBIAN/conffiles").read_text() == "/etc/shop/shop.conf\n"
    assert (out / "DEBIAN/postinst").stat().st_mode & 0o777 == 0o755
    subprocess.run(["md5sum", "--check", "--quiet", "DEBIAN/md5sums"], cwd=out, check=True)


def test_everything_belongs_to_root_and_has_one_time(tmp_path: Path) -> None:
    lines = dpkg_deb("--contents", write(tmp_path / "shop.deb")).splitlines()
    assert {tuple(line.split()[1:2] + line.split()[3:5]) for line in lines} == {("root/root", "2023-11-14", "22:13")}
    names = [line.split()[5] for line in lines]
    assert names[:4] == ["./", "./etc/", "./etc/shop/", "./etc/shop/shop.conf"]


def test_the_same_tree_gives_the_same_bytes_whenever_and_whoever_made_it(tmp_path: Path) -> None:
    first, second = tree(tmp_path / "1", 0o644, 1), tree(tmp_path / "2", 0o640, 2_000_000_000)
    written = [
        write(tmp_path / f"{root.name}.deb", list(reversed(list(members_below(root, "/opt/shop")))))
        for root in (first, second)
    ]
    assert written[0].read_bytes() == written[1].read_bytes()


def test_a_tree_keeps_its_links_and_what_is_executable(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", 0o644, 1)
    (root / "c").chmod(0o700)
    (root / "link").symlink_to("c")
    (root / "folder").symlink_to("a")
    found = {member.path: member for member in members_below(root, "/opt/shop")}
    assert set(found) == {f"/opt/shop/{name}" for name in ("a/one", "b/two", "c", "link", "folder")}
    assert found["/opt/shop/c"].executable
    assert found["/opt/shop/link"].content == Link("c")
    assert found["/opt/shop/folder"].content == Link("a")
    assert [member.path for member in members_below(root / "c", "/usr/bin/c")] == ["/usr/bin/c"]


def test_what_is_no_file_cannot_be_packaged(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refusal, match="pipe: neither a file"):
        list(members_below(tmp_path, "/opt"))


@pytest.mark.parametrize("compression", ["gzip", "xz", "none"])
def test_we_read_what_debians_own_tool_writes(tmp_path: Path, compression: str) -> None:
    (tmp_path / "t/DEBIAN").mkdir(parents=True)
    (tmp_path / "t/DEBIAN/control").write_text(CONTROL)
    (tmp_path / "t/usr/share/shop/migrations").mkdir(parents=True)
    (tmp_path / "t/usr/share/shop/migrations/1_a.sql").write_text("-- one\n")
    dpkg_deb(f"-Z{compression}", "--build", "--root-owner-group", tmp_path / "t", tmp_path / "x.deb")
    deb = read_deb(tmp_path / "x.deb")
    assert (deb.package, deb.version, deb.architecture) == ("shop", "1.4.0", "all")
    assert deb.fields["Headway-Commit"] == "1a2b"
    assert deb.control == CONTROL
    assert unpack_folder(deb.path, "/usr/share/shop/migrations", tmp_path / "out")
    assert (tmp_path / "out/1_a.sql").read_text() == "-- one\n"


def test_what_we_write_we_read(tmp_path: Path) -> None:
    deb = read_deb(write(tmp_path / "shop.deb"))
    assert deb.control == CONTROL
    assert deb.size_bytes == deb.path.stat().st_size
    assert deb.sha256 == subprocess.check_output(["sha256sum", str(deb.path)], text=True).split()[0]


def test_only_plain_files_right_in_a_folder_are_unpacked(tmp_path: Path) -> None:
    members = [
        Member("/usr/share/shop/migrations/1_a.sql", b"a"),
        Member("/usr/share/shop/migrations/deeper/2_b.sql", b"b"),
        Member("/usr/share/shop/migrations/3_c.sql", Link("/etc/passwd")),
        Member("/usr/share/shop/4_d.sql", b"d"),
    ]
    deb = write(tmp_path / "shop.deb", members)
    assert unpack_folder(deb, "/usr/share/shop/migrations", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1_a.sql"]
    assert not unpack_folder(deb, "/usr/share/till/migrations", tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no-control"])
def test_what_is_no_package_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "shop.deb")
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello\n", "cut": whole[:200], "no-control": whole[:72]}[damage])
    with pytest.raises(Refusal, match=r"shop\.deb: not a Debian package") as refused:
        read_deb(path)
    assert "\n" not in str(refused.value)


def test_a_missing_package_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no such package; fab package makes it"):
        read_deb(tmp_path / "none.deb")


@pytest.mark.parametrize(
    ("members", "conffiles", "reason"),
    [
        ([Member("/a/b", b""), Member("/a/b", b"")], (), "two files want to be /a/b"),
        ([Member("/a/b", b""), Member("/a/b/c", b"")], (), "/a/b is a file, and a folder"),
        ([Member("/a/b", b"")], ("/etc/x",), "/etc/x is not in the package"),
    ],
)
def test_files_in_each_others_way_are_refused(
    tmp_path: Path, members: list[Member], conffiles: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(Refusal, match=reason):
        write(tmp_path / "shop.deb", members, conffiles=conffiles)
    assert not list(tmp_path.iterdir())
