"""Hosts over SSH: a real machine, real keys; and hosts that are silent, closed, or want to ask something."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fabfile.plan.outcome import Failed
from fabfile.tools import ssh
from tests.machine import Machine, failing_machine, make_key
from tests.shared_lab import Lab


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with failing_machine(lab, tmp_path_factory.mktemp("ssh")) as machine:
        yield machine


@pytest.fixture
def c(machine: Machine) -> Iterator[Any]:
    with ssh.connection(machine.address, "ubuntu", str(machine.key), timeout_s=10) as c:
        yield c


@pytest.mark.docker
@pytest.mark.lab
def test_the_tail_of_a_failed_units_journal_is_read(c: Any) -> None:
    tail = ssh.journal_tail(c, "shop.service", 20)
    assert any(line.endswith("no table orders") for line in tail)
    assert len(ssh.journal_tail(c, "shop.service", 1)) == 1


@pytest.mark.docker
@pytest.mark.lab
def test_systemd_says_how_a_unit_ended(c: Any) -> None:
    unit = ssh.unit_state(c, "shop.service")
    assert str(unit) == "shop.service: failed (failed, exit-code), its process ended with 3"
    assert not unit.is_well
    assert str(ssh.unit_state(c, "nobody.service")) == "nobody.service: there is no such unit"
    assert ssh.unit_state(c, "ssh.service").is_well


@pytest.mark.docker
@pytest.mark.lab
def test_a_user_without_sudo_reads_a_journal_as_a_member_of_its_group(machine: Machine, c: Any) -> None:
    machine.exec("sh", "-c", "mkdir -p /root/was && mv /etc/sudoers.d/* /root/was/")
    try:
        with pytest.raises(Failed, match="insufficient permissions"):
            ssh.journal_tail(c, "shop.service", 20)
        machine.exec("usermod", "-aG", "systemd-journal", "ubuntu")
        with ssh.connection(machine.address, "ubuntu", str(machine.key)) as member:
            assert ssh.journal_tail(member, "shop.service", 20)
        with pytest.raises(Failed, match=r"a password is required|not in the sudoers"):
            ssh.directory(c, "/srv/x", sudo=True)
    finally:
        machine.exec("sh", "-c", "mv /root/was/* /etc/sudoers.d/; gpasswd -d ubuntu systemd-journal")


@pytest.mark.docker
@pytest.mark.lab
def test_folders_files_and_packages_as_patchwork_had_them(machine: Machine, c: Any) -> None:
    path = "/srv/it's a folder"
    assert not ssh.exists(c, path)
    for _ in range(2):
        ssh.directory(c, path, user="ubuntu", mode="2750", sudo=True)
    assert ssh.exists(c, path)
    assert machine.exec("stat", "-c", "%a %U:%G", path) == "2750 ubuntu:ubuntu"
    assert (ssh.installed_version(c, "systemd") or "").startswith("252")
    assert ssh.installed_version(c, "no-such-package") is None
    ssh.package(c, "systemd")
    with pytest.raises(Failed, match="no-such-package"):
        ssh.package(c, "no-such-package")


@pytest.mark.docker
@pytest.mark.lab
def test_a_command_that_does_not_end_is_left_behind(machine: Machine) -> None:
    quick = ssh.connection(machine.address, "ubuntu", str(machine.key), timeout_s=1)
    with quick as c, pytest.raises(Failed, match="no end after 1 s: sleep 60"):
        ssh._ask(c, "sleep", "60")


@pytest.mark.docker
@pytest.mark.lab
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_wrong_key_is_named(machine: Machine, tmp_path: Path, kind: str) -> None:
    wrong = make_key(tmp_path / "wrong", kind)
    with pytest.raises(Failed) as refused:
        ssh.connection(machine.address, "ubuntu", str(wrong), timeout_s=10)
    assert str(refused.value) == (f"ubuntu@{machine.address}: the host does not let ubuntu in with the key {wrong}")


@pytest.mark.docker
@pytest.mark.lab
def test_nobody_but_the_named_user_is_let_in(machine: Machine) -> None:
    with pytest.raises(Failed, match="does not let stranger in"):
        ssh.connection(machine.address, "stranger", str(machine.key), timeout_s=10)


@pytest.mark.docker
@pytest.mark.lab
def test_the_host_key_is_the_machines(machine: Machine, c: Any) -> None:
    keys = machine.exec("sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub")
    assert ssh.host_key(c) in keys


def test_a_key_that_cannot_be_used_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    locked = make_key(tmp_path / "locked", passphrase="secret")
    (tmp_path / "none").write_text("none\n")
    with pytest.raises(Failed, match="has a passphrase: load it into ssh-agent"):
        ssh.connection("127.0.0.1:9", "ubuntu", str(locked))
    with pytest.raises(Failed, match="cannot be read: No such file"):
        ssh.connection("127.0.0.1:9", "ubuntu", str(tmp_path / "absent"))
    with pytest.raises(Failed, match="is no private key that can be used"):
        ssh.connection("127.0.0.1:9", "ubuntu", str(tmp_path / "none"))


def test_a_host_that_refuses_or_says_nothing_is_left_in_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    key = str(make_key(tmp_path / "key"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Failed, match=f"something on port {port} does not speak SSH"):
            ssh.connection(f"127.0.0.1:{port}", "ubuntu", key, timeout_s=1)
    with pytest.raises(Failed, match=f"ubuntu@127.0.0.1:{port}: port {port}: Connection refused"):
        ssh.connection(f"127.0.0.1:{port}", "ubuntu", key, timeout_s=1)


def test_what_a_host_that_hangs_up_does_to_paramiko_is_not_printed(tmp_path: Path) -> None:
    key = str(make_key(tmp_path / "key"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        attempt = (
            "from fabfile.plan.outcome import Failed\n"
            "from fabfile.tools.ssh import connection\n"
            "try:\n"
            f"    connection('127.0.0.1:{listener.getsockname()[1]}', 'ubuntu', {key!r}, 10)\n"
            "except Failed as error:\n"
            "    print(error)\n"
        )
        # In a process of its own: pytest listens to every log, and then nothing is printed anyhow.
        ran = subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True, check=True)
    assert "does not speak SSH: Error reading SSH protocol banner" in ran.stdout
    assert ran.stderr == ""


def test_a_host_that_lets_nobody_connect_is_left_in_time(tmp_path: Path) -> None:
    key = str(make_key(tmp_path / "key"))
    with full_queue() as port, pytest.raises(Failed, match=f"no answer on port {port} within 1 s"):
        ssh.connection(f"127.0.0.1:{port}", "ubuntu", key, timeout_s=1)


@contextmanager
def full_queue() -> Iterator[int]:
    """Give a port whose queue is full: the kernel drops what comes, as a security group does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for each in waiting:
                each.close()


