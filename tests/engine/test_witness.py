"""What is gathered about a failure while its instances are there: in the simulated cloud, and on a real machine."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fabfile.engine.observe import Observer
from fabfile.engine.operate import Order, operate
from fabfile.engine.witness import Witness, at_once, in_turn
from fabfile.localcloud.faults import Fault
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud
from fabfile.localcloud.world import World, provision_world
from fabfile.plan.evidence import Evidence
from fabfile.plan.fleet import Facts, Group, Image, Instance, Lifecycle, Power, Template
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Before, Ending, Kind, Record
from fabfile.plan.settings import Settings
from fabfile.tools import activities
from tests.machine import Machine, failing_machine, make_key, until
from tests.shared_lab import Lab

from .conftest import Operator

RELEASE = "0a1b"


class Scene:
    """A fleet of three with an instance of a new version beside it that fails, and a witness."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self.cloud = cloud
        self.world: World = provision_world(cloud, capacity=3, max_size=12)
        self.began = cloud.clock.now()
        release = {"state": "s3://state/shop", "group": self.world.group}
        self.settings: Settings = read_settings({"name": "shop", "release": release, "envs": {"prod": {}}}, "prod")
        self.observer = Observer(self.settings, cloud.clock.now, cloud.ask)

    def launch(self, behaviour: Behaviour) -> str:
        """Start an instance of a new version outside the group, as a release does."""
        image_id = self.world.image(behaviour.version, behaviour, {"headway:project": "shop"})
        tag = {"ResourceType": "instance", "Tags": [{"Key": "headway:release", "Value": RELEASE}]}
        ran = self.cloud.client("ec2").run_instances(
            ImageId=image_id, MinCount=1, MaxCount=1, SubnetId=self.world.subnets[0], TagSpecifications=[tag]
        )
        self.cloud.clock.sleep(40)
        return str(ran["Instances"][0]["InstanceId"])

    def look(self) -> Facts:
        """Look as a release does that started those instances."""
        before = Before(1, 12, 3, frozenset(), Template(self.world.template_id, "1"), self.world.image_ids["1.0.0"], ())
        record = Record(RELEASE, "prod", Kind.RELEASE, "2.0.0", "1.0.0", "ann", self.began, before, wanted=3)
        return self.observer.look(record)

    def gather(self, *blamed: str, reason: str = "it failed", facts: Facts | None = None) -> Evidence:
        seen = facts or self.look()
        witness = Witness(self.settings, ask=self.cloud.ask, spread=in_turn)
        return witness.gather(seen, reason, blamed, self.began)


@pytest.fixture
def scene(cloud: SimulatedCloud) -> Scene:
    return Scene(cloud)


def test_one_that_never_answers_is_told_by_its_check_and_its_console(scene: Scene) -> None:
    sick = scene.launch(Behaviour(version="2.0.0", healthy_s=None))
    evidence = scene.gather(sick, reason=f"{sick} was not ready")
    (finding,) = evidence.findings
    assert evidence.cause == f"{sick} was not ready"
    assert (finding.version, finding.zone) == ("2.0.0", "us-east-1a")
    assert finding.state == f"running, not in {scene.world.group} yet"
    assert finding.failed == ("GET /health on port 8080: answers: 503",)
    assert any("booting ami-" in line for line in finding.console)
    assert evidence.unread == ("journals: headway.release.evidence.ssh_user is not set, so nobody logs in",)


def test_one_whose_status_checks_never_pass_is_told_by_ec2s_name_of_the_check(scene: Scene) -> None:
    stuck = scene.launch(Behaviour(version="2.0.0", checks_s=None))
    (finding,) = scene.gather(stuck).findings
    assert any("status check: initializing" in line for line in finding.failed)


def test_one_that_load_balancers_find_unhealthy_is_told_by_their_reasons(scene: Scene) -> None:
    sick = scene.launch(Behaviour(version="2.0.0", healthy_s=3.0, sick_s=30.0))
    scene.cloud.client("autoscaling").attach_instances(AutoScalingGroupName=scene.world.group, InstanceIds=[sick])
    scene.cloud.until(lambda: scene.world.health().get(sick) == "unhealthy")
    (finding,) = scene.gather().findings  # nobody is blamed by name
    assert finding.instance_id == sick
    assert "GET /health on port 8080: answers: 503" in finding.failed
    told = {standing.balancer: str(standing) for standing in finding.standings}
    assert "unhealthy (Target.ResponseCodeMismatch: Health checks failed with these codes: [503])" in told["shop-prod"]
    assert set(told) == {"shop-prod", "shop-prod-classic"}


