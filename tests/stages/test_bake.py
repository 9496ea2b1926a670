"""`fab bake` as a person types it: real Packer and Ansible over SSH, in the local cloud, from a real Apt repository."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from fabfile.tools import gpg
from tests.shared_lab import Lab

FAB = Path(sys.executable).with_name("fab")
PATIENCE_S = 300
CONTROL = """Package: {name}
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@example.com>
Description: a small service
Headway-Commit: {commit}
Headway-Migration: 7
Headway-Contract-Floor: 3
"""
UNIT = """[Unit]
Description=a small service
[Service]
ExecStart=/usr/bin/python3 -m http.server --directory /usr/share/served 8080
[Install]
WantedBy=multi-user.target
"""
COMMIT = "c0ffee" * 6 + "c0ff"


class Project:
    """A project with an env in the tests' local cloud, whose package is published there."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.root = Path(tempfile.mkdtemp(prefix="hw-"))  # pytest's own are too long for a socket's path
        self.name = f"baked-{secrets.token_hex(4)}"
        self.variables = {
            **os.environ,
            **lab.variables,
            "FABRIC_HEADWAY_NAME": self.name,
            "FABRIC_HEADWAY_APT_URL": f"{lab.inner_endpoint}/{self.name}-apt/here",
            "FABRIC_HEADWAY_APT_GNUPG_HOME": str(self.root / "gnupg"),
        }
        self.write("fabfile.py", "from headway import ns\n")
        self.set()
        self.write("roles/own/tasks/main.yml", "---\n- ansible.builtin.file: {path: /etc/own, state: touch}\n")
        self.write("templates/app.conf.j2", "version = {{ app_version }}, greeting = {{ greeting }}\n")

    def set(self, **bake: Any) -> None:
        settings = {
            "apt": {"publish": f"s3://{self.name}-apt/here"},
            "lab": {"capacity": 0},
            "package": {"service": {"command": "/bin/true"}},
            "release": {"state": f"s3://{self.name}-state/x"},
            "bake": {
                "roles": ["roles/own"],
                "variables": {"greeting": "hello"},
                "files": {"templates/app.conf.j2": "/etc/app/app.conf"},
                **bake,
            },
            "envs": {"dev": {}},
        }
        self.write("fabric.yml", yaml.safe_dump({"headway": settings}))

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def fab(self, *words: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [FAB, *words],
            cwd=self.root,
            env={**self.variables, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def up(self) -> None:
        ended = subprocess.CompletedProcess[str]([], 1, "", "")
        give_up_at = time.monotonic() + 60
        while ended.returncode and time.monotonic() < give_up_at:  # another worker may be at it
            ended = self.fab("lab.up")
        assert ended.returncode == 0, ended.stderr

    def publish(self, version: str) -> None:
        gpg.make_key(self.root / "gnupg", self.name)
        tree = self.root / "build" / version
        for path, text in (
            ("DEBIAN/control", CONTROL.format(name=self.name, version=version, commit=COMMIT)),
            ("usr/share/served/version", version),
            (f"usr/lib/systemd/system/{self.name}.service", UNIT),
        ):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        deb = self.root / "build" / f"{version}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)], check=True, capture_output=True
        )
        ended = self.fab("publish", f"--deb={deb}")
        assert ended.returncode == 0, ended.stderr

    def aws(self, service: str) -> Any:
        made_up = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=self.lab.endpoint, **made_up)  # type: ignore[call-overload]

    def images(self) -> list[dict[str, Any]]:
        wanted = [{"Name": "tag:headway:project", "Values": [self.name]}]
        found: list[dict[str, Any]] = self.aws("ec2").describe_images(Owners=["self"], Filters=wanted)["Images"]
        return sorted(found, key=lambda image: str(image["CreationDate"]))

    def left(self) -> list[str]:
        """Name what a bake of this project has not removed."""
        ec2 = self.aws("ec2")
        mine = [{"Name": "tag:headway:builder", "Values": [f"{self.name}/*"]}]
        living = [*mine, {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
        instances = [i for r in ec2.describe_instances(Filters=living)["Reservations"] for i in r["Instances"]]
        keys = ec2.describe_key_pairs(Filters=mine)["KeyPairs"]
        groups = ec2.describe_security_groups(Filters=mine)["SecurityGroups"]
        images = ec2.describe_images(Owners=["self"], Filters=mine)["Images"]
        return [
            *(str(i["InstanceId"]) for i in instances),
            *(str(k["KeyName"]) for k in keys),
            *(str(g["GroupId"]) for g in groups),
            *(str(i["ImageId"]) for i in images if i["State"] != "available"),
        ]

    def remove(self) -> None:
        gpg.stop_agent(self.root / "gnupg")
        ec2 = self.aws("ec2")
        for image in self.images():
            ec2.deregister_image(ImageId=image["ImageId"])
        shutil.rmtree(self.root)


@pytest.fixture
def project(lab: Lab) -> Iterator[Project]:
    project = Project(lab)
    try:
        yield project
    finally:
        project.remove()


@pytest.fixture
def published(project: Project) -> Project:
    project.up()
    project.publish("1.4.0+5.gabc")
    return project


def until(condition: Callable[[], bool], what: str, within_s: float = 120) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def answer_of(address: str, path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://{address}:8080{path}", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


@pytest.mark.docker
@pytest.mark.lab
def test_an_image_is_baked_once_for_the_same_inputs_anew_for_others_and_serves_what_it_holds(
    published: Project,
) -> None:
    wanted = ("bake", "--env=dev", "--version=1.4.0+5.gabc")
    first = published.fab(*wanted)
    assert first.returncode == 0, first.stderr
    [image] = published.images()
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    assert image["State"] == "available"
    assert image["Name"] == f"{published.name}-1.4.0_5.gabc-{tags['headway:inputs'][:8]}"
    assert tags["headway:version"] == "1.4.0+5.gabc"
    assert tags["headway:commit"] == COMMIT
    assert (tags["headway:migration"], tags["headway:contract-floor"]) == ("7", "3")
    assert tags["headway:base"] in first.stdout
    assert f"is {image['ImageId']}" in first.stdout.splitlines()[-1]
    assert "app: Install exactly one version of the application" in first.stdout
    assert published.left() == []

    again = published.fab(*wanted)
    assert again.returncode == 0, again.stderr
    same = f"is {image['ImageId']} already, made of the same inputs (--force bakes it anew)"
    assert again.stdout.splitlines() == [f"bake: {published.name} 1.4.0+5.gabc {same}"]

    published.write("roles/own/tasks/main.yml", "---\n- ansible.builtin.file: {path: /etc/other, state: touch}\n")
    edited = published.fab(*wanted)
    assert edited.returncode == 0, edited.stderr
    newest = published.images()[-1]["ImageId"]
    assert newest != image["ImageId"]
    assert f"is {newest}" in edited.stdout.splitlines()[-1]

    ec2 = published.aws("ec2")
    subnet = published.aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[f"{published.name}-dev"])
    place = subnet["AutoScalingGroups"][0]["VPCZoneIdentifier"].split(",")[0]
    made = ec2.run_instances(ImageId=newest, MinCount=1, MaxCount=1, SubnetId=place)["Instances"][0]
    try:
        until(lambda: answer_of(made["PrivateIpAddress"], "/version") == "1.4.0+5.gabc", "the image serves its version")
    finally:
        ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


@pytest.mark.docker
@pytest.mark.lab
def test_a_failing_role_ends_the_bake_with_its_own_words_and_leaves_nothing(published: Project) -> None:
    published.set(variables={"greeting": "x", "base_upgrade": False})
    failing = "---\n- name: Ask the oracle\n  ansible.builtin.command: sh -c 'echo no oracle today >&2; exit 3'\n"
    published.write("roles/own/tasks/main.yml", failing)
    ended = published.fab("bake", "--env=dev", "--version=1.4.0+5.gabc")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0] == "bake failed: own: Ask the oracle: no oracle today"
    assert published.left() == []
    assert published.images() == []


@pytest.mark.docker
@pytest.mark.lab
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bake_removes_its_builder_before_it_ends(published: Project, sign: signal.Signals) -> None:
    argv = [str(FAB), "bake", "--env=dev", "--version=1.4.0+5.gabc"]
    log = published.root / "log"
    with log.open("w") as out:
        running = subprocess.Popen(argv, cwd=published.root, env=published.variables, stdout=out, stderr=out)
        until(lambda: "base: " in log.read_text() or running.poll() is not None, "Ansible is at work")
        assert published.left() != []
        running.send_signal(sign)
        assert running.wait(PATIENCE_S) != 0
    assert "cancelling: Packer removes the builder" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert published.left() == []
    assert published.images() == []


@pytest.mark.docker
@pytest.mark.lab
def test_what_cannot_be_baked_is_refused_in_one_line_before_anything_starts(published: Project) -> None:
    def refusal(*words: str, variables: Mapping[str, str] | None = None) -> str:
        ended = published.fab("bake", "--env=dev", *words, variables=variables)
        assert ended.returncode == 2, ended.stderr
        assert ended.stdout == ""
        assert published.left() == []
        [line] = ended.stderr.splitlines()
        return line

    version = "--version=1.4.0+5.gabc"
    assert "1.4.1" in refusal("--version=1.4.1")
    assert "v1.4" in refusal("--version=v1.4")
    bare = str(published.root / "bin")
    Path(bare).mkdir()
    assert refusal(version, variables={"PATH": bare}).startswith("bake: packer is not installed")
    dead = {"FABRIC_HEADWAY_ENDPOINT": "http://127.0.0.1:1"}
    assert "http://127.0.0.1:1 does not answer" in refusal(version, variables=dead)
    for unreachable in ("file:///srv/apt", "http://127.0.0.1:4750/apt"):
        line = refusal(version, variables={"FABRIC_HEADWAY_APT_URL": unreachable})
        assert line.startswith("headway.apt.url: must be set to where instances read the Apt repository")
    published.set(source_name="no-such-*")
    assert refusal(version).startswith("headway.bake.source_name: no AMI of 099720109477 is called 'no-such-*'")
    published.set(roles=["roles/missing"])
    assert refusal(version).startswith("headway.bake.roles: roles/missing is not the folder of an Ansible role")
    published.set(files={"templates/missing.j2": "/etc/x"})
    assert refusal(version).startswith("headway.bake.files: no template templates/missing.j2")
    published.set(files={"templates/app.conf.j2": "etc/x"})
    assert "must be a file's absolute path" in refusal(version)
