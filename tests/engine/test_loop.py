"""One turn of the loop at a time: what is written before what is done, and what becomes of a call that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from fabfile.engine.act import NoCapacityError
from fabfile.engine.loop import FAR_POLL_S, MAX_BUSY, MAX_SILENT_S, Clock, Company, Loop, Result
from fabfile.plan.fleet import Facts, Lifecycle
from fabfile.plan.outcome import NotRestored, Refusal
from fabfile.plan.release import Act, Ending, Goal, Record

from ..plan.fleets import (
    NEW,
    NOW,
    attached,
    cutover,
    facts,
    goal,
    marked,
    new,
    old,
    one_zone,
    record,
    resting,
    shielded,
)
from .conftest import Listener

WARM = facts(old(1), old(2), new(1), new(2))
READY = facts(shielded(1), shielded(2), new(1), new(2), max=12)
COLD = facts(old(1), old(2), new(1), new(2, answers=False))
SERVED = facts(attached(1, protected=False), attached(2, protected=False), template=NEW, pinned="8")
COMMITTED = marked("committed", 5)


class Enough(BaseException):
    """No more answers were foreseen: what led here has been seen."""


@dataclass
class Fake:
    """A world that stands still, in which each call meets the next of some errors; and a diary of what was done."""

    look_of_it: Facts
    errors: Iterable[BaseException | None] = ()
    learnt: Callable[[Act, Record], Record] = lambda act, record: record
    diary: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    writes: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self._errors = iter(self.errors)

    def look(self, _record: Record, _shut: object) -> Facts:
        return self.look_of_it

    def expect(self, ids: set[str], image_id: str, release_id: str) -> None:
        self.diary.append(f"expects {' '.join(sorted(ids))} {image_id} {release_id}")

    def do(self, act: Act, written: Record) -> Record:
        self.diary.append(type(act).__name__)
        if error := next(self._errors, Enough()):
            raise error
        return self.learnt(act, written)

    def write(self, written: Record) -> bool:
        self.diary.append("write")
        if self.writes():
            self.records.append(written)
            return True
        return False

    def close(self, _record: Record, ending: Ending, why: str, _at: datetime, **_more: object) -> None:
        self.diary.append(f"close {ending.value}: {why}")


def loop(fake: Fake, wish: Goal | None = None, **more: Any) -> Loop:
    clock = Clock(now=lambda: NOW, sleep=lambda _: None)
    world = cast("Any", fake)
    return Loop(
        goal=wish or goal(),
        poll_s=2,
        observer=world,
        hands=world,
        journal=world,
        clock=clock,
        screen=Listener(),
        **more,
    )


def turns(it: Loop, written: Record, number: int) -> list[float]:
    """Let at most so many pauses go by, as long as anything was foreseen; returns the seconds of each."""
    steps = it.steps(written)
    pauses: list[float] = []
    with suppress(Enough):
        while len(pauses) < number:
            pauses.append(next(steps))
    return pauses


def end(it: Loop, written: Record) -> Result:
    with pytest.raises(StopIteration) as stopped:
        turns(it, written, 1)
    assert isinstance(stopped.value.value, Result)
    return stopped.value.value


def refused(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AttachInstances")


def test_writes_what_it_will_do_before_it_does_it() -> None:
    fake = Fake(WARM)
    turns(loop(fake), record(), 1)
    assert fake.diary == ["write", "PrepareGroup"]
    assert fake.records[-1].prepared
    assert fake.records[-1].raised_max == 12


def test_writes_what_it_learnt_and_expects_whom_it_started() -> None:
    fake = Fake(
        facts(old(1), old(2), subnets=one_zone()),
        [None],
        lambda act, written: replace(written, launched=("i-new1", "i-new2")),
    )
    turns(loop(fake), record(launched=("i-new1",)), 1)
    assert fake.diary[:4] == ["write", "LaunchInstances", "expects i-new2 ami-2 r1", "write"]
    assert fake.records[1].launched == ("i-new1", "i-new2")


def test_does_nothing_when_its_lock_is_somebody_elses() -> None:
    fake = Fake(WARM)
    with pytest.raises(NotRestored, match="another process took over"):
        turns(loop(fake, lock=SimpleNamespace(lost=True, missed=None)), record(), 1)
    assert fake.diary == []


def test_does_nothing_when_somebody_else_wrote_the_record() -> None:
    fake = Fake(WARM, writes=lambda: False)
    with pytest.raises(NotRestored, match="another process goes on"):
        turns(loop(fake), record(), 1)
    assert fake.diary == ["write"]


@pytest.mark.parametrize(
    "error", [refused("ResourceContention"), refused("ValidationError", "i-new1 is already part of shop-prod")]
)
def test_takes_a_busy_aws_or_a_stale_look_for_no_failure_for_a_while(error: ClientError) -> None:
    fake = Fake(WARM, [error] * (MAX_BUSY + 1))
    it = loop(fake)
    turns(it, record(), MAX_BUSY)
    assert fake.records[-1].failures == 0
    turns(it, fake.records[-1], 1)
    assert fake.records[-1].failures == 1


def test_takes_back_whom_it_wrote_down_when_aws_says_that_they_cannot_be_moved() -> None:
    fleet = (shielded(1), shielded(2), attached(1), attached(2))
    fake = Fake(facts(*fleet, template=NEW, max=12), [refused("ValidationError", "i-old1 is not in InService")])
    turns(loop(fake), cutover(), 1)
    assert fake.diary == ["write", "EnterStandby", "write"]
    assert [written.rested for written in fake.records] == [("i-old1", "i-old2"), ()]


@pytest.mark.parametrize(
    "error", [refused("ResourceContention"), refused("InternalFailure"), OSError("connection lost")]
)
def test_takes_nothing_back_when_the_call_may_have_been_heard(error: Exception) -> None:
    fake = Fake(READY, [error])
    turns(loop(fake), record(prepared=True, raised_max=12), 1)
    assert {written.attached for written in fake.records} == {("i-new1", "i-new2")}


def test_writes_down_as_certain_what_aws_has_done() -> None:
    fleet = (resting(1), resting(2), attached(1), attached(2))
    fake = Fake(facts(*fleet, max=12), [None])
    turns(loop(fake), cutover(undo="sick", rested=("i-old1", "i-old2")), 1)
    assert fake.diary[:3] == ["write", "ExitStandby", "write"]
    assert [written.rested for written in fake.records[:2]] == [("i-old1", "i-old2"), ()]


def test_counts_failures_in_a_row_and_gives_up_on_the_fifth() -> None:
    fake = Fake(WARM, [RuntimeError("no such thing")] * 5)
    it = loop(fake)
    turns(it, record(), 9)
    counted = [written.failures for written in fake.records]
    assert sorted(set(counted) - {0}) == [1, 2, 3, 4, 5]
    assert fake.records[-1].undo == "gave up after 5 failed calls in a row: no such thing"


def test_forgets_failures_that_it_overcame() -> None:
    fake = Fake(WARM, [RuntimeError("no such thing"), None])
    turns(loop(fake), record(), 2)
    failed, overcame = fake.records[1:3]
    assert (failed.failures, failed.trouble) == (1, "no such thing")
    assert (overcame.failures, overcame.trouble) == (1, "no such thing"), "written before it is tried again"
    assert (fake.records[3].failures, fake.records[3].trouble) == (0, "")


def test_turns_back_at_once_when_a_stage_refuses_unless_it_is_too_late() -> None:
    fake = Fake(WARM, [Refusal("no such version")])
    turns(loop(fake), record(), 1)
    assert fake.records[-1].undo == "no such version"
    fake = Fake(facts(attached(1), attached(2), template=NEW, pinned="8"), [Refusal("no such version")])
    turns(loop(fake), cutover(marks=COMMITTED), 1)
    assert (fake.records[-1].undo, fake.records[-1].failures) == (None, 1)


def test_goes_to_another_zone_when_one_has_no_capacity_and_counts_only_when_all_have_none() -> None:
    fake = Fake(facts(old(1), old(2)), [NoCapacityError("none")] * 2)
    it = loop(fake)
    turns(it, record(), 1)
    one = fake.records[-1]
    assert (one.barren, one.failures) == (("a",), 0)
    assert one.short == 1, "the next call has a token of its own"
    turns(it, one, 1)
    both = fake.records[-1]
    assert (both.barren, both.failures) == ((), 1)


def test_goes_on_from_what_was_written_when_aws_is_silent_and_not_for_ever() -> None:
    fake = Fake(WARM)
    it = loop(fake)
    seconds = count()
    it.clock = Clock(now=lambda: NOW + timedelta(seconds=next(seconds)), sleep=lambda _: None)
    it.observer = cast("Any", SimpleNamespace(look=lambda *_: 1 / 0))
    assert len(turns(it, record(), MAX_SILENT_S)) == MAX_SILENT_S, "AWS may be away for a while"
    with pytest.raises(NotRestored, match="AWS cannot be read: division by zero"):
        turns(it, record(), MAX_SILENT_S)


def test_has_all_the_patience_in_the_world_while_its_moment_is_far() -> None:
    fake = Fake(WARM)
    it = loop(fake, goal(at=NOW + timedelta(seconds=9 * MAX_SILENT_S)))
    seconds = count()
    it.clock = Clock(now=lambda: NOW + timedelta(seconds=next(seconds)), sleep=lambda _: None)
    it.observer = cast("Any", SimpleNamespace(look=lambda *_: 1 / 0))
    assert len(turns(it, record(), 5 * MAX_SILENT_S)) == 5 * MAX_SILENT_S


def test_stops_when_it_is_told_to_although_aws_is_silent() -> None:
    fake, stop = Fake(COLD), iter([False, True])
    it = loop(fake, company=Company(stop=lambda: next(stop)))
    turns(it, record(), 1)
    it.observer = cast("Any", SimpleNamespace(look=lambda *_: 1 / 0))
    ended = end(it, record())
    assert (ended.ending, ended.why) == (Ending.STOPPED, "while AWS cannot be read: division by zero")


def test_bears_it_that_aws_says_there_is_no_such_group() -> None:
    def look(*_: object) -> Facts:
        raise Refusal("no Auto Scaling group shop-prod")

    it = loop(Fake(WARM))
    it.observer = cast("Any", SimpleNamespace(look=look))
    assert turns(it, record(), 3) == [2, 2, 2]


def test_counts_silence_in_a_row() -> None:
    fake = Fake(COLD)
    it = loop(fake)
    seconds = count()
    it.clock = Clock(now=lambda: NOW + timedelta(seconds=next(seconds)), sleep=lambda _: None)
    answers = iter([False] * (MAX_SILENT_S - 9) + [True] + [False] * (MAX_SILENT_S - 9))

    def look(written: Record, shut: object) -> Facts:
        if next(answers):
            return fake.look_of_it
        raise OSError("no route")

    it.observer = cast("Any", SimpleNamespace(look=look))
    assert len(turns(it, record(), 2 * MAX_SILENT_S - 17)) == 2 * MAX_SILENT_S - 17


def test_does_not_act_on_a_record_that_it_could_not_write() -> None:
    def writes() -> bool:
        raise OSError("S3 is away")

    fake = Fake(WARM, writes=writes)
    turns(loop(fake), record(), 3)
    assert fake.diary == ["write"] * 3


def test_writes_the_beginning_of_a_wait_once() -> None:
    fake = Fake(COLD)
    assert turns(loop(fake), record(), 3) == [2, 2, 2]
    assert fake.diary == ["write"]
    assert fake.records[-1].mark("warm#0") == NOW


def test_looks_again_right_at_the_moment_and_seldom_when_that_is_far() -> None:
    assert turns(loop(Fake(WARM), goal(at=NOW + timedelta(hours=5))), record(), 1) == [FAR_POLL_S]
    prepared = record(prepared=True, raised_max=12)
    shields = facts(shielded(1), shielded(2), new(1), new(2), max=12)
    assert turns(loop(Fake(shields), goal(at=NOW + timedelta(seconds=0.5))), prepared, 1) == [0.5]
    assert turns(loop(Fake(shields), goal(at=NOW + timedelta(seconds=50))), prepared, 1) == [2]


def test_turns_back_when_another_group_does_unless_it_is_too_late() -> None:
    company = Company(called_off=lambda: "shop-eu failed")
    fake = Fake(facts(shielded(1), shielded(2), attached(1), attached(2), sick=("i-old1",), max=12))
    turns(loop(fake, company=company), cutover(), 1)
    assert fake.records[0].undo == "shop-eu failed"
    assert end(loop(Fake(SERVED), company=company), cutover(marks=COMMITTED, raised_max=None)).ending is Ending.DONE


def test_stops_where_it_is_and_not_when_it_is_over() -> None:
    company = Company(stop=lambda: True)
    fake = Fake(WARM)
    stopped = end(loop(fake, company=company), record())
    assert (stopped.ending, stopped.why) == (Ending.STOPPED, "before the next step (PrepareGroup)")
    assert fake.diary == []
    assert end(loop(Fake(SERVED), company=company), cutover(marks=COMMITTED, raised_max=None)).ending is Ending.DONE


def test_what_was_stopped_with_it_has_not_failed() -> None:
    stops = iter([False, True, True])
    fake = Fake(WARM, [RuntimeError("killed by the same Ctrl-C")])
    assert end(loop(fake, company=Company(stop=lambda: next(stops))), record()).ending is Ending.STOPPED
    assert fake.records[-1].failures == 0


def test_closes_what_is_done_and_keeps_what_is_not() -> None:
    fake = Fake(SERVED)
    assert end(loop(fake), cutover(marks=COMMITTED, raised_max=None)).ending is Ending.DONE
    assert fake.diary == ["close done: 2.0.0 serves shop-prod on 2 instances"]
    fake = Fake(facts(old(1), old(2)))
    assert end(loop(fake), record(undo="sick")).ending is Ending.RESTORED
    assert fake.diary == ["close restored: sick"]
    fake = Fake(WARM)
    assert end(loop(fake), record(undo="sick", failures=10)).ending is Ending.NOT_RESTORED
    assert not [line for line in fake.diary if line.startswith("close")]


def test_tells_history_nothing_of_a_release_that_is_another_ones_by_now() -> None:
    fake = Fake(SERVED)
    it = loop(fake, lock=cast("Any", SimpleNamespace(lost=True, missed=None)))
    with pytest.raises(NotRestored, match="another process took over"):
        turns(it, cutover(marks=COMMITTED, raised_max=None), 1)
    assert fake.diary == []


def test_writes_down_that_it_is_staged() -> None:
    fake = Fake(WARM)
    assert end(loop(fake, goal(stage=True)), record()).ending is Ending.STAGED
    assert fake.records[-1].staged


def test_keeps_the_cause_and_what_a_witness_saw() -> None:
    seen = SimpleNamespace(gather=lambda *_: SimpleNamespace(lines=("i-new2: out of memory",)))
    fake = Fake(facts(shielded(1), shielded(2), attached(1), attached(2), sick=("i-new2",), max=12))
    late = cutover(marks=marked("healthy#2", 301), failures=3)
    turns(loop(fake, witness=seen), late, 1)
    turned = fake.records[0]
    assert turned.undo is not None
    assert turned.undo.startswith("not healthy within 300 s")
    assert (turned.cause, turned.owed, turned.failures) == ("health", ("i-new2",), 0)
    fake = Fake(facts(shielded(1), shielded(2), attached(2, lifecycle=Lifecycle.ENTERING_STANDBY)))
    turns(loop(fake, witness=seen), replace(turned, rested=("i-new2",), raised_max=None), 1)
    assert (fake.records[0].owed, fake.records[0].evidence) == (None, ("i-new2: out of memory",))


def test_brings_users_back_before_it_looks_for_the_cause() -> None:
    diary: list[str] = []
    fake = Fake(facts(resting(1), resting(2), attached(1), attached(2), sick=("i-new2",), max=12), [None], diary=diary)

    def gather(*_: object) -> SimpleNamespace:
        diary.append("gather")
        return SimpleNamespace(lines=("i-new2: out of memory",))

    seen = SimpleNamespace(gather=gather)
    written = cutover(rested=("i-old1", "i-old2"), undo="sick", owed=("i-new2",))
    turns(loop(fake, witness=seen), written, 1)
    assert diary == ["write", "ExitStandby", "write", "write", "ExitStandby"]
