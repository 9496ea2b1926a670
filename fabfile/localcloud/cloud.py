"""AWS on a laptop: moto's API, corrected where AWS differs, over machines and load balancers that are given.

A correction is a class that takes the place of moto's own, or a function that takes the place of one answer. All are
named in :mod:`.corrections`; moto is pinned, so that what is replaced is known.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.base_backend import BackendDict
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.elb.models import elb_backends
from moto.elbv2.models import elbv2_backends

from . import direct_kept
from .corrections import ABSENT, Ec2Rules, swaps
from .faults import Failure, Faults
from .memory import Memory
from .scaling import step as step_group

if TYPE_CHECKING:
    from . import images
    from .balancers import Balancers, MemberHealth, Pool
    from .clock import Clock
    from .groups import Group
    from .hosts import Hosts
    from .instances import Instance
    from .registry import Registration, Registry

FORGOTTEN_AFTER_S = 3600.0  # a terminated instance is shown for about an hour


class Order(NamedTuple):
    """Work for the end of a tick, and how often it may be tried."""

    work: Callable[[], None]
    tries: int = 5


class Moment(Enum):
    """When, in the life of a call, its witness is told of it."""

    BEFORE = "before"
    AFTER = "after"


class Cloud:
    """The API and what drives it.

    :param hosts: the machines behind instances.
    :param balancers: the load balancers.
    :param clock: what tells the time.
    :param address_of: gives each load balancer, by its name, the address that becomes its DNSName and that its
        listeners bind; without it DNS names are made up.
    :param faults: what goes wrong on purpose.
    :param workers: does what takes long, such as saving an image.

    ``witness``, where it is set, is told of each call: the moment, boto3's name of the service, and the action. What
    it raises reaches the caller: a client that is killed before or after a call.
    """

    def __init__(
        self,
        hosts: Hosts,
        balancers: Balancers,
        clock: Clock,
        *,
        address_of: Callable[[str], str] | None = None,
        faults: Faults | None = None,
        workers: Executor | None = None,
    ) -> None:
        self.hosts = hosts
        self.balancers = balancers
        self.clock = clock
        self.address_of = address_of
        self.faults = faults or Faults()
        self.memory = Memory(self)
        self.witness: Callable[[Moment, str, str], None] | None = None
        self.workers = workers or ThreadPoolExecutor(max_workers=4, thread_name_prefix="localcloud")
        self.lock = threading.RLock()
        self.instances: dict[str, Instance] = {}  # by id, without those that are terminated
        self.changes = 0  # counts every change of an instance's state
        self.savings: list[images.Saving] = []
        self._begun = clock.now()
        self._tidied_s = 0.0
        self._orders: list[Order] = []
        self._ticking = threading.Lock()
        self._swapped: list[tuple[Any, str, Any]] = []

    def time_s(self) -> float:
        """Return the seconds of this cloud's life."""
        return (self.clock.now() - self._begun).total_seconds()

    def utcnow(self) -> datetime:
        """Return the time of day as moto has it: in UTC, without a zone."""
        return self.clock.now().replace(tzinfo=None)

    def before(self, action: str, service: str) -> Failure | None:
        """Begin a call of the API, whatever carries it: tell what it fails with instead of having an effect.

        Whoever answers calls asks this first, :meth:`.Memory.recall` for the answer, and :meth:`after` last.

        :param service: boto3's name of it.
        """
        if self.witness is not None:
            self.witness(Moment.BEFORE, service, action)
        direct_kept.note(service, action)
        return self.faults.before(service, action, self.time_s())

    def after(self, action: str, service: str) -> Failure | None:
        """End a call that has had its effect: tell what its client gets instead of the answer."""
        if self.witness is not None:
            self.witness(Moment.AFTER, service, action)
        return self.faults.after(service, action, self.time_s())

    def adopt(self, instance: Instance) -> None:
        """Watch over a new instance."""
        self.instances[instance.id] = instance

    def order(self, work: Callable[[], None]) -> None:
        """Have work done for which requests need not wait, in order, at the end of the next tick."""
        self._orders.append(Order(work))

    def add_image(self, image_id: str, name: str, tags: dict[str, str] | None = None, region: str = "us-east-1") -> str:
        """Register an image that the hosts know, such as the base image; return its id.

        :param image_id: ``ami-`` and hexadecimal digits, as the hosts know it.
        """
        backend = ec2_backends[DEFAULT_ACCOUNT_ID][region]
        assert isinstance(backend, Ec2Rules)  # noqa: S101 - install() comes first
        return str(backend.add_image(image_id, name, tags or {}).id)

    def tick(self) -> None:
        """Let everything happen that has become due: machines, load balancers, groups.

        What asks machines and balancers runs without the lock, so that requests are answered meanwhile.
        """
        with self._ticking:
            with self.lock:
                watched = [each for each in self.instances.values() if each.started]
            states = self.hosts.states()
            health = self.balancers.health()
            with self.lock:
                self._see(watched, states)
                self._hear(health)
                self._step()
                pools, told = self._pools()
                booting = [each for each in self.instances.values() if each.state == "pending" and not each.started]
                for instance in booting:
                    instance.started = True
                orders, self._orders = self._orders, []
            for instance in booting:
                self._boot(instance)
            failed = self._carry_out(orders)
            self.balancers.apply(pools)
            with self.lock:
                for registration in told:
                    registration.told = True
            if failed is not None:
                raise failed

    def install(self) -> None:
        """Put the corrections in place of moto's own. :meth:`uninstall` puts moto's back."""
        for owner, name, new in swaps(self):
            self._swapped.append((owner, name, getattr(owner, name, ABSENT)))
            setattr(owner, name, new)
        _forget_everything()

    def uninstall(self) -> None:
        """Put back what :meth:`install` replaced, and forget everything in the cloud."""
        _forget_everything()
        while self._swapped:
            owner, name, old = self._swapped.pop()
            if old is ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, old)
        self.workers.shutdown(wait=False)

    @contextmanager
    def installed(self) -> Iterator[Cloud]:
        """Have the corrections in place for a while."""
        self.install()
        try:
            yield self
        finally:
            self.uninstall()

    def app(self) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
        """Return the API as a WSGI application; requests and ticks take turns."""
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        dispatcher = DomainDispatcherApplication(create_backend_app)

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            length = environ.get("CONTENT_LENGTH")
            if length:  # read before the lock is taken: a slow upload holds up nobody
                environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(length)))
            with self.lock:
                body = dispatcher(environ, start_response)
                try:
                    return list(body)
                finally:
                    getattr(body, "close", lambda: None)()

        return answer

    def groups(self) -> list[Group]:
        """Return the Auto Scaling groups of all regions."""
        return [group for rules in _backends(autoscaling_backends) for group in rules.groups()]

    def sound_alarm(self, policy: str, breach: float = 0.0, alarm: str = "") -> None:
        """Run a scaling policy as its CloudWatch alarm would, where the group listens to alarms and is not cooling.

        :param breach: how far the metric is beyond the alarm's threshold, or beyond the target that is tracked.
        :param alarm: name of the alarm.
        """
        for rules in _backends(autoscaling_backends):
            found = rules.policies.get(policy)
            if found is None:
                continue
            group = rules.group(found.auto_scaling_group_name)
            if group.allows("AlarmNotification") and not found.is_cooling(group):
                found.execute(breach, alarm or f"{policy}-alarm")

    def _boot(self, instance: Instance) -> None:
        spec = instance.spec()
        try:
            self.hosts.start(spec)
        except Exception as error:
            with self.lock:
                instance.fail_to_boot(str(error))

    def _carry_out(self, orders: list[Order]) -> Exception | None:
        """Do the orders; one that fails is tried again at the next ticks. Returns what failed first."""
        first: Exception | None = None
        for order in orders:
            try:
                order.work()
            except Exception as error:
                first = first or error
                if order.tries > 1:
                    with self.lock:
                        self._orders.append(Order(order.work, order.tries - 1))
        return first

    def _see(self, watched: list[Instance], states: Any) -> None:
        now_s = self.time_s()
        for instance in watched:
            if instance.started:
                instance.see(states.get(instance.id), now_s)
        for instance in list(self.instances.values()):
            if instance.state == "shutting-down" and not instance.started:
                instance.end(None)
            if instance.state == "terminated":
                del self.instances[instance.id]
        if now_s - self._tidied_s > FORGOTTEN_AFTER_S / 60:
            self._tidied_s = now_s
            for rules in _backends(ec2_backends):
                rules.forget_terminated(FORGOTTEN_AFTER_S)
        self.savings = [
            saving
            for saving in self.savings
            if not saving.step(is_stopped=saving.instance.state == "stopped" or _is_off(states, saving.instance.id))
        ]

    def _hear(self, health: Any) -> None:
        reported: dict[tuple[str, str], MemberHealth] = dict(health)
        for registry in self._registries():
            registry.hear(reported)

    def _step(self) -> None:
        for rules in _backends(elbv2_backends, elb_backends):
            rules.step()
        for scaling in _backends(autoscaling_backends):
            for group in scaling.groups():
                step_group(scaling, group)

    def _pools(self) -> tuple[list[Pool], list[Registration]]:
        pools = [pool for rules in _backends(elbv2_backends, elb_backends) for pool in rules.pools()]
        told = [entry for registry in self._registries() for entry in registry.entries.values()]
        return pools, told

    def _registries(self) -> list[Registry]:
        return [registry for rules in _backends(elbv2_backends, elb_backends) for registry in rules.registries()]


def _forget_everything() -> None:
    """Make moto forget its data and the backends that hold it: resetting one makes another anew."""
    BackendDict.reset()
    for each in (ec2_backends, elb_backends, elbv2_backends, autoscaling_backends, cloudwatch_backends):
        each.clear()


def _is_off(states: Any, instance_id: str) -> bool:
    state = states.get(instance_id)
    return state is not None and state.power.value == "stopped"


def _backends(*dicts: Any) -> list[Any]:
    """Return the backends that exist, of all accounts and regions."""
    return [backend for each in dicts for regions in list(each.values()) for backend in list(regions.values())]
