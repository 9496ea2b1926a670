"""examples/shop: what the README and the demo promise of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop"
CHANGES = ("v2.0.0", "v3.0.0")
FAB = str(Path(sys.executable).with_name("fab"))
LABEL = f"headway.test=shop-{uuid.uuid4().hex[:12]}"


def command(*argv: str, cwd: Path) -> str:
    finished = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, env=environ())
    assert finished.returncode == 0, f"{argv}: {finished.stdout}{finished.stderr}"
    return finished.stdout


def environ() -> dict[str, str]:
    who = {f"GIT_{who}_{what}": "shop@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the shop into a repository of its own, at version 1."""
    copy = tmp_path / "shop"
    shutil.copytree(SHOP, copy, ignore=shutil.ignore_patterns("__pycache__", "dist", "build"))
    command("git", "init", "--quiet", cwd=copy)
    command("git", "add", "--all", cwd=copy)
    command("git", "commit", "--quiet", "--message=v1.0.0", cwd=copy)
    return copy


def advance(project: Path, version: str) -> None:
    command("git", "apply", "--index", str(SHOP.parent / "changes" / f"{version}.patch"), cwd=project)
    command("git", "commit", "--quiet", f"--message={version}", cwd=project)


def test_the_readme_shows_the_shops_own_fabfile() -> None:
    assert f"```python\n{(SHOP / 'fabfile.py').read_text()}```" in (ROOT / "README.md").read_text()


def test_the_pipeline_and_the_readme_name_only_tasks_that_exist() -> None:
    listed = json.loads(command(FAB, "--list", "--list-format=json", cwd=SHOP))
    tasks = {task["name"] for task in listed["tasks"]}
    tasks |= {f"{inner['name']}.{task['name']}" for inner in listed["collections"] for task in inner["tasks"]}
    text = (SHOP / ".drone.yml").read_text() + (ROOT / "README.md").read_text()
    named = {word for line in re.findall(r"\bfab ([a-z. ]+[a-z])", text) for word in line.split()}
    assert named - tasks - PROSE == set()


PROSE = {"runs"}  # words after `fab` that are not tasks: "where fab bake runs"


def test_each_step_of_the_pipeline_is_released_to_the_env_that_was_chosen() -> None:
    pipelines = {each["name"]: each for each in yaml.safe_load_all((SHOP / ".drone.yml").read_text())}
    assert set(pipelines) == {"push", "promote", "rollback"}
    for name in ("promote", "rollback"):
        assert pipelines[name]["trigger"]["event"] == [name]
        assert "--env=$DRONE_DEPLOY_TO" in pipelines[name]["steps"][-1]["commands"][-1]


@pytest.mark.docker
def test_every_version_of_the_shop_passes_its_own_tests(project: Path) -> None:
    assert "test: passed" in command(FAB, "test", cwd=project)
    for version in CHANGES:
        advance(project, version)
        assert "test: passed" in command(FAB, "test", cwd=project)


@pytest.fixture
def running(project: Path) -> Iterator[tuple[str, str]]:
    """Run the built shop in a container, without a database; returns its name and URL."""
    command(FAB, "build", cwd=project)
    image = command("docker", "build", "--quiet", "--label", LABEL, ".", cwd=project).strip()
    name = f"shop-{uuid.uuid4().hex[:12]}"
    url = "DATABASE_URL=postgresql://nobody@127.0.0.1:1/none"
    create = ("docker", "create", "--init", "--name", name, "--label", LABEL, "--env", url)
    command(*create, image, "python3", "/shop.pyz", cwd=project)
    try:
        command("docker", "cp", "build/artefacts/shop.pyz", f"{name}:/shop.pyz", cwd=project)
        command("docker", "start", name, cwd=project)
        address = command("docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name, cwd=project).strip()
        yield name, f"http://{address}:8080"
    finally:
        command("docker", "rm", "--force", "--volumes", name, cwd=project)
        command("docker", "rmi", "--no-prune", image, cwd=project)


def ask(url: str) -> tuple[int, dict[str, object]]:
    """Ask, while the shop starts again and again."""
    for _ in range(1000):
        try:
            with urlopen(url, timeout=30) as answer:  # noqa: S310 an http URL of ours
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)
        except URLError:
            threading.Event().wait(0.02)
    raise AssertionError(f"{url} never answered")


@pytest.mark.docker
def test_the_shop_says_why_it_cannot_serve(running: tuple[str, str]) -> None:
    status, body = ask(f"{running[1]}/health")
    assert status == 503
    assert "Connection refused" in str(body["error"])


@pytest.mark.docker
def test_the_shop_answers_all_that_was_sent_before_it_was_stopped(running: tuple[str, str], tmp_path: Path) -> None:
    name, url = running
    ask(f"{url}/version")
    clients = [http.client.HTTPConnection(url.removeprefix("http://"), timeout=30) for _ in range(4)]
    for client in clients:
        client.request("GET", "/version")
        client.getresponse().read()
        client.request("GET", "/slow?seconds=3")
    command("docker", "kill", "--signal", "TERM", name, cwd=tmp_path)
    answers = [client.getresponse() for client in clients]
    assert [answer.status for answer in answers] == [200] * 4
    assert {answer.headers["Connection"] for answer in answers} == {"close"}
    assert command("docker", "wait", name, cwd=tmp_path).strip() == "0"
