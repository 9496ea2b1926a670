"""Hosts over SSH: Fabric's `Connection`, and the verbs that patchwork had for it, with its signatures.

patchwork 1.0.1 does not import beside Fabric 3, so what it was for lives here. Each verb takes the connection first::

    with connection("10.0.1.7", "ubuntu", "~/.ssh/fleet", timeout_s=5) as c:
        directory(c, "/srv/shop", user="shop", sudo=True)
        tail = journal_tail(c, "shop.service", 20)

Nobody is ever asked anything: keys only, no password, no second factor, ``sudo -n``. Every wait is bounded.
"""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plan.evidence import Unit
from ..plan.outcome import Failed
from .process import run

if TYPE_CHECKING:
    from fabric import Connection  # type: ignore[import-untyped]

_NOT_PERMITTED = "asks for more than a key"


def connection(address: str, user: str, key_filename: str | None = None, timeout_s: float = 10) -> Connection:
    """Open a connection, to be closed by whoever asked for it (it is a context manager).

    A fresh instance has a host key that nobody knows, at an address whose last owner may be in ``known_hosts``: so
    that file is not read, and whatever key comes is taken, in memory alone. A stranger learns nothing by that: there
    is no password, and no agent is forwarded. Who trusts what it reads compares :func:`host_key` with the console.
    ``~/.ssh/config`` counts (``ProxyJump``: the way through a bastion).

    :param key_filename: file of the private key; None takes what ssh-agent and ``~/.ssh`` hold.
    :param timeout_s: seconds for each of: TCP, banner, authentication, one command.
    :raises Failed: why not, in one line.
    """
    from fabric import Config, Connection

    _be_silent()
    if key_filename is not None and (reason := why_not_usable(key_filename)):
        raise Failed(f"{user}@{address}: {reason}")
    bounds = _bounds(timeout_s)
    whole_s = math.ceil(timeout_s)
    # A bastion is connected to by the configuration alone, so the bounds stand there as well.
    config = Config(overrides={"connect_kwargs": bounds, "timeouts": {"connect": whole_s, "command": timeout_s}})
    keys: dict[str, Any] = {"allow_agent": key_filename is None, "look_for_keys": key_filename is None}
    if key_filename is not None:
        keys["key_filename"] = str(Path(key_filename).expanduser())
    c = Connection(
        address,
        user=user,
        config=config,
        connect_timeout=whole_s,
        forward_agent=False,
        connect_kwargs={**bounds, **keys},
    )
    try:
        c.open()
    except Exception as error:
        reason = _why_not_open(c, error, key_filename, timeout_s)
        c.client.close()
        raise Failed(f"{user}@{address}: {reason}") from error
    return c


def why_not_usable(key_filename: str) -> str | None:
    """Return why a private key cannot be used without asking somebody, or None."""
    import paramiko  # type: ignore[import-untyped]

    path = Path(key_filename).expanduser()
    try:
        paramiko.PKey.from_path(path)
    except OSError as error:
        return f"the key {key_filename} cannot be read: {error.strerror or error}"
    except (paramiko.PasswordRequiredException, TypeError):
        return f"the key {key_filename} has a passphrase: load it into ssh-agent and name no key"
    except Exception as error:
        return f"{key_filename} is no private key that can be used: {_one_line(error)}"
    return None


def host_key(c: Connection) -> str:
    """Return the host key that this connection met, as base64."""
    return str(c.transport.get_remote_server_key().get_base64())


def journal_tail(c: Connection, unit: str, lines: int) -> tuple[str, ...]:
    """Return the last lines of a unit's journal since the boot, oldest first.

    Read by ``sudo`` where that asks nothing, else as the user, who may read it as a member of systemd-journal
    (https://www.freedesktop.org/software/systemd/man/latest/journalctl.html).

    :raises Failed: the user may not read it, or journalctl did not answer.
    """
    argv = ("journalctl", "--boot", f"--unit={unit}", f"--lines={lines}", "--no-pager", "--quiet", "--output=short-iso")
    asked = _ask(c, *argv, sudo=True)
    if asked.exited != 0:
        asked = _checked(c, *argv)
    return tuple(asked.stdout.splitlines())


