"""Several groups released as one: none serves before all are warm, and all go back if one fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fabfile.engine import convoy as convoys
from fabfile.engine.convoy import groups_of, names_of, operate_all
from fabfile.engine.loop import Result
from fabfile.engine.operate import Errand, Means, Order, journal_of
from fabfile.localcloud.models import Behaviour
from fabfile.localcloud.world import World, provision_world
from fabfile.plan.fleet import Facts
from fabfile.plan.outcome import NotRestored, Refusal
from fabfile.plan.release import Act, Attach, Ending, Kind, Record, Wish
from fabfile.plan.settings import Settings
from fabfile.tools import autoscaling

from ..plan.fleets import facts, old
from .conftest import Listener, Operator
from .stories import alarm


class Convoy:
    """An operator with two groups, and what each of them serves over time."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.worlds = [
            operator.world,
            provision_world(operator.cloud, name="shop-west", capacity=2, beside=operator.world),
        ]
        operator.release_settings["groups"] = {"east": {"group": "shop-prod"}, "west": {"group": "shop-west"}}
        self.seen: list[tuple[frozenset[str], ...]] = []

        def watch() -> None:
            now = tuple(frozenset(self.served(world)) for world in self.worlds)
            if not self.seen or self.seen[-1] != now:
                self.seen.append(now)

        operator.cloud.clock.at_each_step(watch)

    def served(self, world: World) -> set[str]:
        balancers, hosts = self.operator.cloud.balancers, self.operator.cloud.hosts
        pools = [pool for pool in balancers.pools if world.group in pool]
        return {hosts.version(each) for pool in pools for each in balancers.serving(pool)}

    def release(self, version: str, *, abort: bool = False, kind: Kind = Kind.RELEASE, **wish: Any) -> list[Result]:
        order = Order(kind, version, "ann", abort=abort, wish=Wish(**wish), bad=True)
        return operate_all(self.operator.settings, order, self.operator.means)

    def is_clean(self) -> bool:
        groups = [world.describe_group() for world in self.worlds]
        return not any(
            group["SuspendedProcesses"]
            or [i for i in group["Instances"] if i["ProtectedFromScaleIn"] or i["LifecycleState"] != "InService"]
            for group in groups
        )


@pytest.fixture
def convoy(operator: Operator) -> Convoy:
    return Convoy(operator)


def endings(results: list[Result]) -> list[Ending]:
    return [result.ending for result in results]


def test_releases_one_group_after_another_by_default(convoy: Convoy) -> None:
    assert endings(convoy.release("2.0.0")) == [Ending.DONE, Ending.DONE]
    assert [convoy.served(world) for world in convoy.worlds] == [{"2.0.0"}, {"2.0.0"}]
    # The second group saw nothing of the new version before the first one had nothing else.
    assert (frozenset({"2.0.0"}), frozenset({"1.0.0"})) in convoy.seen
    assert convoy.is_clean()


def test_releases_them_together_where_that_is_asked_for(convoy: Convoy) -> None:
    convoy.operator.release_settings["together"] = True
    assert endings(convoy.release("2.0.0")) == [Ending.DONE, Ending.DONE]
    assert (frozenset({"2.0.0"}), frozenset({"1.0.0"})) not in convoy.seen
    assert convoy.is_clean()


@pytest.mark.parametrize("together", [False, True])
def test_puts_all_back_if_one_fails(convoy: Convoy, together: bool) -> None:
    convoy.operator.release_settings["together"] = together
    convoy.operator.world.image("4.0.0", Behaviour(version="4.0.0", sick_s=70), {"headway:project": "shop"})
    old = [sorted(world.members()) for world in convoy.worlds]
    # In the east it turns sick while the west is still being served.
    results = convoy.release("4.0.0", soak_s=300)
    assert endings(results) == [Ending.RESTORED, Ending.RESTORED]
    assert [sorted(world.members()) for world in convoy.worlds] == old
    assert [convoy.served(world) for world in convoy.worlds] == [{"1.0.0"}, {"1.0.0"}]
    assert convoy.is_clean()


def test_keeps_the_old_instances_of_one_until_the_others_serve(convoy: Convoy) -> None:
    """The east is through with all of it when the west turns out to be sick: it has to be able to go back."""
    cloud, (east, west) = convoy.operator.cloud, convoy.worlds
    old = sorted(east.members())

    def sicken() -> None:
        for each in west.members(None):
            if cloud.hosts.version(each) == "2.0.0":
                cloud.hosts.script(each, sick_s=0)

    cloud.clock.at_each_step(sicken)
    assert endings(convoy.release("2.0.0")) == [Ending.RESTORED, Ending.RESTORED]
    assert (frozenset({"2.0.0"}), frozenset({"1.0.0"})) in convoy.seen
    assert sorted(east.members()) == old
    cloud.clock.sleep(60)  # the group in the west lets go of the one that it launched for a sick one
    assert convoy.served(west) == {"1.0.0"}
    assert convoy.is_clean()


