"""Instances as Docker containers that boot systemd: what :class:`~.hosts.Hosts` asks for, for real."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .dockerd import Dockerd, DockerError, SeedFile
from .hosts import HostSpec, HostState, Power

LAB_LABEL = "headway.lab"
INSTANCE_LABEL = "headway.instance"
IMAGE_NAME = "headway/ami"

_log = logging.getLogger(__name__)

_SHUTDOWN_S = 60  # services that ignore their stop signal are killed then
_ADDRESS_FREE_WITHIN_S = 30  # an address may still belong to a machine that is shutting down
_CONSOLE_LINES = 300
_CONSOLES_KEPT = 50
_SEED = "/var/lib/cloud/seed/lab"
_FIRST_LOOK_S = 0.1  # between two knocks at a booting machine's SSH port
_NEXT_LOOK_S = 10.0  # between two knocks at one that answered
_POWERED = {"created": Power.PENDING, "exited": Power.STOPPED, "dead": Power.GONE}


class DockerHosts:
    """Machines of one lab: containers labelled with its port, on its network, each with the address it was given."""

    def __init__(self, port: int, network: str, base_image: str, boot_s: float = 0) -> None:
        """Take over what the lab of this port has.

        :param network: name of the Docker network.
        :param base_image: image behind every AMI that was not saved here.
        :param boot_s: seconds added to each boot.
        """
        self._docker = Dockerd()
        self._label = f"{LAB_LABEL}={port}"
        self._port = port
        self._network = network
        self._base_image = base_image
        self._boot_s = boot_s
        self._lock = threading.Lock()
        self._work: dict[str, threading.Thread] = {}
        self._overlay: dict[str, Power] = {}  # what Docker cannot tell: boots under way (pending) and failed (gone)
        self._consoles: dict[str, str] = {}
        self._seen: dict[str, HostState] = {}
        self._answers = _SshAnswers()
        self._flags: dict[str, Any] | None = None

    def start(self, spec: HostSpec) -> None:
        """Create and boot a machine, or boot a stopped one again."""
        self._queue(spec.instance_id, lambda: self._boot(spec), Power.PENDING)

    def stop(self, instance_id: str) -> None:
        """Power off, keeping the disk."""
        self._queue(instance_id, lambda: self._docker.stop(self._name(instance_id), _SHUTDOWN_S))

    def terminate(self, instance_id: str) -> None:
        """Shut down (services get their stop signal) and destroy."""
        self._queue(instance_id, lambda: self._destroy(instance_id))

    def states(self) -> dict[str, HostState]:
        """State of every machine by instance id; one that is not named is gone.

        When Docker does not answer, the last known states: a daemon's restart must not look like a fleet's death.
        """
        with self._lock:
            overlay = dict(self._overlay)
        try:
            listed = self._docker.containers(self._label, INSTANCE_LABEL)
        except (OSError, DockerError) as error:
            _log.warning("states: %s", error)
            return dict(self._seen)
        found = {entry["Labels"][INSTANCE_LABEL]: self._state(entry) for entry in listed}
        for instance_id, power in overlay.items():
            if instance_id not in found or found[instance_id].power is not Power.RUNNING:
                found[instance_id] = HostState(power, checks_pass=False)
        self._answers.forget_all_but(found)
        self._seen = found
        return dict(found)

    def save_image(self, instance_id: str, image_id: str) -> None:
        """Make an image of a stopped machine's disk; blocks until it is there.

        :raises DockerError: there is no such machine, or no room.
        """
        self._wait_for_work(instance_id)
        query = {"container": self._name(instance_id), "repo": IMAGE_NAME, "tag": image_id, "pause": "false"}
        self._docker.call("POST", "/commit", query, timeout_s=600)  # keeps the command, stop signal and labels

    def delete_image(self, image_id: str) -> None:
        """Forget an image; its layers stay as long as machines use them."""
        try:
            self._docker.call("DELETE", f"/images/{IMAGE_NAME}:{image_id}", {"force": 1})
        except DockerError as error:
            if error.status != 404:
                raise

    def console(self, instance_id: str) -> str:
        """Tail of what the machine printed while booting; kept for a while after its end, as EC2 does."""
        try:
            return self._docker.output(self._name(instance_id), _CONSOLE_LINES)
        except DockerError:
            return self._consoles.get(instance_id, "")

    def settle(self) -> None:
        """Block until everything asked for so far is done."""
        with self._lock:
            threads = list(self._work.values())
        for thread in threads:
            thread.join()

    # Work on one machine is done in the order it was asked for; different machines do not wait for each other.

    def _queue(self, instance_id: str, job: Callable[[], None], meanwhile: Power | None = None) -> None:
        with self._lock:
            before = self._work.get(instance_id)
            thread = threading.Thread(target=self._do, args=(instance_id, job, before), daemon=True)
            self._work[instance_id] = thread
            if meanwhile is not None:
                self._overlay[instance_id] = meanwhile
            thread.start()

    def _do(self, instance_id: str, job: Callable[[], None], before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        try:
            job()
        except Exception as error:
            _log.exception("instance %s", instance_id)
            with self._lock:
                self._keep_console(instance_id, f"{error}\n")
        with self._lock:
            if self._work.get(instance_id) is threading.current_thread():
                del self._work[instance_id]

    def _wait_for_work(self, instance_id: str) -> None:
        with self._lock:
            thread = self._work.get(instance_id)
        if thread is not None:
            thread.join()

    def _boot(self, spec: HostSpec) -> None:
        name = self._name(spec.instance_id)
        try:
            if not self._exists(name):
                self._docker.create(name, self._container(spec))
                self._docker.seed(name, _seed_files(spec))
            time.sleep(self._boot_s)
            self._start_once_address_is_free(name)
        except Exception:
            # EC2 tells of a machine that could not boot by its end: pending, then terminated.
            with self._lock:
                self._overlay[spec.instance_id] = Power.GONE
            self._docker.remove(name)
            raise
        with self._lock:
            self._overlay.pop(spec.instance_id, None)

    def _start_once_address_is_free(self, name: str) -> None:
        give_up_at = time.monotonic() + _ADDRESS_FREE_WITHIN_S
        while True:
            try:
                return self._docker.start(name)
            except DockerError as error:
                if "already in use" not in str(error).lower() or time.monotonic() > give_up_at:
                    raise
            time.sleep(0.2)

    def _destroy(self, instance_id: str) -> None:
        name = self._name(instance_id)
        try:
            self._docker.stop(name, _SHUTDOWN_S)
            output = self._docker.output(name, _CONSOLE_LINES)
            with self._lock:
                self._keep_console(instance_id, output)
        except DockerError as error:
            if error.status != 404:
                raise
        finally:
            self._docker.remove(name)
            with self._lock:
                self._overlay.pop(instance_id, None)

    def _keep_console(self, instance_id: str, output: str) -> None:
        self._consoles[instance_id] = self._consoles.pop(instance_id, "") + output
        while len(self._consoles) > _CONSOLES_KEPT:
            del self._consoles[next(iter(self._consoles))]

    def _state(self, entry: Mapping[str, Any]) -> HostState:
        instance_id = entry["Labels"][INSTANCE_LABEL]
        power = _POWERED.get(entry["State"], Power.RUNNING)
        address = entry["NetworkSettings"]["Networks"].get(self._network, {}).get("IPAddress", "")
        passes = power is Power.RUNNING and bool(address) and self._answers.recently(instance_id, address)
        return HostState(power, passes)

    def _exists(self, name: str) -> bool:
        try:
            self._docker.call("GET", f"/containers/{name}/json")
        except DockerError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _name(self, instance_id: str) -> str:
        return f"headway-lab-{self._port}-{instance_id}"

    def _image(self, image_id: str) -> str:
        saved = f"{IMAGE_NAME}:{image_id}"
        return saved if self._docker.has_image(saved) else self._base_image

    def _container(self, spec: HostSpec) -> dict[str, Any]:
        if self._flags is None:
            self._flags = _systemd_flags(str(self._docker.call("GET", "/info").get("CgroupVersion", "1")))
        return {
            "Image": self._image(spec.image_id),
            "Hostname": "ip-" + spec.address.replace(".", "-"),
            "Tty": True,  # systemd has a console to print on
            "Labels": {LAB_LABEL: str(self._port), INSTANCE_LABEL: spec.instance_id},
            "HostConfig": {**self._flags, "NetworkMode": self._network},
            "NetworkingConfig": {"EndpointsConfig": {self._network: {"IPAMConfig": {"IPv4Address": spec.address}}}},
        }


class _SshAnswers:
    """Remembers which machines answered at their SSH port, asking in the background: our EC2 status checks.

    An instance's own services take no part in it, as on AWS: sshd answers once systemd has reached its basic target.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: dict[str, bool] = {}
        self._asked_at: dict[str, float] = {}

    def recently(self, instance_id: str, address: str) -> bool:
        """Tell the last answer, and ask again in the background when it is time."""
        now = time.monotonic()
        with self._lock:
            answered = self._answered.get(instance_id, False)
            due = self._asked_at.get(instance_id, 0) + (_NEXT_LOOK_S if answered else _FIRST_LOOK_S) <= now
            if due:
                self._asked_at[instance_id] = now + 1  # the knock's own time limit
        if due:
            threading.Thread(target=self._ask, args=(instance_id, address), daemon=True).start()
        return answered

    def forget_all_but(self, kept: Mapping[str, HostState]) -> None:
        """Drop what is known of machines that are gone or powered off: they have to answer anew."""
        with self._lock:
            for instance_id in list(self._asked_at):
                if instance_id not in kept or kept[instance_id].power is not Power.RUNNING:
                    self._asked_at.pop(instance_id, None)
                    self._answered.pop(instance_id, None)

    def _ask(self, instance_id: str, address: str) -> None:
        answered = _speaks_ssh(address)
        with self._lock:
            if instance_id in self._asked_at:
                self._answered[instance_id] = answered
                self._asked_at[instance_id] = time.monotonic()


def _speaks_ssh(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(1)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _seed_files(spec: HostSpec) -> list[SeedFile]:
    return [
        SeedFile(f"{_SEED}/instance-id", spec.instance_id.encode()),
        SeedFile(f"{_SEED}/user-data", spec.user_data.encode()),
        SeedFile(f"{_SEED}/public-key", (spec.public_key or "").encode()),
    ]


def _systemd_flags(cgroup_version: str) -> dict[str, Any]:
    """Name the flags with which systemd boots as first process, without `--privileged`: hosts may refuse that.

    On cgroup v1 systemd needs the host's tree; on v2 it gets its own and the image's /sbin/enter makes it writable.
    """
    flags: dict[str, Any] = {
        "CapAdd": ["SYS_ADMIN"],
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
        "Tmpfs": {"/run": "", "/run/lock": ""},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "2m"}},
        "CgroupnsMode": "private",
    }
    if cgroup_version == "1":
        flags |= {"CgroupnsMode": "host", "Binds": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"]}
    return flags
