"""The hold on Docker: who owns what, what is swept and what never is, images and files."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabfile.plan.outcome import Failed, Refusal
from fabfile.tools import docker
from fabfile.tools.ownership import FOREIGN_RUN_AT_MOST_S, Owner, is_alive, read_owner, start_by_ps, this_process
from fabfile.tools.session import Session, session, sweep, why_not_docker

IMAGE = "debian:bookworm-slim"


def ask(*argv: str) -> str:
    return subprocess.run(["docker", *argv], check=True, capture_output=True, text=True).stdout.strip()


def exists(name: str) -> bool:
    return name in ask("ps", "--all", "--format", "{{.Names}}").splitlines()


@pytest.fixture
def run() -> Iterator[Session]:
    with session() as held:
        yield held


@pytest.fixture
def test_label() -> Iterator[str]:
    label = f"headway.test={secrets.token_hex(6)}"
    yield label
    left = ask("ps", "--all", "--quiet", "--filter", f"label={label}").split()
    if left:
        ask("rm", "--force", *left)


def make(test_label: str, owner: Owner | str, started_s: float | None = None, container: str = "") -> str:
    """Make a container as another run would have."""
    name = f"headway-test-{secrets.token_hex(6)}"
    labels = {
        "headway.owner": str(owner),
        "headway.started": str(int(time.time() if started_s is None else started_s)),
        "headway.container": container,
    }
    options = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
    ask("create", "--name", name, "--label", test_label, *options, IMAGE, "sleep", "1000")
    return name


def dead_process() -> Owner:
    """Return the owner that a process was which has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = this_process()
    stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    owner = Owner(process.pid, me.place, int(stat[19]))
    assert is_alive(owner, 0)
    process.communicate()
    return owner


def test_this_process_is_alive_and_its_name_can_be_read_back() -> None:
    me = this_process()
    assert read_owner(str(me)) == me
    assert is_alive(me, made_at_s=0)


def test_a_process_that_ended_is_dead() -> None:
    assert not is_alive(dead_process(), made_at_s=time.time())


def test_where_there_is_no_proc_ps_tells_the_same_of_a_process_each_time() -> None:
    me = this_process()
    assert start_by_ps(me.pid) is not None
    assert start_by_ps(me.pid) == start_by_ps(me.pid)
    assert start_by_ps(dead_process().pid) is None


def test_a_process_id_that_was_given_out_again_is_not_taken_for_its_first_owner() -> None:
    me = this_process()
    assert not is_alive(Owner(me.pid, me.place, me.start - 1), made_at_s=time.time())


def test_an_owner_of_another_machine_counts_as_alive_for_a_day() -> None:
    other = Owner(1, "another-boot.4026531836", 1)
    assert is_alive(other, made_at_s=time.time())
    assert not is_alive(other, made_at_s=time.time() - FOREIGN_RUN_AT_MOST_S - 60)


@pytest.mark.parametrize("text", ["", "12", "12@", "x@y+z", "1@a/b+2"])
def test_a_label_that_names_nobody_is_nobodys(text: str) -> None:
    assert read_owner(text) is None


@pytest.mark.docker
def test_what_a_dead_run_left_is_swept_and_what_a_live_one_holds_is_not(test_label: str) -> None:
    dead, alive = make(test_label, dead_process()), make(test_label, this_process())
    unknown = make(test_label, "somebody")
    sweep()
    assert not exists(dead)
    assert exists(alive)
    assert exists(unknown)


@pytest.mark.docker
def test_a_run_inside_a_container_is_judged_by_whether_that_container_runs(test_label: str) -> None:
    ci = Owner(7, "inside-a-container.1", 1)
    step = ask("run", "--detach", "--label", test_label, IMAGE, "sleep", "1000")
    mine = make(test_label, ci, container=step)
    sweep()
    assert exists(mine)
    ask("rm", "--force", step)
    sweep()
    assert not exists(mine)


@pytest.mark.docker
def test_a_run_of_another_machine_on_the_same_daemon_is_left_alone_for_a_day(test_label: str) -> None:
    elsewhere = Owner(7, "another-machine", 1)
    young = make(test_label, elsewhere)
    old = make(test_label, elsewhere, started_s=time.time() - FOREIGN_RUN_AT_MOST_S - 60)
    sweep()
    assert exists(young)
    assert not exists(old)