def test_one_that_is_gone_is_told_by_ec2s_reason(scene: Scene) -> None:
    gone = scene.launch(Behaviour(version="2.0.0"))
    scene.cloud.client("ec2").terminate_instances(InstanceIds=[gone])
    scene.cloud.clock.sleep(10)
    (finding,) = scene.gather(gone).findings
    assert "terminated" in finding.state
    assert "Client.UserInitiatedShutdown" in finding.state


def test_what_the_group_itself_failed_at_is_told_once_and_nothing_older(scene: Scene) -> None:
    scaling = scene.cloud.client("autoscaling")
    scene.cloud.faults.refuse_capacity(fault=Fault(times=None))
    scaling.set_desired_capacity(AutoScalingGroupName=scene.world.group, DesiredCapacity=5)
    scene.cloud.clock.sleep(300)
    evidence = scene.gather(reason="gave up")
    (line,) = evidence.activities
    assert "times since" in line
    assert "capacity" in line
    assert evidence.cause == f"gave up; the group: {line}"
    scene.began = scene.cloud.clock.now()
    assert scene.gather().activities == ()


def test_activities_are_read_page_by_page_and_not_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabfile.localcloud.group_answers.ACTIVITIES_PER_PAGE", 1)
    scene.cloud.faults.refuse_capacity(fault=Fault(times=None))
    scaling = scene.cloud.client("autoscaling")
    scaling.set_desired_capacity(AutoScalingGroupName=scene.world.group, DesiredCapacity=5)

    def tries() -> int:
        asked = scaling.describe_scaling_activities(AutoScalingGroupName=scene.world.group, MaxRecords=100)
        return sum(activity["StatusCode"] == "Failed" for activity in asked["Activities"])

    while tries() <= activities._PAGES:
        scene.cloud.clock.sleep(30)
    assert len(activities.read_failed(scene.settings, scene.began)) == activities._PAGES


def test_where_aws_answers_nothing_the_facts_are_told_and_what_was_not_read(scene: Scene) -> None:
    sick = scene.launch(Behaviour(version="2.0.0", healthy_s=None))
    facts = scene.look()
    scene.cloud.faults.throttle("*", Fault(times=None))
    evidence = scene.gather(sick, facts=facts)
    (finding,) = evidence.findings
    assert finding.failed == ("GET /health on port 8080: answers: 503",)
    assert any(line.startswith("console: ") and "RequestLimitExceeded" in line for line in finding.unread)
    assert [line.split(":")[0] for line in evidence.unread] == ["status checks", "scaling activities", "journals"]


def test_an_instance_that_nobody_knows_is_no_reason_to_fail(scene: Scene) -> None:
    evidence = scene.gather("i-00000000000000000")
    (finding,) = evidence.findings
    assert finding.state == "EC2 does not list it any more"
    assert any("InvalidInstanceID" in line for line in finding.unread)


def test_a_release_that_fails_keeps_what_its_instances_said_before_they_went(operator: Operator) -> None:
    def witness(settings: Settings) -> Witness:
        return Witness(settings, ask=operator.cloud.ask, spread=in_turn)

    order = Order(Kind.RELEASE, "3.0.0", "ann")
    result = operate(operator.settings, order, replace(operator.means, witness=witness))
    assert result.ending is Ending.RESTORED
    assert operator.leftovers() == []
    assert result.record is not None
    cause, *found = result.record.evidence
    assert cause == result.why
    assert sum(": running, not in " in line for line in found) == 3
    assert "  GET /health on port 8080: answers: 503" in found
    assert "  console:" in found


def test_whatever_goes_wrong_the_reason_is_told(scene: Scene) -> None:
    def broken(*_: object) -> dict[str, object]:
        raise RuntimeError("can't start new thread")

    facts = scene.look()
    evidence = Witness(scene.settings, spread=broken).gather(facts, "it failed", (), scene.began)
    assert evidence.lines == ("it failed", "not read: the evidence: can't start new thread")


def test_a_job_that_does_not_end_is_left_behind_and_the_others_count() -> None:
    never = threading.Event()

    def wrong() -> str:
        raise ValueError("no")

    try:
        results = at_once({"slow": never.wait, "quick": lambda: "done", "wrong": wrong}, 0.5)
    finally:
        never.set()
    assert results["quick"] == "done"
    assert str(results["wrong"]) == "no"
    assert str(results["slow"]) == "not within 0.5 s"


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with failing_machine(lab, tmp_path_factory.mktemp("witness")) as machine:
        yield machine


def facts_of(machine: Machine) -> Facts:
    """One look at a world that has nothing but this machine, freshly launched."""
    instance = Instance(
        id=machine.id,
        image_id=machine.image_id,
        zone="us-east-1a",
        address=machine.address,
        power=Power.RUNNING,
        checks_pass=True,
        lifecycle=Lifecycle.OUTSIDE,
    )
    return Facts(
        at=datetime.now(UTC),
        group=Group("shop-prod", 0, 2, 1, Template("lt-1", "1"), "1", frozenset(), {}),
        instances={machine.id: instance},
        balancers=(),
        images={machine.image_id: Image(machine.image_id, "2.0.0")},
        template_image=machine.image_id,
    )


