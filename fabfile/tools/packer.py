"""Packer: starts a builder, lets Ansible provision it, makes an AMI of it, and cleans up behind itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plan.outcome import Failed, Refusal
from .aws import made_up_credentials, note_write
from .process import run

if TYPE_CHECKING:
    from ..plan.image import BaseImage
    from ..plan.settings import Settings
    from .images import Place

OLDEST = (1, 9)
UNBUNDLED = (1, 10)  # from here on plugins are not in the binary: https://github.com/hashicorp/packer/issues/12660
TEMPLATE = "ami.pkr.hcl"
PLUGINS = "plugins.pkr.hcl"
VARIABLES = "image.pkrvars.json"
POLL_S = 15.0
POLL_LOCAL_S = 1.0
POLL_FOR_S = 3600.0  # an image of a large disk takes its time
TAIL_LINES = 12

_QUIET = {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
_log = logging.getLogger(__name__)
_STAGES = (
    ("Launching a source AWS instance", "starting a builder instance"),
    ("Waiting for SSH to become available", "waiting for its SSH"),
    ("Provisioning with Ansible", "provisioning with Ansible"),
    ("Stopping the source instance", "stopping the builder"),
    ("Waiting for AMI to become ready", "waiting until the image is available"),
    ("Deregistering the AMI", "removing the unfinished image"),
    ("Terminating the source AWS instance", "removing the builder"),
)
_HINTS = (
    (
        "Timeout waiting for SSH",
        "look at headway.bake.interface, subnet, source_cidrs and ssh_user",
    ),
    ("unable to authenticate", "headway.bake.ssh_user is not a user of the base AMI that takes EC2's key"),
    ("UnauthorizedOperation", "the AWS identity of this shell lacks a permission"),
)
_PREFIX = re.compile(r"^(?:==>|-->)? *amazon-ebs\.image: ?")
_TASK = re.compile(r"^TASK \[(?:(?P<role>[^\]]+?) : )?(?P<name>.+?)\] \**$")
_FAILED = re.compile(r"^(?:fatal|failed): \[[^\]]+\].*? => (?P<result>\{.*\})$")


@dataclass(frozen=True)
class Order:
    """One image to make.

    :param name: the AMI's name, not taken yet.
    :param tags: tags of the finished AMI.
    :param run_tags: tags of everything on the way.
    :param variables: what Ansible's roles are told; no secrets.
    :param packer: folder of Packer's configuration.
    :param ansible: folder of playbook, roles and ansible.cfg.
    """

    base: BaseImage
    place: Place
    name: str
    description: str
    tags: Mapping[str, str]
    run_tags: Mapping[str, str]
    variables: Mapping[str, Any]
    packer: Path
    ansible: Path


def version() -> tuple[int, ...]:
    """Return Packer's version as numbers.

    :raises Refusal: it is not installed.
    """
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", run(["packer", "version"], env=_QUIET).stdout)
    return tuple(int(part) for part in found.groups()) if found else ()


def why_not_installed() -> str | None:
    """Return which program of a bake is missing or too old, with the way out, or None."""
    if shutil.which("packer") is None:
        return "bake: packer is not installed, or not on PATH; scripts/setup installs it"
    if version() < OLDEST:
        return f"bake: packer is too old ({_dotted(version())}); {_dotted(OLDEST)} or later is needed"
    if ansible_playbook() is None:
        return (
            "bake: ansible-playbook is not installed; pip install '/path/to/the/checkout/of/headway[bake]' installs it"
        )
    if shutil.which("ssh") is None:
        return "bake: ssh is not installed, or not on PATH; Ansible needs it (Debian: apt-get install openssh-client)"
    return None


def ansible_playbook() -> Path | None:
    """Return the program: the one beside our own Python (a virtual environment need not be active), else on PATH."""
    own = Path(sys.executable).parent / "ansible-playbook"
    if own.exists():
        return own
    found = shutil.which("ansible-playbook")
    return Path(found) if found else None


def recipe_hash(paths: Iterable[Path]) -> str:
    """Hash files and trees by content, relative name and execute bit; where they lie makes no difference."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(_files_of(path)):
            name = file.relative_to(path) if path.is_dir() else Path(path.name)
            executable = bool(file.stat().st_mode & stat.S_IXUSR)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            total.update(f"{name.as_posix()}\0{executable}\0{digest}\n".encode())
        total.update(b"\n")
    return total.hexdigest()


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = (file for file in path.rglob("*") if file.is_file())
    return [file for file in inside if not _is_scrap(file.relative_to(path).parts)]


