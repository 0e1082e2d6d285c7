"""Who is told when: each failed or missed day once, recovery once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from respaldo.notify.notice import Kind
from respaldo.operations.anomalies import Anomaly
from respaldo.repository.records import TargetPath
from tests.unit.announcing import DAY, START, TARGET, World


@pytest.mark.parametrize("seed", range(2))
def test_thirty_days_tell_each_bad_day_once_and_each_recovery_once(seed: int) -> None:
    """Random days: good, failed (once or several times, found or not found), missed; and a channel with outages."""
    chance = random.Random(seed)
    world = World()
    world.succeed()
    bad_days: set[date] = set()
    recoveries: Counter[date] = Counter()
    is_bad = False
    for _number in range(30):
        world.clock.instant = world.clock.instant.replace(hour=2, minute=0) + DAY
        today = world.clock.now().date()
        kind = chance.choices(["good", "failed", "missed"], [5, 3, 2])[0]
        world.channel.is_down = chance.random() < 0.3
        if kind == "good":
            world.sleep(minutes=chance.randrange(5))
            world.succeed()
            recoveries[today] += is_bad
            is_bad = False
        elif kind == "failed":
            for _again in range(chance.choice([1, 1, 3])):
                world.fail(chance.choice([str(TARGET), str(TARGET), ""]))
                world.sleep(minutes=20)
            bad_days.add(today)
            is_bad = True
        else:
            bad_days.add(today)
            is_bad = True
        # Somebody looks every two hours until midnight and after; a missing day is late an hour after its time.
        for _look in range(11):
            world.sleep(hours=2)
            world.look()
            world.channel.is_down = world.channel.is_down and chance.random() < 0.5
        world.channel.is_down = False
        world.look()
    told = Counter(message.at.date() for message in world.channel.taken if message.kind in {Kind.FAILURE, Kind.OVERDUE})
    assert told == Counter(bad_days)
    recovered = Counter(message.at.date() for message in world.channel.taken if message.kind is Kind.RECOVERY)
    assert recovered == +recoveries
    # In the order in which they happened, each once.
    assert [message.at for message in world.channel.taken] == sorted(message.at for message in world.channel.taken)
    assert len({message.uid for message in world.channel.taken}) == len(world.channel.taken)


def test_success_says_what_where_how_long_and_how_big() -> None:
    world = World()
    assert world.succeed() == []
    (message,) = world.channel.taken
    assert message.kind is Kind.SUCCESS
    assert "pc_db/pc_db" in message.subject
    for text in (
        "pc_db/pc_db",
        "backup_20260301_020000",
        "2 min 5 s",
        "1.3 GiB",
        "5.6 MiB",
        "respaldo drill backup_2026",
    ):
        assert text in message.body


def test_failure_says_why_what_to_do_and_when_it_was_last_good() -> None:
    world = World()
    world.succeed()
    world.sleep(days=1)
    world.fail()
    message = world.channel.taken[-1]
    for text in ("the server refused", "start it", "2026-03-01 02:00:00 UTC", "respaldo doctor"):
        assert text in message.body


def test_failure_is_told_anew_after_a_success_of_the_same_day() -> None:
    world = World()
    for step in (world.fail, world.fail, world.succeed, world.fail, world.succeed):
        world.sleep(hours=1)
        step()
    assert world.channel.kinds == [Kind.FAILURE, Kind.RECOVERY, Kind.FAILURE, Kind.RECOVERY]


def test_days_are_those_of_the_zone() -> None:
    world = World(zone=ZoneInfo("America/Santiago"))
    world.fail()  # 23:00 of the day before, there
    world.sleep(minutes=59)
    world.fail()
    world.sleep(minutes=2)
    world.fail()
    assert len(world.channel.taken) == 2


def test_two_targets_are_told_of_apart() -> None:
    world = World()
    other = TargetPath(instance="pc_db", database="other")
    world.succeed()
    world.succeed(other)
    world.sleep(hours=1)
    world.fail()
    world.succeed(other)
    world.sleep(hours=1)
    world.succeed()
    assert world.channel.kinds == [Kind.SUCCESS, Kind.SUCCESS, Kind.FAILURE, Kind.SUCCESS, Kind.RECOVERY]


def test_an_instance_that_cannot_be_asked_is_no_recovery_of_another() -> None:
    world = World()
    world.fail("down/*")
    world.succeed()
    world.succeed(TargetPath(instance="down", database="x"))
    assert world.channel.kinds == [Kind.FAILURE, Kind.SUCCESS, Kind.RECOVERY]


def test_overdue_is_told_once_a_day_and_not_of_the_retired() -> None:
    world = World()
    world.succeed()
    for _hour in range(24 * 3 + 1):
        world.sleep(hours=1)
        world.look()
    assert world.channel.kinds == [Kind.SUCCESS, Kind.OVERDUE, Kind.OVERDUE]
    assert world.channel.taken[1].at == START + timedelta(hours=26)
    world.policy = replace(world.policy, retired=(str(TARGET),))
    world.sleep(days=3)
    world.look()
    assert len(world.channel.taken) == 3


def test_overdue_days_do_not_drift_with_the_hour_of_the_look() -> None:
    world = World()
    world.succeed()
    for _look in range(48):
        world.sleep(hours=5)
        world.look()
    days = [message.at.date() for message in world.channel.taken if message.kind is Kind.OVERDUE]
    assert days == [date(2026, 3, 2) + number * DAY for number in range(len(days))]
    assert len(days) == 9


def test_about_to_be_late_is_told_once_where_that_is_asked_for_or_known() -> None:
    world = World(rpo_warning=timedelta(hours=2))
    world.succeed()
    for _hour in range(24):
        world.sleep(hours=1)
        world.look()
    assert world.channel.kinds == [Kind.SUCCESS, Kind.OVERDUE]
    assert world.channel.taken[1].at == START + timedelta(hours=22)
    world = World()
    world.succeed()
    for _hour in range(24):
        world.sleep(hours=1)
        world.look(next_run=START + timedelta(hours=25))
    assert world.channel.kinds == [Kind.SUCCESS, Kind.OVERDUE]
    world = World()
    world.succeed()
    for _hour in range(24):
        world.sleep(hours=1)
        world.look(next_run=START + timedelta(hours=24))
    assert world.channel.kinds == [Kind.SUCCESS]


def test_an_anomaly_is_a_warning_while_it_is_new() -> None:
    world = World()
    odd = (Anomaly(code="size", text="less than half"),)
    for anomalies in (odd, odd, (), odd):
        world.sleep(days=1)
        world.succeed(anomalies=anomalies)
    assert world.channel.kinds == [Kind.WARNING, Kind.SUCCESS, Kind.SUCCESS, Kind.WARNING]
    assert "less than half" in world.channel.taken[1].body


def test_kinds_that_are_not_wanted_are_not_told() -> None:
    world = World(kinds=(Kind.FAILURE, Kind.RECOVERY))
    for step in (world.succeed, world.fail, world.succeed, world.succeed):
        world.sleep(hours=1)
        step()
    assert world.channel.kinds == [Kind.FAILURE, Kind.RECOVERY]


ODD = (Anomaly(code="vanished t", text="table t is gone"),)


def test_what_is_not_wanted_keeps_nothing_else_from_being_told() -> None:
    world = World(kinds=(Kind.FAILURE, Kind.RECOVERY))
    world.succeed()
    world.sleep(hours=26)
    world.look()  # it is late, and nobody wants to know
    world.sleep(minutes=5)
    world.fail()
    assert world.channel.kinds == [Kind.FAILURE]
    world = World(kinds=(Kind.OVERDUE,))
    world.succeed()
    for _hour in range(24 * 3):
        world.sleep(hours=1)
        if world.clock.now().hour in {2, 4}:
            world.fail()
        world.look()
    assert world.channel.kinds == [Kind.OVERDUE, Kind.OVERDUE]
    world = World(kinds=(Kind.SUCCESS, Kind.FAILURE))
    for anomalies in ((), ODD):
        world.succeed(anomalies=anomalies)
        world.sleep(days=1)
    world.policy = replace(world.policy, kinds=tuple(Kind))
    world.succeed(anomalies=ODD)
    assert world.channel.kinds == [Kind.SUCCESS, Kind.WARNING]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({}, Kind.SUCCESS), ({"anomalies": ODD}, Kind.WARNING), ({"warnings": ("retention failed",)}, Kind.WARNING)],
)
def test_a_recovery_that_is_not_wanted_is_a_good_run_like_others(changes: dict[str, Any], kind: Kind) -> None:
    world = World(kinds=[one for one in Kind if one is not Kind.RECOVERY], rpo_warning=timedelta(hours=2))
    world.fail()
    for more in (changes, {}):
        world.sleep(days=1)
        world.succeed(**more)
    assert world.channel.kinds == [Kind.FAILURE, kind, Kind.SUCCESS]
    # And with it the failure is over: that it is about to be late is told as ever.
    world.sleep(hours=23)
    world.look()
    assert world.channel.kinds[3:] == [Kind.OVERDUE]


def test_an_anomaly_that_ended_unsaid_is_new_when_it_comes_again() -> None:
    world = World(kinds=(Kind.WARNING,))
    for anomalies in (ODD, ODD, (), ODD):
        world.sleep(days=1)
        world.succeed(anomalies=anomalies)
    assert world.channel.kinds == [Kind.WARNING, Kind.WARNING]


@pytest.mark.parametrize("wanted", [str(TARGET), ""])
def test_a_failure_of_a_day_that_was_told_as_late_is_told_once(wanted: str) -> None:
    world = World()
    world.succeed()
    world.sleep(hours=26)
    world.look()
    for _again in range(3):
        world.sleep(hours=2)
        world.fail(wanted)
        world.look()
    assert world.channel.kinds == [Kind.SUCCESS, Kind.OVERDUE, Kind.FAILURE]
    assert "the server refused" in world.channel.taken[-1].body
    world.sleep(hours=1)
    world.succeed()
    assert world.channel.kinds[3:] == [Kind.RECOVERY]
