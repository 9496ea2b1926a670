"""Instances as containers, against the real Docker daemon and the lab's instance image."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabfile.localcloud.docker_hosts import DockerHosts
from fabfile.localcloud.dockerd import Dockerd, DockerError
from fabfile.localcloud.hosts import HostSpec, HostState, Power

pytestmark = pytest.mark.docker

BASE_IMAGE = "headway/instance:12"
USER_DATA = """#cloud-config
write_files:
  - path: /etc/shop/environment
    content: |
      DATABASE_URL=postgres://shop
    permissions: '0640'
    owner: root:ubuntu
runcmd:
  - [sh, -c, 'systemctl is-active ssh > /root/ran']
"""


class Lab:
    """A network and hosts of this test's own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.network = f"headway-test-{port}"
        self.docker = Dockerd()
        self.prefix = next(prefix for number in range(64) if self.takes(prefix := f"10.{30 + number}.{port % 256}"))
        self.hosts = DockerHosts(port, self.network, BASE_IMAGE)

    def takes(self, prefix: str) -> bool:
        """Make the network there, unless somebody else has it."""
        config = {"Config": [{"Subnet": f"{prefix}.0/24"}]}
        body = {"Name": self.network, "IPAM": config, "Labels": {"headway.test": self.network}}
        try:
            self.docker.call("POST", "/networks/create", body=body)
        except DockerError as error:
            if "overlap" not in str(error):
                raise
            return False
        return True

    def spec(self, number: int, *, image_id: str = "ami-base", user_data: str = "", key: str | None = None) -> HostSpec:
        return HostSpec(f"i-{self.port}-{number}", image_id, f"{self.prefix}.{10 + number}", user_data, key, ())

    def exec(self, spec: HostSpec, *argv: str) -> str:
        name = f"headway-lab-{self.port}-{spec.instance_id}"
        return subprocess.run(["docker", "exec", name, *argv], capture_output=True, text=True, check=True).stdout

    def remove(self) -> None:
        self.hosts.settle()
        for entry in self.docker.containers(f"headway.lab={self.port}"):
            self.docker.remove(entry["Id"])
        for image in self.docker.call("GET", "/images/json", {"filters": {"label": [f"headway.lab={self.port}"]}}):
            self.docker.call("DELETE", f"/images/{image['Id']}", {"force": 1})
        self.docker.call("DELETE", f"/networks/{self.network}")


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab(free_port())
    yield lab
    lab.remove()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], what: str, within_s: float = 30) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def passing(lab: Lab, *specs: HostSpec) -> None:
    wanted = HostState(Power.RUNNING, checks_pass=True)
    until(lambda: all(lab.hosts.states().get(s.instance_id) == wanted for s in specs), "status checks pass")


def test_a_started_machine_is_pending_at_once_then_runs_and_passes_its_checks(lab: Lab) -> None:
    spec = lab.spec(1)
    lab.hosts.start(spec)
    assert lab.hosts.states()[spec.instance_id].power in {Power.PENDING, Power.RUNNING}
    passing(lab, spec)


