"""The local cloud without machines: a whole release against it takes milliseconds.

::

    with simulated_cloud(seed=1) as cloud:
        world = provision_world(cloud, capacity=4)
        cloud.client("autoscaling").describe_auto_scaling_groups()
        cloud.clock.sleep(30)  # virtual seconds; everything that becomes due happens

With ``direct=True`` its clients are those of :mod:`.direct`, which answer many times as fast as boto3's and the same.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .calls import Calls
from .clock import VirtualClock
from .faults import Faults
from .models import Behaviour, ModelBalancers, ModelHosts
from .traffic import Traffic

if TYPE_CHECKING:
    from ..plan.settings import Settings
    from .direct import Clients

REGION = "us-east-1"
# How often boto3 tries a throttled call again; a release's own clients (:mod:`..tools.aws`) are more patient, or less.
RETRIES, RETRIES_OF_RELEASES, RETRIES_IN_HASTE = 5, 10, 2


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
    :param calls: what releases have asked of the API (:mod:`..tools`), not what :meth:`client` was asked.
    """

    def __init__(self, seed: int = 0, *, direct: bool = False) -> None:
        from .cloud import Cloud

        self.calls = Calls()
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
        self._direct = self._clients(seed) if direct else None
        self.clock.on_step = self._step

    def _step(self) -> None:
        self.cloud.tick()
        self.traffic.flow()

    def client(self, service: str) -> Any:
        """Return a client of this cloud, boto3's or one like it. ``boto3.client`` works as well, while it is open."""
        if self._direct is not None:
            return self._direct.client(service, REGION, retries=RETRIES)
        return _client(service)

    def client_of_release(self, service: str, settings: Settings, in_haste: bool = False) -> Any:
        """Return the client that a release gets; its calls are noted in ``calls``."""
        retries = RETRIES_IN_HASTE if in_haste else RETRIES_OF_RELEASES
        if self._direct is not None:
            return self._direct.client(service, settings.region, retries=retries, calls=self.calls)
        return _client(service, settings.region, retries)

    def _clients(self, seed: int) -> Clients:
        from .direct import Clients

        return Clients(self.cloud, _client, seed)

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

    def sound_alarm(self, policy: str, breach: float = 0.0) -> None:
        """Let a CloudWatch alarm breach that a group's scaling policy listens to.

        Nothing comes of it while the group has AlarmNotification suspended, or simple scaling cools down.

        :param breach: how far the metric is beyond the alarm's threshold, or beyond the target that is tracked.
        """
        self.cloud.sound_alarm(policy, breach)

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
def simulated_cloud(seed: int = 0, *, direct: bool = False) -> Iterator[SimulatedCloud]:
    """Open a simulated cloud in this process; boto3 and the project's own tools talk to it while it is open.

    :param seed: what chance depends on.
    :param direct: let clients ask moto without requests in between: much faster, and the same answers.
    """
    from moto import mock_aws
    from moto.moto_api._internal import mock_random

    from ..tools import aws
    from . import activities, direct_kept

    mock_random.seed(seed)  # ids repeat with the seed
    activities.number_anew()
    simulated = SimulatedCloud(seed, direct=direct)
    with (
        mock_aws(),
        simulated.cloud.installed(),
        _waits_of_boto(simulated.clock),
        _noted(simulated),
        _seldom_collected(),
        aws.using(simulated.client_of_release),
    ):
        try:
            yield simulated
        finally:
            direct_kept.forget()


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


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let Python look for garbage less often: there is little, and AWS's models are a million objects to look at."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _noted(simulated: SimulatedCloud) -> Iterator[None]:
    """Have the calls of releases noted that go through boto3, for as long as this cloud is open."""
    _open.append(simulated)
    try:
        yield
    finally:
        _open.remove(simulated)


_open: list[SimulatedCloud] = []


@functools.cache
def _client(service: str, region: str = REGION, retries: int = RETRIES) -> Any:
    """Make a boto3 client, once for all clouds: it takes longer than a small release."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": retries})
    made_up = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    client: Any = boto3.client(service, region_name=region, config=config, **made_up)  # type: ignore[call-overload]
    if retries != RETRIES:
        client.meta.events.register("provide-client-params.*.*", _keep_arguments)
        client.meta.events.register("before-call.*.*", functools.partial(_begin, service))
        client.meta.events.register("after-call.*.*", functools.partial(_end, service))
        client.meta.events.register("after-call-error.*.*", functools.partial(_end, service))
    if service == "s3":
        client.meta.events.register("after-call.s3.*", _tell_time)
    return client


def _keep_arguments(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["arguments"] = dict(params)


def _begin(service: str, model: Any, context: dict[str, Any], **_: Any) -> None:
    if _open:
        _open[-1].calls.begin(f"{service}:{model.name}", context["arguments"])


def _end(service: str, context: dict[str, Any], event_name: str, **_: Any) -> None:
    if _open:
        _open[-1].calls.end(f"{service}:{event_name.rsplit('.', 1)[1]}", context["arguments"])


def _tell_time(parsed: dict[str, Any], **_: Any) -> None:
    """Say what time S3 has, as S3 does with every answer; moto leaves it out of some."""
    from werkzeug.http import http_date

    if _open:
        parsed["ResponseMetadata"]["HTTPHeaders"].setdefault("date", http_date(_open[-1].cloud.utcnow()))