def _is_scrap(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part in ("__pycache__", "__init__.py") for part in parts)


def build(settings: Settings, order: Order, say: Callable[[str], None]) -> str:
    """Make an image; blocks until it is available and the builder is gone.

    On Ctrl-C (and on SIGTERM) Packer is told once, and waited for while it removes the builder.

    :param say: takes each line of progress.
    :returns: the AMI's id.
    :raises Refusal: Packer does not take the configuration; nothing was started.
    :raises Failed: the bake failed; one line of cause, then the last lines of output. Nothing is left of it.
    """
    with tempfile.TemporaryDirectory(prefix="bake-") as folder:
        work = Path(folder)
        template = lay_out(settings, order, work)
        validate(settings, template, work)
        output = Output(say)
        argv = ["packer", "build", "-machine-readable", f"-var-file={work / VARIABLES}", str(template)]
        note_write()  # Packer makes calls of its own
        code = _run(argv, environment(settings, work), output)
        if code != 0:
            raise Failed(output.explain(), code=code if code > 0 else 1)
        return _image_id(work / "manifest.json")


def lay_out(settings: Settings, order: Order, work: Path) -> Path:
    """Write into a folder what Packer reads; return the folder of its configuration.

    :param work: empty, for this bake alone, and ours alone; its path is short, as sockets are in it.
    """
    template = work / "packer"
    template.mkdir()
    files = [TEMPLATE, PLUGINS] if version() >= UNBUNDLED else [TEMPLATE]
    for name in files:
        shutil.copyfile(order.packer / name, template / name)
    (work / "cp").mkdir(mode=0o700)
    _write_private(work / "ansible.json", order.variables)
    _write_private(work / VARIABLES, _packer_variables(settings, order, work))
    return template


def validate(settings: Settings, template: Path, work: Path) -> None:
    """Let Packer check its configuration; fetch its plugins first, where it has none of its own.

    :raises Refusal: it does not take it; one line.
    """
    told = environment(settings, work)
    if (template / PLUGINS).exists():
        run(["packer", "init", str(template)], env=told)
    checked = run(["packer", "validate", f"-var-file={work / VARIABLES}", str(template)], env=told, check=False)
    if checked.code != 0:
        text = " ".join((checked.stderr.strip() or checked.stdout.strip()).split())
        raise Refusal(f"bake: packer does not take the configuration: {text}")


def environment(settings: Settings, work: Path) -> dict[str, str]:
    """Return Packer's environment: ours, with temporary files (such as the builder's key) that go with the bake."""
    told = {**os.environ, **_QUIET, "TMPDIR": str(work)}
    credentials = made_up_credentials(settings.endpoint)
    if credentials:
        for name in [name for name in told if name.startswith("AWS_")]:
            del told[name]
        told.update({name.upper(): value for name, value in credentials.items()})
    return told


def _packer_variables(settings: Settings, order: Order, work: Path) -> dict[str, Any]:
    bake, base = settings.bake, order.base
    poll_s = POLL_LOCAL_S if settings.endpoint else POLL_S
    return {
        "region": settings.region,
        "endpoint": settings.endpoint,
        "poll_s": poll_s,
        "poll_attempts": int(POLL_FOR_S / poll_s),
        "base_image": {
            "id": base.id,
            "name": bake.source_name,
            "owners": list(bake.source_owners),
            "root_device": base.root_device,
            "root_gib": base.root_gib,
        },
        "instance_type": bake.instance_type,
        "instance_profile": bake.instance_profile,
        "subnet": order.place.subnet,
        "ssh": {"user": bake.ssh_user, "interface": bake.interface, "cidrs": list(order.place.cidrs)},
        "image_name": order.name,
        "image_description": order.description,
        "tags": dict(order.tags),
        "run_tags": dict(order.run_tags),
        "ansible": {
            "command": str(ansible_playbook()),
            "playbook": str(order.ansible / "bake.yml"),
            "config": str(order.ansible / "ansible.cfg"),
            "variables": str(work / "ansible.json"),
        },
        "work": str(work),
    }


