"""Secrets are read from where they are kept, and only their place is ever told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from fabfile.plan.outcome import Refusal
from fabfile.plan.settings import Settings
from fabfile.tools.secrets import resolve

SETTING = "headway.envs.dev.database.url"
NOWHERE = Settings.model_validate({"endpoint": "http://127.0.0.1:1"})


def why_refused(reference: str, settings: Settings = NOWHERE) -> str:
    with pytest.raises(Refusal) as refused:
        resolve(reference, settings, SETTING)
    said = str(refused.value)
    assert said.startswith(SETTING)
    assert "\n" not in said
    return said


@pytest.fixture
def aws() -> Iterator[Settings]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "ssm", region_name="us-east-1", endpoint_url=endpoint, aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.put_parameter(Name="/shop/dev/url", Value="canary", Type="SecureString", Overwrite=True)
    client.close()
    yield Settings.model_validate({"endpoint": endpoint})
    server.stop()


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAL_URL", "canary")
    assert resolve("env:TRIAL_URL", NOWHERE, SETTING) == "canary"


def test_a_file_is_read_without_the_line_end_that_editors_leave(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary\n")
    assert resolve(f"file:{tmp_path}/secret", NOWHERE, SETTING) == "canary"


def test_a_parameter_is_read_decrypted(aws: Settings) -> None:
    assert resolve("ssm:/shop/dev/url", aws, SETTING) == "canary"


def test_a_parameter_that_is_not_there_is_named(aws: Settings) -> None:
    assert "ssm:/shop/dev/nonesuch: no such parameter" in why_refused("ssm:/shop/dev/nonesuch", aws)


def test_a_parameter_store_that_does_not_answer_is_named_with_a_way_out() -> None:
    said = why_refused("ssm:/shop/dev/url")
    assert "ssm:/shop/dev/url: nothing answers at http://127.0.0.1:1; check headway.endpoint" in said
    assert "fab lab.up" in said


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIAL_URL", raising=False)
    assert "env:TRIAL_URL: the variable is not set" in why_refused("env:TRIAL_URL")
    assert "No such file" in why_refused(f"file:{tmp_path}/none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not text" in why_refused(f"file:{tmp_path}/binary")


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    assert "is empty" in why_refused(f"file:{tmp_path}/empty")


@pytest.mark.parametrize("reference", ["canary", "postgresql://u:canary@h/d", "vault:canary", "env:", ""])
def test_a_reference_that_is_none_is_refused_and_not_repeated(reference: str) -> None:
    assert "canary" not in why_refused(reference)
