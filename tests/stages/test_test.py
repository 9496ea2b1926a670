"""`fab test`, run as a person runs it: real PostgreSQL, real Goose, and every way to end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stages.project import WITH_PSQL, Project, ended, left_by, own_name, read_until

pytestmark = pytest.mark.docker

SLIM = "FROM debian:bookworm-slim\n"
UP = "-- +goose Up\n{}\n-- +goose Down\nSELECT 1;\n"
ORDERS = UP.format("CREATE TABLE orders (id int);")
FOREVER = "echo tests run; sleep 1000 & wait"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Give a project without a database."""
    made = Project(tmp_path / "project", own_name())
    made.write("Dockerfile", SLIM)
    made.write("case", "committed\n")
    made.configure(test={"command": "cat case"})
    made.commit()
    yield made
    made.stop()


@pytest.fixture
def with_database(tmp_path: Path) -> Iterator[Project]:
    """Give a project with a database and one migration."""
    made = Project(tmp_path / "project", own_name())
    made.write("Dockerfile", WITH_PSQL)
    made.write("migrations/00001_orders.sql", ORDERS)
    made.configure(database={}, test={"command": 'psql "$DATABASE_URL" -tAc "SELECT count(*) + 41 FROM orders"'})
    made.commit()
    yield made
    made.stop()


def test_the_tests_find_a_migrated_database(with_database: Project) -> None:
    with_database.write("migrations/00002_one.sql", UP.format("INSERT INTO orders VALUES (7);"))
    ran = with_database.fab("test")
    assert ran.code == 0, ran.output
    assert "42\n" in ran.output
    assert "successfully migrated database to version: 2" in ran.output
    assert left_by(ran.pid) == []


def test_the_working_tree_is_tested_with_files_that_are_not_committed_yet(project: Project) -> None:
    project.write("case", "changed\n")
    project.write("new", "new too\n")
    project.configure(test={"command": "cat case new"})
    ran = project.fab("test")
    assert ran.code == 0, ran.output
    assert "changed\nnew too\n" in ran.output
    assert "working tree" in ran.output


def test_a_clean_export_is_tested_where_a_commit_is_named(project: Project) -> None:
    project.write("case", "changed\n")
    ran = project.fab("test", "--commit=HEAD")
    assert ran.code == 0, ran.output
    assert "committed\n" in ran.output
    assert "changed" not in ran.output


@pytest.mark.parametrize("code", [1, 5, 77])
def test_a_failing_tests_exit_code_is_ours_and_its_output_on_the_screen(project: Project, code: int) -> None:
    project.configure(test={"command": f"echo one failed; echo why >&2; exit {code}"})
    ran = project.fab("test")
    assert ran.code == code
    assert "one failed\n" in ran.output
    assert "why\n" in ran.output
    assert "Traceback" not in ran.output
    assert left_by(ran.pid) == []


def test_output_is_on_the_screen_while_the_tests_run(project: Project) -> None:
    project.configure(test={"command": "echo first; while ! [ -e /go ]; do sleep 0.1; done; echo second"})
    running = project.start("test")
    read_until(running, "first")
    [name] = [line.split()[1] for line in left_by(running.pid) if line.endswith("-tests")]
    subprocess.run(["docker", "cp", project.root / "case", f"{name}:/go"], check=True, capture_output=True)
    ran = ended(running)
    assert ran.code == 0
    assert "second\n" in ran.output


def test_a_command_that_is_not_there_fails_with_the_shells_own_code(project: Project) -> None:
    project.configure(test={"command": "nonesuch"})
    ran = project.fab("test")
    assert ran.code == 127
    assert "nonesuch: not found" in ran.output


def test_the_projects_variables_reach_its_tests_and_name_its_helpers(with_database: Project) -> None:
    environment = {"HOST": "{postgres}", "PATH": "/usr/bin:/bin:/mine", "DOCKER_HOST": "tcp://x:1", "JSON": '{"a": 1}'}
    with_database.configure(
        database={}, test={"command": 'echo "$HOST $PATH $DOCKER_HOST $JSON"', "environment": environment}
    )
    ran = with_database.fab("test")
    assert ran.code == 0, ran.output
    assert 'postgres /usr/bin:/bin:/mine tcp://x:1 {"a": 1}\n' in ran.output