def test_a_host_that_wants_more_than_a_key_gets_no_answer_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> str:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr("builtins.input", asked)
    key = str(make_key(tmp_path / "key"))
    with two_factor_server() as port, pytest.raises(Failed, match="the host asks for more than a key"):
        ssh.connection(f"127.0.0.1:{port}", "ubuntu", key, timeout_s=10)


@contextmanager
def two_factor_server() -> Iterator[int]:
    """Serve SSH on a port: whoever shows a key is asked for a second factor."""
    import paramiko  # type: ignore[import-untyped]

    class TwoFactor(paramiko.ServerInterface):  # type: ignore[misc]
        def get_allowed_auths(self, username: str) -> str:
            return "publickey,keyboard-interactive"

        def check_auth_publickey(self, username: str, key: object) -> int:
            return int(paramiko.AUTH_PARTIALLY_SUCCESSFUL)

        def check_auth_interactive(self, username: str, submethods: object) -> object:
            return paramiko.InteractiveQuery("", "Code: ")

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(paramiko.RSAKey.generate(2048))
            transport.start_server(server=TwoFactor())
            transport.join(20)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield int(listener.getsockname()[1])
        server.join(20)


def test_rsync_is_told_what_the_connection_knows_and_asks_nobody(tmp_path: Path) -> None:
    from fabric import Connection  # type: ignore[import-untyped]

    c = Connection("10.0.0.7", user="ubuntu", port=2222, connect_kwargs={"key_filename": ["/k e y"]})
    argv = ssh.rsync_argv(c, "dist/", "/srv/it's", ["*.pyc", "a b"], True, False, "--checksum", "-o A=b")
    shell = (
        "ssh -p 2222 -o BatchMode=yes -i '/k e y' -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o A=b"
    )
    options = ["-pthrvz", "--delete", "--exclude=*.pyc", "--exclude=a b", "--checksum", f"--rsh={shell}"]
    assert argv == ["rsync", *options, "dist/", "ubuntu@10.0.0.7:/srv/it's"]
