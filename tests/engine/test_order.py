"""What surrounds an order: what is found under the lock, what is checked before it, and a terminal that goes away."""

from __future__ import annotations

import errno
import os
import signal
import sys
from dataclasses import replace

import pytest
from invoke.context import Context

from fabfile.engine import convoy as convoys
from fabfile.engine import operate as operating
from fabfile.engine.operate import Order, journal_of, locked, operate
from fabfile.engine.waiting import Turn
from fabfile.plan.outcome import Failed, NotRestored, Refusal
from fabfile.plan.reading import read_settings
from fabfile.plan.release import Ending, Kind, Wish
from fabfile.show.screen import PlainScreen
from fabfile.tools import apt, autoscaling

from .conftest import Operator

stage = sys.modules["fabfile.release"]  # the name itself is the task's
BACK = Order(Kind.ROLLBACK, "", "ann", bad=True)


def test_finds_what_to_roll_back_to_under_the_lock(operator: Operator) -> None:
    operator.release("2.0.0")
    settings = operator.settings
    operator.stop_after(14)
    operator.release("3.0.0")
    operator.stop = lambda: False
    with (
        locked(settings, Order(Kind.RELEASE, "3.0.0", "bob"), operator.means),
        pytest.raises(Refusal, match="bob is at it"),
    ):
        operate(settings, BACK, operator.means)
    with pytest.raises(Refusal, match=r"release of 3\.0\.0 .* is unfinished"):
        operate(settings, BACK, operator.means)
    operator.release("", abort=True)
    assert operate(settings, BACK, operator.means).ending is Ending.DONE
    assert operator.carried() == {"1.0.0"}


def test_refuses_to_roll_back_to_what_cannot_be_had_any_more(operator: Operator) -> None:
    operator.release("2.0.0")
    means = replace(operator.means, lacks=lambda order: f"{order.version} is not published")
    with pytest.raises(Refusal, match=r"1\.0\.0 is not published"):
        operate(operator.settings, BACK, means)


def test_asks_the_repository_for_no_version_that_nothing_is_lacking_of(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "why_not_published", lambda *_: "the Apt repository cannot be reached")
    why_not = stage._why_not_available
    assert why_not(operator.settings, Order(Kind.RELEASE, "2.0.0", "ann")) is None
    assert why_not(operator.settings, Order(Kind.RELEASE, "9.0.0", "ann")) == "the Apt repository cannot be reached"


def test_asks_the_repository_for_a_version_whose_migrations_are_still_to_run(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "why_not_published", lambda *_: "the Apt repository cannot be reached")
    raw = {"name": "shop", "release": operator.release_settings, "database": {"url": "env:SHOP_DATABASE"}}
    settings = read_settings({**raw, "envs": {"prod": {}}}, "prod")
    order = Order(Kind.RELEASE, "2.0.0", "ann")
    assert stage._why_not_available(settings, order) == "the Apt repository cannot be reached"
    operator.stop = lambda: "Attach" in operator.screen.acts
    operate(settings, order, operator.means)
    assert operator.migrated == ["2.0.0"]
    assert stage._why_not_available(settings, order) is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_in_line_ends_as_one_and_not_as_a_refusal(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def wait(*_: object) -> None:
        os.kill(os.getpid(), number)
        raise Refusal("stopped while waiting in line; nothing was touched")

    monkeypatch.setattr(convoys, "operate_all", wait)
    with pytest.raises(Failed, match="stopped while waiting in line; nothing was touched") as ended:
        stage.change(Context(), operator.settings, Order(Kind.RELEASE, "2.0.0", "ann"))
    assert ended.value.code == code


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EIO, "Input/output error"), ValueError("closed")],
)
def test_a_release_goes_on_without_anybody_who_listens(operator: Operator, error: Exception) -> None:
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        if len(written) > 8:
            raise error

    means = replace(operator.means, screen=lambda _: PlainScreen(operator.cloud.clock.now, write))
    assert operate(operator.settings, Order(Kind.RELEASE, "2.0.0", "ann"), means).ending is Ending.DONE
    assert len(written) > 9


def test_says_what_served_when_it_was_last_looked_at(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    read = autoscaling.read_group

    def read_group(settings: object, *more: object) -> object:
        if "EnterStandby" in operator.screen.acts:
            raise RuntimeError("ExpiredToken")
        return read(settings, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(autoscaling, "read_group", read_group)
    with pytest.raises(NotRestored, match=r"ExpiredToken.*shop-prod serves 1\.0\.0 on 3, 2\.0\.0 on 3"):
        operator.release("2.0.0")
    assert journal_of(operator.settings).read() is not None


@pytest.mark.parametrize(
    ("order", "supersedes"),
    [
        (Order(Kind.RELEASE, "2.0.0", "ann"), True),
        (Order(Kind.RELEASE, "2.0.0", "ann", wish=Wish(stage=True)), False),
        (Order(Kind.RELEASE, "", "ann", abort=True), False),
    ],
)
def test_what_releases_nothing_takes_nobodys_place_in_line(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, order: Order, supersedes: bool
) -> None:
    class SeenError(Exception):
        """Says that the line was reached."""

    def seen(*_: object, turn: Turn, **__: object) -> None:
        raise SeenError(turn.supersedes)

    monkeypatch.setattr(operating, "held", seen)
    operator.release_settings["supersede"] = True
    with pytest.raises(SeenError) as reached:
        operate(operator.settings, order, operator.means)
    assert reached.value.args == (supersedes,)
