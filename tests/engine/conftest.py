"""A release engine over a simulated cloud: a whole release takes milliseconds of virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from fabfile.engine.act import Works
from fabfile.engine.loop import Clock, Result
from fabfile.engine.operate import Means, Order, operate
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.simulated import SimulatedCloud, simulated_cloud
from fabfile.localcloud.world import World, provision_world
from fabfile.plan.fleet import Facts
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Act, Kind, Wait, Wish
from fabfile.plan.settings import Settings
from fabfile.tools import aws
from fabfile.tools.s3 import Bucket


@dataclass
class Listener:
    """A screen that remembers."""

    acts: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    def acting(self, act: Act, facts: Facts) -> None:
        self.acts.append(type(act).__name__)

    def waiting(self, wait: Wait, facts: Facts) -> None:
        if wait.what not in self.waits:
            self.waits.append(wait.what)

    def failed(self, act: Act, reason: str, failures: int) -> None:
        self.failures.append(f"{type(act).__name__}: {reason}")

    def blind(self, reason: str) -> None:
        self.failures.append(reason)

    def turning_back(self, reason: str, facts: Facts, blamed: tuple[str, ...]) -> None:
        self.reasons.append(reason)


class Operator:
    """Somebody who releases to the simulated world and watches what serves all the while."""

    def __init__(self, cloud: SimulatedCloud, world: World, **release: object) -> None:
        self.cloud = cloud
        self.world = world
        self.screen = Listener()
        self.migrated: list[str] = []
        self.stop: Callable[[], bool] = lambda: False
        self.fewest_serving = 1_000_000
        self.release_settings: dict[str, object] = {
            "state": "s3://state/shop",
            "poll_s": 2,
            "warm_within_s": 120,
            "healthy_within_s": 90,
            "drain_within_s": 120,
            **release,
        }
        cloud.client("s3").create_bucket(Bucket="state")

        def watch() -> None:
            self.fewest_serving = min(self.fewest_serving, self.serving())

        cloud.clock.at_each_step(watch)

    @property
    def settings(self) -> Settings:
        raw = {"name": "shop", "release": self.release_settings, "envs": {"prod": {}}}
        return read_settings(raw, "prod")

    def stop_after(self, looks: int) -> None:
        """Ask releases to stop once they have looked so many times."""
        left = [looks]

        def stop() -> bool:
            left[0] -= 1
            return left[0] < 0

        self.stop = stop

    def serving(self) -> int:
        """Count the instances that new requests reach in the load balancer that reaches fewest."""
        pools = self.cloud.balancers.pools
        return min((len(self.cloud.balancers.serving(pool)) for pool in pools), default=0)

    @property
    def means(self) -> Means:
        works = Works(bake=self.world.image_ids.__getitem__, migrate=self.migrated.append)
        clock = Clock(self.cloud.clock.now, self.cloud.clock.sleep)
        return Means(works=lambda _: works, clock=clock, screen=lambda _: self.screen, ask=self._ask, stop=self.stop)

    def release(self, version: str, kind: Kind = Kind.RELEASE, *, abort: bool = False, **wish: Any) -> Result:
        order = Order(kind, version, "ann", abort=abort, wish=Wish(**wish), bad=True)
        return operate(self.settings, order, self.means)

    def _ask(self, addresses: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
        answers = {key: self.cloud.hosts.answer(address) for key, address in addresses.items()}
        return {key: (status == 200, str(status)) for key, status in answers.items()}

    def carried(self) -> set[str]:
        """Name the versions that the load balancers reach."""
        return self.world.versions_served()

    def leftovers(self) -> list[str]:
        """Name instances that run outside the group."""
        members = set(self.world.members(None))
        pages = self.cloud.client("ec2").get_paginator("describe_instances").paginate()
        return [
            raw["InstanceId"]
            for page in pages
            for reservation in page["Reservations"]
            for raw in reservation["Instances"]
            if raw["State"]["Name"] in ("pending", "running") and raw["InstanceId"] not in members
        ]


@pytest.fixture
def cloud() -> Iterator[SimulatedCloud]:
    aws._client.cache_clear()
    with simulated_cloud(seed=7, direct=True) as simulated:
        yield simulated
    aws._client.cache_clear()


@pytest.fixture
def operator(cloud: SimulatedCloud) -> Operator:
    world = provision_world(cloud, capacity=3)
    ours = {"headway:project": "shop"}
    cloud.client("ec2").create_tags(
        Resources=[world.image_ids["1.0.0"]],
        Tags=[{"Key": key, "Value": value} for key, value in ours.items()],
    )
    world.image("2.0.0", Behaviour(version="2.0.0"), ours)
    world.image("3.0.0", Behaviour(version="3.0.0", healthy_s=None), ours)
    return Operator(cloud, world)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    from moto import mock_aws

    aws._client.cache_clear()
    with mock_aws():
        settings = Settings()
        aws.client("s3", settings).create_bucket(Bucket="state")
        yield Bucket(settings, "s3://state/shop")
    aws._client.cache_clear()
