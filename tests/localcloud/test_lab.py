"""`fab lab.up`, `lab.status` and `lab.down`, typed as a person types them, with real containers and a real haproxy."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import psycopg
import pytest

from fabfile.localcloud import life
from fabfile.localcloud.dockerd import Dockerd

pytestmark = pytest.mark.docker

SETTINGS = """
headway:
  name: shop
  endpoint: http://127.0.0.1:{port}
  lab: {{port: {port}, network: {network}}}
  database: {{image: "postgres:15"}}
  apt: {{publish: s3://shop-apt/shop}}
  bake: {{source_name: debian-12-*, source_owners: [self]}}
  release: {{state: s3://shop-state/x}}
  envs:
    dev: {{database: {{url: "ssm:/shop/dev/database-url"}}}}
    prod: {{database: {{url: "ssm:/shop/prod/database-url"}}}}
"""
SERVING = """#cloud-config
runcmd:
  - [sh, -c, 'mkdir /srv/app && cd /srv/app && hostname > health && hostname > index.html']
  - [systemd-run, -p, WorkingDirectory=/srv/app, python3, -m, http.server, '8080']
"""


class Project:
    """A project of its own, with a lab of its own."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="hw-"))  # pytest's own are too long for a socket's path
        self.state = self.root / "state"  # not the root itself: a folder named headway there would be the package
        self.port = free_port()
        self.network = f"10.{128 + self.port % 64}.{self.port // 64 % 256}.0/24"
        self.gateway = self.network.replace(".0/24", ".1")
        (self.root / "fabfile.py").write_text("from headway import ns\n")
        (self.root / "fabric.yml").write_text(SETTINGS.format(port=self.port, network=self.network))

    def fab(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "XDG_STATE_HOME": str(self.state), **variables}
        fab = str(Path(sys.executable).with_name("fab"))
        return subprocess.run([fab, *words], cwd=self.root, env=env, capture_output=True, text=True, check=False)

    def client(self, service: str) -> Any:
        make: Any = boto3.client
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return make(service, region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}", **keys)

    def traces(self) -> list[str]:
        """Everything that is left of the lab on this machine."""
        label = ["--filter", f"label=headway.lab={self.port}", "-q"]
        found = [docker("ps", "-a", *label), docker("network", "ls", *label), docker("images", *label)]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if any(f"lab-{self.port}/" in word for word in words) or ("-m" in words and str(self.port) in words):
                found.append(" ".join(words))
        found += [str(path) for path in self.state.glob("headway/*")]
        return [trace for trace in found if trace]

    def group(self, env: str) -> dict[str, Any]:
        answer = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[f"shop-{env}"])
        group: dict[str, Any] = answer["AutoScalingGroups"][0]
        return group

    def addresses(self, env: str) -> list[str]:
        application = self.client("elbv2").describe_load_balancers(Names=[f"shop-{env}"])["LoadBalancers"]
        classic = self.client("elb").describe_load_balancers(LoadBalancerNames=[f"shop-{env}-classic"])
        return [each["DNSName"] for each in (*application, *classic["LoadBalancerDescriptions"])]

    def healthy(self, env: str) -> list[set[str]]:
        """Ids that each load balancer finds healthy."""
        elb, classic = self.client("elbv2"), self.client("elb")
        arn = elb.describe_target_groups(Names=[f"shop-{env}"])["TargetGroups"][0]["TargetGroupArn"]
        targets = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        states = classic.describe_instance_health(LoadBalancerName=f"shop-{env}-classic")["InstanceStates"]
        return [
            {each["Target"]["Id"] for each in targets if each["TargetHealth"]["State"] == "healthy"},
            {each["InstanceId"] for each in states if each["State"] == "InService"},
        ]

    def run_one(self, image_id: str = "", **more: Any) -> str:
        """Start an instance outside all groups, as Packer does, and wait until its status checks pass."""
        ec2 = self.client("ec2")
        image = image_id or ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
        ran = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.small", **more)
        instance_id = str(ran["Instances"][0]["InstanceId"])

        def passes() -> bool:
            seen = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
            return bool(seen) and seen[0]["InstanceStatus"]["Status"] == "ok"

        until(passes, f"{instance_id} passes its status checks")
        return instance_id

    def exec(self, instance_id: str, *argv: str) -> str:
        return docker("exec", f"headway-lab-{self.port}-{instance_id}", *argv)

    def remove(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(self.state))
            life.remove(self.port, Dockerd())  # not by lab.down, which may be what is broken
        shutil.rmtree(self.root)


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    project = Project()
    try:
        started = project.fab("lab.up")
        assert started.returncode == 0, started.stderr
        yield project
    finally:
        project.remove()


@pytest.fixture
def other() -> Iterator[Project]:
    project = Project()
    yield project
    project.remove()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def until(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def test_up_again_completes_what_is_there_and_changes_nothing(project: Project) -> None:
    before = project.group("prod")
    parameter = project.client("ssm").get_parameter(Name="/shop/prod/database-url", WithDecryption=True)["Parameter"]
    again = project.fab("lab.up")
    assert again.returncode == 0, again.stderr
    assert f"lab: runs at http://127.0.0.1:{project.port}" in again.stdout
    for address in (*project.addresses("dev"), *project.addresses("prod")):
        assert f"http://{address}" in again.stdout
    assert project.group("prod") == before
    after = project.client("ssm").get_parameter(Name="/shop/prod/database-url", WithDecryption=True)["Parameter"]
    assert after["Value"] == parameter["Value"]


def test_a_group_is_empty_until_the_first_release_and_says_how_big_it_wants_to_be(project: Project) -> None:
    group = project.group("prod")
    assert (group["MinSize"], group["DesiredCapacity"]) == (0, 0)
    assert {"headway:capacity": "2"}.items() <= {tag["Key"]: tag["Value"] for tag in group["Tags"]}.items()
    assert len(set(group["AvailabilityZones"])) == 2


def test_each_env_has_a_database_of_its_own_whose_url_is_a_secret_parameter(project: Project) -> None:
    urls = []
    for env in ("dev", "prod"):
        answer = project.client("ssm").get_parameter(Name=f"/shop/{env}/database-url", WithDecryption=True)
        assert answer["Parameter"]["Type"] == "SecureString"
        urls.append(answer["Parameter"]["Value"])
    with psycopg.connect(urls[0], autocommit=True) as dev, psycopg.connect(urls[1]) as prod:
        dev.execute("CREATE TABLE only_in_dev ()")
        assert prod.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'only_in_dev'").fetchone() == (0,)
    assert urls[0] not in project.fab("lab.status").stdout


def test_a_group_serves_through_both_load_balancers_and_replaces_what_dies(project: Project) -> None:
    ec2, scaling = project.client("ec2"), project.client("autoscaling")
    data = {"UserData": base64.b64encode(SERVING.encode()).decode()}
    made = ec2.create_launch_template_version(
        LaunchTemplateName="shop-dev", SourceVersion="1", LaunchTemplateData=data
    )["LaunchTemplateVersion"]
    template = {"LaunchTemplateName": "shop-dev", "Version": str(made["VersionNumber"])}
    scaling.update_auto_scaling_group(AutoScalingGroupName="shop-dev", LaunchTemplate=template, DesiredCapacity=2)
    until(lambda: all(len(ids) == 2 for ids in project.healthy("dev")), "two healthy instances in both balancers")
    for address in project.addresses("dev"):
        answers = {urlopen(f"http://{address}/").read() for _ in range(8)}
        assert len(answers) == 2
    status = project.fab("lab.status").stdout
    first, second = sorted(project.healthy("dev")[0])
    assert f"{first} healthy, {second} healthy" in status or f"{second} healthy, {first} healthy" in status
    docker("kill", f"headway-lab-{project.port}-{first}")
    until(lambda: all(first not in ids and len(ids) == 2 for ids in project.healthy("dev")), "another in its place")
    scaling.update_auto_scaling_group(AutoScalingGroupName="shop-dev", DesiredCapacity=0)
    containers = ["ps", "-aq", "--filter", f"label=headway.lab={project.port}", "--filter", "label=headway.instance"]
    until(lambda: docker(*containers) == "", "every container gone")


def test_an_instance_reaches_the_api_and_becomes_an_image_that_others_start_from(project: Project) -> None:
    ec2, s3 = project.client("ec2"), project.client("s3")
    s3.put_object(Bucket="shop-apt", Key="shop/dists/stable/a+b~1.txt", Body=b"from the bucket")
    builder = project.run_one()
    url = f"http://{project.gateway}:{project.port}/shop-apt/shop/dists/stable/a%2bb~1.txt"
    assert project.exec(builder, "curl", "-fsS", url) == "from the bucket"
    project.exec(builder, "sh", "-c", "echo baked > /opt/baked")
    image = ec2.create_image(InstanceId=builder, Name=f"baked-{builder}")["ImageId"]
    until(lambda: ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available", "image available")
    child = project.run_one(image)
    assert project.exec(child, "cat", "/opt/baked") == "baked"
    ec2.deregister_image(ImageId=image)
    ec2.terminate_instances(InstanceIds=[builder, child])
    until(lambda: docker("images", "-q", f"headway/ami:{image}") == "", "its Docker image gone")


def test_two_labs_stand_side_by_side_and_down_takes_only_its_own(project: Project, other: Project) -> None:
    started = other.fab("lab.up")
    assert started.returncode == 0, started.stderr
    assert not set(other.addresses("prod")) & set(project.addresses("prod"))
    removed = other.fab("lab.down")
    assert removed.returncode == 0, removed.stderr
    assert other.traces() == []
    assert project.group("prod")
    assert other.fab("lab.down").stdout == f"lab: nothing to remove at port {other.port}\n"


def test_nothing_survives_down_even_when_the_process_was_killed(other: Project) -> None:
    assert other.fab("lab.up").returncode == 0
    builder = other.run_one()
    other.client("ec2").create_image(InstanceId=builder, Name="baked")
    until(lambda: docker("images", "-q", "--filter", f"label=headway.lab={other.port}") != "", "an image saved")
    pid = int((other.state / f"headway/lab-{other.port}/pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: "not running" in other.fab("lab.status").stdout, "known to be dead")
    assert "fab lab.down" in other.fab("lab.status").stdout
    assert other.fab("lab.down").returncode == 0
    assert other.traces() == []


def test_up_after_a_crash_starts_afresh(other: Project) -> None:
    assert other.fab("lab.up").returncode == 0
    os.kill(int((other.state / f"headway/lab-{other.port}/pid").read_text()), signal.SIGKILL)
    again = other.fab("lab.up")
    assert again.returncode == 0, again.stderr
    assert "removed what an earlier one" in again.stdout
    assert other.group("dev")["Instances"] == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"FABRIC_HEADWAY_LAB_BASE_IMAGE": "headway/none:1"},
            "the Docker image headway/none:1 is not here: run scripts",
        ),
        ({"FABRIC_HEADWAY_LAB_NETWORK": "banana"}, "headway.lab.network: must be an IPv4 network"),
        ({"FABRIC_HEADWAY_LAB_NETWORK": "10.1.0.0/28"}, "headway.lab.network: must be between /16 and /24"),
        ({"FABRIC_HEADWAY_LAB_NETWORK": "8.8.0.0/16"}, "headway.lab.network: must be a private network"),
        (
            {"FABRIC_HEADWAY_LAB_NETWORK": "172.17.0.0/16"},
            "172.17.0.0/16 overlaps 172.17.0.0/16 (Docker network bridge)",
        ),
        ({"FABRIC_HEADWAY_LAB_PORT": "4"}, "no env lives in the local cloud: set endpoint: http://127.0.0.1:4 under"),
        ({"DOCKER_HOST": "unix:///no/such.sock"}, "Docker does not answer at /no/such.sock: No such file"),
        (
            {"DOCKER_HOST": "tcp://10.0.0.1:2375"},
            "DOCKER_HOST=tcp://10.0.0.1:2375: the local cloud needs Docker on this",
        ),
        ({"PATH": "/nowhere"}, "haproxy is not installed, or not on PATH: run scripts/setup"),
    ],
)
def test_what_stands_in_the_way_is_refused_in_one_line(other: Project, variables: dict[str, str], said: str) -> None:
    refused = other.fab("lab.up", **variables)
    assert refused.returncode == 2
    assert refused.stderr.startswith(said)
    assert refused.stderr.count("\n") == 1
    assert other.traces() == []


def test_another_system_than_linux_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert (life.why_not_here(Dockerd()) or "").startswith("the local cloud needs Linux")


def test_a_taken_port_is_refused(other: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", other.port))
        taken.listen()
        refused = other.fab("lab.up")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"port {other.port} cannot be used (Address already in use)")
    assert other.traces() == []


def test_a_running_lab_does_not_become_another_one(project: Project) -> None:
    refused = project.fab("lab.up", FABRIC_HEADWAY_LAB_NETWORK="10.77.0.0/16")
    assert refused.returncode == 2
    assert refused.stderr == f"the lab at port {project.port} runs with network {project.network}: fab lab.down first\n"
