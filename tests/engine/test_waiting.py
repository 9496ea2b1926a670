"""Waiting in line, in one process: who goes first, what the waiter hears, and how it gives up."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import replace

import pytest

from fabfile.engine.claim import Stopwatch
from fabfile.engine.line import Line, Place, Standing, Ticket, displaces, goes_before, read_line
from fabfile.engine.lock import held
from fabfile.engine.waiting import Blocked, Contact, Turn, Waiter
from fabfile.plan.outcome import Refusal
from fabfile.plan.release import Kind
from fabfile.tools import s3
from fabfile.tools.ownership import this_process
from fabfile.tools.s3 import Bucket

TTL_S = 60.0
FOREIGN = "1@another-machine+1"


def ticket(version: str, kind: Kind = Kind.RELEASE, *, supersedes: bool = False, process: str = "") -> Ticket:
    return Ticket(secrets.token_hex(4), "bob", process or str(this_process()), kind, version, supersedes)


def stand(bucket: Bucket, waiting: Ticket) -> Place:
    place = Line(bucket, "prod", TTL_S).place(waiting)
    place.take()
    return place


def in_line(bucket: Bucket) -> list[str]:
    return [waiting.version for waiting in read_line(bucket, "prod", TTL_S)]


class Patient:
    """A stopwatch on which something happens while one sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.stopwatch = Stopwatch(lambda: self.now_s, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_first_come_first_served_unless_a_newer_one_supersedes_or_rolls_back() -> None:
    older, newer = Standing("1", ticket("1.0.0")), Standing("2", ticket("1.1.0"))
    assert goes_before(older, newer)
    superseding = replace(newer, ticket=ticket("1.1.0", supersedes=True))
    assert displaces(superseding.ticket, older.ticket)
    assert goes_before(superseding, older)
    assert not goes_before(older, superseding)
    assert goes_before(replace(newer, ticket=ticket("0.9.0", Kind.ROLLBACK)), older)


@pytest.mark.parametrize("kind", Kind)
def test_an_abort_goes_before_all_and_takes_nobodys_place(kind: Kind) -> None:
    other = ticket("2", kind, supersedes=True)
    abort = replace(ticket(""), first=True)
    for earlier, later in (("1", "2"), ("2", "1")):
        assert goes_before(Standing(later, abort), Standing(earlier, other))
        assert not goes_before(Standing(earlier, other), Standing(later, abort))
    assert not displaces(abort, other)
    assert not displaces(other, abort)


@pytest.mark.parametrize("kind", Kind)
def test_a_rollback_keeps_its_place_whatever_comes(kind: Kind) -> None:
    rollback, newer = Standing("1", ticket("0.9.0", Kind.ROLLBACK)), Standing("2", ticket("2", kind, supersedes=True))
    assert not displaces(newer.ticket, rollback.ticket)
    assert goes_before(rollback, newer)


def test_places_are_numbered_in_the_order_of_arrival(bucket: Bucket) -> None:
    places = [stand(bucket, ticket(version)) for version in ("c", "a", "b")]
    assert in_line(bucket) == ["c", "a", "b"]
    places[0].leave()
    stand(bucket, ticket("d"))
    assert in_line(bucket) == ["a", "b", "d"]


def test_gives_up_in_time_and_says_who_has_it_and_who_is_next(bucket: Bucket) -> None:
    said: list[str] = []
    turn, patient = Turn(version="1.5.0", say=said.append), Patient()
    with held(bucket, "prod", who="ann", doing="release 1.3.0", ttl_s=TTL_S):
        place = stand(bucket, ticket("1.4.0"))
        with (
            pytest.raises(Refusal) as refused,
            held(bucket, "prod", who="eve", doing="x", ttl_s=TTL_S, wait_s=30, turn=turn, clock=patient.stopwatch),
        ):
            pass
        assert in_line(bucket) == ["1.4.0"]
        place.leave()
    assert patient.now_s == pytest.approx(30)
    assert str(refused.value).startswith("waited 30 s in line; ann is at it since ")
    assert str(refused.value).endswith("1 other in line, release 1.4.0 of bob first; nothing was touched")
    assert len(said) == 1, "only news is told"
    assert said[0].startswith("waiting, number 2 in line: ann is at it since ")
    assert "(release 1.3.0; process " in said[0]


def test_says_it_again_after_a_while_since_a_silent_build_is_taken_for_dead(bucket: Bucket) -> None:
    said: list[str] = []
    turn, patient = Turn(version="1.5.0", say=said.append), Patient()
    with (
        held(bucket, "prod", who="ann", doing="release 1.3.0", ttl_s=TTL_S),
        pytest.raises(Refusal, match="waited 1000 s"),
        held(bucket, "prod", who="eve", doing="x", ttl_s=TTL_S, wait_s=1000, turn=turn, clock=patient.stopwatch),
    ):
        pass
    assert len(said) == 4


def test_stops_waiting_when_asked_to_and_leaves_nothing(bucket: Bucket) -> None:
    patient = Patient()
    turn = Turn(version="1.5.0", stop=lambda: patient.now_s > 10)
    with held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S):
        with (
            pytest.raises(Refusal, match="stopped while waiting in line; nothing was touched"),
            held(bucket, "prod", who="e", doing="y", ttl_s=TTL_S, wait_s=1000, turn=turn, clock=patient.stopwatch),
        ):
            pass
        assert bucket.keys("") == ["prod/lock.json"]


def test_nobody_who_does_not_wait_pushes_in(bucket: Bucket) -> None:
    stand(bucket, ticket("1.4.0"))
    with (
        pytest.raises(
            Refusal, match=r"^1 other in line, release 1\.4\.0 of bob first; wait in line for it with --wait"
        ),
        held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S),
    ):
        pass


