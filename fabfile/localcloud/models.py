"""Machines and load balancers that are only thought of: what the simulated cloud runs on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .balancers import Check, Member, MemberHealth, Pool, Seen
from .clock import VirtualClock
from .hosts import HostSpec, HostState, Power


@dataclass(frozen=True)
class Behaviour:
    """How machines of an image behave. Times are seconds.

    :param version: what the application says it is.
    :param boot_s: from the start until the machine runs.
    :param checks_s: from running until EC2's status checks pass; None for never.
    :param healthy_s: from running until the application answers 200; None for never.
    :param sick_s: from running until the application stops answering 200; None for never.
    :param dies_s: from running until the machine is gone; None for never.
    :param stop_s: from being told to stop or terminate until that is done.
    :param drain_s: how long the application's last requests take when it is drained.
    """

    version: str = "1.0.0"
    boot_s: float = 5.0
    checks_s: float | None = 20.0
    healthy_s: float | None = 3.0
    sick_s: float | None = None
    dies_s: float | None = None
    stop_s: float = 2.0
    drain_s: float = 4.0


@dataclass
class Machine:
    """One machine: what it was started as, how it behaves, and since when it is what it is."""

    spec: HostSpec
    behaviour: Behaviour
    power: Power
    since_s: float
    ordered: Power | None = None
    console: list[str] = field(default_factory=list)


STATES = {(power, passes): HostState(power, passes) for power in Power for passes in (False, True)}


class ModelHosts:
    """Machines that boot, pass checks, serve and die by the clock.

    :param images: how machines of each image behave.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.images: dict[str, Behaviour] = {}
        self.machines: dict[str, Machine] = {}
        self._by_address: dict[str, str] = {}
        self._next: deque[Behaviour] = deque()

    def script_next(self, *behaviours: Behaviour) -> None:
        """Let the next machines that are started behave so, whatever their image."""
        self._next.extend(behaviours)

    def script(self, instance_id: str, **changes: object) -> None:
        """Change how one machine behaves, such as ``dies_s`` from its running on."""
        machine = self.machines[instance_id]
        machine.behaviour = replace(machine.behaviour, **changes)  # type: ignore[arg-type]

    def kill(self, instance_id: str) -> None:
        """Let a machine be gone now."""
        self.machines.pop(instance_id, None)

    def start(self, spec: HostSpec) -> None:
        """Boot a machine."""
        behaviour = self._next.popleft() if self._next else self.images.get(spec.image_id)
        if behaviour is None:
            raise ValueError(f"no machine can be made of image {spec.image_id}")
        machine = Machine(spec, behaviour, Power.PENDING, self._clock.elapsed_s)
        machine.console.append(f"booting {spec.image_id}")
        self.machines[spec.instance_id] = machine
        self._by_address[spec.address] = spec.instance_id

    def stop(self, instance_id: str) -> None:
        """Begin to power off."""
        self._order(instance_id, Power.STOPPED)

    def terminate(self, instance_id: str) -> None:
        """Begin to shut down for good."""
        self._order(instance_id, Power.GONE)

    def states(self) -> dict[str, HostState]:
        """State of every machine; one that is not named is gone."""
        for machine in list(self.machines.values()):
            if machine.ordered or machine.power is not Power.RUNNING or machine.behaviour.dies_s is not None:
                self._advance(machine)
        return {
            instance_id: STATES[machine.power, self._checks_pass(machine)]
            for instance_id, machine in self.machines.items()
        }

    def save_image(self, instance_id: str, image_id: str) -> None:
        """Make an image; machines of it behave as this one."""
        self.images[image_id] = self.machines[instance_id].behaviour

    def delete_image(self, image_id: str) -> None:
        """Forget an image."""
        self.images.pop(image_id, None)

    def console(self, instance_id: str) -> str:
        """Tail of what the machine printed."""
        machine = self.machines.get(instance_id)
        return "\n".join(machine.console) if machine else ""

    def answer(self, address: str) -> int | None:
        """HTTP status that the application at an address answers with; None when nothing listens."""
        machine = self.machines.get(self._by_address.get(address, ""))
        return self.status(machine.spec.instance_id) if machine and machine.spec.address == address else None

    def status(self, instance_id: str) -> int | None:
        """HTTP status that an instance's application answers with; None when nothing listens.

        Nothing does from the moment on at which the machine is told to stop: services get their stop signal first.
        """
        machine = self.machines.get(instance_id)
        if machine is None or machine.power is not Power.RUNNING or machine.ordered is not None:
            return None
        behaviour, runs_s = machine.behaviour, self._clock.elapsed_s - machine.since_s
        if behaviour.healthy_s is None:
            return 503
        if runs_s < behaviour.healthy_s:
            return None
        return 503 if behaviour.sick_s is not None and runs_s >= behaviour.sick_s else 200

    def version(self, instance_id: str) -> str:
        """Version that an instance's application is."""
        return self.machines[instance_id].behaviour.version

    def _order(self, instance_id: str, power: Power) -> None:
        machine = self.machines.get(instance_id)
        if machine is not None:
            machine.ordered, machine.since_s = power, self._clock.elapsed_s

    def _advance(self, machine: Machine) -> None:
        passed_s, behaviour = self._clock.elapsed_s - machine.since_s, machine.behaviour
        if machine.ordered is not None:
            if passed_s >= behaviour.stop_s or machine.power is machine.ordered:
                self._become(machine, machine.ordered)
        elif machine.power is Power.PENDING and passed_s >= behaviour.boot_s:
            self._become(machine, Power.RUNNING)
        elif machine.power is Power.RUNNING and behaviour.dies_s is not None and passed_s >= behaviour.dies_s:
            self._become(machine, Power.GONE)

    def _become(self, machine: Machine, power: Power) -> None:
        machine.power, machine.since_s, machine.ordered = power, self._clock.elapsed_s, None
        machine.console.append(power.value)
        if power is Power.GONE:
            self.machines.pop(machine.spec.instance_id, None)

    def _checks_pass(self, machine: Machine) -> bool:
        checks_s = machine.behaviour.checks_s
        return (
            machine.power is Power.RUNNING
            and checks_s is not None
            and self._clock.elapsed_s - machine.since_s >= checks_s
        )


