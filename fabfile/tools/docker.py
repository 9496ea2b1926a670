"""Docker, by its command line: containers and networks of one run, and images.

Nothing here needs more than the daemon: no bind mount, no published port, no host network, so that it is the same
with a daemon in a virtual machine (macOS) and with the host's daemon seen from a CI container. Values of variables
never stand in a command line.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from ..plan.outcome import Failed, Refusal
from .process import Finished, run
from .session import Session

LOG_TAIL_LINES = 30
POLL_S = 0.1
PROBE_TIMEOUT_S = 10
KEPT_IMAGES = 8
LAST_USE = "{{.Metadata.LastTagTime.Unix}}"  # each build tags its image again
# Variables that the docker program itself obeys: their values go by argv, so that a test's PATH is not ours.
OBEYED_BY_DOCKER = re.compile(r"PATH|HOME|TMPDIR|LD_.*|DOCKER_.*|BUILDKIT_.*|(https?|no|all)_proxy", re.IGNORECASE)


@dataclass(frozen=True)
class State:
    """How a container is.

    :param status: Docker's word, such as ``running`` or ``exited``.
    :param exit_code: its exit code once it ended.
    :param error: why it could not start, or empty.
    :param out_of_memory: the kernel killed it for using too much memory.
    """

    status: str
    exit_code: int
    error: str
    out_of_memory: bool


def ensure_image(image: str, way_out: str = "check its name, or docker login") -> None:
    """Have an image on the daemon: pull it where it is not.

    :param way_out: what a person can do where it cannot be pulled.
    :raises Refusal: it is not there and cannot be pulled.
    """
    if run(["docker", "image", "inspect", "--format", "{{.Id}}", image], check=False).code == 0:
        return
    print(f"docker: pulling {image}", flush=True)
    pulled = run(["docker", "pull", "--quiet", image], check=False)
    if pulled.code != 0:
        said = (pulled.stderr.strip() or "no message").splitlines()[-1]
        raise Refusal(f"image {image} is not on this machine and cannot be pulled ({said}); {way_out}")


def build_image(context: Path, dockerfile: str, name: str) -> str:
    """Build an image from a folder; Docker's cache makes a repeat quick. Returns its tag.

    The tag is the image's own id, so that two runs of different commits never take each other's image. Docker's output
    is shown where the Dockerfile is new, and always where it fails.

    :param dockerfile: path below ``context``.
    :param name: the image's name, without tag; of that name only the newest images are kept.
    :raises Refusal: no such Dockerfile.
    :raises Failed: the build failed.
    """
    if not (context / dockerfile).is_file():
        raise Refusal(
            f"headway.build.dockerfile: no {dockerfile} among the files of this commit; add it, or set"
            " headway.build.image"
        )
    recipe = f"headway.dockerfile={sha256((context / dockerfile).read_bytes()).hexdigest()}"
    known = run(["docker", "image", "ls", "--quiet", "--filter", f"label={recipe}", name]).stdout.strip() != ""
    with TemporaryDirectory(prefix="headway-image-") as folder:
        id_file = Path(folder) / "id"
        argv = ["docker", "build", "--force-rm", "--iidfile", str(id_file), "--label", recipe]
        built = run([*argv, "--file", str(context / dockerfile), str(context)], show=not known, check=False)
        if built.code != 0:
            sys.stderr.write(built.stdout + built.stderr)
            raise Failed(f"docker build of {dockerfile} failed with exit code {built.code}", code=built.code)
        image = id_file.read_text().strip()
    tag = f"{name}:{image.removeprefix('sha256:')[:12]}"
    run(["docker", "tag", image, tag])
    _remove_oldest(name, tag)
    return tag


def user_of(session: Session, image: str) -> tuple[int, int]:
    """Return user and group id that an image's containers run as."""
    named = run(["docker", "image", "inspect", "--format", "{{.Config.User}}", image]).stdout.strip()
    if named in {"", "root", "0", "0:0", "root:root"}:
        return 0, 0
    argv = ["docker", "run", "--rm", *session.labels(), "--entrypoint", "sh", image, "-c", "id -u; id -g"]
    asked = run(argv).stdout.split()
    return int(asked[0]), int(asked[1])


def create_network(session: Session) -> str:
    """Make a network for one run and return its name."""
    name = session.name("network")
    run(["docker", "network", "create", *session.labels(), name])
    return name


def create(
    session: Session,
    name: str,
    image: str,
    *,
    command: Sequence[str] = (),
    entrypoint: str | None = None,
    environment: Mapping[str, str] | None = None,
    network: str | None = None,
    options: Sequence[str] = (),
) -> str:
    """Make a container, not started yet, and return its name.

    :param name: what it is within the run; its host name on the network.
    :param environment: variables; their values are not in the command line.
    :param options: more of ``docker create``'s own.
    """
    environment = environment or {}
    argv = ["docker", "create", "--name", session.name(name), *session.labels(), *_env_options(environment)]
    if network:
        argv += ["--network", network, "--network-alias", name]
    if entrypoint:
        argv += ["--entrypoint", entrypoint]
    run([*argv, *options, image, *command], env=_passed_by_env(environment))
    return session.name(name)


