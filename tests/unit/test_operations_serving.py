"""What ``respaldo serve`` starts when, by a clock that is set by hand: missed runs, stops, jumps, two of one target."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from respaldo.clock import FixedClock
from respaldo.operations.runs import RunRecord, record_run
from respaldo.operations.serving import STATE, ActiveRun, Scheduler, Scope, Starting
from respaldo.schedule.expression import parse_when
from respaldo.schedule.plan import ALWAYS, Schedule, Trigger
from respaldo.schedule.slots import DueRun

MADRID = ZoneInfo("Europe/Madrid")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CREATED = utc("2026-11-24 12:00")
NIGHTLY = Schedule(
    name="nightly",
    expression=parse_when("daily"),
    command=("backup",),
    trigger=Trigger.SERVE,
    created=CREATED,
    time_zone="Etc/UTC",
)


@dataclass(slots=True)
class FakeRun:
    """A run that ends when the test says so."""

    code: int | None = None
    is_stopped: bool = False

    def poll(self) -> int | None:
        return self.code

    def stop(self) -> None:
        self.is_stopped = True


@dataclass(slots=True)
class Serving:
    """A daemon that can be stopped and started again, its clock, and all that it started."""

    directory: Path
    clock: FixedClock
    at_once: int = 2
    scopes: dict[str, Scope] = field(default_factory=dict)
    started: list[tuple[str, str]] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    ended: list[tuple[str, int]] = field(default_factory=list)
    runs: dict[str, FakeRun] = field(default_factory=dict)
    scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        starting = Starting(start=self._start, scope_of=self._scope, zone_of=self._zone, ended=self._ended)
        self.scheduler = Scheduler(self.directory, starting, self.clock, at_once=self.at_once)

    def at(self, time: str, *schedules: Schedule) -> float:
        self.clock.instant = utc(time)
        return self.scheduler.step(schedules or (NIGHTLY,))

    def end(self, name: str, code: int = 0) -> None:
        self.runs[name].code = code

    def _start(self, schedule: Schedule, due: DueRun) -> FakeRun:
        self.started.append((schedule.name, f"{due.slot:%m-%d %H:%M}"))
        self.missed.append(due.missed)
        self.runs[schedule.name] = FakeRun()
        return self.runs[schedule.name]

    def _scope(self, schedule: Schedule) -> Scope:
        return self.scopes.get(schedule.name, Scope(kind="write", place=(schedule.name,)))

    def _zone(self, schedule: Schedule) -> ZoneInfo:
        return ZoneInfo(schedule.time_zone or "Etc/UTC")

    def _ended(self, one: ActiveRun, code: int) -> None:
        self.ended.append((one.schedule.name, code))


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    return Serving(directory=tmp_path, clock=FixedClock(CREATED))


def test_run_starts_at_its_time_once(serving: Serving) -> None:
    serving.at("2026-11-25 01:59:59")
    assert serving.started == []
    serving.at("2026-11-25 02:00:00")
    serving.at("2026-11-25 02:00:01")
    assert serving.started == [("nightly", "11-25 02:00")]
    serving.end("nightly")
    for hour in range(3, 24):
        serving.at(f"2026-11-25 {hour:02}:00")
    assert serving.ended == [("nightly", 0)]
    serving.at("2026-11-26 02:00:05")
    assert serving.started[1:] == [("nightly", "11-26 02:00")]


def test_wait_is_short_before_a_run_and_bounded_always(serving: Serving) -> None:
    assert serving.at("2026-11-25 01:59:57") == 3
    assert serving.at("2026-11-25 01:00:00") == 15
    serving.at("2026-11-25 02:00:00")
    assert serving.at("2026-11-25 02:00:01") <= 0.5


def test_run_that_fell_into_a_stop_is_made_up_for_once(serving: Serving) -> None:
    serving.at("2026-11-25 02:00")
    serving.end("nightly")
    serving.at("2026-11-25 02:05")
    serving.restart()
    serving.at("2026-11-28 09:00")
    assert serving.started[1:] == [("nightly", "11-28 02:00")]
    assert serving.missed[1:] == [2]
    serving.end("nightly")
    serving.at("2026-11-28 09:01")
    serving.restart()
    serving.at("2026-11-28 09:02")
    assert len(serving.started) == 2


def test_schedule_of_the_command_line_is_made_up_for_too(serving: Serving) -> None:
    given = replace(NIGHTLY, created=ALWAYS)
    serving.at("2026-11-25 03:00", given)
    assert serving.started == []
    serving.restart()
    serving.at("2026-11-26 09:00", given)
    assert serving.started == [("nightly", "11-26 02:00")]


def test_new_schedule_makes_up_for_nothing_before_it_was_made(serving: Serving) -> None:
    serving.at("2026-11-25 09:00", replace(NIGHTLY, created=utc("2026-11-25 08:00")))
    assert serving.started == []


def test_changed_schedule_counts_from_its_change(serving: Serving) -> None:
    serving.at("2026-11-24 12:30")
    changed = replace(NIGHTLY, expression=parse_when("0 6 * * *"), created=utc("2026-11-25 08:00"))
    serving.at("2026-11-25 08:01", changed)
    assert serving.started == []


@pytest.mark.parametrize(("code", "started"), [(130, 2), (143, 2), (-15, 2), (0, 1), (3, 1)])
def test_run_cut_short_by_a_stop_is_made_again(serving: Serving, code: int, started: int) -> None:
    serving.at("2026-11-25 02:00")

    def wait(_seconds: float) -> None:
        assert serving.runs["nightly"].is_stopped
        serving.end("nightly", code)

    assert serving.scheduler.stop(wait, 10)
    assert serving.ended == [("nightly", code)]
    serving.restart()
    serving.at("2026-11-25 02:10")
    assert len(serving.started) == started


def test_stop_waits_no_longer_than_it_may(serving: Serving) -> None:
    serving.at("2026-11-25 02:00")

    def wait(seconds: float) -> None:
        serving.clock.instant += timedelta(seconds=seconds)

    assert not serving.scheduler.stop(wait, 10)
    assert [one.schedule.name for one in serving.scheduler.active] == ["nightly"]


def test_daemon_killed_in_a_run_makes_it_again(serving: Serving) -> None:
    serving.at("2026-11-25 02:00")
    serving.restart()
    serving.at("2026-11-25 02:30")
    assert serving.started == [("nightly", "11-25 02:00")] * 2


def test_run_that_failed_by_itself_waits_for_its_next_time(serving: Serving) -> None:
    serving.at("2026-11-25 02:00")
    serving.end("nightly", 40)
    serving.at("2026-11-25 02:01")
    serving.at("2026-11-25 23:00")
    assert serving.started == [("nightly", "11-25 02:00")]


def test_time_that_passes_during_a_run_is_due_after_it(serving: Serving) -> None:
    hourly = replace(NIGHTLY, expression=parse_when("hourly"))
    serving.at("2026-11-24 13:00", hourly)
    serving.at("2026-11-24 14:00", hourly)
    serving.at("2026-11-24 15:30", hourly)
    assert len(serving.started) == 1
    serving.end("nightly")
    serving.at("2026-11-24 15:40", hourly)
    assert serving.started[1:] == [("nightly", "11-24 15:00")]
    assert serving.missed[1:] == [1]


def test_two_runs_of_one_target_never_meet(serving: Serving) -> None:
    other = replace(NIGHTLY, name="other")
    third = replace(NIGHTLY, name="third")
    serving.scopes = {"nightly": Scope(kind="write", place=("a",)), "other": Scope(kind="write", place=("a",))}
    serving.at("2026-11-25 02:00", NIGHTLY, other, third)
    assert [name for name, _slot in serving.started] == ["nightly", "third"]
    serving.end("nightly")
    serving.at("2026-11-25 02:10", NIGHTLY, other, third)
    assert [name for name, _slot in serving.started] == ["nightly", "third", "other"]


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        (Scope(kind="write"), Scope(kind="write", place=("a",)), True),
        (Scope(kind="write", place=("a",)), Scope(kind="write", place=("b",)), False),
        (Scope(kind="write", place=("a",)), Scope(kind="write", place=("a",)), True),
        (Scope(kind="read"), Scope(kind="write"), False),
        (Scope(kind="read"), Scope(kind="read"), True),
    ],
)
def test_scopes_meet_unless_both_are_named_and_differ(first: Scope, second: Scope, meet: bool) -> None:
    assert first.may_meet(second) is second.may_meet(first) is meet


def test_no_more_than_so_many_run_at_once_and_the_longest_due_is_next(serving: Serving) -> None:
    late = replace(NIGHTLY, name="late", expression=parse_when("0 1 * * *"))
    many = [replace(NIGHTLY, name=f"n{number}") for number in range(3)]
    serving.at("2026-11-25 02:00", *many, late)
    assert [name for name, _slot in serving.started] == ["late", "n0"]


def test_clock_set_back_a_little_repeats_nothing(serving: Serving) -> None:
    serving.at("2026-11-25 02:00")
    serving.end("nightly")
    serving.at("2026-11-25 02:01")
    serving.at("2026-11-25 01:30")
    serving.at("2026-11-25 02:00")
    assert len(serving.started) == 1


def test_clock_that_was_years_ahead_holds_nothing_back(serving: Serving) -> None:
    serving.at("2031-01-01 03:00")
    serving.end("nightly")
    serving.at("2031-01-01 03:01")
    serving.at("2026-11-25 01:30")
    serving.at("2026-11-25 02:00")
    assert serving.started == [("nightly", "01-01 02:00"), ("nightly", "11-25 02:00")]


def test_hour_that_is_skipped_and_hour_that_comes_twice_run_once(serving: Serving) -> None:
    half = replace(
        NIGHTLY, expression=parse_when("30 2 * * *"), time_zone="Europe/Madrid", created=utc("2026-03-28 12:00")
    )
    for start in ("2026-03-29 00:00", "2026-10-25 00:00"):
        before = len(serving.started)
        for minute in range(0, 300, 5):
            serving.at((utc(start) + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M"), half)
            if "nightly" in serving.runs:
                serving.end("nightly")
        # The first also makes up for nothing: the second's predecessors were missed while it was not looked at.
        slots = [slot for _name, slot in serving.started[before:] if slot.startswith(start[5:10])]
        assert len(slots) == 1


def test_jitter_is_waited_for(serving: Serving) -> None:
    jittery = replace(NIGHTLY, jitter_s=600)
    serving.at("2026-11-25 02:00:00", jittery)
    assert serving.started == []
    serving.at("2026-11-25 02:10:00", jittery)
    assert serving.started == [("nightly", "11-25 02:00")]


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"handled": []}', b'{"handled": {"nightly": 5}}'])
def test_lost_state_is_made_up_from_the_runs_that_were_noted(
    serving: Serving, tmp_path: Path, content: bytes | None
) -> None:
    serving.at("2026-11-25 02:00")
    serving.end("nightly")
    serving.at("2026-11-25 02:05")
    slot = utc("2026-11-25 02:00")
    record = RunRecord(schedule="nightly", command=("backup",), slot=slot, started=slot, ended=slot, exit_code=0)
    record_run(tmp_path, record)
    if content is None:
        (tmp_path / STATE).unlink()
    else:
        (tmp_path / STATE).write_bytes(content)
    serving.restart()
    serving.at("2026-11-25 09:00")
    assert len(serving.started) == 1