def test_a_rollback_goes_first_and_tells_those_that_were_ordered_before_it(bucket: Bucket) -> None:
    older = stand(bucket, ticket("1.4.0"))
    rollback = Turn(Kind.ROLLBACK, "1.3.0")
    with held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S, turn=rollback) as lock:
        newer = stand(bucket, ticket("1.6.0"))
        lock.dismiss()
        assert not older.renew()
        told = older.dismissed()
        assert told is not None
        assert told.dismissed == (Kind.ROLLBACK, "1.3.0", "ann")
        assert newer.renew()
        newer.leave()
    assert bucket.keys("") == []


@pytest.mark.parametrize("turn", [Turn(Kind.ROLLBACK, "1.3.0"), Turn(version="1.5.0", supersedes=True)])
@pytest.mark.parametrize("waits", [False, True])
def test_one_that_is_refused_when_its_turn_comes_takes_nobodys_place(bucket: Bucket, turn: Turn, waits: bool) -> None:
    other, clock = ExitStack(), Patient().stopwatch
    other.enter_context(held(bucket, "prod", who="bob", doing="x", ttl_s=TTL_S))
    older = stand(bucket, ticket("1.4.0"))
    if not waits:
        other.close()
    turn = replace(turn, say=lambda _: other.close())
    with held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S, wait_s=60, turn=turn, clock=clock):
        pass  # the order is refused
    assert older.renew()
    older.leave()


def test_one_that_has_just_come_is_not_held_up_by_one_of_which_nothing_is_heard(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = stand(bucket, ticket("1.4.0", process=FOREIGN))
    monkeypatch.setattr(s3, "_age_s", lambda *_: TTL_S + 1)
    with held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S):
        assert silent.renew(), "nor is that one removed: perhaps it was S3 that nobody could reach"


def test_a_ticket_of_long_ago_is_removed_by_whoever_comes(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    stand(bucket, ticket("1.4.0", process=FOREIGN))
    monkeypatch.setattr(s3, "_age_s", lambda *_: 7 * TTL_S + 1)
    with held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S):
        pass
    assert bucket.keys("") == []


def test_who_ends_removes_the_tickets_of_those_that_died_meanwhile(bucket: Bucket) -> None:
    with held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S):
        stand(bucket, ticket("1.4.0", process=str(replace(this_process(), pid=2**22 + 1))))
    assert bucket.keys("") == []


def test_a_ticket_that_cannot_be_read_is_somebodys(bucket: Bucket) -> None:
    bucket.create("prod/line/00000007-x.json", b"nonsense")
    assert [waiting.who for waiting in read_line(bucket, "prod", TTL_S)] == ["somebody"]
    stand(bucket, ticket("1.4.0"))
    assert in_line(bucket) == ["?", "1.4.0"]


class MaybeOurs:
    """A lock whose taking was never answered, and that is ours in truth."""

    uncertain = True

    def try_take(self, *, trusting: bool) -> Blocked | None:
        assert not trusting
        return None

    def blocked(self) -> Blocked | None:
        return None


def test_a_lock_that_may_be_ours_is_asked_for_even_if_others_came_first_meanwhile(bucket: Bucket) -> None:
    first = stand(bucket, ticket("1.3.0", Kind.ROLLBACK))
    waiter = Waiter(
        Line(bucket, "prod", TTL_S),
        ticket("1.4.0"),
        MaybeOurs(),
        ttl_s=TTL_S,
        wait_s=60,
        turn=Turn(),
        clock=Patient().stopwatch,
    )
    waiter.wait()
    assert in_line(bucket) == ["1.3.0"]
    first.leave()


def test_judges_nobody_by_silence_before_having_heard_s3_for_long_enough() -> None:
    contact = Contact(TTL_S, 0)
    trusted = []
    for now_s in (0, 20, 40, 59, 60, 90, 140, 160, 180, 199, 200):
        contact.heard(now_s)
        trusted.append((now_s, contact.trusts(now_s)))
    assert [now_s for now_s, trusts in trusted if trusts] == [60, 90, 200]
    assert not contact.trusts(240), "cut off again, and nothing has been heard yet"


class TakenAsleep:
    """A lock that is to be had, by one that was passed over while it reached for it."""

    uncertain = False

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def try_take(self, *, trusting: bool) -> Blocked | None:
        del trusting
        for listed in self._bucket.listed("prod/line/"):
            self._bucket.delete(listed.key, listed.etag)
        return None

    def blocked(self) -> Blocked | None:
        return None


def test_who_was_passed_over_does_not_start(bucket: Bucket) -> None:
    waiter = Waiter(
        Line(bucket, "prod", TTL_S),
        ticket("1.4.0"),
        TakenAsleep(bucket),
        ttl_s=TTL_S,
        wait_s=60,
        turn=Turn(),
        clock=Patient().stopwatch,
    )
    with pytest.raises(Refusal, match="lost the place in line: nothing was heard of us for too long"):
        waiter.wait()


def test_who_comes_a_moment_later_is_not_superseded(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    create, later = bucket.create, ticket("1.5.0")

    def create_and_be_followed(key: str, body: bytes) -> str | None:
        etag = create(key, body)
        if key.endswith("lock.json"):
            stand(bucket, later)
        return etag

    monkeypatch.setattr(bucket, "create", create_and_be_followed)
    superseding = Turn(version="1.4.0", supersedes=True)
    with held(bucket, "prod", who="ann", doing="x", ttl_s=TTL_S, turn=superseding) as lock:
        lock.dismiss()
        assert in_line(bucket) == ["1.5.0"]
