"""A lab's life: what has to be there before, starting it, and taking every trace of it away."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from ..plan.outcome import Failed, Refusal
from .docker_hosts import IMAGE_NAME, LAB_LABEL
from .dockerd import Dockerd, DockerError
from .haproxy_runtime import stop_stray
from .place import Place, docker_network_of, folder_of

_STARTED_WITHIN_S = 30
_TURN_WITHIN_S = 60.0
_ENDED_WITHIN_S = 10
_WHO_PATH = "/_lab"
_ROUTES = Path("/proc/net/route")


def pid_of(port: int) -> int | None:
    """Process id of the lab that answers at this port; None when none does."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{_WHO_PATH}", timeout=2) as answer:
            said = json.load(answer)
    except (OSError, ValueError):
        return None
    return int(said["pid"]) if isinstance(said, dict) and said.get("port") == port else None


def why_not_here(docker: Dockerd) -> str | None:
    """Tell why this machine can have no lab at all, in one line with the way out; None when it can."""
    return _why_not_linux() or docker.why_no_answer() or _why_no_haproxy() or _why_no_api()


def why_not_up(place: Place, docker: Dockerd, images: list[str]) -> str | None:
    """Tell why a lab could not be started, in one line with the way out; None when it can.

    What an earlier lab at the same port left behind has to be removed before.
    """
    return (
        next((reason for image in images if (reason := _why_no_image(docker, image))), None)
        or _why_port_taken(place.port)
        or _why_network_taken(place, docker)
        or _why_no_balancer_socket(place)
    )


def start(place: Place, docker: Dockerd) -> subprocess.Popen[bytes]:
    """Make the network and start the lab's process; :func:`wait_until_up` waits for it."""
    config = {"Config": [{"Subnet": place.network, "Gateway": place.gateway}]}
    labels = {LAB_LABEL: str(place.port)}
    body = {"Name": place.docker_network, "CheckDuplicate": True, "IPAM": config, "Labels": labels}
    try:
        docker.call("POST", "/networks/create", body=body)
    except DockerError as error:
        raise Refusal(f"{place.network}: {error}; choose another headway.lab.network") from None
    place.save()
    package = (__package__ or "").split(".", maxsplit=1)[0]
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])] if package == "fabfile" else None
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)} if paths else dict(os.environ)
    with (place.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.server", str(place.port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd=place.folder,
            start_new_session=True,
        )
    (place.folder / "pid").write_text(str(process.pid))
    return process


def wait_until_up(place: Place, process: subprocess.Popen[bytes]) -> None:
    """Wait until the lab answers.

    :raises Failed: it ended, or took too long; with its last words.
    """
    give_up_at = time.monotonic() + _STARTED_WITHIN_S
    while pid_of(place.port) is None:
        if process.poll() is not None or time.monotonic() > give_up_at:
            lines = (place.folder / "log").read_text(errors="replace").strip().splitlines()
            raise Failed(f"the lab did not start: {lines[-1] if lines else 'no message'} (log: {place.folder}/log)")
        time.sleep(0.05)


def remove(port: int, docker: Dockerd) -> list[str]:
    """Take away everything of the lab at this port, however its process ended; tells what there was."""
    folder = folder_of(port)
    removed = [
        what
        for what, was_there in (("process", _end_process(folder)), ("haproxy", stop_stray(folder / "haproxy")))
        if was_there
    ]
    for what, work in (("containers", _remove_containers), ("images", _remove_images), ("network", _remove_network)):
        count = work(port, docker)
        if count:
            removed.append(what if count == 1 and what == "network" else f"{count} {what}")
    if folder.exists():
        shutil.rmtree(folder)
        removed.append("state")
    return removed


@contextmanager
def only_one(port: int) -> Iterator[None]:
    """Let one command at a time change the lab at this port.

    :raises Refusal: another one is at it, and stays.
    """
    folder = folder_of(port)
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.parent, os.O_RDONLY)  # a lock on the folder leaves no file behind
    try:
        _wait_for_turn(handle)
        yield
    finally:
        os.close(handle)