def test_the_folder_of_a_dead_run_is_swept_and_that_of_a_live_one_is_not() -> None:
    dead = Path(tempfile.mkdtemp(prefix=f"headway-run-{dead_process()}-"))
    alive = Path(tempfile.mkdtemp(prefix=f"headway-run-{this_process()}-"))
    (dead / "file").write_text("")
    sweep()
    assert not dead.exists()
    assert alive.exists()
    alive.rmdir()


@pytest.mark.docker
def test_a_session_removes_all_that_was_made_with_it_also_when_it_fails() -> None:
    made: list[str] = []

    def fail() -> None:
        with session() as run:
            network = docker.create_network(run)
            container = docker.create(run, "one", IMAGE, command=("sleep", "1000"), network=network)
            docker.start(container)
            made.extend([network, container, str(run.folder)])
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    network, container, folder = made
    assert not exists(container)
    assert network not in ask("network", "ls", "--format", "{{.Name}}").splitlines()
    assert not Path(folder).exists()


@pytest.mark.docker
def test_a_session_lets_the_signals_be_as_they_were() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with session():
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.docker
def test_variables_reach_the_container_whatever_they_hold_and_stay_out_of_our_docker(run: Session) -> None:
    environment = {"WORD": "two words\nand a line", "DOCKER_HOST": "tcp://elsewhere", "HOME": "/nowhere", "EMPTY": ""}
    shown = 'printf "%s|%s|%s|%s" "$WORD" "$DOCKER_HOST" "$HOME" "${EMPTY-unset}" > /out/said'
    container = docker.create(run, "one", IMAGE, command=("sh", "-c", f"mkdir /out; {shown}"), environment=environment)
    assert docker.run_attached(container) == 0
    docker.copy_out(container, "/out", run.folder / "out", "x")
    assert (run.folder / "out/said").read_text() == "two words\nand a line|tcp://elsewhere|/nowhere|"


@pytest.mark.docker
def test_files_go_in_with_their_modes_links_and_the_owner_asked_for(run: Session) -> None:
    source = run.folder / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/run.sh").write_text("x")
    (source / "sub/run.sh").chmod(0o750)
    (source / "link").symlink_to("sub/run.sh")
    show = "cd /a/b && stat -c '%n %a %u %g' . sub sub/run.sh && readlink link"
    container = docker.create(
        run, "one", IMAGE, command=("sh", "-c", f"({show}) > /said"), options=("--workdir", "/a/b")
    )
    docker.copy_in(container, source, "/a/b", (1234, 4321))
    assert docker.run_attached(container) == 0
    ask("cp", f"{container}:/said", str(run.folder / "said"))
    said = (run.folder / "said").read_text().splitlines()
    assert [line.split()[2:] for line in said[:3]] == [["1234", "4321"]] * 3
    assert said[2].split()[1] == "750"
    assert said[3] == "sub/run.sh"


@pytest.mark.docker
def test_a_command_that_cannot_be_started_says_why(run: Session) -> None:
    container = docker.create(run, "one", IMAGE, command=("/nonesuch",))
    with pytest.raises(Failed, match="nonesuch"):
        docker.run_attached(container)


@pytest.mark.docker
def test_a_probe_that_hangs_does_not_hang_us(run: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "PROBE_TIMEOUT_S", 0.5)
    container = docker.create(run, "one", IMAGE, command=("sleep", "1000"))
    docker.start(container)
    with pytest.raises(Failed, match=r"no answer within 0\.5 s"):
        docker.wait_until_ready(container, "one", ("sleep", "1000"), within_s=0.1)


@pytest.mark.docker
def test_an_image_is_built_once_and_only_the_ones_used_last_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docker, "KEPT_IMAGES", 2)
    name = f"headway-test/{secrets.token_hex(6)}"
    tags: list[str] = []
    try:
        for word in ("one", "two", "three", "three"):
            (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nLABEL word={word}\n")
            capfd.readouterr()
            tags.append(docker.build_image(tmp_path, "Dockerfile", name))
            assert ("Step" in capfd.readouterr().out) == (tags.count(tags[-1]) == 1)
        kept = ask("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name).splitlines()
        assert tags[2] == tags[3]
        assert len(kept) == 2
        assert tags[3] in kept
    finally:
        ask("image", "rm", *ask("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name).split())


def test_a_docker_that_is_not_there_or_silent_is_told_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert "start it" in (why_not_docker() or "")
    with pytest.raises(Refusal, match="start it"), session():
        pass
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install Docker" in (why_not_docker() or "")


@pytest.mark.docker
def test_a_docker_that_answers_is_fine() -> None:
    assert why_not_docker() is None
