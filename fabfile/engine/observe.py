"""One look at the world: everything that a decision may rest on, read anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from ..plan.fleet import LEAVING_TAG, RELEASE_TAG, Facts, Gate, Image, Instance, Lifecycle, Power
from ..plan.release import Record
from ..plan.sides import is_committed
from ..tools import autoscaling, cloudwatch, ec2, elb, health

if TYPE_CHECKING:
    from ..plan.settings import Settings

Asker = Callable[[Mapping[str, str]], dict[str, tuple[bool, str]]]


class Observer:
    """Looks at one env's fleet, and remembers as many looks as facts must hold for."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime], ask: Asker | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._ask = ask or self._ask_over_http
        self._images: dict[str, Image] = {}
        self._last: Facts | None = None
        self._known: dict[str, Instance] = {}
        self._passed: set[str] = set()
        self._expected: dict[str, Instance] = {}
        self._seen: autoscaling.GroupFacts | None = None
        self._delays: dict[tuple[str, ...], elb.Delays] = {}

    def look(self, record: Record | None = None, shut: Mapping[Gate, str] | None = None) -> Facts:
        """Read the group, its instances and those of a release, and every load balancer's word on each.

        :param record: the release whose instances outside the group belong to the picture.
        :param shut: gates that are not open yet.
        """
        settings = self._settings
        seen = self._seen = autoscaling.read_group(settings, self._seen)
        read = ec2.read_instances(settings, [*seen.members, *(record.launched if record else ())], _tags_of(record))
        joined, unseen = self._joined(seen, read, record)
        delays = self._read_delays(seen) if record else elb.Delays(0, 0)
        self._learn_images({i.image_id for i in joined.values()} | {seen.blueprint.image_id})
        facts = Facts(
            at=self._clock(),
            group=seen.group,
            instances=self._asked(self._checked(joined), record),
            balancers=elb.read_balancers(settings, seen.target_groups, seen.classic),
            images=dict(self._images),
            template_image=seen.blueprint.image_id,
            alarms=cloudwatch.read_alarms(settings, settings.release.alarms) if settings.release.alarms else {},
            unseen=unseen,
            retained=seen.retained,
            shut=shut or {},
            drain_s=delays.drain_s,
            slow_start_s=delays.slow_start_s,
            before=self._recent(),
        )
        self._last = facts
        return facts

    def _joined(
        self, seen: autoscaling.GroupFacts, read: dict[str, Instance], record: Record | None
    ) -> tuple[dict[str, Instance], tuple[str, ...]]:
        """Join what the group and EC2 say; an id that EC2 left out this time is as it was when it did not.

        Instances that the group retains are nobody's here: they never go by themselves, and are not ours to end.

        :returns: instances by id, and the members that EC2 never knew.
        """
        self._known.update(read)
        wanted = {*read, *seen.members, *(record.launched if record else ())} - set(seen.retained)
        joined: dict[str, Instance] = {}
        for instance_id in wanted:
            instance = self._known.get(instance_id) or self._expected.get(instance_id)
            if instance is not None:
                joined[instance_id] = _as_member(instance, seen.members.get(instance_id))
        leaving = Lifecycle.LEAVING
        unseen = tuple(sorted(i for i, m in seen.members.items() if i not in joined and m.lifecycle is not leaving))
        return joined, unseen

    def _checked(self, instances: dict[str, Instance]) -> dict[str, Instance]:
        """Ask for EC2's status checks where they matter: before an instance gets traffic, and until they pass."""
        outside = {i.id for i in instances.values() if i.power is Power.RUNNING and not i.in_group}
        to_ask = sorted(outside - self._passed)
        if to_ask:
            self._passed |= ec2.read_passing(self._settings, to_ask)
        passing = {
            key for key, i in instances.items() if i.power is Power.RUNNING and (key in self._passed or i.in_group)
        }
        return {key: replace(i, checks_pass=True) if key in passing else i for key, i in instances.items()}

    def expect(self, ids: Iterable[str], image_id: str, release_id: str) -> None:
        """Have instances in the picture that EC2 answered us with, whether or not it lists them yet."""
        self._expected.update({i: _newborn(i, image_id, release_id) for i in ids})

    def addresses(self) -> tuple[str, ...]:
        """Return the URLs that lead to the group of the newest look."""
        seen = self._seen or autoscaling.read_group(self._settings)
        return elb.read_addresses(self._settings, seen.target_groups, seen.classic)

    def drain_s(self) -> float:
        """Return how long the group's load balancers let instances finish their requests, at the longest."""
        return self._read_delays(self._seen or autoscaling.read_group(self._settings)).drain_s

    def _read_delays(self, seen: autoscaling.GroupFacts) -> elb.Delays:
        """Ask load balancers for their delays once: each asks for a call of its own."""
        asked = (*seen.target_groups, "", *seen.classic)
        if asked not in self._delays:
            self._delays[asked] = elb.read_delays(self._settings, seen.target_groups, seen.classic)
        return self._delays[asked]

    def _recent(self) -> Facts | None:
        """Return the looks before this one, cut to what confirmations ask for."""
        if self._last is None:
            return None
        keep = list(islice(self._last.looks(), self._settings.release.confirmations))
        chain: Facts | None = None
        for look in reversed(keep):
            chain = replace(look, before=chain)
        return chain

    def _learn_images(self, wanted: set[str]) -> None:
        if not wanted <= self._images.keys():
            self._images.update(ec2.read_images(self._settings))
            for image_id in wanted - self._images.keys():
                self._images[image_id] = Image(image_id, "?")

    def _asked(self, instances: dict[str, Instance], record: Record | None) -> dict[str, Instance]:
        """Ask the instances that might get traffic soon: those outside the group, and those that rest in Standby.

        Only over HTTP do they need an IPv4 address to be asked at.
        """
        if record is None:
            return instances
        to_ask = {
            i.id: i.address
            for i in instances.values()
            if i.power is Power.RUNNING and i.lifecycle in (Lifecycle.OUTSIDE, Lifecycle.STANDBY)
            if i.address or self._settings.release.health.via == "balancer"
        }
        answers = self._ask(to_ask)
        return {
            key: replace(i, answers=answers[key][0], answer=answers[key][1]) if key in answers else i
            for key, i in instances.items()
        }

    def _ask_over_http(self, addresses: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
        check = self._settings.release.health
        if check.via == "balancer":
            return dict.fromkeys(addresses, (True, "left to the load balancer"))
        return health.ask_all(addresses, check.path, check.port, check.timeout_s)


def _tags_of(record: Record | None) -> dict[str, str]:
    """Name the tags of a release's instances: those it started, and once old ones go, those on their way out."""
    if record is None:
        return {}
    leave = is_committed(record) or record.undo is not None
    return {RELEASE_TAG: record.id, **({LEAVING_TAG: record.id} if leave else {})}


def _as_member(instance: Instance, member: autoscaling.Membership | None) -> Instance:
    if member is None:
        return instance
    return replace(instance, lifecycle=member.lifecycle, group_healthy=member.healthy, protected=member.protected)


def _newborn(instance_id: str, image_id: str, release_id: str) -> Instance:
    """Stand in for an instance that RunInstances named and DescribeInstances does not know yet."""
    return Instance(
        id=instance_id,
        image_id=image_id,
        zone="",
        address="",
        power=Power.PENDING,
        checks_pass=False,
        lifecycle=Lifecycle.OUTSIDE,
        release=release_id,
    )


def look_once(settings: Settings, record: Record | None = None) -> Facts:
    """Take one look at an env, for those who only want to see."""
    return bystander(settings).look(record)


def bystander(settings: Settings) -> Observer:
    """Make an observer for those who only want to see, by the clock on the wall."""
    return Observer(settings, lambda: datetime.now(UTC))
