"""The document of schedules: what is added is there and installed, or neither."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from respaldo.errors import DamagedError, EnvironmentFailedError, UsageError
from respaldo.operations.runs import RunRecord, record_run
from respaldo.operations.schedules import (
    DOCUMENT,
    declare_schedules,
    drop_schedule,
    find_schedule,
    next_backups,
    put_schedule,
    read_schedules,
)
from respaldo.repository.manifest import seal
from respaldo.schedule.expression import parse_when
from respaldo.schedule.plan import ALWAYS, Schedule, Trigger

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SCHEDULE = Schedule(
    name="nightly",
    expression=parse_when("daily"),
    command=("backup", "--container", "pc_db"),
    trigger=Trigger.SERVE,
    created=NOW,
    time_zone="Etc/UTC",
    jitter_s=5,
)


def nothing(*_words: Any) -> None:
    """Install nothing."""


def test_schedule_that_was_added_reads_back(tmp_path: Path) -> None:
    assert read_schedules(tmp_path) == []
    other = replace(SCHEDULE, name="hourly", time_zone=None, jitter_s=0, trigger=Trigger.CRONTAB)
    put_schedule(tmp_path, SCHEDULE, nothing, replace=False)
    put_schedule(tmp_path, other, nothing, replace=False)
    assert read_schedules(tmp_path) == [other, SCHEDULE]
    assert (tmp_path / DOCUMENT).stat().st_mode & 0o777 == 0o600


def test_name_in_use_is_an_error_unless_it_is_replaced(tmp_path: Path) -> None:
    put_schedule(tmp_path, SCHEDULE, nothing, replace=False)
    changed = replace(SCHEDULE, expression=parse_when("weekly"))
    with pytest.raises(UsageError, match="nightly"):
        put_schedule(tmp_path, changed, nothing, replace=False)
    assert read_schedules(tmp_path) == [SCHEDULE]
    put_schedule(tmp_path, changed, nothing, replace=True)
    assert read_schedules(tmp_path) == [changed]


def test_schedule_that_could_not_be_installed_is_not_there(tmp_path: Path) -> None:
    put_schedule(tmp_path, SCHEDULE, nothing, replace=False)

    def fail(*_words: Any) -> None:
        raise EnvironmentFailedError("no cron")

    with pytest.raises(EnvironmentFailedError):
        put_schedule(tmp_path, replace(SCHEDULE, name="other"), fail, replace=False)
    with pytest.raises(EnvironmentFailedError):
        drop_schedule(tmp_path, "nightly", fail)
    assert read_schedules(tmp_path) == [SCHEDULE]


def test_unknown_schedule_is_an_error_that_lists_those_that_are(tmp_path: Path) -> None:
    put_schedule(tmp_path, SCHEDULE, nothing, replace=False)
    with pytest.raises(UsageError, match="nightly"):
        drop_schedule(tmp_path, "weekly", nothing)
    with pytest.raises(UsageError, match="'weekly'"):
        find_schedule([], "weekly")
    assert drop_schedule(tmp_path, "nightly", nothing) == SCHEDULE
    assert read_schedules(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"schedules": None},
        {"schedules": [{}]},
        {"schedules": [{"name": "../x"}]},
        {"expression": "61 * * * *"},
        {"expression": 5},
        {"trigger": "at"},
        {"time_zone": "No/Where"},
        {"time_zone": "../../etc/passwd"},
        {"command": "rm"},
        {"created": "yesterday"},
        {"jitter_s": -1},
        {"name": "A B"},
    ],
)
def test_document_that_is_damaged_is_said_and_never_guessed(tmp_path: Path, change: dict[str, Any]) -> None:
    put_schedule(tmp_path, SCHEDULE, nothing, replace=False)
    document = json.loads((tmp_path / DOCUMENT).read_text())
    del document["checksum"]
    (document if change.keys() <= document.keys() else document["schedules"][0]).update(change)
    (tmp_path / DOCUMENT).write_bytes(seal(document))
    with pytest.raises(DamagedError, match=DOCUMENT):
        read_schedules(tmp_path)
    # Nothing is lost to a program that would add to it.
    with pytest.raises(DamagedError):
        put_schedule(tmp_path, replace(SCHEDULE, name="other"), nothing, replace=False)
    assert (tmp_path / DOCUMENT).read_bytes() == seal(document)
    assert next_backups(tmp_path, None, now=NOW) == {}


def test_next_backups_are_those_of_the_targets_that_ran(tmp_path: Path) -> None:
    weekly = replace(SCHEDULE, name="weekly", expression=parse_when("weekly"))
    check = replace(SCHEDULE, name="check", command=("check",), expression=parse_when("hourly"))
    for one in (SCHEDULE, weekly, check):
        put_schedule(tmp_path, one, nothing, replace=False)
    for name, targets in (("nightly", ("a/x", "b/y")), ("weekly", ("b/y", "c/z")), ("check", ("a/x",))):
        record = RunRecord(schedule=name, command=("backup",), started=NOW, ended=NOW, exit_code=0, targets=targets)
        record_run(tmp_path, record)
    tomorrow, sunday = NOW.replace(hour=2) + timedelta(days=1), NOW.replace(day=29, hour=2)
    assert next_backups(tmp_path, None, now=NOW) == {"a/x": tomorrow, "b/y": tomorrow, "c/z": sunday}
    # Those of a cluster, and those that the daemon was started with, are known to it alone but for this.
    record_run(tmp_path, replace(record, schedule="cluster", targets=("d/u",)))
    record_run(tmp_path, replace(record, schedule="served", targets=("c/z",)))
    declare_schedules(tmp_path, [replace(SCHEDULE, name="served", created=ALWAYS)])
    found = next_backups(tmp_path, None, now=NOW, others={"cluster": sunday, "never-ran": NOW})
    assert found == {"a/x": tomorrow, "b/y": tomorrow, "c/z": tomorrow, "d/u": sunday}
    assert [one.name for one in read_schedules(tmp_path)] == ["check", "nightly", "weekly"]
    # Started anew, without any.
    declare_schedules(tmp_path, [])
    assert next_backups(tmp_path, None, now=NOW)["c/z"] == sunday