def test_touches_none_when_one_is_refused(convoy: Convoy) -> None:
    client = convoy.operator.cloud.client("autoscaling")
    client.suspend_processes(AutoScalingGroupName="shop-west", ScalingProcesses=["Launch"])
    with pytest.raises(Refusal, match=r"shop-west has Launch suspended"):
        convoy.release("2.0.0")
    assert convoy.operator.screen.acts == []
    assert all(journal_of(each).read() is None for each in groups_of(convoy.operator.settings))


@pytest.mark.parametrize("looks", [3, 10, 20, 30, 40])
def test_goes_on_in_all_groups_after_a_stop(convoy: Convoy, looks: int) -> None:
    convoy.operator.stop_after(looks)
    assert Ending.STOPPED in endings(convoy.release("2.0.0"))
    convoy.operator.stop = lambda: False
    assert endings(convoy.release("2.0.0")) == [Ending.DONE, Ending.DONE]
    assert [convoy.served(world) for world in convoy.worlds] == [{"2.0.0"}, {"2.0.0"}]
    assert convoy.is_clean()


@pytest.mark.parametrize("looks", [3, 10, 20, 30])
def test_puts_all_groups_back_on_request(convoy: Convoy, looks: int) -> None:
    old = [sorted(world.members()) for world in convoy.worlds]
    convoy.operator.stop_after(looks)
    convoy.release("2.0.0")
    convoy.operator.stop = lambda: False
    assert set(endings(convoy.release("", abort=True))) == {Ending.RESTORED}
    assert [sorted(world.members()) for world in convoy.worlds] == old
    assert convoy.is_clean()


def test_refuses_to_put_back_where_no_group_has_begun(convoy: Convoy) -> None:
    with pytest.raises(Refusal, match="no release in progress"):
        convoy.release("", abort=True)


def test_cuts_all_groups_over_at_the_minute(convoy: Convoy) -> None:
    convoy.operator.release_settings["together"] = True
    at = convoy.operator.cloud.clock.now() + timedelta(minutes=5)
    assert endings(convoy.release("2.0.0", at=at)) == [Ending.DONE, Ending.DONE]
    assert convoy.operator.cloud.clock.now() > at


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("later_s", range(6))
def test_never_ends_on_two_versions_whenever_an_alarm_sounds(convoy: Convoy, keep: bool, later_s: int) -> None:
    """From the last group's first look at the end on, all go back or none does."""
    operator, (_, west) = convoy.operator, convoy.worlds
    operator.release_settings.update(keep_previous=keep, alarms=["shop-errors"])
    alarm(operator.cloud, "shop-errors", "OK")
    clock, rests = operator.cloud.clock, [0.0]

    def sound() -> None:
        alarm(operator.cloud, "shop-errors", "ALARM")

    def rest() -> None:
        rests.append(clock.elapsed_s)
        clock.when(lambda: clock.elapsed_s >= rests[-1] + 10 + later_s, sound)

    clock.when(lambda: convoy.served(west) == {"2.0.0"}, rest)
    ended = endings(convoy.release("2.0.0"))
    assert ended in ([Ending.DONE] * 2, [Ending.RESTORED] * 2)
    assert convoy.served(convoy.worlds[0]) == convoy.served(west)


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_one_that_let_its_old_instances_go_binds_the_others_after_a_stop_as_well(convoy: Convoy, looks: int) -> None:
    """The first to commit is stopped with the rest; what sounds when they go on cannot part them."""
    operator = convoy.operator
    operator.release_settings["alarms"] = ["shop-errors"]
    alarm(operator.cloud, "shop-errors", "OK")
    seen = [0]

    def stop() -> bool:
        seen[0] += "Detach" in operator.screen.acts
        return seen[0] >= looks

    operator.stop = stop
    assert Ending.STOPPED in endings(convoy.release("2.0.0"))
    operator.stop = lambda: False
    alarm(operator.cloud, "shop-errors", "ALARM")
    assert endings(convoy.release("2.0.0")) == [Ending.DONE, Ending.DONE]
    assert [convoy.served(world) for world in convoy.worlds] == [{"2.0.0"}, {"2.0.0"}]


class Stumbling(Listener):
    """A screen that fails as nobody expected once its group's new instances are to serve."""

    def acting(self, act: Act, facts: Facts) -> None:
        super().acting(act, facts)
        if isinstance(act, Attach):
            raise KeyError("what nobody expected")