def test_the_images_own_entry_point_is_not_in_the_way(project: Project) -> None:
    project.write("Dockerfile", f'{SLIM}ENTRYPOINT ["/bin/false"]\n')
    ran = project.fab("test")
    assert ran.code == 0, ran.output


def test_the_variable_of_the_database_can_be_named(with_database: Project) -> None:
    with_database.configure(
        database={}, test={"command": 'psql "$SHOP_DB" -tAc "SELECT 42"', "database_variable": "SHOP_DB"}
    )
    ran = with_database.fab("test")
    assert ran.code == 0, ran.output


def test_the_databases_password_is_in_no_command_line(with_database: Project, tmp_path: Path) -> None:
    real = subprocess.run(["which", "docker"], check=True, capture_output=True, text=True).stdout.strip()
    spy, log = tmp_path / "bin/docker", tmp_path / "argv"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {real} "$@"\n')
    spy.chmod(0o755)
    with_database.configure(database={}, test={"command": 'echo "url=$DATABASE_URL"'})
    ran = with_database.fab("test", env={"PATH": f"{spy.parent}:{os.environ['PATH']}"})
    assert ran.code == 0, ran.output
    [url] = [line.removeprefix("url=") for line in ran.output.splitlines() if line.startswith("url=")]
    password = url.split(":")[2].split("@")[0]
    assert len(password) > 16
    assert "create" in log.read_text()
    assert password not in log.read_text()


def test_nothing_is_published_mounted_or_on_the_hosts_network(with_database: Project) -> None:
    with_database.configure(database={}, test={"command": FOREVER})
    running = with_database.start("test")
    read_until(running, "tests run")
    shown = "{{.HostConfig.NetworkMode}} {{len .HostConfig.PortBindings}} {{len .HostConfig.Binds}}"
    names = [line.split()[1] for line in left_by(running.pid) if line.endswith(("-tests", "-postgres"))]
    inspected = subprocess.run(
        ["docker", "inspect", "--format", shown, *names], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    running.terminate()
    ended(running)
    assert len(inspected) == 2
    for line in inspected:
        assert line.startswith("headway-")
        assert line.endswith("-network 0 0")


def test_a_helper_is_reached_by_its_name_once_its_probe_answers(project: Project) -> None:
    helper = {
        "image": "debian:bookworm-slim",
        "command": ["sh", "-c", "sleep 1; echo $WORD > /data/ready; sleep 1000 & wait"],
        "environment": {"WORD": "up"},
        "probe": "grep -q up /data/ready",
        "tmpfs": ["/data"],
    }
    project.configure(test={"command": "getent hosts cache", "helpers": {"cache": helper}})
    ran = project.fab("test")
    assert ran.code == 0, ran.output
    assert left_by(ran.pid) == []


def test_a_helper_that_never_gets_ready_fails_with_the_end_of_its_log(project: Project) -> None:
    helper = {
        "image": "debian:bookworm-slim",
        "command": ["sh", "-c", "echo cannot bind; sleep 1000 & wait"],
        "probe": "echo not yet; exit 1",
        "ready_within_s": 1,
    }
    project.configure(test={"command": "true", "helpers": {"cache": helper}})
    ran = project.fab("test")
    assert ran.code == 1
    assert "helper cache was not ready within 1 s; the probe's last answer: not yet" in ran.output
    assert "  cannot bind" in ran.output
    assert left_by(ran.pid) == []


def test_a_helper_that_ends_fails_at_once_with_its_exit_code_and_log(project: Project) -> None:
    helper = {
        "image": "debian:bookworm-slim",
        "command": ["sh", "-c", "echo bad configuration; exit 9"],
        "probe": "false",
        "ready_within_s": 600,
    }
    project.configure(test={"command": "true", "helpers": {"cache": helper}})
    ran = project.fab("test")
    assert ran.code == 1
    assert "helper cache ended with exit code 9" in ran.output
    assert "  bad configuration" in ran.output


def test_a_failing_migration_ends_it_before_the_tests(with_database: Project) -> None:
    with_database.write("migrations/00002_bad.sql", UP.format("SELCT bogus;"))
    ran = with_database.fab("test")
    assert ran.code == 1
    assert 'syntax error at or near "SELCT"' in ran.output
    assert "00002_bad.sql" in ran.output
    assert "test: psql" not in ran.output
    assert left_by(ran.pid) == []


@pytest.mark.parametrize("name", ["0002.sql", "1_again.sql", "x_2.sql"])
def test_migrations_that_goose_would_refuse_are_refused_before_anything_starts(
    with_database: Project, name: str
) -> None:
    with_database.write(f"migrations/{name}", ORDERS)
    ran = with_database.fab("test")
    assert ran.code == 2
    assert name in ran.output.splitlines()[-1]
    assert "docker: image" not in ran.output


def test_a_missing_folder_of_migrations_is_refused(with_database: Project) -> None:
    with_database.configure(database={"migrations": "db"})
    ran = with_database.fab("test")
    assert ran.code == 2
    assert "headway.database.migrations: no folder 'db'" in ran.output


def test_a_helper_with_the_databases_name_is_refused(with_database: Project) -> None:
    with_database.configure(database={}, test={"helpers": {"postgres": {"image": "postgres:15", "probe": "true"}}})
    ran = with_database.fab("test")
    assert ran.code == 2
    assert "headway.test.helpers.postgres" in ran.output


def test_a_helper_whose_name_cannot_be_a_host_is_refused(project: Project) -> None:
    project.configure(test={"helpers": {"my redis": {"image": "postgres:15", "probe": "true"}}})
    ran = project.fab("test")
    assert ran.code == 2
    assert "headway.test.helpers.my redis: must be a host name" in ran.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["INT", "TERM", "HUP"],
)
def test_a_run_that_is_interrupted_removes_everything(
    with_database: Project, number: signal.Signals, code: int
) -> None:
    with_database.configure(database={}, test={"command": f"trap '' INT TERM HUP; {FOREVER}"})
    running = with_database.start("test")
    read_until(running, "tests run")
    os.killpg(running.pid, number)  # the whole group, as a terminal does
    ran = ended(running)
    assert ran.code == code
    assert "Traceback" not in ran.output
    assert left_by(ran.pid) == []


