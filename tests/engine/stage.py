"""A stage on which a release is told, killed, met with errors and told on; and what must hold afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fabfile.engine import lock
from fabfile.engine import operate as operating
from fabfile.engine.claim import Stopwatch
from fabfile.engine.convoy import operate_all
from fabfile.engine.journal import Journal
from fabfile.engine.loop import Result
from fabfile.engine.operate import Order, state_of
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud, simulated_cloud
from fabfile.localcloud.traffic import Failure
from fabfile.localcloud.world import World, provision_world
from fabfile.plan.past import Chapter
from fabfile.plan.release import Ending, Kind, Record, Wish
from fabfile.tools import ownership, s3

from .conftest import Operator

OURS = {"headway:project": "shop"}
FLEET = 3
# Virtual seconds in which a group finishes what it began: hooks, drains, launches.
REST_S = 90.0
# Virtual seconds after which no story goes on, whatever fails in it.
LONGEST_S = 4 * 3600.0


class Endless(BaseException):
    """Says that a story goes on for ever."""


@dataclass(frozen=True)
class Command:
    """What an operator types.

    :param at_s: seconds from now to the moment of a timed release.
    """

    version: str
    kind: Kind = Kind.RELEASE
    wish: Wish = field(default_factory=Wish)
    at_s: float | None = None
    abort: bool = False


@dataclass(frozen=True)
class Scenario:
    """A release as it goes when nobody kills it.

    :param commands: what is typed, one after another.
    :param ending: how the last of them ends.
    :param serves: the version that serves afterwards.
    :param prepare: what comes before, and what happens meanwhile.
    :param release: settings of the release.
    :param fewest: instances that serve at all times.
    :param kept: instances that are in Standby afterwards, on purpose.
    :param groups: groups that are released as one.
    """

    name: str
    commands: tuple[Command, ...] = (Command("2.0.0"),)
    ending: Ending = Ending.DONE
    serves: str = "2.0.0"
    prepare: Callable[[Stage], None] = lambda _: None
    release: dict[str, object] = field(default_factory=dict)
    fewest: int = FLEET
    kept: int = 0
    groups: int = 1


@dataclass(frozen=True)
class Seen:
    """How a group stands, to be held against how it stood."""

    sizes: tuple[int, int, int]
    suspended: frozenset[str]
    launches: str
    fleet: tuple[tuple[str, str, str, bool], ...]
    registered: frozenset[str]

    @property
    def versions(self) -> Counter[tuple[str, str]]:
        """Count members by version and lifecycle state."""
        return Counter((version, state) for _, version, state, _ in self.fleet)


class Stage:
    """A scenario's cloud, its operator, and the processes that the operator starts."""

    def __init__(self, scenario: Scenario, cloud: SimulatedCloud, patch: pytest.MonkeyPatch) -> None:
        self.scenario = scenario
        self.cloud = cloud
        self.process = 1
        self.place = "here"
        self.more = 0
        self.sick: set[str] = set()
        self.at_command = 0
        self.results: list[Result] = []
        self.world = provision_world(cloud, capacity=FLEET)
        tags = [{"Key": key, "Value": value} for key, value in OURS.items()]
        cloud.client("ec2").create_tags(Resources=[self.world.image_ids["1.0.0"]], Tags=tags)
        self.image("2.0.0")
        others = [
            provision_world(cloud, name=f"shop-prod-{number}", capacity=FLEET, beside=self.world)
            for number in range(2, scenario.groups + 1)
        ]
        self.worlds = [self.world, *others]
        self.operator = Operator(cloud, self.world, **scenario.release)
        if others:
            groups = {f"g{number}": {"group": world.group} for number, world in enumerate(self.worlds)}
            self.operator.release_settings["groups"] = groups
        self._live_as_processes(patch)
        scenario.prepare(self)
        self.operator.screen.acts.clear()
        self.operator.fewest_serving = FLEET
        self.before = [self.see(world) for world in self.worlds]
        self.chapters_before = [len(self.chapters(world)) for world in self.worlds]
        self.at = [self._moment(command) for command in scenario.commands]
        self.began_s = cloud.clock.elapsed_s

        def watch() -> None:
            if cloud.clock.elapsed_s - self.began_s > LONGEST_S:
                raise Endless

        cloud.clock.at_each_step(watch)

    def image(self, version: str, **behaviour: Any) -> None:
        """Publish a version whose machines behave so."""
        self.world.image(version, Behaviour(version=version, **behaviour), OURS)

    def when(self, condition: Callable[[], bool], happens: Callable[[], None]) -> None:
        """Let something happen once, at the first moment at which a condition holds."""
        self.cloud.clock.when(condition, happens)

    def perform(self) -> list[Result]:
        """Type the commands, from the one on that is due, or the last again; returns the results of the last."""
        self.at_command = min(self.at_command, len(self.scenario.commands) - 1)
        while self.at_command < len(self.scenario.commands):
            self.results = self.type(self.scenario.commands[self.at_command], self.at[self.at_command])
            self.at_command += 1
        return self.results

    def type(self, command: Command, at: Any = None) -> list[Result]:
        """Type one command."""
        wish = replace(command.wish, at=at)
        order = Order(command.kind, command.version, "ann", abort=command.abort, wish=wish, bad=True)
        return operate_all(self.operator.settings, order, self.operator.means)

    def abort(self) -> list[Result]:
        """Type `fab release --abort`."""
        return self.type(Command("", abort=True))

    def start_anew(self, *, elsewhere: bool = False) -> None:
        """Have whatever process is typed next be another one, of this machine or of another."""
        self.process += 1
        self.place = f"machine-{self.process}" if elsewhere else self.place

    def see(self, world: World) -> Seen:
        """Look at a group as anybody may."""
        group = world.describe_group()
        policy = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
        named = group.get("LaunchTemplate") or policy["LaunchTemplateSpecification"]
        versions = self.cloud.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=named["LaunchTemplateId"], Versions=[named["Version"]]
        )["LaunchTemplateVersions"]
        machines = self.cloud.hosts.machines
        return Seen(
            sizes=(group["MinSize"], group["MaxSize"], group["DesiredCapacity"]),
            suspended=frozenset(each["ProcessName"] for each in group["SuspendedProcesses"]),
            launches=versions[0]["LaunchTemplateData"]["ImageId"],
            fleet=tuple(
                sorted(
                    (
                        each["InstanceId"],
                        machines[each["InstanceId"]].behaviour.version if each["InstanceId"] in machines else "gone",
                        each["LifecycleState"],
                        each["ProtectedFromScaleIn"],
                    )
                    for each in group["Instances"]
                )
            ),
            registered=frozenset(world.health()) | frozenset(world.classic_health()),
        )

    def chapters(self, world: World) -> list[Chapter]:
        """Return a group's history, newest first."""
        return list(self._journal(world).history())

    def told(self) -> list[int]:
        """Count the chapters that each group's history has got since the first command."""
        return [
            len(self.chapters(world)) - before for world, before in zip(self.worlds, self.chapters_before, strict=True)
        ]

    def keys(self) -> list[str]:
        """List what lies in S3."""
        listed = self.cloud.client("s3").list_objects_v2(Bucket="state")
        return [str(each["Key"]) for each in listed.get("Contents", [])]

    def has_record(self, world: World) -> bool:
        """Whether a release of a group is written down as unfinished."""
        return f"shop/{self._name(world)}/release.json" in self.keys()

    def records(self) -> list[Record]:
        """Return what is written down of releases that have not ended."""
        read = (self._journal(world).read() for world in self.worlds)
        return [record for record in read if record is not None]

    def _name(self, world: World) -> str:
        return f"{self.operator.settings.region}/{world.group}"

    def _journal(self, world: World) -> Journal:
        return Journal(state_of(self.operator.settings), self._name(world))

    def left(self) -> list[str]:
        """Name what is left over: instances outside the groups, and whatever but history lies in S3."""
        members = {each for world in self.worlds for each in world.members(None)}
        pages = self.cloud.client("ec2").get_paginator("describe_instances").paginate()
        outside = [
            raw["InstanceId"]
            for page in pages
            for reservation in page["Reservations"]
            for raw in reservation["Instances"]
            if raw["State"]["Name"] in ("pending", "running") and raw["InstanceId"] not in members
        ]
        return [*outside, *(key for key in self.keys() if "/history/" not in key)]

    def lost(self) -> list[Failure]:
        """Return the requests that were lost, but for those that sick instances lost."""
        return [each for each in self.cloud.traffic.failures if each.instance_id not in self.sick]

    def why_not_final(self, chapters: Sequence[int] | None = None) -> list[str]:
        """Return what is not as it must be once the scenario's commands have ended as they should.

        :param chapters: how many each group's history has got; one, unless told otherwise.
        """
        is_last = self.at_command == len(self.scenario.commands)
        ended = [(each.ending, each.why) for each in self.results if is_last]
        wrong = [f"ended {ending}: {why}" for ending, why in ended if ending is not self.scenario.ending]
        self._rest()
        for world, before in zip(self.worlds, self.before, strict=True):
            if self.scenario.ending is Ending.DONE:
                wrong += self._why_not_done(world, before)
            else:
                wrong += self._why_not_as_before(world, before)
        return [*wrong, *self._why_not_told(self.scenario.ending), *self._why_not_clean(chapters)]

    def why_not_put_back(self, chapters: Sequence[int] | None = None) -> list[str]:
        """Return what is not as it was before the first command."""
        self._rest()
        wrong: list[str] = []
        for world, before in zip(self.worlds, self.before, strict=True):
            wrong += self._why_not_as_before(world, before)
        return [*wrong, *self._why_not_told(Ending.RESTORED), *self._why_not_clean(chapters)]

    def _why_not_told(self, ending: Ending) -> list[str]:
        told = [
            chapter.ending
            for world, count in zip(self.worlds, self.told(), strict=True)
            for chapter in self.chapters(world)[:count]
        ]
        return _differs("told", [ending] * len(told), told)

    def _rest(self) -> None:
        """Let the group finish what it began; what it does to itself then, such as to even out zones, is its own."""
        fewest = self.operator.fewest_serving
        self.cloud.clock.sleep(REST_S)
        self.operator.fewest_serving = fewest

    def _why_not_done(self, world: World, before: Seen) -> list[str]:
        now, wanted, serves = self.see(world), FLEET + self.more, self.scenario.serves
        fleet = Counter({(serves, "InService"): wanted})
        if self.scenario.kept:
            fleet[next(version for _, version, state, _ in before.fleet if state == "InService"), "Standby"] = (
                self.scenario.kept
            )
        serving = {each for each, _, state, _ in now.fleet if state == "InService"}
        return [
            *_differs("fleet", fleet, now.versions),
            *_differs("sizes", (before.sizes[0], before.sizes[1], wanted), now.sizes),
            *_differs("suspended", before.suspended, now.suspended),
            *_differs("launches", self.world.image_ids[serves], now.launches),
            # What rests in Standby no scale-in can reach, shielded or not.
            *_differs("protected", [], [each for each in now.fleet if each[2:] == ("InService", True)]),
            *_differs("registered", serving, set(now.registered)),
        ]

    def _why_not_as_before(self, world: World, before: Seen) -> list[str]:
        now = self.see(world)
        if not self.more:
            return [
                wrong
                for name in ("sizes", "suspended", "launches", "fleet", "registered")
                for wrong in _differs(name, getattr(before, name), getattr(now, name))
            ]
        fleet = before.versions + Counter({(before.fleet[0][1], "InService"): self.more})
        return [
            *_differs("fleet", fleet, now.versions),
            *_differs("sizes", (*before.sizes[:2], before.sizes[2] + self.more), now.sizes),
            *_differs("suspended", before.suspended, now.suspended),
            *_differs("launches", before.launches, now.launches),
        ]

    def _why_not_clean(self, chapters: Sequence[int] | None) -> list[str]:
        told = self.told()
        fewest = self.operator.fewest_serving
        return [
            *_differs("left over", [], self.left()),
            *_differs("chapters", [1] * len(self.worlds) if chapters is None else list(chapters), told),
            *_differs("requests lost", [], self.lost()[:3]),
            *([f"only {fewest} served"] if fewest < self.scenario.fewest else []),
        ]

    def _moment(self, command: Command) -> Any:
        return None if command.at_s is None else self.cloud.clock.now() + timedelta(seconds=command.at_s)

    def _live_as_processes(self, patch: pytest.MonkeyPatch) -> None:
        """Let each command be a process of its own, and all but the last of them be dead."""

        def lives(owner: ownership.Owner) -> bool | None:
            return owner.pid == self.process if owner.place == self.place else None

        patch.setattr(ownership, "this_process", lambda: ownership.Owner(self.process, self.place, 1))
        patch.setattr(ownership, "lives", lives)
        # Their time is the cloud's. No heart beats by itself: a lock is renewed when its owner asks whether it is lost.
        clock = Stopwatch(lambda: self.cloud.clock.elapsed_s, self.cloud.clock.sleep)
        patch.setattr(operating, "Stopwatch", lambda **_: clock)
        patch.setattr(lock.Lock, "_beat", lambda _: None)
        patch.setattr(s3, "time", SimpleNamespace(sleep=self.cloud.clock.sleep))


def _differs(what: str, expected: object, found: object) -> list[str]:
    return [] if expected == found else [f"{what}: {found!r} instead of {expected!r}"]


@contextmanager
def staged(scenario: Scenario) -> Iterator[Stage]:
    """Set a scenario up in a cloud of its own."""
    with pytest.MonkeyPatch.context() as patch, simulated_cloud(seed=7, direct=True) as cloud:
        yield Stage(scenario, cloud, patch)
