"""What load balancers answer, read as what a release may rely on. The answers are held to the API's own shapes."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fabfile.plan.fleet import Health, Registration
from fabfile.plan.settings import Settings
from fabfile.tools import elb

ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123456789abcdef"
BALANCER = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer"


class Answers:
    """A client of the real service model that answers what it is told to, in that order."""

    def __init__(self) -> None:
        self.client: Any = boto3.client(
            "elbv2", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
        )
        self._stubber = Stubber(self.client)
        self._stubber.activate()

    def will(self, operation: str, **answer: object) -> None:
        """Have the next call be this operation, and answer it so."""
        self._stubber.add_response(operation, answer)

    def targets(self, *targets: dict[str, object]) -> None:
        """Have the next call be for the health of targets."""
        self.will("describe_target_health", TargetHealthDescriptions=list(targets))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()
    monkeypatch.setattr(elb, "client", lambda *_: answers.client)
    return answers


def target(state: str, reason: str | None = None, *, port: int = 8080) -> dict[str, object]:
    """Say how the instance i-1 is on a port."""
    health = {"State": state} if reason is None else {"State": state, "Reason": reason}
    return {"Target": {"Id": "i-1", "Port": port}, "TargetHealth": health}


def read(aws: Answers, *targets: dict[str, object]) -> Registration:
    """Read the instance i-1 of a target group that answers with these targets."""
    aws.targets(*targets)
    (balancer,) = elb.read_balancers(Settings(), [ARN], [])
    assert balancer.name == "web"
    return balancer.registrations["i-1"]


# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html


def test_a_target_whose_health_checks_are_turned_off_gets_traffic(aws: Answers) -> None:
    assert read(aws, target("unavailable", "Target.HealthCheckDisabled")).health is Health.HEALTHY


@pytest.mark.parametrize("reason", ["Elb.InternalError", None])
def test_a_target_of_which_the_load_balancer_cannot_tell_is_not_taken_for_healthy(
    aws: Answers, reason: str | None
) -> None:
    assert read(aws, target("unavailable", reason)) == Registration(Health.INITIAL, reason or "")


# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetDescription.html


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(
    ("one", "other", "worst"),
    [
        (target("healthy"), target("healthy"), Registration(Health.HEALTHY)),
        (
            target("unhealthy", "Target.Timeout"),
            target("healthy"),
            Registration(Health.UNHEALTHY, "Target.Timeout"),
        ),
        (
            target("initial", "Elb.InitialHealthChecking"),
            target("healthy"),
            Registration(Health.INITIAL, "Elb.InitialHealthChecking"),
        ),
        (
            target("draining", "Target.DeregistrationInProgress"),
            target("unhealthy", "Target.Timeout"),
            Registration(Health.DRAINING, "Target.DeregistrationInProgress"),
        ),
        (
            target("draining", "Target.DeregistrationInProgress"),
            target("unused", "Target.InvalidState"),
            Registration(Health.DRAINING, "Target.DeregistrationInProgress"),
        ),
        (
            target("unused", "Target.NotInUse"),
            target("unused", "Target.NotInUse"),
            Registration(Health.UNUSED, "Target.NotInUse"),
        ),
        # Neither out of the load balancer nor wholly in.
        (
            target("unused", "Target.InvalidState"),
            target("healthy"),
            Registration(Health.INITIAL, "Target.InvalidState"),
        ),
    ],
)
def test_an_instance_on_two_ports_is_as_well_as_its_worse_one_whichever_comes_first(
    aws: Answers, one: dict[str, object], other: dict[str, object], worst: Registration, turn: int
) -> None:
    ports = [one, {**other, "Target": {"Id": "i-1", "Port": 8081}}][::turn]
    assert read(aws, *ports) == worst


# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html


def test_no_url_leads_through_a_gateway_load_balancer(aws: Answers) -> None:
    gateway, usual = f"{BALANCER}/gwy/inspect/0123456789abcdef", f"{BALANCER}/app/web/0123456789abcdef"
    aws.will("describe_target_groups", TargetGroups=[{"TargetGroupArn": ARN, "LoadBalancerArns": [usual, gateway]}])
    aws.will(
        "describe_load_balancers",
        LoadBalancers=[
            {"LoadBalancerArn": gateway, "Type": "gateway"},
            {"LoadBalancerArn": usual, "Type": "application", "DNSName": "web.example"},
        ],
    )
    aws.will("describe_listeners", Listeners=[{"ListenerArn": f"{gateway}/1", "LoadBalancerArn": gateway}])
    aws.will("describe_listeners", Listeners=[{"ListenerArn": f"{usual}/1", "Protocol": "HTTP", "Port": 80}])
    assert elb.read_addresses(Settings(), [ARN], []) == ("http://web.example",)


# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AdministrativeOverride.html


@pytest.mark.parametrize(
    ("state", "override"),
    [
        ("zonal_shift_active", "zonal_shift_active"),
        ("zonal_shift_delegated_to_dns", "zonal_shift_delegated_to_dns"),
        ("no_override", ""),
        ("unknown", ""),
    ],
)
def test_a_zonal_shift_is_known_beside_the_health_that_it_does_not_touch(
    aws: Answers, state: str, override: str
) -> None:
    shifted = {**target("healthy"), "AdministrativeOverride": {"State": state}}
    assert read(aws, shifted) == Registration(Health.HEALTHY, override=override)
