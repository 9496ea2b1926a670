"""The roles against a real machine (a systemd container), over SSH, and a machine of the image that they leave."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from fabfile.localcloud.docker_hosts import DockerHosts
from fabfile.localcloud.dockerd import Dockerd
from fabfile.localcloud.hosts import HostSpec, HostState, Power
from fabfile.tools import gpg

ANSIBLE = Path(__file__).parents[2] / "ansible"
BIN = Path(sys.executable).parent
PATH = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


class Site:
    """Machines of this test's own, with a repository that two versions of a package can be installed from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.docker = Dockerd()
        self.port = free_port()
        self.network = f"headway-roles-{self.port}"
        self.prefix = f"10.{100 + self.port % 50}.{self.port % 256}"
        body = {
            "Name": self.network,
            "IPAM": {"Config": [{"Subnet": f"{self.prefix}.0/24"}]},
            "Labels": {"headway.test": f"{os.getpid()}-{self.network}"},
        }
        self.docker.call("POST", "/networks/create", body=body)
        self.hosts = DockerHosts(self.port, self.network, "headway/instance:12")
        self.key = folder / "key"
        checked("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        self.apt_key = ""

    def boot(self, number: int, image_id: str) -> HostSpec:
        public = self.key.with_suffix(".pub").read_text()
        spec = HostSpec(f"i-{self.port}-{number}", image_id, f"{self.prefix}.{10 + number}", "", public, ())
        self.hosts.start(spec)
        wanted = HostState(Power.RUNNING, checks_pass=True)
        until(lambda: self.hosts.states().get(spec.instance_id) == wanted, "the machine runs and takes SSH logins")
        return spec

    def name(self, spec: HostSpec) -> str:
        return f"headway-lab-{self.port}-{spec.instance_id}"

    def ask(self, spec: HostSpec, *argv: str) -> str:
        return checked("docker", "exec", self.name(spec), *argv)

    def save(self, spec: HostSpec, image_id: str) -> None:
        self.hosts.stop(spec.instance_id)
        until(lambda: self.hosts.states()[spec.instance_id].power is Power.STOPPED, "stopped")
        self.hosts.save_image(spec.instance_id, image_id)

    def play(self, spec: HostSpec, variables: dict[str, object]) -> tuple[int, str]:
        """Run the playbook as Packer does; all runs on one machine share a connection, so its keys may be gone."""
        ssh = "-o ControlMaster=auto -o ControlPersist=10m -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        settings = {
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "ANSIBLE_SSH_ARGS": ssh,
        }
        told = json.dumps({"app_apt_key": self.apt_key, "app_apt_url": "file:/srv/apt", **variables})
        target = ["--inventory", f"{spec.address},", "--user", "ubuntu", "--private-key", str(self.key)]
        argv = [str(BIN / "ansible-playbook"), *target, "--extra-vars", told, str(ANSIBLE / "bake.yml")]
        done = subprocess.run(argv, env={**os.environ, **PATH, **settings}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def remove(self) -> None:
        self.hosts.settle()
        for entry in self.docker.containers(f"headway.lab={self.port}"):
            self.docker.remove(entry["Id"])
        for image in self.docker.call("GET", "/images/json", {"filters": {"label": [f"headway.lab={self.port}"]}}):
            self.docker.call("DELETE", f"/images/{image['Id']}", {"force": 1})
        self.docker.call("DELETE", f"/networks/{self.network}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    try:
        yield site
    finally:
        site.remove()


def until(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def checked(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def make_repository(site: Site, spec: HostSpec, versions: tuple[str, ...]) -> None:
    """Put a signed repository of a small service on a machine's own disk."""
    root = site.folder / "apt"
    index = root / "dists/stable/main/binary-amd64/Packages"
    index.parent.mkdir(parents=True)
    index.write_text("\n".join(make_package(root, version) for version in versions))
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    release = (
        f"Suite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\nDate: {formatdate(usegmt=True)}\n"
        f"SHA256:\n {digest} {index.stat().st_size} main/binary-amd64/Packages\n"
    )
    with gpg.temporary_home() as home:
        key = gpg.Key(gpg.make_key(home, "roles"), home, None)
        (root / "dists/stable/InRelease").write_bytes(gpg.clearsign(release, key))
        site.apt_key = gpg.public_key(key, armored=True).decode()
    checked("docker", "cp", str(root), f"{site.name(spec)}:/srv/apt")


def make_package(root: Path, version: str) -> str:
    tree = root / "build" / version
    for path, text in (
        ("DEBIAN/control", f"Package: shop\nVersion: {version}\nArchitecture: all\nMaintainer: N <n@e.c>\n"),
        ("usr/share/shop/version", version),
        ("usr/lib/systemd/system/shop.service", UNIT),
    ):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text + ("Description: shop\n" if path.startswith("DEBIAN") else ""))
    deb = root / f"shop_{version}_all.deb"
    checked("dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb))
    control = (tree / "DEBIAN/control").read_text()
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{control}Filename: {deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"


UNIT = """[Unit]
Description=shop
[Service]
ExecStart=/usr/bin/python3 -m http.server --directory /usr/share/shop 8080
[Install]
WantedBy=multi-user.target
"""


def test_ansible_lint_finds_nothing_at_the_production_profile(tmp_path: Path) -> None:
    argv = [
        str(BIN / "ansible-lint"),
        "--offline",
        "--strict",
        "--profile",
        "production",
        "--project-dir",
        str(ANSIBLE),
    ]
    environment = {**os.environ, **PATH, "ANSIBLE_HOME": str(tmp_path), "NO_COLOR": "1"}
    done = subprocess.run(argv, cwd=ANSIBLE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed: 0 failure(s), 0 warning(s)" in done.stdout + done.stderr


def test_only_builtin_modules_are_used() -> None:
    for tasks in ANSIBLE.rglob("tasks/*.yml"):
        for line in tasks.read_text().splitlines():
            module = line.strip().rstrip(":")
            if "." in module and line.startswith("  ") and line.endswith(":") and " " not in module:
                assert module.startswith("ansible.builtin."), f"{tasks}: {module}"


@pytest.mark.docker
def test_a_machine_is_provisioned_once_and_its_image_boots_into_machines_of_their_own(site: Site) -> None:
    builder = site.boot(1, "ami-base")
    make_repository(site, builder, ("1.4.0", "1.5.0~rc1"))
    template, role = site.folder / "shop.conf.j2", site.folder / "own"
    template.write_text("version = {{ app_version }}\nworkers = {{ shop_workers }}\n")
    (role / "tasks").mkdir(parents=True)
    (role / "tasks/main.yml").write_text(OWN_ROLE)
    variables: dict[str, object] = {
        "app_name": "shop",
        "app_version": "1.4.0",
        "app_unit": "shop.service",
        "app_files": [{"template": str(template), "path": "/etc/shop/shop.conf"}],
        "bake_roles": [str(role)],
        "shop_workers": 3,
        "tuning_sysctl_changes": {"net.core.somaxconn": {"value": 99, "why": "ours"}, "vm.swappiness": None},
    }
    code, first = site.play(builder, variables)
    assert code == 0, first
    code, second = site.play(builder, variables)
    assert code == 0, second
    assert " changed=0 " in second, second

    assert site.ask(builder, "cat", "/etc/shop/shop.conf") == "version = 1.4.0\nworkers = 3\n"
    assert site.ask(builder, "cat", "/etc/own") == "after shop 1.4.0"
    sysctl = site.ask(builder, "cat", "/etc/sysctl.d/60-headway.conf")
    assert "# ours\nnet.core.somaxconn = 99\n" in sysctl
    assert "swappiness" not in sysctl
    assert "net.ipv4.ip_local_port_range = 10240 65535\n" in sysctl
    assert (
        site.ask(builder, "find", "/var/lib/apt/lists", "/etc/ssh", "-name", "*_key*", "-o", "-name", "*Packages*")
        == ""
    )
    assert site.ask(builder, "cat", "/etc/machine-id") == ""

    site.save(builder, "ami-baked")
    one, two = site.boot(2, "ami-baked"), site.boot(3, "ami-baked")
    for spec in (one, two):
        until(lambda spec=spec: serves(spec.address) == "1.4.0", "the service that was installed answers")  # type: ignore[misc]
        assert site.ask(spec, "systemctl", "is-system-running", "--wait").strip() == "running"
        assert site.ask(spec, "systemctl", "show", "--value", "-p", "DefaultLimitNOFILESoft").strip() == "65536"
        ssh = ["ssh", "-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", str(site.key)]
        assert checked(*ssh, f"ubuntu@{spec.address}", "sudo id -un").strip() == "root"
    for what in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert site.ask(one, "cat", what) != site.ask(two, "cat", what) != ""


OWN_ROLE = """
- name: Leave a mark
  ansible.builtin.copy:
    dest: /etc/own
    content: "after shop {{ lookup('ansible.builtin.vars', 'app_version') }}"
    mode: "0644"
"""


@pytest.mark.docker
def test_exactly_the_version_asked_for_is_installed_or_the_play_fails(site: Site) -> None:
    builder = site.boot(1, "ami-base")
    make_repository(site, builder, ("1.4.0", "1.5.0~rc1"))
    variables: dict[str, object] = {"app_name": "shop", "app_version": "1.5.0~rc1", "base_upgrade": False}
    code, said = site.play(builder, variables)
    assert code == 0, said
    shown = ("dpkg-query", "--show", "--showformat=${Version}", "shop")
    assert site.ask(builder, *shown) == "1.5.0~rc1"
    code, said = site.play(builder, {**variables, "app_version": "1.4.0"})
    assert code == 0, said
    assert site.ask(builder, *shown) == "1.4.0"
    code, said = site.play(builder, {**variables, "app_version": "1.4.1"})
    assert code != 0
    assert "no available installation candidate for shop=1.4.1" in said


def serves(address: str) -> str | None:
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://{address}:8080/version", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return None
