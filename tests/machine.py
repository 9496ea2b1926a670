"""A real machine of the session's local cloud whose service fails, and the keys that do and do not open it."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabfile.plan.reading import read_settings
from fabfile.plan.settings import Settings
from fabfile.tools import aws
from tests.shared_lab import Lab

# What it prints has a secret in it, as real programs' last words do.
USER_DATA = """#cloud-config
write_files:
  - path: /etc/systemd/system/shop.service
    content: |
      [Service]
      ExecStart=/bin/sh -c 'echo using postgres://shop:hunter2@db:5432/shop; echo no table orders >&2; exit 3'
runcmd:
  - [sh, -c, 'systemctl daemon-reload; systemctl start shop']
"""


@dataclass(frozen=True)
class Machine:
    """One instance: how to reach it, and how to get in."""

    id: str
    address: str
    image_id: str
    key: Path
    settings: Settings
    container: str

    def exec(self, *argv: str) -> str:
        """Run a command on it, not by SSH."""
        asked = ["docker", "exec", self.container, *argv]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair; return the private one's file."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


@contextmanager
def failing_machine(lab: Lab, folder: Path) -> Iterator[Machine]:
    """Start an instance whose unit ``shop.service`` ended with 3; it goes with the test."""
    key = make_key(folder / "key")
    evidence = {"ssh_user": "ubuntu", "ssh_key": str(key)}
    raw = {"name": "shop", "endpoint": lab.endpoint, "release": {"evidence": evidence}, "envs": {"prod": {}}}
    settings = read_settings(raw, "prod")
    ec2 = aws.client("ec2", settings)
    name = f"witness-{secrets.token_hex(4)}"  # other workers have theirs in the same lab
    ec2.import_key_pair(KeyName=name, PublicKeyMaterial=key.with_suffix(".pub").read_bytes())
    image_id = ec2.describe_images(Filters=[{"Name": "name", "Values": ["*ubuntu*", "debian-12-*"]}])["Images"][0][
        "ImageId"
    ]
    ran = ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, KeyName=name, UserData=USER_DATA)
    instance = ran["Instances"][0]
    machine = Machine(
        instance["InstanceId"],
        instance["PrivateIpAddress"],
        image_id,
        key,
        settings,
        f"headway-lab-{lab.port}-{instance['InstanceId']}",
    )
    try:
        until(lambda: _passes(ec2, machine.id), "status checks pass")
        until(lambda: machine.exec("systemctl", "is-failed", "shop") == "failed", "the unit failed")
        yield machine
    finally:
        ec2.terminate_instances(InstanceIds=[machine.id])
        ec2.delete_key_pair(KeyName=name)


def _passes(ec2: Any, instance_id: str) -> bool:
    seen = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    return bool(seen) and seen[0]["InstanceStatus"]["Status"] == "ok"


def until(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Wait until a condition holds."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {what}"
        time.sleep(0.1)