def test_puts_the_others_back_whatever_one_of_them_stumbles_over(convoy: Convoy) -> None:
    operator, east = convoy.operator, convoy.worlds[0]
    old = sorted(east.members())
    means = replace(operator.means, screen=lambda each: Stumbling() if each.group == "shop-west" else operator.screen)
    with pytest.raises(NotRestored, match=r"shop-west: KeyError: 'what nobody expected'"):
        operate_all(operator.settings, Order(Kind.RELEASE, "2.0.0", "ann"), means)
    assert "shop-west failed: KeyError: 'what nobody expected'" in operator.screen.reasons
    assert sorted(east.members()) == old
    assert convoy.served(east) == {"1.0.0"}


def test_leaves_no_record_in_one_group_when_another_process_begins_in_the_other(
    convoy: Convoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = (journal_of(each) for each in groups_of(convoy.operator.settings))
    write = Errand.write

    def overtaken(errand: Errand, record: Record) -> Record:
        if east.read() is not None:  # the east is written: right now somebody else begins in the west
            west.write(replace(record, id="theirs"))
        return write(errand, record)

    monkeypatch.setattr(Errand, "write", overtaken)
    with pytest.raises(Refusal, match="another process just began"):
        convoy.release("2.0.0")
    theirs = west.read()
    assert theirs is not None
    assert theirs.id == "theirs"
    assert east.read() is None


def test_calls_groups_of_one_name_by_their_regions_too(convoy: Convoy) -> None:
    places = {"us": ("shop", "us-east-1"), "eu": ("shop", "eu-west-1"), "more": ("more", "eu-west-1")}
    convoy.operator.release_settings["groups"] = {
        name: {"group": group, "region": region} for name, (group, region) in places.items()
    }
    groups = groups_of(convoy.operator.settings)
    assert names_of(groups) == ["shop in us-east-1", "shop in eu-west-1", "more"]


def test_keeps_groups_of_one_name_in_two_regions_apart(convoy: Convoy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups take each other's place as if the second one were of another region."""
    released: list[str] = []

    @contextmanager
    def locked(settings: Settings, order: Order, means: Means) -> Iterator[Any]:
        released.append(settings.region)
        yield SimpleNamespace(dismiss=lambda: None)

    def begun(errands: Sequence[Errand], order: Order) -> list[Result]:
        return [Result(Ending.DONE, each._settings.region, None, facts(old(1))) for each in errands]

    monkeypatch.setattr(convoys, "locked", locked)
    monkeypatch.setattr(convoys, "_begin", begun)
    monkeypatch.setattr(Errand, "clear_the_way", lambda _: None)
    convoy.operator.release_settings["groups"] = {
        "us": {"group": "shop-prod", "region": "us-east-1"},
        "eu": {"group": "shop-prod", "region": "eu-west-1"},
    }
    assert [result.why for result in convoy.release("2.0.0")] == ["us-east-1", "eu-west-1"]
    assert released == ["eu-west-1", "us-east-1"]


def test_no_group_stays_staged_when_another_is_put_back(convoy: Convoy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new instances in the west never answer; the east is warm long before that is known."""
    operator = convoy.operator
    ask = operator._ask
    west = journal_of(groups_of(operator.settings)[1])

    def none_answers_in_the_west(addresses: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
        record = west.read()
        launched = record.launched if record else ()
        return {each: (False, "503") if each in launched else said for each, said in ask(addresses).items()}

    monkeypatch.setattr(operator, "_ask", none_answers_in_the_west)
    assert endings(convoy.release("2.0.0", stage=True)) == [Ending.RESTORED, Ending.RESTORED]
    assert set(operator.leftovers()) == set(convoy.worlds[1].members())  # nothing outside both groups
    assert all(journal_of(each).read() is None for each in groups_of(operator.settings))


def test_says_what_became_of_every_group_when_one_cannot_go_on(convoy: Convoy, monkeypatch: pytest.MonkeyPatch) -> None:
    read = autoscaling.read_group

    def read_group(settings: Settings, *more: Any) -> Any:
        if settings.group == "shop-west" and "Attach" in convoy.operator.screen.acts:
            raise RuntimeError("RequestTimeout")
        return read(settings, *more)

    monkeypatch.setattr(autoscaling, "read_group", read_group)
    with pytest.raises(NotRestored) as lost:
        convoy.release("2.0.0")
    east, west = str(lost.value).splitlines()
    assert east.startswith("shop-prod: restored: shop-west failed: ")
    assert east.endswith("; shop-prod serves 1.0.0 on 3")
    assert west.startswith("shop-west: AWS cannot be read: RequestTimeout")
    assert west.endswith("when last looked at, shop-west serves 1.0.0 on 2")
