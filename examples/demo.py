"""The demo: the shop goes through every stage, and changes versions under load without losing a request.

Run by scripts/demo. Every step is a command that a person could type; what it measured is left in build/demo.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headway.localcloud import life
from headway.localcloud.load import LoadGenerator, Report, Target, describe
from headway.plan.settings import Settings
from headway.tools.aws import client

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
RESULT = ROOT / "build" / "demo.json"
# A little more than the 200 a second that are promised, so that the slow requests' share never takes it below.
RATE = 220
PROMISED_RATE = 200
LOOK_EVERY_S = 5.0
ASKED_FOR_VERSION = 20
GRACE_S, CLEAN_UP_S = 5.0, 60.0
CAPACITY = 2
GROUP_TAG = "aws:autoscaling:groupName"
TYPICAL_RELEASE_S = 24.0
REFUSED = 2
STAGES = ("build", "test", "package", "publish", "bake", "release")


@dataclass(frozen=True)
class Change:
    """One change of what serves in prod, and what it must come to."""

    name: str
    command: tuple[str, ...]
    exit_code: int
    serves: str


CHANGES = (
    Change("release 2", ("release", "--env=prod", "--version=2.0.0"), 0, "2.0.0"),
    Change("rollback to 1", ("rollback", "--env=prod"), 0, "1.0.0"),
    Change("release 2 again", ("release", "--env=prod", "--version=2.0.0"), 0, "2.0.0"),
    Change("broken release 3", ("release", "--env=prod", "--version=3.0.0"), 3, "2.0.0"),
)


@dataclass(frozen=True)
class Outcome:
    """What a change came to; the entry of build/demo.json."""

    name: str
    requests: int
    failed: int
    slowest_s: float
    seconds: float
    exit_code: int
    serves: str


@dataclass
class Story:
    """What has been measured so far."""

    stages: dict[str, float] = field(default_factory=dict)
    releases: list[Outcome] = field(default_factory=list)
    kills: list[Outcome] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class Project:
    """A copy of the shop in a Git repository of its own, and the commands that run in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "shop"
        # The key of a real project lives in the CI system's secrets; this one ends with the demo.
        self._gnupg = str(folder / "gnupg")
        self.settings = {"FABRIC_HEADWAY_APT_GNUPG_HOME": self._gnupg}
        self._environ = {
            **os.environ,
            **self.settings,
            "PYTHONUNBUFFERED": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()},
        }

    def create(self) -> None:
        """Copy the shop and commit it as v1.0.0."""
        shutil.copytree(EXAMPLES / "shop", self.root, ignore=shutil.ignore_patterns("__pycache__", "dist", "build"))
        self._git("init", "--quiet", "--initial-branch=main")
        self._commit("Sell things", "v1.0.0")

    def advance(self, tag: str) -> None:
        """Make the next version: apply its change, commit and tag it."""
        self._git("apply", "--index", str(EXAMPLES / "changes" / f"{tag}.patch"))
        self._commit(f"Make {tag}", tag)

    def fab(self, *words: str, must: bool = True) -> int:
        """Run ``fab`` as a person would, with its output on the screen; returns its exit code.

        :raises DemoError: it failed and must not.
        """
        return self.heard(*words, must=must)[0]

    def heard(self, *words: str, must: bool = True) -> tuple[int, str]:
        """Run ``fab`` as :meth:`fab` does; returns its exit code and what it said.

        :raises DemoError: it failed and must not.
        """
        said = ""
        say(f"$ fab {' '.join(words)}")
        if not self.root.is_dir():
            raise DemoError(f"{self.root} is gone: somebody else removed it")
        with subprocess.Popen(
            ["fab", *words],
            cwd=self.root,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                for line in process.stdout or ():
                    said += line
                    say(f"  {line.rstrip()}")
            except KeyboardInterrupt:
                let_end(process)
                raise
        if must and process.returncode != 0:
            raise DemoError(f"fab {' '.join(words)} ended with exit code {process.returncode}")
        return process.returncode, said

    def fab_killed(self, after_s: float, *words: str) -> None:
        """Run ``fab``, and kill it after so many seconds with the signal that no process can catch."""
        say(f"$ fab {' '.join(words)}   (kill -9 after {after_s:.1f} s)")
        with subprocess.Popen(["fab", *words], cwd=self.root, env=self._environ, stdin=subprocess.DEVNULL) as process:
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.kill()

    def remove(self) -> None:
        """Stop gpg's agent and delete the folder."""
        subprocess.run(["gpgconf", "--homedir", self._gnupg, "--kill", "all"], check=False)
        shutil.rmtree(self.root.parent, ignore_errors=True)

    def _commit(self, message: str, tag: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", f"--message={message}")
        self._git("tag", tag)

    def _git(self, *words: str) -> None:
        self._run(["git", *words])

    def _run(self, argv: list[str]) -> None:
        finished = subprocess.run(argv, cwd=self.root, env=self._environ, capture_output=True, text=True, check=False)
        if finished.returncode != 0:
            raise DemoError(f"{argv[0]} failed: {' '.join(argv)}\n{finished.stderr.strip()}")


def let_end(process: subprocess.Popen[str]) -> None:
    """Let an interrupted command clean up. Ctrl-C reached it too; a signal to the demo alone did not."""
    for wait_s in (GRACE_S, CLEAN_UP_S):
        try:
            process.communicate(timeout=wait_s)
            return
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
    process.kill()


IDENTITY = {"NAME": "The Shop", "EMAIL": "shop@example.com"}


def main() -> int:
    """Play the demo, whatever happens clean up, and tell whether all promises were kept."""
    parser = argparse.ArgumentParser(description="Headway's whole pipeline, on this machine, under load.")
    parser.add_argument("--keep", action="store_true", help="leave the local cloud up at the end")
    parser.add_argument("--kills", type=int, default=0, help="then kill this many releases half way and repeat them")
    parser.add_argument("--port", type=int, help="have the local cloud at this port, beside another one")
    parser.add_argument("--result", type=Path, default=RESULT, help="where the numbers go (default: build/demo.json)")
    options = parser.parse_args()
    if options.port is not None:
        os.environ.update(variables_at(options.port))
    if reason := why_not_alone():
        print(reason, file=sys.stderr)
        return REFUSED
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    story, started = Story(), time.monotonic()
    try:
        with project(keep=options.keep) as shop:
            play(shop, story, kills=options.kills)
    except KeyboardInterrupt:
        story.broken.append("interrupted")
    except DemoError as error:
        story.broken.append(str(error))
    show(story, time.monotonic() - started, options.result)
    write(story, options.result)
    return 1 if story.broken else 0


def port_of_lab() -> int:
    """Return the port of the demo's cloud."""
    return int(os.environ.get("FABRIC_HEADWAY_LAB_PORT") or Settings().lab.port)


def endpoint() -> str:
    """Return the URL of the demo's cloud."""
    return os.environ.get("FABRIC_HEADWAY_ENDPOINT") or f"http://127.0.0.1:{port_of_lab()}"


def variables_at(port: int) -> dict[str, str]:
    """Return the variables that move the shop's cloud to a port, and to a network that goes with it."""
    second = 100 + port % 100
    return {
        "FABRIC_HEADWAY_LAB_PORT": str(port),
        "FABRIC_HEADWAY_LAB_NETWORK": f"10.{second}.0.0/16",
        "FABRIC_HEADWAY_ENDPOINT": f"http://127.0.0.1:{port}",
        "FABRIC_HEADWAY_APT_URL": f"http://10.{second}.0.1:{port}/headway-apt/shop",
    }


def why_not_alone() -> str | None:
    """Return why the demo cannot have the cloud at its port, with the way out: somebody else's runs there."""
    port = port_of_lab()
    pid = life.pid_of(port)
    if pid is None:
        return None
    return (
        f"demo: a local cloud that the demo did not start runs at port {port} (process {pid}), and stays as it is: "
        f"scripts/demo --port={port + 1} has one of its own beside it; fab lab.down removes that one"
    )


@contextmanager
def project(*, keep: bool) -> Iterator[Project]:
    """Make the project and the cloud around it; take both away at the end, also after a failure."""
    folder = Path(tempfile.mkdtemp(prefix="headway-demo-"))
    shop = Project(folder)
    ours = False
    try:
        title("A project, and a cloud to release it to")
        shop.create()
        say(f"the shop's repository: {shop.root}")
        shop.fab("apt.key")
        code, said = shop.heard("lab.up", must=False)
        # A refusal, or one that somebody started in this very moment: it is theirs, and stays.
        ours = code != REFUSED and "lab: runs at" not in said
        if code == 0 and not ours:
            raise DemoError(why_not_alone() or "somebody else's local cloud ran at this port")
        if code != 0:
            raise DemoError(f"fab lab.up ended with exit code {code}")
        yield shop
    finally:
        if keep and ours:
            moved = {name: os.environ[name] for name in variables_at(0) if name in os.environ}
            variables = " ".join(f"{name}={value}" for name, value in {**moved, **shop.settings}.items())
            say(f"\nThe cloud stays up. Go on with: cd {shop.root}; export {variables}; fab --list. End: fab lab.down")
        else:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if ours:
                title("The end")
                shop.fab("lab.down", must=False)
            shop.remove()


def play(shop: Project, story: Story, *, kills: int = 0) -> None:
    """Version 1 to dev and prod; then, under load, version 2, back, again, and a version that is broken."""
    title("Version 1, stage by stage")
    for stage in STAGES:
        words = [stage, "--env=dev"] if stage == "release" else [stage]
        started = time.monotonic()
        shop.fab(*words)
        story.stages[stage] = round(time.monotonic() - started, 1)
    title("Version 1 to prod: the very image that dev has")
    shop.fab("release", "--env=prod", "--version=1.0.0")
    balancers = load_balancers("prod")
    with loaded(balancers, story) as load:
        for tag, what in (("v2.0.0", "with a migration"), ("v3.0.0", "broken: never healthy in prod")):
            title(f"Version {tag[1]} ({what}): test, publish and bake")
            shop.advance(tag)
            shop.fab("build", "test", "package", "publish", "bake")
        for change in CHANGES:
            title(f"Under load: {change.name}")
            story.releases.append(outcome := make(change, shop, load, balancers, story))
            story.broken += promises_broken(change, outcome)
        for number in range(1, kills + 1):
            kill_and_repeat(number, shop, load, balancers, story)
    shop.fab("status", "--env=prod", must=False)


def make(change: Change, shop: Project, load: LoadGenerator, balancers: Mapping[str, str], story: Story) -> Outcome:
    """Change what serves, and count what the clients saw meanwhile."""
    if (before := load.mark()).failed:
        story.broken.append(f"before {change.name}: {before.failed} requests failed: {'; '.join(before.failures)}")
    started = time.monotonic()
    code = shop.fab(*change.command, must=False)
    seconds = time.monotonic() - started
    serves = "+".join(sorted(versions_served(balancers)))
    report = load.mark()
    say_load(report)
    return Outcome(change.name, report.requests, report.failed, report.slowest_s, round(seconds, 1), code, serves)


def kill_and_repeat(
    number: int, shop: Project, load: LoadGenerator, balancers: Mapping[str, str], story: Story
) -> None:
    """Kill -9 a release at a random moment, and give the same command again."""
    version = ("1.0.0", "2.0.0")[number % 2 == 0]
    after_s = random.uniform(0.3, TYPICAL_RELEASE_S)  # noqa: S311 - chance, not secrecy
    change = Change(f"kill {number} at {after_s:.1f} s", ("release", "--env=prod", f"--version={version}"), 0, version)
    title(f"Under load: release {version}, killed after {after_s:.1f} s, and the same command again")
    shop.fab_killed(after_s, *change.command)
    outcome = make(change, shop, load, balancers, story)
    story.kills.append(outcome)
    story.broken += promises_broken(change, outcome)
    running = instances_of("prod")
    if len(running) != CAPACITY:
        story.broken.append(f"{change.name}: {len(running)} instances run, not {CAPACITY}: {' '.join(running)}")


def instances_of(env: str) -> list[str]:
    """Name every instance that runs and is not another env's: the group's own, and any that was left beside it."""
    living = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    pages = client("ec2", Settings(endpoint=endpoint())).get_paginator("describe_instances").paginate(Filters=[living])
    groups = {
        each["InstanceId"]: {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}.get(GROUP_TAG)
        for page in pages
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
    }
    return sorted(instance_id for instance_id, group in groups.items() if group in (None, f"shop-{env}"))


def promises_broken(change: Change, outcome: Outcome) -> Iterator[str]:
    """Yield what a change had to come to and did not."""
    if outcome.failed:
        yield f"{change.name}: {outcome.failed} requests failed"
    if outcome.exit_code != change.exit_code:
        yield f"{change.name}: exit code {outcome.exit_code}, not {change.exit_code}"
    if outcome.serves != change.serves:
        yield f"{change.name}: {outcome.serves} serves, not {change.serves}"
    if outcome.requests < PROMISED_RATE * outcome.seconds:
        yield f"{change.name}: only {outcome.requests / outcome.seconds:.0f} requests a second"


def load_balancers(env: str) -> dict[str, str]:
    """Ask the cloud for the addresses of an env's load balancers: name to URL."""
    cloud = Settings(endpoint=endpoint())
    application = client("elbv2", cloud).describe_load_balancers()["LoadBalancers"]
    classic = client("elb", cloud).describe_load_balancers()["LoadBalancerDescriptions"]
    found = {each["LoadBalancerName"]: f"http://{each['DNSName']}" for each in (*application, *classic)}
    return {name: url for name, url in found.items() if f"-{env}" in name}


@contextmanager
def loaded(balancers: Mapping[str, str], story: Story) -> Iterator[LoadGenerator]:
    """Keep the load balancers under load, and say every few seconds how they do."""
    title(f"Load on {' and '.join(balancers)}: {RATE} requests a second, slow ones always in flight")
    load = LoadGenerator(
        [target for url in balancers.values() for target in targets(url)],
        rate=RATE,
        slow=[Target(f"{url}/slow?seconds=3") for url in balancers.values()],
    )
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY_S):
            say_load(load.peek())

    looker = threading.Thread(target=look, daemon=True)
    load.start()
    looker.start()
    try:
        yield load
    finally:
        ended.set()
        looker.join()
        last = load.stop()
        if last.failed:
            story.broken.append(f"after the releases: {last.failed} requests failed: {'; '.join(last.failures)}")


def targets(url: str) -> list[Target]:
    """List what customers do: mostly they look, one in eight orders."""
    looks = [Target(f"{url}{path}") for path in ("/orders?limit=10", "/version", "/orders?limit=1", "/version")]
    return [*looks, *looks[:3], Target(f"{url}/orders", '{"item": "tea", "quantity": 2}')]


def versions_served(balancers: Mapping[str, str]) -> set[str]:
    """Ask every load balancer, so often that each instance behind it has answered."""
    from urllib.request import urlopen

    versions = set()
    for url in balancers.values():
        for _ in range(ASKED_FOR_VERSION):
            with urlopen(f"{url}/version", timeout=10) as answer:  # noqa: S310 an http URL of ours
                versions.add(str(json.load(answer)["version"]))
    return versions


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def title(text: str) -> None:
    """Print a heading."""
    say(f"\n== {text}")


def say_load(report: Report) -> None:
    """Print what the clients see."""
    say(f"  load: {describe(report)}")
    for line in report.failures:
        say(f"    failed: {line}")


def show(story: Story, seconds: float, result: Path) -> None:
    """Print the table, and which promises were broken."""
    title("What it came to")
    say("  " + ", ".join(f"{stage} {took:.1f} s" for stage, took in story.stages.items()))
    row = "  {:<18} {:>9} {:>7} {:>10} {:>9} {:>5}  {}".format
    say(row("", "requests", "failed", "slowest", "took", "exit", "serves"))
    for each in (*story.releases, *story.kills):
        slowest, took = f"{each.slowest_s:.2f} s", f"{each.seconds:.1f} s"
        say(row(each.name, each.requests, each.failed, slowest, took, each.exit_code, each.serves))
    say(f"  {seconds:.0f} s in all; {os.path.relpath(result)} has the numbers")
    for promise in story.broken:
        say(f"  BROKEN: {promise}")
    if not story.broken:
        say("  No request failed, and version 3 never served.")


def write(story: Story, result: Path) -> None:
    """Leave the numbers in a file."""
    result.parent.mkdir(exist_ok=True)
    numbers: dict[str, Any] = {"stages": story.stages, "releases": [asdict(each) for each in story.releases]}
    if story.kills:
        numbers["kills"] = [asdict(each) for each in story.kills]
    result.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
