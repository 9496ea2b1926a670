"""The small cloud and its engine do what the real engine does on the simulated cloud: act by act, call by call.

Told are stories whose order does not hang on how many seconds something takes: the small cloud has no seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fabfile.engine.act import Hands
from fabfile.plan.release import Act, Ending, LaunchInstances, Wait
from fabfile.tools import autoscaling, ec2
from tests.engine.conftest import Operator

from .calls import calls_of
from .engine import Engine, Turn
from .stories import PLAIN, fleet
from .world import Cloud, Nature, tick

ZONES = Nature(zones=("a", "b"))
OURS = {"headway:project": "shop"}


@dataclass(frozen=True)
class Heard:
    """Stands between a tool and its clients, and notes the operations that are asked for."""

    client: Callable[..., Any]
    calls: list[str]

    def __call__(self, *args: Any) -> Any:
        return HeardClient(self.client(*args), self.calls)


@dataclass(frozen=True)
class HeardClient:
    """A client whose operations are noted."""

    client: Any
    calls: list[str]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("describe"):  # the small cloud has nothing that it does not show
            self.calls.append(name.title().replace("_", ""))
        return getattr(self.client, name)


class Killed(BaseException):
    """Stands for kill -9."""


@dataclass
class Said:
    """What one side did: acts with how many instances each was about, and the calls that they were made of."""

    acts: list[tuple[str, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def begin(self, act: Act) -> None:
        """Note an act."""
        about = act.count if isinstance(act, LaunchInstances) else len(getattr(act, "ids", ()))
        self.acts.append((type(act).__name__, about))


@dataclass(frozen=True)
class Tale:
    """One story, told to both.

    :param release: settings of the release, which are the goal's fields as well.
    :param version: what is released to the simulated cloud, and its `nature` in the small one.
    :param after: the act after whose first time something happens; in each of the two clouds.
    :param killed: the engine dies there, and is started again: with --abort if so told.
    """

    name: str
    release: dict[str, Any] = field(default_factory=dict)
    version: str = "2.0.0"
    nature: Nature = ZONES
    after: str = ""
    happens: Callable[[Operator], None] = lambda _: None
    happens_small: Callable[[Cloud], Cloud] = lambda cloud: cloud
    killed: bool = False
    abort: bool = False
    ending: Ending = Ending.DONE


def _scale_in(operator: Operator) -> None:
    desired = operator.world.describe_group()["DesiredCapacity"] - 1
    operator.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=operator.world.group, DesiredCapacity=desired
    )


def _fewer(cloud: Cloud) -> Cloud:
    return cloud._replace(desired=cloud.desired - 1)


TALES = (
    Tale("plain"),
    Tale("soak", {"soak_s": 30}),
    Tale("batch", {"batch": 1}),
    Tale("canary", {"canary": 1, "canary_s": 30}),
    Tale("keep previous", {"keep_previous": True}),
    Tale("never answers", version="3.0.0", nature=ZONES._replace(new_works=False), ending=Ending.RESTORED),
    Tale("killed while it launches", after="LaunchInstances", killed=True),
    Tale("killed after it attached", after="Attach", killed=True),
    Tale("killed after Standby", after="EnterStandby", killed=True),
    Tale("killed while it lets go", after="Detach", killed=True),
    Tale("aborted after it launched", after="LaunchInstances", killed=True, abort=True, ending=Ending.RESTORED),
    Tale("aborted after it pointed", after="PointGroup", killed=True, abort=True, ending=Ending.RESTORED),
    Tale("aborted after Standby", after="EnterStandby", killed=True, abort=True, ending=Ending.RESTORED),
    Tale("scale-in", after="PointGroup", happens=_scale_in, happens_small=_fewer),
)


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale.name.replace(" ", "-"))
def test_both_engines_do_the_same(operator: Operator, monkeypatch: pytest.MonkeyPatch, tale: Tale) -> None:
    real, ending = tell(operator, monkeypatch, tale)
    small, small_ending = tell_small(tale)
    assert small.acts == real.acts
    assert small.calls == real.calls
    assert ending is tale.ending
    assert small_ending == {Ending.DONE: "Done", Ending.RESTORED: "Undone"}[tale.ending]


def tell(operator: Operator, monkeypatch: pytest.MonkeyPatch, tale: Tale) -> tuple[Said, Ending]:
    """Tell a story to the real engine on the simulated cloud."""
    said, do, pending = Said(), Hands.__dict__["do"], bool(tale.after)

    def doing(hands: Hands, act: Any, record: Any) -> Any:
        nonlocal pending
        said.begin(act)
        with monkeypatch.context() as patched:
            for tool in (autoscaling, ec2):
                patched.setattr(tool, "client", Heard(tool.client, said.calls))
            done = do.__get__(hands, Hands)(act, record)
        if pending and type(act).__name__ == tale.after:
            pending = False
            tale.happens(operator)
            if tale.killed:
                raise Killed
        return done

    monkeypatch.setattr(Hands, "do", doing)
    operator.release_settings.update(tale.release)
    try:
        return said, operator.release(tale.version).ending
    except Killed:
        return said, operator.release(tale.version, abort=tale.abort).ending


def tell_small(tale: Tale) -> tuple[Said, str]:
    """Tell it to the small one: time goes on whenever the engine waits."""
    said, pending = Said(), bool(tale.after)
    engine = Engine(replace(PLAIN, **tale.release), tale.nature)
    cloud = fleet(3, largest=6, zones="ab")
    turn = engine.start(cloud)
    while True:
        decision = engine.decision(cloud, turn)
        if isinstance(decision, Act):
            said.begin(decision)
            said.calls += [call.name for call in calls_of(decision) if call.name not in ("Bake", "Migrate")]
            turn = engine.act(cloud, turn, decision)
            intended = turn
            while turn.act >= 0:
                cloud, turn = engine.make(cloud, turn)
            if pending and type(decision).__name__ == tale.after:
                pending = False
                cloud = tale.happens_small(cloud)
                on = dict(engine.resume(cloud, intended))["abort" if tale.abort else "resume"]
                turn = on if tale.killed else engine.look(cloud, turn)
        elif isinstance(decision, Wait):
            cloud, turn = wait(engine, cloud, turn, decision)
        else:
            return said, type(decision).__name__


def wait(engine: Engine, cloud: Cloud, turn: Turn, decision: Wait) -> tuple[Cloud, Turn]:
    """Let time pass: what is under way goes on; where nothing is, the wait is over."""
    after = tick(cloud, engine.nature, engine.taken[turn.record])
    if after is not cloud:
        return after, engine.look(after, turn)
    expired = engine.expire(cloud, turn, decision)
    assert expired is not None, decision
    return cloud, expired
