"""Moments and durations as an operator writes them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.plan.moment import (
    first_instant,
    is_skipped,
    last_instant,
    read_duration,
    read_moment,
    say_duration,
    say_moment,
)
from fabfile.plan.outcome import Refusal

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
# Clocks that jump by an hour, by half an hour, at midnight, by a whole day, in the south, and never.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Pacific/Apia",
    "Asia/Kolkata",
    "UTC",
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def read(text: str, now: datetime = NOW, local: tzinfo = BERLIN) -> datetime:
    return read_moment(text, now, local)


def refusal(text: str, now: datetime = NOW) -> str:
    with pytest.raises(Refusal) as caught:
        read(text, now)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-01 09:00 Europe/Berlin", utc(2026, 12, 1, 8, 0)),
        ("2026-12-01 09:00 America/New_York", utc(2026, 12, 1, 14, 0)),
        ("2026-12-01 09:00:15", utc(2026, 12, 1, 8, 0, 15)),
        ("2026-12-01T09:00:00Z", utc(2026, 12, 1, 9, 0)),
        ("2026-12-01T09:00+01:00", utc(2026, 12, 1, 8, 0)),
        ("2026-12-01 09:00 -0500", utc(2026, 12, 1, 14, 0)),
        ("  2026-12-01   9:00  utc ", utc(2026, 12, 1, 9, 0)),
        ("13:01", utc(2026, 11, 24, 12, 1)),
        ("09:00 Europe/Berlin", utc(2026, 11, 25, 8, 0)),
        ("08:30 America/New_York", utc(2026, 11, 24, 13, 30)),
        ("13:00:31", utc(2026, 11, 24, 12, 0, 31)),
        ("+20m", utc(2026, 11, 24, 12, 20, 30)),
        ("+1h30m", utc(2026, 11, 24, 13, 30, 30)),
    ],
)
def test_reads_what_operators_write(text: str, moment: datetime) -> None:
    assert read(text) == moment


def test_a_time_without_a_date_is_the_next_such_minute_tomorrow_if_it_is_now() -> None:
    noon = utc(2026, 11, 24, 12, 0)
    assert read("13:00", noon) == noon + timedelta(days=1)
    assert read("13:00", noon - timedelta(seconds=1)) == noon


def test_the_next_such_minute_is_by_the_clocks_of_the_zone_not_24_hours_from_now() -> None:
    evening_before = utc(2027, 3, 27, 20, 0)  # 21:00 in Berlin, whose night is an hour short
    assert read("09:00", evening_before) == utc(2027, 3, 28, 7, 0)


def test_refuses_a_minute_that_clocks_skip_and_names_the_nearest_that_exist() -> None:
    message = refusal("2027-03-28 02:30 Europe/Berlin")
    assert '"2027-03-28 01:59 Europe/Berlin"' in message
    assert '"2027-03-28 03:00 Europe/Berlin"' in message


def test_refuses_a_minute_that_clocks_show_twice_and_names_both_which_it_then_reads() -> None:
    message = refusal("2027-10-31 02:30 Europe/Berlin", utc(2027, 10, 1))
    first, second = message.split('"')[1::2]
    now = utc(2027, 10, 1)
    assert read(first, now) == utc(2027, 10, 31, 0, 30)
    assert read(second, now) == utc(2027, 10, 31, 1, 30)
    assert read("2027-10-31 02:30+01:00", now) == read(second, now)


def test_refuses_tonights_skipped_minute_but_reads_it_the_night_after() -> None:
    before, after = utc(2027, 3, 28, 0, 30), utc(2027, 3, 28, 1, 0)
    assert "skip 02:30" in refusal("02:30", before)
    assert read("02:30", after) == utc(2027, 3, 29, 0, 30)


def test_refuses_an_offset_that_the_zone_does_not_have_then() -> None:
    assert "Europe/Berlin is not at +02:00 then" in refusal("2026-12-01 09:00+02:00 Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-24 12:59 Europe/Berlin", "was 1 min 30 s ago"),
        ("2026-11-24T10:30:30Z", "was 1 h 30 min ago"),
        ("2016-11-24 09:00", "ago"),
        ("0001-01-01 00:00", "ago"),
        ("9999-12-31 23:59", "more than a year ahead"),
        ("2026-02-30 09:00", "no such day"),
        ("24:00", "no such time of day"),
        ("09:61", "no such time of day"),
        ("09:00+25:00", "no such offset"),
        ("tomorrow", "not a moment"),
        ("9pm", "not a moment"),
        ("2026-12-01", "not a moment"),
        ("", "not a moment"),
        ("+", "no duration"),
        ("+5x", "no unit 'x'"),
    ],
)
def test_refuses_what_is_no_moment_to_come_with_an_example(text: str, reason: str) -> None:
    message = refusal(text)
    assert message.startswith("--at: ")
    assert reason in message
    assert "write" in message


@pytest.mark.parametrize(
    ("key", "known"),
    [("Berlin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("Europe/Berln", "Europe/Berlin")],
)
def test_names_the_nearest_zone_for_one_that_is_not_there(key: str, known: str) -> None:
    assert known in refusal(f"09:00 {key}")


@pytest.mark.parametrize("key", ["Europe", "Nowhere/Land", "CEST"])
def test_a_zone_that_is_not_there_is_refused_in_one_line(key: str) -> None:
    assert f"no time zone {key!r}" in refusal(f"09:00 {key}")


@given(
    st.integers(1, 360 * 86400),
    st.sampled_from(ZONES),
)
def test_reads_back_every_moment_that_it_says(ahead_s: int, key: str) -> None:
    moment = NOW + timedelta(seconds=ahead_s)
    assert read(say_moment(moment, ZoneInfo(key))) == moment
    assert read(say_moment(moment, timezone(timedelta(hours=-3, minutes=-30)))) == moment


@given(st.integers(0, 10_000_000), st.sampled_from(ZONES))
def test_every_moment_lies_between_the_first_and_the_last_at_which_clocks_show_it(minutes: int, key: str) -> None:
    zone = ZoneInfo(key)
    moment = utc(2009, 1, 1) + timedelta(minutes=minutes)
    wall = moment.astimezone(zone).replace(tzinfo=None)
    assert not is_skipped(wall, zone)
    assert moment in (first_instant(wall, zone), last_instant(wall, zone))


@pytest.mark.parametrize(
    ("key", "shown", "jump"),
    [
        ("Europe/Berlin", (2027, 3, 28, 2, 30), utc(2027, 3, 28, 1, 0)),
        ("Australia/Lord_Howe", (2026, 10, 4, 2, 10), utc(2026, 10, 3, 15, 30)),
        ("Pacific/Apia", (2011, 12, 30, 12, 0), utc(2011, 12, 30, 10, 0)),  # a day that Samoa left out
    ],
)
def test_a_skipped_time_is_the_moment_of_the_jump(key: str, shown: tuple[int, ...], jump: datetime) -> None:
    zone, wall = ZoneInfo(key), utc(*shown).replace(tzinfo=None)
    assert is_skipped(wall, zone)
    assert first_instant(wall, zone) == last_instant(wall, zone) == jump


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2h", 7200),
        (" 1 h 30 min ", 5400),
        ("0.5h", 1800),
        ("0", 0),
    ],
)
def test_reads_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no duration given"),
        ("-5m", "cannot be negative"),
        ("5x", "no unit 'x'"),
        ("3d", "no unit 'd'"),
        ("1h30", "no unit in '1h30'"),
        ("30m1h", "in this order"),
        ("1h1h", "in this order"),
        ("m", "not a duration"),
        ("nan", "not a duration"),
        ("٣m", "not a duration"),
        ("99999999999999999999h", "longer than a week"),
    ],
)
def test_refuses_what_is_no_duration_with_an_example(text: str, reason: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_duration(text, "--soak")
    assert str(caught.value).startswith("--soak: ")
    assert reason in str(caught.value)
    assert "1h30m" in str(caught.value)


@given(st.text(alphabet="0123456789hms+-.:TZ /Eurp", max_size=24))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    for reader in (read, read_duration):
        with suppress(Refusal):
            reader(text)


@given(st.integers(0, 86399))
def test_reads_back_durations_that_it_says_to_their_smallest_unit(seconds: int) -> None:
    read_back = read_duration(say_duration(seconds))
    assert 0 <= seconds - read_back < (60 if seconds >= 3600 else 1)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.5, "0.5 s"),
        (45, "45 s"),
        (60, "1 min"),
        (5400, "1 h 30 min"),
        (3599.7, "1 h"),
        (273600, "3 d 4 h"),
    ],
)
def test_says_durations_by_their_two_largest_units(seconds: float, said: str) -> None:
    assert say_duration(seconds) == said
