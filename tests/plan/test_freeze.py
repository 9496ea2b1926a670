"""When nothing is to be released."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from fabfile.plan.freeze import Window, read_windows, thaw, why_frozen
from fabfile.plan.moment import read_moment
from fabfile.plan.outcome import Refusal

WEEKEND = "Fri 16:00 - Mon 08:00 Europe/Berlin: no releases at the weekend"
CHRISTMAS = "2026-12-20 - 2027-01-02 Europe/Berlin: Christmas"
MINUTE = timedelta(minutes=1)
# Every time of the random windows is a multiple of it, so that looking no finer misses nothing.
STEP = timedelta(minutes=5)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def is_frozen(at: datetime, *texts: str) -> bool:
    return why_frozen(read_windows(texts), at) is not None


@pytest.mark.parametrize(
    ("at", "frozen"),
    [
        (utc(2026, 11, 27, 14, 59), False),
        (utc(2026, 11, 27, 15, 0), True),
        (utc(2026, 11, 29, 12, 0), True),
        (utc(2026, 11, 30, 6, 59, 59), True),
        (utc(2026, 11, 30, 7, 0), False),
        (utc(2027, 7, 2, 14, 0), True),  # 16:00 in summer is an hour earlier
        (utc(2027, 7, 5, 6, 0), False),
    ],
)
def test_a_weekly_window_goes_by_the_clocks_of_its_zone(at: datetime, frozen: bool) -> None:
    assert is_frozen(at, WEEKEND) is frozen


def test_a_date_as_an_end_means_the_whole_of_that_day() -> None:
    assert not is_frozen(utc(2026, 12, 19, 22, 59), CHRISTMAS)
    assert is_frozen(utc(2026, 12, 19, 23, 0), CHRISTMAS)
    assert is_frozen(utc(2027, 1, 2, 22, 59), CHRISTMAS)
    assert not is_frozen(utc(2027, 1, 2, 23, 0), CHRISTMAS)


def test_dates_may_have_times() -> None:
    text = "2026-12-24 12:00 - 2026-12-27 06:30 UTC"
    assert [is_frozen(utc(2026, 12, *at), text) for at in ((24, 11, 59), (24, 12), (27, 6, 29), (27, 6, 30))] == [
        *(False, True, True, False)
    ]


def test_says_why_until_when_and_the_ways_out() -> None:
    reason = why_frozen(read_windows([WEEKEND]), utc(2026, 11, 28, 12, 0))
    assert reason == (
        "frozen until Mon 2026-11-30 08:00 Europe/Berlin: no releases at the weekend "
        '(Fri 16:00 - Mon 08:00 Europe/Berlin); wait with --at="2026-11-30 08:00 Europe/Berlin", '
        'or release all the same with --override-freeze="reason"'
    )


def test_names_the_end_at_which_all_windows_are_over() -> None:
    windows = read_windows([WEEKEND, CHRISTMAS, "Mon 08:00 - Mon 09:15 Europe/Berlin"])
    reason = why_frozen(windows, utc(2026, 12, 30, 12, 0)) or ""
    # Christmas ends on a Saturday, within the weekend, and Monday's window follows it at once.
    assert "frozen until Mon 2027-01-04 09:15 Europe/Berlin: Christmas" in reason


def test_the_way_out_that_it_names_is_one() -> None:
    windows = read_windows([WEEKEND, CHRISTMAS])
    at = utc(2026, 12, 30, 12, 0)
    written = (why_frozen(windows, at) or "").split('--at="')[1].split('"')[0]
    then = read_moment(written, at, UTC)
    assert why_frozen(windows, then) is None
    assert why_frozen(windows, then - MINUTE) is not None


def test_windows_without_an_end_say_so() -> None:
    reason = why_frozen(read_windows(["Mon - Sun UTC"]), utc(2026, 11, 28)) or ""
    assert "no end in sight" in reason
    assert "--override-freeze" in reason


def test_stays_frozen_through_an_hour_that_is_shown_twice() -> None:
    # Berlin's clocks show 02:00 to 03:00 twice on 2027-10-31: at 00:00 and at 01:00 UTC.
    text = "2027-10-31 02:15 - 2027-10-31 02:30 Europe/Berlin"
    assert [is_frozen(utc(2027, 10, 31, *at), text) for at in ((0, 14), (0, 15), (0, 45), (1, 29), (1, 30))] == [
        *(False, True, True, True, False)
    ]


def test_starts_and_ends_with_the_jump_where_clocks_skip_its_time() -> None:
    jump = utc(2027, 3, 28, 1, 0)
    assert [is_frozen(jump + n * MINUTE, "2027-03-28 02:30 - 2027-03-28 04:00 Europe/Berlin") for n in (-1, 0)] == [
        *(False, True)
    ]
    assert [is_frozen(jump + n * MINUTE, "2027-03-28 01:00 - 2027-03-28 02:30 Europe/Berlin") for n in (-1, 0)] == [
        *(True, False)
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a freeze window"),
        ("the weekend", "not a freeze window"),
        ("Fri 16:00 - Mon 08:00", "no time zone in"),
        ("2026-12-20 - 2027-01-02: Christmas", "no time zone in"),
        ("Fry 16:00 - Mon 08:00 UTC", "no day 'Fry' (days: Mon, Tue"),
        ("Fri 25:00 - Mon 08:00 UTC", "no such time of day: 25:00"),
        ("Fri 16:00 - 2026-12-01 UTC", "do not mix"),
        ("Fri 16:00 - Fri 16:00 UTC", "ends no later than it starts"),
        ("2027-01-02 - 2026-12-20 UTC", "ends no later than it starts"),
        ("2026-02-30 - 2026-03-01 UTC", "no such day: 2026-02-30"),
        ("0001-01-01 - 9999-12-31 UTC", "0001-01-01"),
        ("Fri 16:00 - Mon 08:00 Berlin", "did you mean Europe/Berlin"),
    ],
)
def test_refuses_what_is_no_window_by_its_place_in_the_list(text: str, reason: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_windows([WEEKEND, text])
    message = str(caught.value)
    assert message.startswith("headway.release.freeze[1]: ")
    assert reason in message
    assert "\n" not in message
    assert "Europe/Berlin" in message


# When clocks are set somewhere: forward, back, and by half an hour; and a moment at which they are not.
CHANGES = (
    ("Europe/Berlin", utc(2027, 3, 28, 1)),
    ("Europe/Berlin", utc(2027, 10, 31, 1)),
    ("Australia/Lord_Howe", utc(2027, 4, 3, 15)),
    ("Australia/Lord_Howe", utc(2027, 10, 2, 15, 30)),
    ("America/New_York", utc(2027, 11, 7, 6)),
    ("UTC", utc(2027, 6, 1)),
)


@st.composite
def windows_and_moment(draw: st.DrawFn, most: int = 1) -> tuple[list[str], datetime]:
    """Draw windows that start and end around a change of the clocks, and a moment that is not far."""
    key, change = draw(st.sampled_from(CHANGES))
    steps = st.integers(-30, 30) | st.integers(-1000, 1000)

    def draw_text() -> str:
        start, end = sorted((change + draw(steps) * STEP).astimezone(ZoneInfo(key)) for _ in range(2))
        if draw(st.booleans()):
            return f"{start:%Y-%m-%d %H:%M} - {end:%Y-%m-%d %H:%M} {key}"
        if draw(st.booleans()):
            start, end = end, start
        return f"{start:%a %H:%M} - {end:%a %H:%M} {key}"

    return [draw_text() for _ in range(draw(st.integers(1, most)))], change + draw(steps) * STEP


def read_or_skip(*texts: str) -> tuple[Window, ...]:
    try:
        return read_windows(texts)
    except Refusal:  # it ends when it starts
        reject()


def slowly_frozen(window: Window, at: datetime) -> bool:
    """Whether clocks have shown the start by now, and have not shown the end for the last time.

    They are set by an hour at most: what they show three hours away decides nothing.
    """
    moments = [at + n * STEP for n in range(-36, 37)]
    walls = [(moment, moment.astimezone(window.zone).replace(tzinfo=None)) for moment in moments]
    weeks = (at.replace(tzinfo=None) - window.start).days // 7
    shifts = [timedelta(days=7 * n) for n in range(weeks - 2, weeks + 3)] if window.weekly else [timedelta()]
    return any(
        any(wall >= window.start + shift for moment, wall in walls if moment <= at)
        and any(
            wall < window.end + shift or (wall == window.end + shift and moment > at)
            for moment, wall in walls
            if moment >= at
        )
        for shift in shifts
    )


@given(windows_and_moment())
@settings(deadline=None)
def test_agrees_with_a_look_at_the_clocks_moment_by_moment(drawn: tuple[list[str], datetime]) -> None:
    (text,), at = drawn
    (window,) = read_or_skip(text)
    assert (window.end_of(at) is not None) == slowly_frozen(window, at)


@given(windows_and_moment(most=3), st.lists(st.floats(0, 0.999), max_size=9))
@settings(deadline=None)
def test_thaws_at_the_first_moment_that_no_window_holds(drawn: tuple[list[str], datetime], parts: list[float]) -> None:
    texts, at = drawn
    windows = read_or_skip(*texts)
    free = thaw(windows, at)
    if free is not None:
        assert not any(slowly_frozen(window, free) for window in windows)
    until = free or at + timedelta(days=366)
    for part in parts:
        moment = at + int((until - at) / STEP * part) * STEP
        assert moment == until or any(slowly_frozen(window, moment) for window in windows)


def test_the_zone_of_a_window_may_be_any() -> None:
    (window,) = read_windows(["Fri 16:00 - Mon 08:00 America/New_York"])
    assert window.zone == ZoneInfo("America/New_York")
    assert window.end_of(utc(2026, 11, 28)) == utc(2026, 11, 30, 13, 0)