def _write_private(path: Path, values: Mapping[str, Any]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(values, file, indent=1)


def _run(argv: list[str], told: dict[str, str], output: Output) -> int:
    # In a process group of its own: the terminal's Ctrl-C would reach Packer beside ours, and at the second it gives up
    # its cleanup.
    process = subprocess.Popen(
        argv,
        env=told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    with process, _sigterm_as_interrupt():
        try:
            output.read(process)
        except BaseException:
            _cancel(process, output)
            raise
        return process.wait()


def _cancel(process: subprocess.Popen[str], output: Output) -> None:
    """Tell Packer and Ansible once to stop, and wait for the cleanup; a second Ctrl-C leaves it all as it is."""
    output.say("cancelling: Packer removes the builder (Ctrl-C again to leave it behind)")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        output.read(process)
        process.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output.say("left behind: the builder instance; its tag headway:builder finds it")
        raise


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a bake as Ctrl-C does: a CI system stops its steps by it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _image_id(manifest: Path) -> str:
    try:
        builds = json.loads(manifest.read_text())
        artifact = next(b for b in builds["builds"] if b["packer_run_uuid"] == builds["last_run_uuid"])["artifact_id"]
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise Failed(f"bake: packer ended well, but its manifest does not name an image ({error!r})") from None
    return str(artifact.partition(":")[2])


@dataclass
class Output:
    """What Packer and Ansible print: turned into progress for people, and into a cause when it goes wrong.

    The format is https://developer.hashicorp.com/packer/docs/commands#machine-readable-output.
    """

    say: Callable[[str], None]
    task: str = ""
    cause: str | None = None
    error: str | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def read(self, process: subprocess.Popen[str]) -> None:
        """Take in everything until the process closes its output."""
        for line in process.stdout or ():
            self.take(line.rstrip("\n"))

    def take(self, line: str) -> None:
        """Take in one line of machine-readable output."""
        parts = line.split(",", 2)
        if len(parts) < 3 or not parts[0].isdigit():
            return self._remember(line)
        kind, _, rest = parts[2].partition(",")
        if kind == "error":
            self.error = _unescape(rest)
        elif kind == "ui":
            self._take_ui(rest.partition(",")[2].replace("%!(PACKER_COMMA)", ","))
        return None

    def _take_ui(self, text: str) -> None:
        # Packer writes a line's end as it stands in Ansible's JSON: a result is one line, whatever it seems to hold.
        if (failed := _FAILED.match(_PREFIX.sub("", text))) is not None:
            self._fail(failed["result"])
            return
        for line in _unescape(text).splitlines():
            self._take_text(_PREFIX.sub("", line).rstrip())

    def _take_text(self, text: str) -> None:
        self._remember(text)
        if task := _TASK.match(text):
            role = (task["role"] or "").rpartition("/")[2]  # the project's own roles are named by their path
            self.task = f"{role}: {task['name']}" if role else task["name"]
            self.say(f"  {self.task}")
        else:
            for start, words in _STAGES:
                if text.startswith(start):
                    self.say(words)

    def _fail(self, result: str) -> None:
        """Take a failed task for the cause; what its command printed says more than what Packer prints from here on."""
        _log.debug("packer: %s", result)
        try:
            values = json.loads(result)
        except ValueError:
            values = {"msg": result}
        printed = str(values.get("stderr") or values.get("module_stderr") or values.get("stdout") or "").splitlines()
        message = str(values.get("msg", ""))
        if message in ("", "non-zero return code"):
            message = next((line for line in reversed(printed) if line.strip()), "no message")
        self.cause = f"{self.task}: {' '.join(message.split())}"
        self.tail = deque((line for line in printed if line.strip() != message.strip()), maxlen=TAIL_LINES)

    def _remember(self, text: str) -> None:
        _log.debug("packer: %s", text)
        if text.strip() and self.cause is None and self.error is None:
            self.tail.append(text)

    def explain(self) -> str:
        """Say in one line why the bake failed, then what was printed before it did."""
        cause = self.cause or " ".join((self.error or "packer failed without a word").split())
        hint = next((f"; {advice}" for sign, advice in _HINTS if sign in cause), "")
        return "\n".join([f"bake failed: {cause[:400]}{hint}", *(f"  {line[:300]}" for line in self.tail)])


def _unescape(text: str) -> str:
    return text.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "")


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in numbers) or "unknown"
