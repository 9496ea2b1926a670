"""Packer's side of a bake: what it is told, what it says, what it is refused for."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.paths import data
from fabfile.plan.image import BaseImage
from fabfile.plan.outcome import Failed, Refusal
from fabfile.plan.settings import Settings
from fabfile.tools import packer
from fabfile.tools.images import Place

LOCAL = Settings.model_validate({"name": "shop", "endpoint": "http://127.0.0.1:1"})
AWS = Settings.model_validate({"name": "shop"})
ORDER = packer.Order(
    base=BaseImage("ami-0123456789abcdef0", "base", "/dev/sda1", 8),
    place=Place("subnet-0123456789abcdef0", ("10.0.0.7/32",)),
    name="shop-1.4.0-abcd",
    description="shop 1.4.0",
    tags={"headway:version": "1.5.0~rc1"},
    run_tags={"headway:builder": "shop/abcd"},
    variables={"app_name": "shop"},
    packer=data("packer"),
    ansible=data("ansible"),
)
needs_packer = pytest.mark.skipif(shutil.which("packer") is None, reason="scripts/setup installs packer")
# The lines are Packer's own, recorded from bakes: only ids are shortened.
TASK = "1795512288,,ui,message,    amazon-ebs.image: TASK [app : Install exactly one version] *******"


def output(*lines: str) -> tuple[packer.Output, list[str]]:
    said: list[str] = []
    taken = packer.Output(said.append)
    for line in lines:
        taken.take(line)
    return taken, said


@needs_packer
@pytest.mark.parametrize("interface", ["private_ip", "public_ip", "session_manager"])
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:1"])
def test_packer_takes_the_one_configuration_for_aws_and_for_the_local_cloud(
    endpoint: str | None, interface: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    bake = {"interface": interface, "instance_profile": "ssm" if interface == "session_manager" else None}
    settings = Settings.model_validate({"name": "shop", "endpoint": endpoint, "bake": bake})
    template = packer.lay_out(settings, ORDER, tmp_path)
    packer.validate(settings, template, tmp_path)


@needs_packer
def test_what_packer_does_not_take_is_refused_in_one_line(tmp_path: Path) -> None:
    template = packer.lay_out(LOCAL, replace(ORDER, name="a name; that AWS does not take"), tmp_path)
    with pytest.raises(Refusal, match="AMIName should only contain") as caught:
        packer.validate(LOCAL, template, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Give a folder whose path leaves room for the name of a Unix socket, of at most 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="hw-") as folder:
        yield Path(folder)


@needs_packer
def test_nothing_is_left_of_a_bake_that_fails_at_once(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(Failed, match=r"^bake failed: .*connection refused"):
        packer.build(LOCAL, ORDER, lambda _: None)
    assert list(short_path.iterdir()) == []


def test_what_packer_reads_is_for_our_eyes_only(tmp_path: Path) -> None:
    packer.lay_out(AWS, ORDER, tmp_path)
    for name in ("image.pkrvars.json", "ansible.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_plugins_are_asked_for_only_where_packer_has_none_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (version, files) in enumerate(
        {(1, 9, 4): {"ami.pkr.hcl"}, (1, 10, 0): {"ami.pkr.hcl", "plugins.pkr.hcl"}}.items()
    ):
        monkeypatch.setattr(packer, "version", lambda version=version: version)
        work = tmp_path / str(number)
        work.mkdir()
        assert {path.name for path in packer.lay_out(AWS, ORDER, work).iterdir()} == files


def test_ssh_is_never_open_to_everyone(tmp_path: Path) -> None:
    text = (data("packer") / "ami.pkr.hcl").read_text()
    assert 'length(var.ssh.cidrs) == 0 && var.ssh.interface != "session_manager"' in text
    packer.lay_out(AWS, ORDER, tmp_path)
    assert json.loads((tmp_path / "image.pkrvars.json").read_text())["ssh"]["cidrs"] == ["10.0.0.7/32"]


def test_a_local_endpoint_gets_made_up_credentials_and_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    local = packer.environment(LOCAL, tmp_path)
    assert {name: value for name, value in local.items() if name.startswith("AWS_")} == {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    assert packer.environment(AWS, tmp_path)["AWS_PROFILE"] == "production"
    assert packer.environment(AWS, tmp_path)["TMPDIR"] == str(tmp_path)


def test_progress_is_stages_and_tasks_and_no_noise() -> None:
    _, said = output(
        "1795512185,,ui,say,Warning: Bundled plugins used\\n\\nThis template relies on",
        "1795512185,,ui,say,==> amazon-ebs.image: Prevalidating AMI Name: shop-1.4.0-a",
        "1795512185,,ui,say,==> amazon-ebs.image: Launching a source AWS instance...",
        "1795512267,,ui,say,==> amazon-ebs.image: Waiting for SSH to become available...",
        "1795512273,,ui,message,    amazon-ebs.image: PLAY [Bake an image] *********",
        "1795512274,,ui,message,    amazon-ebs.image: TASK [Gathering Facts] *********",
        TASK,
        "1795512288,,ui,message,    amazon-ebs.image: changed: [default]",
        "1795512288,,ui,message,    amazon-ebs.image: TASK [/home/me/shop/roles/own : Leave a mark] ***",
        "1795512292,,ui,say,==> amazon-ebs.image: Terminating the source AWS instance...",
    )
    assert said == [
        "starting a builder instance",
        "waiting for its SSH",
        "  Gathering Facts",
        "  app: Install exactly one version",
        "  own: Leave a mark",
        "removing the builder",
    ]


def test_the_cause_of_a_failure_is_the_failed_task_in_one_line() -> None:
    taken, _ = output(
        TASK,
        '1,,ui,message,    amazon-ebs.image: fatal: [default]: FAILED! => {"changed": false%!(PACKER_COMMA) "msg": '
        '"no available installation\\n candidate for shop=9"}',
        "1,,ui,say,==> amazon-ebs.image: Terminating the source AWS instance...",
        "1,amazon-ebs.image,error,Error executing Ansible: Non-zero exit status: exit status 2",
    )
    assert (
        taken.explain()
        == "bake failed: app: Install exactly one version: no available installation candidate for shop=9"
    )


def test_a_command_that_failed_is_shown_by_its_last_words() -> None:
    said = json.dumps({"msg": "non-zero return code", "rc": 1, "stderr": "one\ntwo\nE: it broke"}).replace(
        ",", "%!(PACKER_COMMA)"
    )
    taken, _ = output(TASK, f"1,,ui,message,    amazon-ebs.image: failed: [default] (item=x) => {said}")
    assert taken.explain().splitlines() == [
        "bake failed: app: Install exactly one version: E: it broke",
        "  one",
        "  two",
    ]


def test_a_failure_outside_ansible_is_shown_with_what_to_look_at() -> None:
    taken, _ = output(
        "1,,ui,say,==> amazon-ebs.image: Waiting for SSH to become available...",
        "1,amazon-ebs.image,error,Timeout waiting for SSH.",
        "1,,ui,say,==> amazon-ebs.image: Deleting temporary keypair...",
    )
    first, *rest = taken.explain().splitlines()
    assert first == (
        "bake failed: Timeout waiting for SSH.; look at headway.bake.interface, subnet, source_cidrs and ssh_user"
    )
    assert rest == ["  Waiting for SSH to become available..."]


def test_a_packer_that_dies_without_a_word_is_said_to_have() -> None:
    assert output()[0].explain() == "bake failed: packer failed without a word"


def test_a_recipe_is_the_same_wherever_it_lies_and_another_when_anything_in_it_changes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "tasks").mkdir(parents=True)
        (folder / "tasks/main.yml").write_text("- a")
        (folder / "run").write_text("x")
    same = packer.recipe_hash([one])
    assert packer.recipe_hash([two]) == same
    (two / ".git").mkdir()
    (two / ".git/index").write_text("x")
    (two / "__pycache__").mkdir()
    (two / "__pycache__/x.pyc").write_text("x")
    assert packer.recipe_hash([two]) == same
    (two / "run").chmod(0o755)
    assert packer.recipe_hash([two]) != same
    (one / "tasks/main.yml").rename(one / "tasks/other.yml")
    assert packer.recipe_hash([one]) != same
    assert packer.recipe_hash([one / "run"]) != packer.recipe_hash([one / "tasks/other.yml"])
    assert packer.recipe_hash([one, two]) != packer.recipe_hash([two, one])


def test_a_missing_program_is_named_with_the_way_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert packer.why_not_installed() == "bake: packer is not installed, or not on PATH; scripts/setup installs it"
    script = tmp_path / "packer"
    script.write_text("#!/bin/sh\necho 'Packer v1.6.6'\n")
    script.chmod(0o755)
    assert packer.why_not_installed() == "bake: packer is too old (1.6.6); 1.9 or later is needed"
    script.write_text("#!/bin/sh\necho 'Packer v1.9.4'\n")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert "ansible-playbook is not installed" in str(packer.why_not_installed())
    (tmp_path / "ansible-playbook").touch()
    assert "ssh is not installed" in str(packer.why_not_installed())


def test_the_environment_of_packer_is_ours_and_quiet(tmp_path: Path) -> None:
    made = packer.environment(AWS, tmp_path)
    assert made["PATH"] == os.environ["PATH"]
    assert made["CHECKPOINT_DISABLE"] == "1"
