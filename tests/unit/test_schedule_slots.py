"""When a run is due: time zones, hours that are skipped or come twice, clocks that jump, machines that slept."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.schedule.expression import parse_when
from respaldo.schedule.slots import (
    DueRun,
    find_due,
    is_same_zone,
    iterate_slots,
    jitter_of,
    local_zone,
    local_zone_name,
    next_slot,
    settle_handled,
)

MADRID, NEW_YORK, MONTEVIDEO = map(ZoneInfo, ("Europe/Madrid", "America/New_York", "America/Montevideo"))
LORD_HOWE, SANTIAGO = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/Santiago")

# The smallest file of the time zone database (RFC 9636): three and a half hours east of Greenwich, always.
_HEADER = struct.pack(">5s15x6l", b"TZif2", 0, 0, 0, 0, 1, 4)
_EAST = _HEADER + struct.pack(">lBB4s", 12600, 0, 0, b"+33\0")
TEHERAN = _EAST + _EAST + b"\n<+0330>-3:30\n"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "zone", "after", "slots"),
    [
        # Zones: 02:00 there is another time here.
        ("daily", UTC, "2026-11-25 01:59:59", ["2026-11-25 02:00", "2026-11-26 02:00"]),
        ("daily", UTC, "2026-11-25 02:00:00", ["2026-11-26 02:00"]),
        ("daily", MONTEVIDEO, "2026-11-25 00:00", ["2026-11-25 05:00", "2026-11-26 05:00"]),
        ("weekly", UTC, "2026-11-25 00:00", ["2026-11-29 02:00", "2026-12-06 02:00"]),
        ("monthly", UTC, "2026-11-25 00:00", ["2026-12-01 02:00", "2027-01-01 02:00"]),
        ("workdays", UTC, "2026-11-27 03:00", ["2026-11-30 02:00", "2026-12-01 02:00"]),
        ("hourly", UTC, "2026-11-25 22:30", ["2026-11-25 23:00", "2026-11-26 00:00"]),
        ("0 2 29 2 *", UTC, "2026-11-25 00:00", ["2028-02-29 02:00", "2032-02-29 02:00"]),
        ("0 2 13 * 5", UTC, "2026-11-25 00:00", ["2026-11-27 02:00", "2026-12-04 02:00", "2026-12-11 02:00",
                                                 "2026-12-13 02:00"]),
        # Madrid, 29 March: 02:00 to 03:00 is skipped. What falls in it runs at 03:00, once, and not the day after too.
        ("30 2 * * *", MADRID, "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("daily", MADRID, "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("0,30 2 * * *", MADRID, "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("hourly", MADRID, "2026-03-28 23:30", ["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"]),
        ("*/30 * * * *", MADRID, "2026-03-29 00:15", ["2026-03-29 00:30", "2026-03-29 01:00", "2026-03-29 01:30"]),
        # Madrid, 25 October: 02:00 to 03:00 comes twice. A fixed time runs in the first, every hour in both.
        ("30 2 * * *", MADRID, "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 2 * * *", MADRID, "2026-10-25 00:45", ["2026-10-26 01:30"]),
        ("30 2 * * *", MADRID, "2026-10-25 01:15", ["2026-10-26 01:30"]),
        ("hourly", MADRID, "2026-10-24 23:30", ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00"]),
        # New York, the same at other dates.
        ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
        # Half an hour is skipped at Lord Howe; midnight itself in Santiago.
        ("15 2 * * *", LORD_HOWE, "2026-10-03 00:00", ["2026-10-03 15:30", "2026-10-04 15:15"]),
        ("0 0 * * *", SANTIAGO, "2026-09-05 12:00", ["2026-09-06 04:00", "2026-09-07 03:00"]),
    ],
)  # fmt: skip
def test_slots_follow_the_clock_of_their_zone(when: str, zone: ZoneInfo, after: str, slots: list[str]) -> None:
    found = islice(iterate_slots(parse_when(when), zone, utc(after)), len(slots))
    assert [f"{slot:%Y-%m-%d %H:%M}" for slot in found] == slots
    assert f"{next_slot(parse_when(when), zone, utc(after)):%Y-%m-%d %H:%M}" == slots[0]


@pytest.mark.parametrize(
    ("when", "handled", "now", "slot", "missed"),
    [
        ("daily", "2026-11-25 01:00", "2026-11-25 01:59:59", None, 0),
        ("daily", "2026-11-25 01:00", "2026-11-25 02:00", "2026-11-25 02:00", 0),
        ("daily", "2026-11-25 02:00", "2026-11-25 02:00", None, 0),
        ("daily", "2026-11-25 02:00", "2026-11-26 01:59", None, 0),
        # Asleep, or stopped, over one slot, over many.
        ("daily", "2026-11-25 02:00", "2026-11-26 09:30", "2026-11-26 02:00", 0),
        ("daily", "2026-11-25 02:00", "2026-11-30 09:30", "2026-11-30 02:00", 4),
        ("monthly", "2026-11-01 02:00", "2026-12-20 09:30", "2026-12-01 02:00", 0),
        ("*/5 * * * *", "2026-11-25 02:00", "2026-11-25 03:01", "2026-11-25 03:00", 11),
        ("* * * * *", "2026-11-23 02:00", "2026-11-25 03:01:30", "2026-11-25 03:01", 1000),
        ("* * * * *", "2026-11-23 02:00", "2026-11-25 03:01", "2026-11-25 03:01", 1000),
        ("0 0 1 * *", "1900-01-01 00:00", "2026-11-25 03:01:30", "2026-11-01 00:00", 1000),
        # The clock was set back by less than three hours: what ran is not run again.
        ("hourly", "2026-11-25 05:00", "2026-11-25 03:30", None, 0),
        ("hourly", "2026-11-25 05:00", "2026-11-25 05:59", None, 0),
        ("hourly", "2026-11-25 05:00", "2026-11-25 06:00", "2026-11-25 06:00", 0),
    ],
)
def test_due_is_the_last_slot_that_passed_once(
    when: str, handled: str, now: str, slot: str | None, missed: int
) -> None:
    due = find_due(parse_when(when), UTC, handled=utc(handled), now=utc(now))
    assert (due and due.slot) == (utc(slot) if slot else None)
    assert (due.missed if due else 0) == missed


@pytest.mark.parametrize(
    ("handled", "now", "settled"),
    [
        ("2026-11-25 02:00", "2026-11-25 03:00", "2026-11-25 02:00"),
        ("2026-11-25 02:00", "2026-11-25 00:00", "2026-11-25 02:00"),
        ("2026-11-25 05:00", "2026-11-25 02:00", "2026-11-25 05:00"),
        ("2026-11-25 05:00", "2026-11-25 01:59:59", "2026-11-25 01:59:59"),
        ("2027-11-25 02:00", "2026-11-25 01:00", "2026-11-25 01:00"),
    ],
)
def test_clock_that_was_far_ahead_does_not_hold_runs_back(handled: str, now: str, settled: str) -> None:
    assert settle_handled(utc(handled), utc(now)) == utc(settled)


def test_gap_over_which_the_machine_slept_is_due_once() -> None:
    expression = parse_when("30 2 * * *")
    due = find_due(expression, MADRID, handled=utc("2026-03-28 01:30"), now=utc("2026-03-29 08:00"))
    assert due is not None
    assert (due.slot, due.missed) == (utc("2026-03-29 01:00"), 0)
    assert find_due(expression, MADRID, handled=due.slot, now=utc("2026-03-29 23:00")) is None


def test_hour_that_comes_twice_is_due_once() -> None:
    expression = parse_when("30 2 * * *")
    for minute in range(0, 180, 7):
        now = utc("2026-10-25 00:31") + timedelta(minutes=minute)
        assert find_due(expression, MADRID, handled=utc("2026-10-25 00:30"), now=now) is None


WHENS = ["daily", "hourly", "*/7 * * * *", "30 1-3 * * *", "0,30 2 * * *", "0 0 * * *", "* 2 * * *", "15 */2 * * 0"]


@settings(max_examples=40)
@given(
    when=st.sampled_from(WHENS),
    zone=st.sampled_from([MADRID, NEW_YORK, MONTEVIDEO, LORD_HOWE, SANTIAGO]),
    minute=st.integers(0, 365 * 24 * 60),
    hours=st.integers(0, 80),
)
def test_slots_only_go_forward_and_due_is_the_last_of_them(when: str, zone: ZoneInfo, minute: int, hours: int) -> None:
    expression, start = parse_when(when), utc("2026-01-01 00:00") + timedelta(minutes=minute)
    now = start + timedelta(hours=hours)
    slots = []
    for slot in iterate_slots(expression, zone, start):
        if slot > now:
            break
        slots.append(slot)
    assert all(one < other for one, other in zip([start, *slots], slots, strict=False))
    due = find_due(expression, zone, handled=start, now=now)
    assert (due.slot if due else None) == (slots[-1] if slots else None)
    assert (due.missed + 1 if due else 0) == len(slots)


@settings(max_examples=40)
@given(day=st.integers(0, 730), hour=st.integers(0, 23))
def test_daily_runs_once_a_day_all_year_in_every_zone(day: int, hour: int) -> None:
    expression = parse_when(f"30 {hour} * * *")
    for zone in (MADRID, NEW_YORK, LORD_HOWE, SANTIAGO):
        start = utc("2026-01-01 00:00") + timedelta(days=day)
        slots = list(islice(iterate_slots(expression, zone, start), 3))
        local = [slot.astimezone(zone).date() for slot in slots]
        assert [one - local[0] for one in local] == [timedelta(days=number) for number in range(3)]


def test_jitter_is_spread_bounded_and_always_the_same() -> None:
    slot, most = utc("2026-11-25 02:00"), timedelta(minutes=10)
    waits = [jitter_of(f"s{number}", slot, most) for number in range(50)]
    assert all(timedelta() <= wait < most for wait in waits)
    assert max(waits) - min(waits) > most / 2
    assert jitter_of("s1", slot, most) == jitter_of("s1", slot, most)
    assert jitter_of("s1", slot, timedelta()) == timedelta()


@pytest.mark.parametrize("tz", ["Europe/Madrid", ":Europe/Madrid"])
def test_zone_of_the_machine_follows_tz(tz: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/America/New_York")
    monkeypatch.setenv("TZ", tz)
    assert local_zone_name(tmp_path / "localtime") == "Europe/Madrid"
    assert local_zone(tmp_path / "localtime") == MADRID
    monkeypatch.setenv("TZ", "No/Where")
    assert local_zone_name() is None


def test_zone_of_the_machine_is_the_one_that_its_link_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "localtime").symlink_to("../usr/share/zoneinfo/America/New_York")
    assert local_zone_name(tmp_path / "localtime") == "America/New_York"
    assert local_zone(tmp_path / "localtime") == NEW_YORK


def test_zone_of_the_machine_that_has_no_name_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    localtime = tmp_path / "localtime"
    assert (local_zone_name(localtime), local_zone(localtime)) == (None, UTC)
    localtime.write_bytes(b"no time zone")
    assert (local_zone_name(localtime), local_zone(localtime)) == (None, UTC)
    localtime.write_bytes(TEHERAN)
    assert local_zone_name(localtime) is None
    assert utc("2026-11-25 02:00").astimezone(local_zone(localtime)).utcoffset() == timedelta(hours=3, minutes=30)


@pytest.fixture
def machine_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts the machine into a time zone."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


def test_times_are_the_same_wherever_the_machine_is(machine_in: Callable[[str], None]) -> None:
    waits = set()
    for zone in ("UTC", "America/Santiago"):
        machine_in(zone)
        slot = next_slot(parse_when("daily"), MADRID, utc("2026-11-25 02:00"))
        assert slot is not None
        assert slot.isoformat() == "2026-11-26T01:00:00+00:00"
        waits |= {jitter_of("shop", one, timedelta(hours=1)) for one in (slot, slot.astimezone(MADRID))}
        due = find_due(parse_when("daily"), MADRID, handled=utc("2016-01-01 00:00"), now=utc("2026-11-25 01:01"))
        assert due == DueRun(slot=utc("2026-11-25 01:00"), missed=1000)
    assert len(waits) == 1


def test_zones_are_the_same_that_show_the_same_time() -> None:
    now = utc("2026-11-25 02:00")
    assert is_same_zone(UTC, ZoneInfo("Etc/UTC"), now)
    assert is_same_zone(MADRID, ZoneInfo("Europe/Paris"), now)
    assert not is_same_zone(MADRID, ZoneInfo("Africa/Lagos"), now)


def test_zones_that_were_not_the_same_but_will_be_are() -> None:
    """Turkey stayed on summer time from 2016 on, as Moscow had it already."""
    istanbul, moscow = ZoneInfo("Europe/Istanbul"), ZoneInfo("Europe/Moscow")
    assert is_same_zone(istanbul, moscow, utc("2016-10-01 00:00"))
    assert not is_same_zone(istanbul, moscow, utc("2016-03-01 00:00"))


def test_day_that_comes_once_in_forty_years_has_a_slot() -> None:
    assert next_slot(parse_when("0 0 29 2 */7"), UTC, utc("2088-03-01 00:00")) == utc("2128-02-29 00:00")
