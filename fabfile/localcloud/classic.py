"""Classic load balancers as Elastic Load Balancing has them: health that is measured, and draining.

Pages followed: instance health
(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeInstanceHealth.html) and connection
draining (https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.elb.exceptions import LoadBalancerNotFoundError
from moto.elb.models import ELBBackend
from moto.elb.models import LoadBalancer as MotoLoadBalancer
from moto.elb.responses import ELBResponse

from .balancers import Check, Pool, Seen
from .registry import Registry

if TYPE_CHECKING:
    from .cloud import Cloud

IN_SERVICE = ("InService", "N/A", "N/A")
LEAVING = ("InService", "N/A", "Instance deregistration currently in progress.")
LEFT = ("OutOfService", "Instance", "Instance is not currently registered with the LoadBalancer.")
STOPPED = ("OutOfService", "Instance", "Instance is in stopped state.")
REGISTERING = ("OutOfService", "ELB", "Instance registration is still in progress.")
FAILED = (
    "OutOfService",
    "Instance",
    "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
)
TARGET = re.compile(r"(?P<protocol>[A-Z]+):(?P<port>\d+)(?P<path>/.*)?")


class LoadBalancer(MotoLoadBalancer):
    """A classic load balancer whose instances are as healthy as the balancer finds them."""

    registry: Registry

    @property
    def instance_ids(self) -> list[str]:
        """Registered instances, without those that drain."""
        return [entry.instance_id for entry in self.registry.entries.values() if not entry.draining]

    @property
    def port(self) -> int:
        """The instances' port."""
        return int(self.listeners[0].instance_port)

    @property
    def delay_s(self) -> float:
        """Longest time that an instance may drain; 0 without connection draining."""
        draining = self.attributes["connection_draining"]
        enabled = str(draining.get("enabled", draining.get("Enabled"))).lower() == "true"
        return float(draining.get("timeout", draining.get("Timeout", 300))) if enabled else 0.0

    def check(self) -> Check:
        """Return its health check; without one a TCP connection to the instances' port is tried."""
        given = self.health_check
        match = TARGET.fullmatch(given.target if given else f"TCP:{self.port}")
        port, path = (int(match["port"]), match["path"] or "") if match else (self.port, "")
        return Check(
            path=path,
            port=port,
            interval_s=float(given.interval if given else 30),
            timeout_s=float(given.timeout if given else 5),
            healthy_threshold=int(given.healthy_threshold if given else 10),
            unhealthy_threshold=int(given.unhealthy_threshold if given else 2),
        )

    def pools(self) -> list[Pool]:
        """Return one pool for each port of the instances that listeners lead to; the first tells their health."""
        pools = []
        for port in dict.fromkeys(int(listener.instance_port) for listener in self.listeners):
            sockets = tuple(
                (self.dns_name, int(listener.load_balancer_port))
                for listener in self.listeners
                if int(listener.instance_port) == port
            )
            name = self.registry.pool if port == self.port else f"{self.registry.pool}-{port}"
            pools.append(Pool(name, sockets, self.check(), self.registry.members(port=port)))
        return pools


class ClassicRules(ELBBackend):
    """Classic load balancers with addresses that can be reached, and the pools behind them."""

    cloud: Cloud

    def create_load_balancer(self, name: str, *args: Any, **kwargs: Any) -> MotoLoadBalancer:
        """Create a load balancer at an address of this machine."""
        balancer = super().create_load_balancer(name, *args, **kwargs)
        assert isinstance(balancer, LoadBalancer)  # noqa: S101 - the class is swapped together with this one
        balancer.registry = Registry(self.cloud, f"clb-{name}")
        balancer.created_time = self.cloud.utcnow()
        if self.cloud.address_of is not None:
            balancer.dns_name = self.cloud.address_of(name)
        return balancer

    def get_load_balancer(self, load_balancer_name: str) -> LoadBalancer:
        """Return a load balancer, or the error that ELB has for a missing one."""
        balancer = self.load_balancers.get(load_balancer_name)
        if balancer is None:
            raise LoadBalancerNotFoundError(load_balancer_name)
        assert isinstance(balancer, LoadBalancer)  # noqa: S101 - the class is swapped together with this one
        return balancer

    def register_instances(
        self,
        load_balancer_name: str,
        instance_ids: Iterable[str],
        from_autoscaling: bool = False,
    ) -> MotoLoadBalancer:
        """Register instances."""
        balancer = self.get_load_balancer(load_balancer_name)
        for instance_id in instance_ids:
            balancer.registry.register(instance_id, balancer.port)
        return balancer

    def deregister_instances(
        self,
        load_balancer_name: str,
        instance_ids: Iterable[str],
        from_autoscaling: bool = False,
    ) -> MotoLoadBalancer:
        """Let instances drain, where connection draining is on."""
        balancer = self.get_load_balancer(load_balancer_name)
        for instance_id in instance_ids:
            balancer.registry.deregister(instance_id, balancer.delay_s)
        return balancer

    def describe_instance_health(self, lb_name: str, instances: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Say how the named instances are, or all that are registered."""
        balancer = self.get_load_balancer(lb_name)
        asked = [i["InstanceId"] for i in instances] or list(balancer.registry.entries)
        return [
            dict(
                zip(
                    ("InstanceId", "State", "ReasonCode", "Description"),
                    (instance_id, *self._words(balancer, instance_id)),
                    strict=True,
                )
            )
            for instance_id in asked
        ]

    def _words(self, balancer: LoadBalancer, instance_id: str) -> tuple[str, str, str]:
        entry = balancer.registry.entries.get(instance_id)
        instance = self.cloud.instances.get(instance_id)
        if entry is None or instance is None:
            return LEFT
        if entry.draining:
            return LEAVING
        if instance.state in ("stopping", "stopped"):
            return STOPPED
        if entry.seen is None or entry.seen.seen is Seen.INITIAL:
            return REGISTERING
        return IN_SERVICE if entry.seen.seen is Seen.HEALTHY else FAILED

    def registries(self) -> list[Registry]:
        """Return the books of all classic load balancers."""
        return [balancer.registry for balancer in self._all()]

    def step(self) -> None:
        """End draining with the last request or with its time, whichever comes first."""
        for balancer in self._all():
            balancer.registry.expire(idle_is_over=True)

    def pools(self) -> list[Pool]:
        """Return what the balancers are to serve."""
        return [pool for balancer in self._all() if balancer.listeners for pool in balancer.pools()]

    def _all(self) -> list[LoadBalancer]:
        return [balancer for balancer in self.load_balancers.values() if isinstance(balancer, LoadBalancer)]


def describe_instance_health(self: ELBResponse) -> ActionResult:
    """Show reason and description, instead of N/A."""
    states = self.elb_backend.describe_instance_health(
        self._get_param("LoadBalancerName"), self._get_param("Instances", [])
    )
    return ActionResult({"InstanceStates": states})


def register_instances_with_load_balancer(self: ELBResponse) -> ActionResult:
    """Register, and answer with the list that ELB answers with."""
    return _listed(self, self.elb_backend.register_instances)


def deregister_instances_from_load_balancer(self: ELBResponse) -> ActionResult:
    """Deregister, and answer with the list that ELB answers with."""
    return _listed(self, self.elb_backend.deregister_instances)


def _listed(response: ELBResponse, change: Any) -> ActionResult:
    instance_ids = [instance["InstanceId"] for instance in response._get_param("Instances", [])]
    balancer = change(response._get_param("LoadBalancerName"), instance_ids)
    return ActionResult({"Instances": balancer.instances})