def unit_state(c: Connection, name: str) -> Unit:
    """Read what systemd says of a unit.

    https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html

    :raises Failed: systemd did not answer.
    """
    properties = ("LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts")
    asked = _checked(c, "systemctl", "show", name, f"--property={','.join(properties)}")
    found = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    return Unit(
        name=name,
        load=found.get("LoadState", ""),
        active=found.get("ActiveState", ""),
        sub=found.get("SubState", ""),
        result=found.get("Result", ""),
        exit_code=_number(found.get("ExecMainStatus")),
        restarts=_number(found.get("NRestarts")),
    )


def exists(c: Connection, path: str, *, sudo: bool = False) -> bool:
    """Tell whether a path is there.

    :raises Failed: the host did not say.
    """
    asked = _ask(c, "test", "-e", path, sudo=sudo)
    if asked.exited > 1:
        raise Failed(_explain(c, ("test", "-e", path), asked))
    return bool(asked.exited == 0)


def directory(
    c: Connection,
    path: str,
    user: str | None = None,
    group: str | None = None,
    mode: str | None = None,
    *,
    sudo: bool = False,
) -> None:
    """Make sure that a folder is there, with this owner and mode.

    :param group: default: the group named as the user is.
    :param mode: as chmod takes it.
    :raises Failed: it could not be made so.
    """
    _checked(c, "mkdir", "-p", "--", path, sudo=sudo)
    if user is not None:
        _checked(c, "chown", f"{user}:{group or user}", "--", path, sudo=sudo)
    elif group is not None:
        _checked(c, "chgrp", group, "--", path, sudo=sudo)
    if mode is not None:
        _checked(c, "chmod", mode, "--", path, sudo=sudo)


def package(c: Connection, *names: str) -> None:
    """Install Debian packages from the host's own sources; those that are there stay as they are.

    :raises Failed: apt-get could not.
    """
    missing = [name for name in names if installed_version(c, name) is None]
    if missing:
        quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes")
        _checked(c, *quiet, "--", *missing, sudo=True)


def installed_version(c: Connection, name: str) -> str | None:
    """Return the version of a Debian package on the host; None when it is not installed.

    :raises Failed: the host did not say.
    """
    asked = _ask(c, "dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", "--", name)
    if asked.exited > 1:
        raise Failed(_explain(c, ("dpkg-query", "--show", name), asked))
    status, _, version = asked.stdout.partition(" ")
    return version if asked.exited == 0 and status == "installed" else None


def rsync(
    c: Connection,
    source: str,
    target: str,
    exclude: str | Iterable[str] = (),
    delete: bool = False,
    strict_host_keys: bool = True,
    rsync_opts: str = "",
    ssh_opts: str = "",
) -> None:
    """Copy to the host with rsync, which both sides must have.

    :param source: local path; with a slash at its end what is in the folder, without one the folder itself.
    :param exclude: pattern or patterns.
    :param delete: remove on the host what is not here.
    :param strict_host_keys: False for hosts that come and go.
    :param rsync_opts: more options of rsync.
    :param ssh_opts: more options of ssh.
    :raises Failed: rsync failed; its last lines say why.
    """
    argv = rsync_argv(c, source, target, exclude, delete, strict_host_keys, rsync_opts, ssh_opts)
    run(argv)