def test_ctrl_c_again_and_again_does_not_stop_the_removal(with_database: Project) -> None:
    with_database.configure(database={}, test={"command": FOREVER})
    running = with_database.start("test")
    read_until(running, "tests run")
    while running.poll() is None:
        try:
            os.killpg(running.pid, signal.SIGINT)
        except ProcessLookupError:
            break
        try:
            running.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    ran = ended(running)
    assert left_by(ran.pid) == []


def test_an_interrupt_while_helpers_start_removes_everything(with_database: Project) -> None:
    running = with_database.start("test")
    read_until(running, "test: waiting for postgres")
    os.killpg(running.pid, signal.SIGINT)
    ran = ended(running)
    assert ran.code == 130
    assert left_by(ran.pid) == []


def test_what_a_killed_run_left_is_removed_by_the_next_one_and_a_live_run_is_not_disturbed(
    with_database: Project, tmp_path: Path
) -> None:
    with_database.configure(database={}, test={"command": FOREVER})
    killed, alive = with_database.start("test"), with_database.start("test")
    read_until(killed, "tests run")
    read_until(alive, "tests run")
    killed.kill()
    killed.wait()
    assert len(left_by(killed.pid)) == 5  # tests, goose, postgres, network, folder
    other = Project(tmp_path / "other", own_name())
    other.write("Dockerfile", SLIM)
    other.configure(test={"command": "echo ok"})
    before = left_by(alive.pid)
    assert other.fab("test").code == 0
    assert left_by(killed.pid) == []
    assert left_by(alive.pid) == before
    assert alive.poll() is None
    os.killpg(alive.pid, signal.SIGINT)
    ended(alive)
    assert left_by(alive.pid) == []
    other.stop()


def test_two_runs_at_once_each_have_a_database_of_their_own(with_database: Project) -> None:
    meet = 'psql "$DATABASE_URL" -qc "INSERT INTO orders VALUES (1)"; echo inserted; sleep 2;'
    count = 'psql "$DATABASE_URL" -tAc "SELECT count(*) + 41 FROM orders"'
    with_database.configure(database={}, test={"command": f"{meet} {count}"})
    runs = [ended(process) for process in [with_database.start("test") for _ in range(3)]]
    for ran in runs:
        assert ran.code == 0, ran.output
        assert "42\n" in ran.output
        assert left_by(ran.pid) == []