def copy_in(container: str, source: Path, target: str, owner: tuple[int, int] = (0, 0)) -> None:
    """Copy a folder into a container that need not run, as the folder ``target``, owned by those numbers.

    A tar stream, because `docker cp` of a folder makes everything root's.
    """
    uid, gid = owner

    def owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid, entry.gid, entry.uname, entry.gname = uid, gid, "", ""
        return entry

    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(source, arcname=target.strip("/"), filter=owned)
    run(["docker", "cp", "-", f"{container}:/"], stdin=buffer.getvalue())


def copy_out(container: str, path: str, into: Path, setting: str) -> None:
    """Copy what is in a container's folder into a new folder here.

    :param setting: the setting that names the folder, for the message.
    :raises Failed: no such folder in the container, or nothing in it.
    """
    into.mkdir(parents=True)
    copied = run(["docker", "cp", f"{container}:{path}/.", str(into)], check=False)
    if copied.code != 0:
        raise Failed(f"{setting}: the command left no folder {path} ({copied.stderr.strip()})")
    if not any(into.iterdir()):
        raise Failed(f"{setting}: the command left nothing in {path}")


def start(container: str) -> None:
    """Start a container and leave it running."""
    run(["docker", "start", container])


def run_attached(container: str) -> int:
    """Start a container, show its output as it comes, and return its exit code.

    The docker program runs out of the terminal's reach: with Ctrl-C it would pass the signal on and wait for a
    command that may ignore it. We stop it ourselves, and removing the container stops the command.

    :raises Failed: the container cannot be started.
    """
    sys.stdout.flush()
    process = subprocess.Popen(
        ["docker", "start", "--attach", container], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait()
    finally:
        process.kill()
        process.wait()
    state = state_of(container)
    if state.error:
        raise Failed(f"docker cannot start the container: {state.error}", code=state.exit_code or 1)
    if state.out_of_memory:
        print("docker: the command was killed: out of memory", file=sys.stderr)
    return state.exit_code


def state_of(container: str) -> State:
    """Return how a container is."""
    shown = "{{.State.Status}}\t{{.State.ExitCode}}\t{{.State.OOMKilled}}\t{{.State.Error}}"
    said = run(["docker", "container", "inspect", "--format", shown, container]).stdout.strip("\n")
    status, code, out_of_memory, error = said.split("\t", 3)
    return State(status, int(code), error, out_of_memory == "true")


def wait_until_ready(
    container: str, what: str, probe: Sequence[str], within_s: float, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command in a container again and again, until it answers 0.

    :param what: the container's name for people.
    :param environment: variables for the command; their values are not in the command line.
    :raises Failed: it did not in time, or the container ended; the end of the container's log is in the message.
    """
    environment = environment or {}
    argv = ["docker", "exec", *_env_options(environment), container, *probe]
    deadline = time.monotonic() + within_s
    while True:
        answer = _probe(argv, _passed_by_env(environment))
        if answer.code == 0:
            return
        state = state_of(container)
        if state.status != "running":
            raise Failed(f"{what} ended with exit code {state.exit_code} before it was ready{_log_tail(container)}")
        if time.monotonic() > deadline:
            last = " ".join((answer.stderr.strip() or answer.stdout.strip() or "no output").split())
            raise Failed(
                f"{what} was not ready within {within_s:g} s; the probe's last answer: {last}{_log_tail(container)}"
            )
        time.sleep(POLL_S)


def _probe(argv: Sequence[str], env: Mapping[str, str]) -> Finished:
    try:
        return run(argv, env=env, check=False, timeout_s=PROBE_TIMEOUT_S)
    except Failed:
        return Finished(1, "", f"no answer within {PROBE_TIMEOUT_S} s")


def _log_tail(container: str) -> str:
    logs = run(["docker", "logs", "--tail", str(LOG_TAIL_LINES), container], check=False)
    lines = (logs.stdout + logs.stderr).strip().splitlines()
    return "".join(f"\n  {line}" for line in ["; the end of its log:", *lines]) if lines else "; its log is empty"


def _env_options(environment: Mapping[str, str]) -> list[str]:
    options: list[str] = []
    for name, value in environment.items():
        options += ["--env", f"{name}={value}" if OBEYED_BY_DOCKER.fullmatch(name) else name]
    return options


def _passed_by_env(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not OBEYED_BY_DOCKER.fullmatch(name)}


def _remove_oldest(name: str, own: str) -> None:
    """Keep the images of a name that were used last; Docker itself refuses to remove one that a container uses."""
    tags = run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name]).stdout.split()
    if len(tags) <= KEPT_IMAGES:
        return
    used = {tag: run(["docker", "image", "inspect", "--format", LAST_USE, tag], check=False).stdout for tag in tags}
    for tag in sorted(tags, key=lambda tag: (tag == own, used[tag]), reverse=True)[KEPT_IMAGES:]:
        run(["docker", "image", "rm", tag], check=False)