def _wait_for_turn(handle: int) -> None:
    """Wait for the commands that came before: each takes some seconds, so that most turns come soon."""
    deadline = time.monotonic() + _TURN_WITHIN_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refusal("another lab.up or lab.down is at work; wait for it") from None
        time.sleep(0.1)


def _end_process(folder: Path) -> bool:
    try:
        pid = int((folder / "pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return False
    if not any(word.endswith(b".server") for word in words) or folder.name.removeprefix("lab-").encode() not in words:
        return False  # the number belongs to another process by now
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        give_up_at = time.monotonic() + _ENDED_WITHIN_S
        while _is_alive(pid) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        if _is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    return True


def _is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _remove_containers(port: int, docker: Dockerd) -> int:
    found = docker.containers(f"{LAB_LABEL}={port}")
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda entry: docker.remove(entry["Id"]), found))
    return len(found)


def _remove_images(port: int, docker: Dockerd) -> int:
    """Remove the saved AMIs; one that others were made from goes once they are gone."""
    found = docker.call("GET", "/images/json", {"all": 1, "filters": {"label": [f"{LAB_LABEL}={port}"]}})
    tags = [tag for image in found for tag in image.get("RepoTags") or [] if tag.startswith(f"{IMAGE_NAME}:")]
    for name in [*tags, *(image["Id"] for image in sorted(found, key=lambda image: -int(image["Created"])))]:
        with contextlib.suppress(DockerError):
            docker.call("DELETE", f"/images/{name}", {"force": 1})
    return len(tags)


def _remove_network(port: int, docker: Dockerd) -> int:
    try:
        docker.call("DELETE", f"/networks/{docker_network_of(port)}")
    except DockerError as error:
        if error.status == 404:
            return 0
        raise
    return 1


def _why_not_linux() -> str | None:
    here = platform.system()
    if here == "Linux":
        return None
    return f"the local cloud needs Linux: its instances are containers reached by their addresses (this is {here})"


def _why_no_haproxy() -> str | None:
    return None if shutil.which("haproxy") else "haproxy is not installed, or not on PATH: run scripts/setup"


def _why_no_api() -> str | None:
    way_out = "pip install '/path/to/the/checkout/of/headway[lab]'"
    return None if find_spec("moto") else f"moto is not installed: {way_out}"


def _why_no_image(docker: Dockerd, image: str) -> str | None:
    return None if docker.has_image(image) else f"the Docker image {image} is not here: run scripts/setup"


def _why_port_taken(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return f"port {port} cannot be used ({error.strerror}): stop what listens there, or set headway.lab.port"
    return None


def _why_no_balancer_socket(place: Place) -> str | None:
    address = place.balancer_address(0)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, 80))
        except OSError as error:
            return f"load balancers cannot use port 80 at {address} ({error.strerror}): free it, or run as root"
    return None


def _why_network_taken(place: Place, docker: Dockerd) -> str | None:
    wanted = IPv4Network(place.network)
    networks: list[dict[str, Any]] = docker.call("GET", "/networks")
    taken = {
        f"Docker network {each['Name']}": part["Subnet"]
        for each in networks
        if each["Name"] != place.docker_network
        for part in (each["IPAM"].get("Config") or [])
        if ":" not in part.get("Subnet", ":")
    }
    taken |= {f"route of {device}": str(network) for device, network in _routes()}
    for what, network in taken.items():
        if wanted.overlaps(IPv4Network(network, strict=False)):
            return f"{place.network} overlaps {network} ({what}): choose another headway.lab.network"
    return None


def _routes() -> list[tuple[str, IPv4Network]]:
    """Networks that this machine has a route to, without the default route."""
    found = []
    for line in _ROUTES.read_text().splitlines()[1:]:
        words = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(words[column]), "little") for column in (1, 7))
        if mask:
            found.append((words[0], IPv4Network((address, mask.bit_count()))))
    return found