def test_user_data_is_in_place_before_services_and_ssh_lets_its_key_in(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    spec = lab.spec(1, user_data=USER_DATA, key=key.with_suffix(".pub").read_text())
    lab.hosts.start(spec)
    passing(lab, spec)
    assert lab.exec(spec, "cloud-init", "status", "--wait").strip(".").strip() == "status: done"
    assert lab.exec(spec, "stat", "-c", "%a %U:%G", "/etc/shop/environment").strip() == "640 root:ubuntu"
    assert lab.exec(spec, "cat", "/etc/shop/environment") == "DATABASE_URL=postgres://shop\n"
    assert lab.exec(spec, "systemctl", "is-system-running", "--wait").strip() == "running"
    for login, command in (("root", "id -un"), ("ubuntu", "sudo id -un")):
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", str(key)]
        ssh = ["ssh", "-q", *options, f"{login}@{spec.address}", command]
        assert subprocess.run(ssh, capture_output=True, text=True, check=True).stdout == "root\n"


def test_a_script_as_user_data_runs_once_in_the_life_of_an_instance(lab: Lab) -> None:
    spec = lab.spec(1, user_data="#!/bin/sh\necho ran >> /root/times\n")
    lab.hosts.start(spec)
    passing(lab, spec)
    lab.exec(spec, "cloud-init", "status", "--wait")
    lab.hosts.stop(spec.instance_id)
    until(lambda: lab.hosts.states()[spec.instance_id].power is Power.STOPPED, "stopped")
    lab.hosts.start(spec)
    assert lab.hosts.states()[spec.instance_id].power is not Power.STOPPED
    passing(lab, spec)
    lab.exec(spec, "cloud-init", "status", "--wait")
    assert lab.exec(spec, "cat", "/root/times") == "ran\n"


def test_an_image_of_a_stopped_machine_boots_as_a_machine_of_its_own(lab: Lab) -> None:
    first = lab.spec(1, user_data=USER_DATA)
    lab.hosts.start(first)
    passing(lab, first)
    lab.exec(first, "sh", "-c", "echo baked > /opt/baked")
    first_key = lab.exec(first, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
    lab.hosts.stop(first.instance_id)
    lab.hosts.save_image(first.instance_id, f"ami-{lab.port}")
    second = lab.spec(2, image_id=f"ami-{lab.port}")
    lab.hosts.start(second)
    passing(lab, second)
    assert lab.exec(second, "cat", "/opt/baked") == "baked\n"
    assert lab.exec(second, "cat", "/etc/ssh/ssh_host_ed25519_key.pub") != first_key
    assert set(lab.hosts.states()) == {first.instance_id, second.instance_id}
    lab.hosts.delete_image(f"ami-{lab.port}")
    lab.hosts.delete_image("ami-never")


def test_termination_lets_services_end_themselves_and_keeps_the_console(lab: Lab) -> None:
    spec = lab.spec(1)
    lab.hosts.start(spec)
    passing(lab, spec)
    unit = "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c 'echo goodbye to all > /dev/console'\n"
    lab.exec(spec, "sh", "-c", f'printf "{unit}" > /run/systemd/system/app.service && systemctl start app')
    lab.hosts.terminate(spec.instance_id)
    until(lambda: spec.instance_id not in lab.hosts.states(), "gone")
    lab.hosts.settle()
    assert "goodbye to all" in lab.hosts.console(spec.instance_id)
    assert "Reached target multi-user.target" in lab.hosts.console(spec.instance_id)


def test_a_machine_that_powers_itself_off_is_stopped(lab: Lab) -> None:
    spec = lab.spec(1)
    lab.hosts.start(spec)
    passing(lab, spec)
    lab.exec(spec, "systemctl", "--no-block", "poweroff")
    until(lambda: lab.hosts.states()[spec.instance_id].power is Power.STOPPED, "stopped")


def test_a_machine_that_cannot_boot_is_gone_and_says_why(lab: Lab) -> None:
    hosts = DockerHosts(lab.port, lab.network, "headway/no-such-image:1")
    spec = lab.spec(1)
    hosts.start(spec)
    until(lambda: hosts.states().get(spec.instance_id) == HostState(Power.GONE, checks_pass=False), "gone")
    assert "no-such-image" in hosts.console(spec.instance_id)


def test_an_address_is_taken_over_from_a_machine_that_is_shutting_down(lab: Lab) -> None:
    old, new = lab.spec(1), lab.spec(2)
    new = HostSpec(new.instance_id, new.image_id, old.address, "", None, ())
    lab.hosts.start(old)
    passing(lab, old)
    lab.hosts.terminate(old.instance_id)
    lab.hosts.start(new)
    passing(lab, new)


def test_a_fleet_starts_and_a_frozen_machine_fails_its_checks(lab: Lab) -> None:
    specs = [lab.spec(number) for number in range(6)]
    for spec in specs:
        lab.hosts.start(spec)
    passing(lab, *specs)
    container = f"headway-lab-{lab.port}-{specs[0].instance_id}"
    lab.docker.call("POST", f"/containers/{container}/pause")
    until(lambda: not lab.hosts.states()[specs[0].instance_id].checks_pass, "checks fail")
    assert lab.hosts.states()[specs[0].instance_id].power is Power.RUNNING
    lab.docker.call("POST", f"/containers/{container}/unpause")