def with_evidence(settings: Settings, **changes: object) -> Settings:
    evidence = settings.release.evidence.model_copy(update=changes)
    return settings.model_copy(update={"release": settings.release.model_copy(update={"evidence": evidence})})


def gather(settings: Settings, facts: Facts, machine: Machine, within_s: float = 20) -> Evidence:
    return Witness(settings, within_s=within_s).gather(facts, "it was not ready", (machine.id,), facts.at)


@pytest.mark.docker
@pytest.mark.lab
def test_a_units_last_words_are_read_on_the_machine_and_its_secrets_are_not_told(machine: Machine) -> None:
    evidence = gather(machine.settings, facts_of(machine), machine)
    (finding,) = evidence.findings
    assert evidence.cause == (
        f"it was not ready; shop.service: failed (failed, exit-code), its process ended with 3 on {machine.id}"
    )
    assert any(line.endswith("no table orders") for line in finding.journal)
    assert any("postgres://shop:***@db:5432/shop" in line for line in finding.journal)
    assert "hunter2" not in "\n".join(evidence.lines)
    assert any("GET /health on port 8080: ConnectionRefusedError" in line for line in finding.failed)
    assert finding.console
    assert not any("session opened for user ubuntu" in line for line in finding.console)
    assert finding.unread == ()
    assert [line for line in evidence.unread if not line.startswith("scaling activities: ")] == []


@pytest.mark.docker
@pytest.mark.lab
def test_as_many_lines_are_told_as_were_asked_for_of_the_unit_that_is_named(machine: Machine) -> None:
    settings = with_evidence(machine.settings, lines=1, unit="ssh.service")
    (finding,) = gather(settings, facts_of(machine), machine).findings
    assert (len(finding.console), len(finding.journal)) == (1, 1)
    assert str(finding.unit) == "ssh.service: active (running)"
    settings = with_evidence(machine.settings, unit="web.service")
    (finding,) = gather(settings, facts_of(machine), machine).findings
    assert str(finding.unit) == "web.service: there is no such unit"
    assert any("no line of web.service" in line for line in finding.unread)


@pytest.mark.docker
@pytest.mark.lab
def test_a_wrong_key_costs_the_journal_and_nothing_else(machine: Machine, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    (finding,) = gather(with_evidence(machine.settings, ssh_key=str(wrong)), facts_of(machine), machine).findings
    assert finding.unread == (
        f"journal: ubuntu@{machine.address}: the host does not let ubuntu in with the key {wrong}",
    )
    assert finding.console


@pytest.mark.docker
@pytest.mark.lab
def test_a_machine_without_sshd_says_so(machine: Machine) -> None:
    machine.exec("systemctl", "stop", "ssh.socket", "ssh.service")
    try:
        (finding,) = gather(machine.settings, facts_of(machine), machine).findings
        assert finding.unread == (f"journal: ubuntu@{machine.address}: port 22: Connection refused",)
    finally:
        machine.exec("systemctl", "start", "ssh.service")
        until(lambda: machine.exec("systemctl", "is-active", "ssh.service") == "active", "sshd is back")


@pytest.mark.docker
@pytest.mark.lab
def test_a_machine_that_hangs_is_left_in_time_and_its_console_is_read_all_the_same(machine: Machine) -> None:
    subprocess.run(["docker", "pause", machine.container], capture_output=True, check=True)
    try:
        (finding,) = gather(machine.settings, facts_of(machine), machine, within_s=3).findings
        (line,) = finding.unread
        assert line.startswith("journal: ")
        assert "does not speak SSH" in line or "not within" in line
        assert finding.console
    finally:
        subprocess.run(["docker", "unpause", machine.container], capture_output=True, check=True)


@pytest.mark.docker
@pytest.mark.lab
def test_whoever_has_other_host_keys_than_the_console_shows_is_not_believed(machine: Machine) -> None:
    block = "-----BEGIN SSH HOST KEY KEYS-----\\n{}\\n-----END SSH HOST KEY KEYS-----\\n"
    keys = machine.exec("sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").replace("\n", "\\n")
    for shown, believed in (("ssh-ed25519 AAAAother root@other", False), (keys, True)):
        machine.exec("sh", "-c", f"printf '%b' '{block.format(shown)}' > /dev/console")
        (finding,) = gather(machine.settings, facts_of(machine), machine).findings
        assert bool(finding.journal) is believed
        assert any("none of the host keys" in line for line in finding.unread) is not believed