def rsync_argv(
    c: Connection,
    source: str,
    target: str,
    exclude: str | Iterable[str],
    delete: bool,
    strict_host_keys: bool,
    rsync_opts: str,
    ssh_opts: str,
) -> list[str]:
    """Return the command that :func:`rsync` runs."""
    keys = c.connect_kwargs.get("key_filename", [])
    shell = ["ssh", "-p", str(c.port), "-o", "BatchMode=yes"]
    for key in [keys] if isinstance(keys, str) else keys:
        shell += ["-i", key]
    if not strict_host_keys:
        shell += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    host = f"[{c.host}]" if ":" in c.host else c.host
    return [
        "rsync",
        "-pthrvz",
        *(["--delete"] if delete else []),
        *(f"--exclude={pattern}" for pattern in patterns),
        *shlex.split(rsync_opts),
        f"--rsh={shlex.join([*shell, *shlex.split(ssh_opts)])}",
        source,
        f"{c.user}@{host}:{target}",
    ]


def _bounds(timeout_s: float) -> dict[str, Any]:
    import paramiko

    class KeysOnly(paramiko.Transport):  # type: ignore[misc]
        """Would otherwise put the server's questions to whoever sits at the terminal."""

        def auth_interactive_dumb(self, *_: Any, **__: Any) -> list[str]:
            raise paramiko.AuthenticationException(_NOT_PERMITTED)

    waits = dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), timeout_s)
    return {**waits, "transport_factory": KeysOnly}


def _why_not_open(c: Connection, error: Exception, key_filename: str | None, timeout_s: float) -> str:
    """Say why there is no connection, in an operator's words."""
    import paramiko

    transport = c.client.get_transport()
    if _NOT_PERMITTED in str(error):
        return f"the host {_NOT_PERMITTED}"
    refused = isinstance(error, paramiko.AuthenticationException) or (
        transport is not None and transport.initial_kex_done and not transport.is_authenticated()
    )
    if refused:
        return f"the host does not let {c.user} in with " + (
            f"the key {key_filename}" if key_filename else "any key of ssh-agent and ~/.ssh"
        )
    if isinstance(error, TimeoutError):
        return f"no answer on port {c.port} within {timeout_s:g} s"
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        reasons = {why.strerror or str(why) for why in error.errors.values()}
        return f"port {c.port}: {', '.join(sorted(reasons))}"
    if isinstance(error, paramiko.SSHException | EOFError):
        if transport is not None and transport.is_active():  # paramiko's own words for it: No existing session
            return f"something on port {c.port} does not speak SSH within {timeout_s:g} s"
        return f"something on port {c.port} does not speak SSH: {_one_line(error)}"
    return f"port {c.port}: {_one_line(error)}"


def _ask(c: Connection, *argv: str, sudo: bool = False) -> Any:
    """Run a command on the host and return its result, whatever its exit code.

    :raises Failed: it did not end in time, or the connection broke.
    """
    import paramiko
    from invoke.exceptions import CommandTimedOut

    elevated = ("sudo", "-n", "--", *argv) if sudo and c.user != "root" else argv
    try:
        # SSH hands a command to the user's shell as one string, so each argument is quoted for it.
        return c.run(shlex.join(elevated), hide=True, warn=True, in_stream=False, pty=False, encoding="utf-8")
    except CommandTimedOut as error:
        raise Failed(f"{c.user}@{c.host}: no end after {error.timeout:g} s: {shlex.join(elevated)}") from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Failed(f"{c.user}@{c.host}: the connection broke: {_one_line(error)}") from error


def _checked(c: Connection, *argv: str, sudo: bool = False) -> Any:
    asked = _ask(c, *argv, sudo=sudo)
    if asked.exited != 0:
        raise Failed(_explain(c, argv, asked))
    return asked


def _explain(c: Connection, argv: tuple[str, ...], asked: Any) -> str:
    said = (asked.stderr.strip() or asked.stdout.strip()).splitlines()[-1:]
    return f"{c.user}@{c.host}: {shlex.join(argv)} ended with {asked.exited}{': ' + said[0] if said else ''}"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _be_silent() -> None:
    """Let paramiko's threads print no traceback: what it logs is raised as well."""
    log = logging.getLogger("paramiko")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
