"""Why AWS did not answer, in one line with a way out; and whether anything was asked of it that changes something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fabfile.plan.settings import Settings
from fabfile.tools import aws

LAB = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no credentials of this machine count, and no client of another test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(aws, "_endpoints", set())
    aws._client.cache_clear()
    yield
    aws._client.cache_clear()


def met(settings: Settings, service: str = "ec2", call: str = "describe_vpcs", **arguments: Any) -> str:
    """Make a call that fails, and explain it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it is to be explained
        getattr(aws.client(service, settings, in_haste=True), call)(**arguments)
    said = aws.explain(caught.value)
    assert said is not None
    assert "\n" not in said
    return said


def silent(url: str) -> str | None:
    from botocore.exceptions import EndpointConnectionError

    return aws.explain(EndpointConnectionError(endpoint_url=url))


def answered(code: str) -> str | None:
    from botocore.exceptions import ClientError

    return aws.explain(ClientError({"Error": {"Code": code}}, "DescribeVpcs"))


def test_a_local_cloud_that_is_not_up_is_named_with_the_command_that_starts_it() -> None:
    said = met(Settings(endpoint=LAB))
    assert said == f"nothing answers at {LAB}; check headway.endpoint and the network (the local cloud: fab lab.up)"


def test_where_aws_itself_is_meant_nobody_speaks_of_a_local_cloud() -> None:
    said = silent("https://autoscaling.mars-1.amazonaws.com/")
    assert said == "nothing answers at https://autoscaling.mars-1.amazonaws.com; check the network, and headway.region"
    bucket = answered("NoSuchBucket")
    assert bucket is not None
    assert "lab" not in bucket


def test_without_credentials_it_says_how_to_have_some() -> None:
    assert met(Settings()) == "no AWS credentials; set AWS_PROFILE, or run where there is a role"


def test_a_profile_that_is_not_there_is_named_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setenv("AWS_PROFILE", "nope")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    said = met(Settings())
    assert said.startswith("no AWS profile 'nope'; set AWS_PROFILE")
    assert "aws configure --profile nope" in said


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        ("ExpiredToken", "log in again"),
        ("RequestExpired", "log in again"),
        ("AuthFailure", "set AWS_PROFILE"),
        ("InvalidClientTokenId", "set AWS_PROFILE"),
        ("UnauthorizedOperation", "AWS does not allow DescribeVpcs"),
        ("AccessDenied", "AWS does not allow DescribeVpcs"),
    ],
)
def test_credentials_that_do_not_serve_are_said_to(code: str, way_out: str) -> None:
    said = answered(code)
    assert said is not None
    assert way_out in said


def test_an_answer_that_says_something_of_the_fleet_is_left_to_others() -> None:
    assert answered("ValidationError") is None
    assert aws.explain(ValueError("x")) is None


def test_an_answer_that_is_no_answer_of_aws_is_one_line_without_the_page() -> None:
    from botocore.parsers import ResponseParserError

    said = aws.explain(ResponseParserError("Unable to parse response, invalid XML: <!doctype html>\n<p>no</p>"))
    assert said is not None
    assert "headway.region" in said
    assert "doctype" not in said


def test_calls_that_only_read_are_no_writes_and_others_are_also_when_nothing_answers() -> None:
    before = aws.writes()
    met(Settings(endpoint=LAB))
    met(Settings(endpoint=LAB), "s3", "list_objects_v2", Bucket="b")
    assert aws.writes() == before
    met(Settings(endpoint=LAB), "s3", "put_object", Bucket="b", Key="k")
    assert aws.writes() == before + 1
