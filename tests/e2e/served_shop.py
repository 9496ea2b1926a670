"""The shop in the tests' local cloud, for stories under load: published, in AMIs, and served by a group.

No Packer here, which other tests run: each version's AMI is made by CreateImage from an instance that its package was
installed on, a few seconds for all of them together. Instances, systemd, haproxy and its health checks are real.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import yaml

from fabfile.localcloud.load import LoadGenerator, Target
from fabfile.plan.fleet import PROJECT_TAG, VERSION_TAG
from fabfile.plan.reading import read_settings
from fabfile.publish import publish_package
from fabfile.tools import gpg
from tests.shared_lab import Lab

ROOT = Path(__file__).parents[2]
FAB = str(Path(sys.executable).with_name("fab"))
GOOD, BETTER, BROKEN = "1.0.0", "2.0.0", "3.0.0"
CAPACITY = 2
RATE = 150.0
SLOW_S = 1.5
SLOW_IN_FLIGHT = 4
PATIENCE_S = 120.0
ASKED_FOR_VERSION = 12
CONTROL = """Package: {name}
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@example.com>
Description: the shop without a database
Headway-Migration: 0
Headway-Contract-Floor: 0
"""
UNIT = """[Unit]
Description=the shop without a database
[Service]
Environment=DATABASE_URL={url} PYTHONUNBUFFERED=1
WorkingDirectory=/usr/lib/shop
ExecStart=/usr/bin/python3 -m shop
TimeoutStopSec=40
[Install]
WantedBy=multi-user.target
"""


class Shop:
    """A project with one env, `prod`, in the tests' local cloud."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.root = Path(tempfile.mkdtemp(prefix="hw-"))  # pytest's own are too long for a socket's path
        self.name = f"story-{secrets.token_hex(4)}"
        self.group_name = f"{self.name}-prod"
        self._variables = {
            **os.environ,
            **lab.variables,
            "FABRIC_HEADWAY_APT_GNUPG_HOME": str(self.root / "gnupg"),
            "PYTHONUNBUFFERED": "1",
        }
        settings = {
            "name": self.name,
            "apt": {"publish": f"s3://{self.name}-apt/here"},
            "lab": {"capacity": CAPACITY},
            "release": {"state": f"s3://{self.name}-state/x", "poll_s": 0.5, "warm_within_s": 40},
            "envs": {"prod": {}},
        }
        (self.root / "fabfile.py").write_text("from headway import ns\n")
        (self.root / "fabric.yml").write_text(yaml.safe_dump({"headway": settings}))
        self._settings = read_settings(settings, None, self._variables)
        self._started: list[Running] = []
        self._clients: dict[str, Any] = {}

    def set_up(self) -> None:
        """Make the env, publish the versions, and make their AMIs; the first version serves then."""
        up = self.lab.fab("lab.up", cwd=self.root)
        assert up.returncode == 0, up.stderr
        self._shorten_drain()
        ec2 = self.aws("ec2")  # before there are threads: to make a client is not safe in several
        gpg.make_key(self.root / "gnupg", self.name)
        packages = {version: self._package(version) for version in (GOOD, BETTER, BROKEN)}
        with ThreadPoolExecutor(len(packages)) as at_once:
            images = [at_once.submit(self._make_image, ec2, *each) for each in packages.items()]
            for deb in packages.values():
                publish_package(self._settings, deb)
            for image in images:
                image.result()
        self.fab("release", "--env=prod", f"--version={GOOD}").must_end_with(0)

    def remove(self) -> None:
        """Take everything away again; the cloud itself goes with the session."""
        for process in self._started:
            process.kill()
        gpg.stop_agent(self.root / "gnupg")
        self.aws("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=self.group_name, ForceDelete=True)
        ec2 = self.aws("ec2")
        ours = [{"Name": f"tag:{PROJECT_TAG}", "Values": [self.name]}]
        for image in ec2.describe_images(Owners=["self"], Filters=ours)["Images"]:
            ec2.deregister_image(ImageId=image["ImageId"])
        if living := self.living():
            ec2.terminate_instances(InstanceIds=living)
        shutil.rmtree(self.root)

    def fab(self, *words: str, **variables: str) -> Running:
        """Start `fab` as a person types it."""
        running = Running(words, self.root, {**self._variables, **variables})
        self._started.append(running)
        return running

    def aws(self, service: str) -> Any:
        """Return a client of the cloud."""
        if service not in self._clients:
            made_up = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
            self._clients[service] = boto3.client(service, endpoint_url=self.lab.endpoint, **made_up)  # type: ignore[call-overload]
        return self._clients[service]

    def group(self) -> dict[str, Any]:
        """Ask for the group."""
        answer = self.aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.group_name])
        found: dict[str, Any] = answer["AutoScalingGroups"][0]
        return found

    def settings(self) -> dict[str, Any]:
        """Ask for everything of the group that a release must leave as it was: all but who is in it and from what."""
        said = self.group()
        protected = [each["InstanceId"] for each in said.pop("Instances") if each["ProtectedFromScaleIn"]]
        return {**said, "LaunchTemplate": said["LaunchTemplate"]["LaunchTemplateName"], "protected": protected}

    def members(self) -> list[str]:
        """List the instances in service."""
        return sorted(e["InstanceId"] for e in self.group()["Instances"] if e["LifecycleState"] == "InService")

    def living(self) -> list[str]:
        """List every instance that was started for this group and is not gone, whoever it belongs to."""
        return sorted(i for i, state in self._instances() if state != "terminated")

    def containers(self) -> list[str]:
        """List the instances that have a machine behind them, as Docker says."""
        label = f"label=headway.lab={self.lab.port}"
        named = docker("ps", "--all", "--filter", label, "--format", '{{.Label "headway.instance"}}').split()
        ours = {instance_id for instance_id, _ in self._instances()}
        return sorted(ours.intersection(named))

    def _instances(self) -> Iterator[tuple[str, str]]:
        named = [{"Name": "tag:Name", "Values": [self.group_name]}]
        for part in self.aws("ec2").describe_instances(Filters=named)["Reservations"]:
            for each in part["Instances"]:
                yield each["InstanceId"], each["State"]["Name"]

    def end_machine(self, instance_id: str) -> None:
        """Kill an instance's machine, as soon as it has one: no service of it gets to say a word more."""
        machine = f"headway-lab-{self.lab.port}-{instance_id}"
        running = ["ps", "--quiet", "--filter", f"name=^{machine}$", "--filter", "status=running"]
        until(lambda: docker(*running) != "", f"{machine} runs")
        docker("kill", machine)

    def addresses(self) -> list[str]:
        """List the URLs of the group's load balancers."""
        name = self.group_name
        application = self.aws("elbv2").describe_load_balancers(Names=[name])["LoadBalancers"]
        classic = self.aws("elb").describe_load_balancers(LoadBalancerNames=[f"{name}-classic"])
        return [f"http://{each['DNSName']}" for each in (*application, *classic["LoadBalancerDescriptions"])]

    def versions_served(self) -> set[str]:
        """Ask every load balancer, so often that each instance behind it has answered."""
        versions = set()
        for url in self.addresses():
            for _ in range(ASKED_FOR_VERSION):
                with urlopen(f"{url}/version", timeout=10) as answer:  # noqa: S310 an http URL of ours
                    versions.add(str(json.load(answer)["version"]))
        return versions

    def history(self) -> list[dict[str, Any]]:
        """Ask `fab history` for what was released, newest first."""
        said: list[dict[str, Any]] = json.loads(self.fab("history", "--env=prod", "--json").must_end_with(0))
        return said

    @contextmanager
    def loaded(self) -> Iterator[LoadGenerator]:
        """Keep the load balancers under load: looks, orders, and slow requests that are always in flight."""
        urls = self.addresses()
        looks = ("/orders?limit=10", "/version", "/orders?limit=1", "/version")
        targets = [Target(f"{url}{path}") for url in urls for path in looks]
        targets += [Target(f"{url}/orders", '{"item": "tea", "quantity": 2}') for url in urls]
        slow = [Target(f"{url}/slow?seconds={SLOW_S}") for url in urls]
        load = LoadGenerator(targets, rate=RATE, slow=slow, slow_in_flight=SLOW_IN_FLIGHT // len(slow))
        load.start()
        try:
            yield load
        finally:
            load.stop()

    def _shorten_drain(self) -> None:
        """Let targets drain for twice as long as the slowest request takes: they do so for the whole time.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
        """
        elb = self.aws("elbv2")
        arn = elb.describe_target_groups(Names=[self.group_name])["TargetGroups"][0]["TargetGroupArn"]
        delay = {"Key": "deregistration_delay.timeout_seconds", "Value": str(round(2 * SLOW_S))}
        elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[delay])

    def _package(self, version: str) -> Path:
        """Make a version's package, with `dpkg-deb` itself."""
        tree = self.root / "build" / version
        texts = {
            "DEBIAN/control": CONTROL.format(name=self.name, version=version),
            "usr/share/shop/headway.json": json.dumps({"version": version}),
            f"usr/lib/systemd/system/{self.name}.service": UNIT.format(
                url="broken" if version == BROKEN else "in-memory"
            ),
        }
        own = ROOT / "examples" / "shop" / "shop"
        texts |= {f"usr/lib/shop/shop/{file.name}": file.read_text() for file in own.glob("*.py")}
        texts["usr/lib/shop/shop/orders.py"] = Path(__file__).with_name("orders_in_memory.py").read_text()
        for path, text in texts.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        deb = self.root / "build" / f"{version}.deb"
        argv = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(deb)]
        subprocess.run(argv, check=True, capture_output=True)
        return deb

    def _make_image(self, ec2: Any, version: str, deb: Path) -> None:
        """Install a version's package on an instance, and make an AMI of it."""
        ours = [{"Key": PROJECT_TAG, "Value": self.name}]
        written = ec2.describe_launch_template_versions(LaunchTemplateName=self.group_name, Versions=["1"])
        base = written["LaunchTemplateVersions"][0]["LaunchTemplateData"]["ImageId"]
        tags = [{"ResourceType": "instance", "Tags": ours}]
        ran = ec2.run_instances(ImageId=base, MinCount=1, MaxCount=1, TagSpecifications=tags)
        builder = ran["Instances"][0]["InstanceId"]

        def is_in(state: str) -> bool:
            seen = ec2.describe_instances(InstanceIds=[builder])["Reservations"][0]["Instances"][0]
            return bool(seen["State"]["Name"] == state)

        until(lambda: is_in("running"), f"{builder} runs")
        machine = f"headway-lab-{self.lab.port}-{builder}"
        docker("cp", str(deb), f"{machine}:/opt/shop.deb")
        docker("exec", machine, "dpkg", "--install", "/opt/shop.deb")
        docker("exec", machine, "systemctl", "enable", f"{self.name}.service")
        ec2.stop_instances(InstanceIds=[builder])
        until(lambda: is_in("stopped"), f"{builder} is stopped")
        tags = [{"ResourceType": "image", "Tags": [*ours, {"Key": VERSION_TAG, "Value": version}]}]
        image = ec2.create_image(InstanceId=builder, Name=f"{self.name}-{version}", TagSpecifications=tags)["ImageId"]
        until(lambda: ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available", f"{image} is there")
        ec2.terminate_instances(InstanceIds=[builder])


class Running:
    """A `fab` that runs: what it says can be waited for."""

    def __init__(self, words: tuple[str, ...], folder: Path, variables: dict[str, str]) -> None:
        self._words = words
        self._said: list[str] = []
        self._change = threading.Condition()
        self._over = False
        self._process = subprocess.Popen(
            [FAB, *words],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """Everything that it printed so far."""
        with self._change:
            return "".join(self._said)

    def wait_until_says(self, pattern: str, count: int = 1) -> re.Match[str] | None:
        """Wait for its line of this pattern, or the n-th of them; None when it ends without."""

        def found() -> list[re.Match[str]]:
            return [match for line in self._said if (match := re.search(pattern, line))]

        with self._change:
            in_time = self._change.wait_for(lambda: self._over or len(found()) >= count, PATIENCE_S)
            assert in_time, f"fab {' '.join(self._words)}: not {count} x {pattern!r} in\n{''.join(self._said)}"
            matches = found()
            return matches[count - 1] if len(matches) >= count else None

    def must_say(self, pattern: str) -> re.Match[str]:
        """Wait for its line of this pattern."""
        match = self.wait_until_says(pattern)
        assert match is not None, f"fab {' '.join(self._words)} ended without {pattern!r}:\n{self.said}"
        return match

    def must_end_with(self, code: int) -> str:
        """Wait for its end; returns what it printed."""
        ended = self._process.wait(PATIENCE_S)
        self._reader.join()
        assert ended == code, f"fab {' '.join(self._words)}: exit code {ended}, not {code}:\n{self.said}"
        return self.said

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it with the signal that no process can catch."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._change:
                    self._said.append(line)
                    self._change.notify_all()
        with self._change:
            self._over = True
            self._change.notify_all()


def docker(*words: str) -> str:
    """Ask Docker."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def until(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Wait until something is so."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)