@dataclass
class Watched:
    """What a balancer knows of one member."""

    member: Member
    next_check_s: float
    busy_until_s: float = 0.0  # when its last request is answered, once it drains
    seen: Seen = Seen.INITIAL
    passed: int = 0
    failed: int = 0
    reason: str = ""
    description: str = ""
    said: MemberHealth | None = None  # None when it has changed since it was said

    def say(self, now_s: float) -> MemberHealth:
        """Say what it is; the same object for as long as nothing changes."""
        draining = self.member.draining
        requests = int(self.busy_until_s > now_s) if draining else int(self.seen is Seen.HEALTHY)
        if self.said is None or self.said.requests != requests:
            self.said = MemberHealth(self.seen, self.reason, self.description, requests)
        return self.said


class ModelBalancers:
    """Load balancers that check health by the clock and forward nothing.

    A new target is healthy with its first passed check
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html).
    """

    def __init__(self, clock: VirtualClock, hosts: ModelHosts) -> None:
        self._clock = clock
        self._hosts = hosts
        self.pools: dict[str, Pool] = {}
        self._watched: dict[str, dict[str, Watched]] = {}

    def apply(self, pools: Sequence[Pool]) -> None:
        """Serve exactly these pools."""
        before = self.pools
        self.pools = {pool.name: pool for pool in pools}
        watched: dict[str, dict[str, Watched]] = {}
        for pool in pools:
            earlier, known = before.get(pool.name), self._watched.get(pool.name, {})
            is_same = earlier is not None and earlier.members is pool.members
            watched[pool.name] = (
                known if is_same else {each.instance_id: self._watch(known, each) for each in pool.members}
            )
        self._watched = watched

    def _watch(self, known: Mapping[str, Watched], member: Member) -> Watched:
        watched, now_s = known.get(member.instance_id), self._clock.elapsed_s
        if watched is not None and watched.member.draining == member.draining:
            return watched
        served = watched is not None and watched.seen is Seen.HEALTHY
        machine = self._hosts.machines.get(member.instance_id)
        return Watched(member, now_s, now_s + (machine.behaviour.drain_s if machine and served else 0.0))

    def health(self) -> Mapping[tuple[str, str], MemberHealth]:
        """Health by (pool name, instance id)."""
        now_s = self._clock.elapsed_s
        found: dict[tuple[str, str], MemberHealth] = {}
        for name, members in self._watched.items():
            check = self.pools[name].check
            for instance_id, watched in members.items():
                if watched.next_check_s <= now_s and not watched.member.draining:
                    self._check(check, instance_id, watched)
                found[name, instance_id] = watched.say(now_s)
        return found

    def serving(self, pool_name: str) -> frozenset[str]:
        """Instances that a pool sends new requests to."""
        return self._in_state(pool_name, Seen.HEALTHY)

    def unhealthy(self, pool_name: str) -> frozenset[str]:
        """Instances whose health checks fail in a pool."""
        return self._in_state(pool_name, Seen.UNHEALTHY)

    def finishing(self) -> dict[tuple[str, str], float]:
        """Return when the last request of each draining instance that is busy will be answered, by pool and id."""
        now_s = self._clock.elapsed_s
        return {
            (name, instance_id): each.busy_until_s
            for name, members in self._watched.items()
            for instance_id, each in members.items()
            if each.busy_until_s > now_s and each.member.draining
        }

    def _in_state(self, pool_name: str, seen: Seen) -> frozenset[str]:
        return frozenset(
            instance_id
            for instance_id, each in self._watched.get(pool_name, {}).items()
            if each.seen is seen and not each.member.draining
        )

    def _check(self, check: Check, instance_id: str, watched: Watched) -> None:
        while watched.next_check_s <= self._clock.elapsed_s:
            watched.next_check_s += check.interval_s
            status = self._hosts.status(instance_id)
            if status == 200:
                watched.passed, watched.failed = watched.passed + 1, 0
            else:
                watched.passed, watched.failed = 0, watched.failed + 1
            needed = 1 if watched.seen is Seen.INITIAL else check.healthy_threshold
            if watched.passed >= needed:
                self._see(watched, Seen.HEALTHY, "", "")
            elif watched.failed >= check.unhealthy_threshold:
                reason = "Target.FailedHealthChecks" if status is None else "Target.ResponseCodeMismatch"
                words = "Health checks failed" + ("" if status is None else f" with these codes: [{status}]")
                self._see(watched, Seen.UNHEALTHY, reason, words)

    @staticmethod
    def _see(watched: Watched, seen: Seen, reason: str, description: str) -> None:
        if (watched.seen, watched.reason, watched.description) != (seen, reason, description):
            watched.seen, watched.reason, watched.description = seen, reason, description
            watched.said = None
