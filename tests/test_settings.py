"""Settings through the real `fab`: where they may stand, which wins, and how a mistake ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabfile.plan.settings import describe_settings
from fabfile.show.settings import with_reference

ROOT = Path(__file__).parent.parent
FAB = Path(sys.executable).with_name("fab")
PATIENCE_S = 60
TASKS = """
from headway import history, migrate, release, rollback, status, test
from headway.stage import settings_for, stage

@stage
def show(c, env=None):
    "Print some settings."
    settings = settings_for(c, env)
    print(settings.name, settings.release.poll_s, *settings.package.depends, settings.release.keep_previous)

@stage
def wait(c):
    "Wait until something happens."
    import time
    try:
        print("waiting", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

@stage
def write(c, env=None):
    "Ask the cloud to keep something."
    from headway.tools.aws import client
    client("s3", settings_for(c, env), in_haste=True).put_object(Bucket="state", Key="k")

@stage
def stumble(c):
    "Fail in a way that nobody thought of."
    raise LookupError("no such thing\\nat all")
"""
CONFIGURED = """
from invoke.collection import Collection
ns = Collection(show)
ns.configure({"headway": {"name": "of-collection", "release": {"poll_s": 8}}})
"""


@dataclass(frozen=True)
class Ended:
    """A `fab` that ended."""

    code: int
    stdout: str
    stderr: str


class Project:
    """A folder with a fabfile.py that has picked two tasks of Headway."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "headway").symlink_to(ROOT / "fabfile")
        (root / "fabfile.py").write_text(TASKS)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("FABRIC_")}

    def fab(self, *arguments: str, **variables: str) -> Ended:
        done = subprocess.run(
            [FAB, *arguments],
            cwd=self.root,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def configure(self, text: str) -> None:
        (self.root / "fabric.yml").write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_without_a_file_the_defaults_hold(project: Project) -> None:
    assert project.fab("show") == Ended(0, "app 5 False\n", "")


def test_fabric_yml_is_read_and_an_env_lies_over_it(project: Project) -> None:
    project.configure("headway: {name: shop, package: {depends: [a, b]}, envs: {dev: {release: {poll_s: 1}}}}")
    assert project.fab("show").stdout == "shop 5 a b False\n"
    assert project.fab("show", "--env=dev").stdout == "shop 1.0 a b False\n"


def test_what_the_collection_configures_is_below_the_file(project: Project) -> None:
    (project.root / "fabfile.py").write_text(TASKS + CONFIGURED)
    project.configure("headway: {name: of-file}")
    assert project.fab("show").stdout == "of-file 8.0 False\n"


def test_a_variable_is_above_the_file_and_its_env_for_tasks_that_were_picked_singly(project: Project) -> None:
    project.configure("headway: {release: {keep_previous: true}, envs: {dev: {release: {poll_s: 1}}}}")
    ended = project.fab(
        "show",
        "--env=dev",
        FABRIC_HEADWAY_RELEASE_POLL_S="2.5",
        FABRIC_HEADWAY_PACKAGE_DEPENDS="x,y",
        FABRIC_HEADWAY_RELEASE_KEEP_PREVIOUS="false",
    )
    assert ended == Ended(0, "app 2.5 x y False\n", "")


def test_a_variable_need_not_be_of_the_kind_that_stands_in_the_file(project: Project) -> None:
    project.configure("headway: {release: {poll_s: 1}, package: {depends: [b]}}")
    ended = project.fab("show", FABRIC_HEADWAY_RELEASE_POLL_S="0.5", FABRIC_HEADWAY_PACKAGE_DEPENDS="x,y")
    assert ended == Ended(0, "app 0.5 x y False\n", "")


def test_a_variable_of_somebody_elses_is_read_as_fabric_does(project: Project) -> None:
    project.configure("shop: {shelves: 3}")
    ended = project.fab("show", FABRIC_SHOP_SHELVES="many")
    assert (ended.code, ended.stdout) == (2, "")
    assert "FABRIC_SHOP_SHELVES: must be of the same kind as in the file" in ended.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("headway: {nmae: x}", "headway.nmae: no such setting; did you mean headway.name?"),
        ("headwai: {name: x}", "headwai: no such setting; did you mean headway?"),
        ("Headway: {name: x}", "Headway: no such setting; did you mean headway?"),
        (
            "headway:\n  envs:\n    dev: {}\n    prod: {}\n    dev: {}\n",
            "fabric.yml, line 5: dev stands here again under headway.envs, after line 3",
        ),
        ("headway: {name: x}\nheadway: {name: y}\n", "fabric.yml, line 2: headway stands here again, after line 1"),
        ("headway: {build: make}", "headway.build: must be a mapping of settings (got 'make')"),
        ("headway: [1]", "headway: must be a mapping of settings (got [1])"),
        ("headway:\n  name: a: b\n", "fabric.yml, line 2: not YAML: mapping values are not allowed here"),
        ("headway: {bake: {variables: {1: x}}}", "headway.bake.variables.1: a key must be text: put it in quotes"),
        ("headway: {a: {b_c: 1}, a_b: {c: 1}}", "two settings that one environment variable would mean"),
        ("[1, 2]", "fabric.yml: must be a mapping, such as headway: {name: shop}"),
        ("run: 5", "run: a mapping in one place and a plain value in another"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_and_code_2(project: Project, text: str, message: str) -> None:
    project.configure(text)
    ended = project.fab("show")
    assert (ended.code, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_top_key_is_looked_for_before_its_envs(project: Project) -> None:
    project.configure("headwai: {envs: {dev: }}")
    assert project.fab("show", "--env=dev") == Ended(2, "", "headwai: no such setting; did you mean headway?\n")


@pytest.mark.parametrize(
    "text",
    [
        "shop: {a: 1, a: 2}",
        "headways: {name: x}\nheadway: {name: app}",
        "headway: {test: &one {command: x}, build: {command: x}}\nother: *one",
        "headway:\n  test: &one {command: x}\n  build:\n    <<: *one\n",
    ],
)
def test_what_is_no_mistake_of_ours_is_none(project: Project, text: str) -> None:
    project.configure(text)
    assert project.fab("show") == Ended(0, "app 5 False\n", "")


def test_an_unknown_env_is_one_line_and_code_2(project: Project) -> None:
    project.configure("headway: {envs: {dev: {}}}")
    assert project.fab("show", "--env=prod") == Ended(2, "", "headway.envs: no env 'prod' (envs: dev)\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("headway:", "which env? name one under headway.envs in fabric.yml"),
        ("headway: {envs: }", "which env? name one under headway.envs in fabric.yml"),
        ("headway: {envs: {dev: , prod: {}}}", "which env? --env=dev or --env=prod"),
        ("headway: {envs: dev}", "headway.envs: must be a mapping of settings (got 'dev')"),
        ("headway: shop", "headway: must be a mapping of settings (got 'shop')"),
    ],
)
@pytest.mark.parametrize("task", ["status", "migrate"])
def test_a_task_that_needs_an_env_asks_for_one(project: Project, task: str, text: str, message: str) -> None:
    project.configure(text)
    assert project.fab(task) == Ended(2, "", f"{message}\n")


SILENT = "headway: {endpoint: 'http://127.0.0.1:1', release: {state: s3://state/x}, envs: {dev: }}"


@pytest.mark.parametrize("task", ["status", "history", "rollback", "release --abort"])
def test_a_cloud_that_does_not_answer_is_a_refusal_with_a_way_out(project: Project, task: str) -> None:
    project.configure(SILENT)
    ended = project.fab(*task.split(), "--env=dev")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        f"{task.split(maxsplit=1)[0]}: nothing answers at http://127.0.0.1:1; check headway.endpoint"
    )
    assert len(ended.stderr.splitlines()) == 1


def test_a_cloud_that_falls_silent_when_it_is_asked_to_change_something_is_no_refusal(project: Project) -> None:
    project.configure(SILENT)
    ended = project.fab("write", "--env=dev")
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr.startswith("write: nothing answers at http://127.0.0.1:1; check headway.endpoint")


@pytest.mark.parametrize("task", ["status", "history", "rollback", "release --abort"])
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "no AWS credentials; set AWS_PROFILE"),
        ({"AWS_PROFILE": "nope"}, "no AWS profile 'nope'; set AWS_PROFILE"),
    ],
)
def test_without_credentials_it_is_a_refusal_with_a_way_out(
    project: Project, task: str, variables: dict[str, str], said: str
) -> None:
    project.configure("headway: {release: {state: s3://state/x}, envs: {dev: }}")
    for name in [name for name in project.environment if name.startswith("AWS_")]:
        del project.environment[name]
    ended = project.fab(
        *task.split(), "--env=dev", AWS_EC2_METADATA_DISABLED="true", HOME=str(project.root), **variables
    )
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"{task.partition(' ')[0]}: {said}")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("NMAE", "x", "no such setting; did you mean FABRIC_HEADWAY_NAME?"),
        ("RELEASE_POLL_S", "soon", "must be a number (got 'soon')"),
        ("LAB_PORT", "1.5", "must be a whole number (got '1.5')"),
    ],
)
def test_a_mistake_in_a_variable_names_it(project: Project, variable: str, value: str, message: str) -> None:
    project.configure("headway: {release: {poll_s: 1}, lab: {port: 1}, package: {depends: [b]}}")
    ended = project.fab("show", **{f"FABRIC_HEADWAY_{variable}": value})
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"FABRIC_HEADWAY_{variable}: ")
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_an_unforeseen_error_is_one_line_and_code_1(project: Project) -> None:
    assert project.fab("stumble") == Ended(1, "", "stumble: LookupError: no such thing at all\n")


def test_debug_shows_where_an_unforeseen_error_came_from(project: Project) -> None:
    ended = project.fab("--debug", "stumble")
    assert ended.code == 1
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "its terminal is gone"),
    ],
)
def test_a_signal_lets_the_task_clean_up_and_says_so(
    project: Project, number: signal.Signals, code: int, word: str
) -> None:
    with subprocess.Popen(
        [FAB, "wait"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        rest, error = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, rest, error) == (code, "cleaned up\n", f"wait: {word}\n")


def test_the_readme_has_every_setting_as_it_is_now() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == with_reference(readme, describe_settings()), "run: python -m fabfile.show.settings"


def test_a_document_without_the_marks_is_not_touched() -> None:
    with pytest.raises(ValueError, match="must have a line"):
        with_reference("# Title\n", describe_settings())


def test_a_reader_that_has_enough_of_the_list_sees_no_traceback(project: Project) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as deaf:
        done = subprocess.run(
            [FAB, "--list"],
            cwd=project.root,
            env={**project.environment, "PYTHONUNBUFFERED": "1"},
            stdout=deaf,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
