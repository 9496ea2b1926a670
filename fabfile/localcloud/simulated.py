"""The local cloud without machines: a whole release against it takes milliseconds.

::

    with simulated_cloud(seed=1) as cloud:
        world = provision_world(cloud, capacity=4)
        cloud.client("autoscaling").describe_auto_scaling_groups()
        cloud.clock.sleep(30)  # virtual seconds; everything that becomes due happens
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from .clock import VirtualClock
from .faults import Faults
from .models import Behaviour, ModelBalancers, ModelHosts
from .traffic import Traffic

REGION = "us-east-1"


class Here(Executor):
    """Does what it is given at once: where time is virtual there is nothing to wait for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call, and keep the outcome."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class SimulatedCloud:
    """The corrected cloud over model machines, model balancers and virtual time.

    :param clock: ``sleep(s)`` advances time and lets everything happen that becomes due; ``now()`` tells it.
    :param hosts: the machines; script here when they boot, turn healthy or die.
    :param balancers: the load balancers; ask here who serves.
    :param faults: throttling and missing capacity.
    :param traffic: requests that come in all the time; ask here which failed.
    """

    def __init__(self, seed: int = 0) -> None:
        from .cloud import Cloud

        self.clock = VirtualClock()
        self.hosts = ModelHosts(self.clock)
        self.balancers = ModelBalancers(self.clock, self.hosts)
        self.faults = Faults(seed)
        numbers = iter(range(1, 255))
        self.cloud = Cloud(
            self.hosts,
            self.balancers,
            self.clock,
            address_of=lambda _: f"127.0.99.{next(numbers)}",
            faults=self.faults,
            workers=Here(),
        )
        self.traffic = Traffic(self.clock, self.hosts, self.balancers)
        self.clock.on_step = self._step

    def _step(self) -> None:
        self.cloud.tick()
        self.traffic.flow()

    def client(self, service: str) -> Any:
        """Return a boto3 client of this cloud. One made with ``boto3.client`` works as well, while it is open."""
        return _client(service)

    def add_image(
        self, image_id: str, behaviour: Behaviour, tags: dict[str, str] | None = None, name: str | None = None
    ) -> str:
        """Register an image whose machines behave so; return its id."""
        self.hosts.images[image_id] = behaviour
        return self.cloud.add_image(image_id, name or f"image-{image_id}", tags)

    def ask(self, addresses: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
        """Ask applications for their health, as a release asks over HTTP.

        :param addresses: address by instance id.
        :returns: whether each answered 200, and in words what it answered otherwise.
        """
        answers = {instance_id: self.hosts.answer(address) for instance_id, address in addresses.items()}
        return {
            instance_id: (status == 200, "" if status == 200 else f"answers: {status or 'connection refused'}")
            for instance_id, status in answers.items()
        }

    def sound_alarm(self, policy: str) -> None:
        """Let a CloudWatch alarm breach that a group's scaling policy listens to.

        Nothing comes of it while the group has AlarmNotification suspended.
        """
        self.cloud.sound_alarm(policy)

    def until(self, reached: Any, within_s: float = 600.0) -> float:
        """Let time pass until a condition holds; return the seconds that took.

        :raises TimeoutError: it did not within so many seconds.
        """
        began_s = self.clock.elapsed_s
        while not reached():
            if self.clock.elapsed_s - began_s >= within_s:
                raise TimeoutError(f"not within {within_s:g} virtual seconds")
            self.clock.sleep(1.0)
        return self.clock.elapsed_s - began_s


@contextmanager
def simulated_cloud(seed: int = 0) -> Iterator[SimulatedCloud]:
    """Open a simulated cloud in this process; boto3 talks to it while it is open.

    :param seed: what chance depends on.
    """
    from moto import mock_aws
    from moto.moto_api._internal import mock_random

    mock_random.seed(seed)  # ids repeat with the seed
    simulated = SimulatedCloud(seed)
    with mock_aws(), simulated.cloud.installed(), _waits_of_boto(simulated.clock):
        yield simulated


@contextmanager
def _waits_of_boto(clock: VirtualClock) -> Iterator[None]:
    """Let boto3 wait in virtual time before it tries a throttled call again.

    The rate limit that its adaptive mode puts on itself waits in real time and outlives a cloud: it is off.
    """
    import time
    from unittest.mock import patch

    import botocore.endpoint
    from botocore.retries.bucket import TokenBucket

    virtual = SimpleNamespace(**{**vars(time), "sleep": clock.sleep})
    with (
        patch.object(botocore.endpoint, "time", virtual),
        patch.object(TokenBucket, "acquire", lambda _self, amount=1, block=True: bool(amount and block)),
    ):
        yield


@functools.cache
def _client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": 5})
    made_up = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client(service, region_name=REGION, config=config, **made_up)  # type: ignore[call-overload]
