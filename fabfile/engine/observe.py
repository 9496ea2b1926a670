"""One look at the world: everything that a decision may rest on, read anew each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from ..plan.fleet import Facts, Image, Instance, Lifecycle, Power
from ..tools import autoscaling, ec2, elb, health

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
        self._known: set[str] = set()
        self._seen: autoscaling.GroupFacts | None = None

    def look(self, release_id: str | None = None, launched: tuple[str, ...] = (), image_id: str | None = None) -> Facts:
        """Read the group, its instances and those of a release, and every load balancer's word on each.

        :param release_id: the release whose instances outside the group belong to the picture.
        :param launched: ids that EC2 answered us with, whether or not it lists them yet.
        :param image_id: the image that those were launched from.
        """
        settings = self._settings
        seen = self._seen = autoscaling.read_group(settings, self._seen)
        instances = ec2.read_instances(settings, [*seen.members, *launched], release_id)
        self._known |= instances.keys()
        unlisted = {i: _newborn(i, image_id or "", release_id) for i in launched if i not in self._known}
        joined: dict[str, Instance] = dict(unlisted)
        for instance_id, instance in instances.items():
            member = seen.members.get(instance_id)
            joined[instance_id] = (
                instance
                if member is None
                else replace(
                    instance,
                    lifecycle=member.lifecycle,
                    group_healthy=member.healthy,
                    protected=member.protected,
                )
            )
        self._learn_images({i.image_id for i in joined.values()} | {seen.template_image})
        facts = Facts(
            at=self._clock(),
            group=seen.group,
            instances=self._asked(joined, release_id),
            balancers=elb.read_balancers(settings, seen.target_groups, seen.classic),
            images=dict(self._images),
            template_image=seen.template_image,
            before=self._recent(),
        )
        self._last = facts
        return facts

    def addresses(self) -> tuple[str, ...]:
        """Return the URLs that lead to the group of the newest look."""
        seen = self._seen or autoscaling.read_group(self._settings)
        return elb.read_addresses(self._settings, seen.target_groups, seen.classic)

    def forget(self) -> None:
        """Drop earlier looks: after an act they speak of another world."""
        self._last = None

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

    def _asked(self, instances: dict[str, Instance], release_id: str | None) -> dict[str, Instance]:
        """Ask the instances that might get traffic soon: those outside the group, and those that rest in Standby."""
        if release_id is None:
            return instances
        to_ask = {
            i.id: i.address
            for i in instances.values()
            if i.power is Power.RUNNING and i.lifecycle in (Lifecycle.OUTSIDE, Lifecycle.STANDBY) and i.address
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


def _newborn(instance_id: str, image_id: str, release_id: str | None) -> Instance:
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


def look_once(settings: Settings, release_id: str | None = None) -> Facts:
    """Take one look at an env, for those who only want to see."""
    return bystander(settings).look(release_id)


def bystander(settings: Settings) -> Observer:
    """Make an observer for those who only want to see, by the clock on the wall."""
    return Observer(settings, lambda: datetime.now(UTC))
