"""Records of scheduled runs: what one writes, the next reads; bounded, whole, and without secrets."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from respaldo.errors import StorageError
from respaldo.operations import runs
from respaldo.operations.runs import (
    LAST_STATUS,
    LOG,
    ROTATED_KEPT,
    Outcome,
    RunBackup,
    RunRecord,
    forget_schedule,
    read_last_runs,
    read_runs,
    record_run,
)

STARTED = datetime(2026, 11, 25, 2, 0, 1, tzinfo=UTC)
GOOD = RunRecord(
    schedule="nightly",
    command=("backup", "--container", "pc_db"),
    slot=datetime(2026, 11, 25, 2, tzinfo=UTC),
    started=STARTED,
    ended=STARTED + timedelta(seconds=4),
    exit_code=0,
    targets=("pc_db/tienda",),
    backups=(RunBackup(target="pc_db/tienda", name="backup_1", type="full", stored_bytes=5, rows=7),),
)
BAD = replace(
    GOOD,
    exit_code=40,
    backups=(),
    error="no container is called pc_db",
    hint="docker ps",
    ended=GOOD.ended + timedelta(days=1),
)


def test_record_of_a_run_reads_back_the_newest_first(tmp_path: Path) -> None:
    record_run(tmp_path, GOOD)
    record_run(tmp_path, BAD)
    record_run(tmp_path, replace(GOOD, schedule="weekly", slot=None, backups=()))
    assert [one.schedule for one in read_runs(tmp_path)] == ["weekly", "nightly", "nightly"]
    assert list(read_runs(tmp_path))[1:] == [BAD, GOOD]
    assert read_last_runs(tmp_path)["nightly"] == BAD
    assert set(read_last_runs(tmp_path)) == {"nightly", "weekly"}


def test_last_status_is_the_last_run_with_every_schedules_own(tmp_path: Path) -> None:
    record_run(tmp_path, BAD)
    record_run(tmp_path, replace(GOOD, schedule="weekly"))
    document = json.loads((tmp_path / LAST_STATUS).read_text())
    assert (document["schedule"], document["outcome"], document["exit_code"]) == ("weekly", "succeeded", 0)
    assert document["schedules"]["nightly"]["error"] == "no container is called pc_db"
    assert document["backups"] == [
        {"target": "pc_db/tienda", "name": "backup_1", "type": "full", "stored_bytes": 5, "rows": 7}
    ]
    assert document["duration_s"] == 4.0


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    record_run(tmp_path, GOOD)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in (LOG, LAST_STATUS)} == {0o600}


def test_nothing_recorded_is_no_error(tmp_path: Path) -> None:
    assert list(read_runs(tmp_path / "none")) == []
    assert read_last_runs(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, Outcome.SUCCEEDED),
        (3, Outcome.WARNED),
        (130, Outcome.INTERRUPTED),
        (1, Outcome.FAILED),
        (50, Outcome.FAILED),
    ],
)
def test_outcome_follows_the_exit_code(code: int, outcome: Outcome) -> None:
    assert replace(GOOD, exit_code=code).outcome is outcome


def test_secrets_are_struck_out_of_every_text(tmp_path: Path) -> None:
    told = replace(BAD, error="password pa55word of pa55word-long refused", hint="pa55word", command=("pa55word",))
    record_run(tmp_path, told, secrets=["pa55word", "", "pa55word-long"])
    assert "pa55" not in (tmp_path / LOG).read_text() + (tmp_path / LAST_STATUS).read_text()
    assert read_last_runs(tmp_path)["nightly"].error == "password *** of *** refused"


def test_names_that_are_no_unicode_are_recorded(tmp_path: Path) -> None:
    odd = os.fsdecode(b"pc_db/tienda_\xff")
    record = replace(BAD, error=f"there is no {odd}", targets=(odd,), command=("backup", "--database", odd))
    record_run(tmp_path, record)
    assert list(read_runs(tmp_path)) == [record]
    assert read_last_runs(tmp_path) == {"nightly": record}


def test_log_is_rotated_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ROTATED_AT_BYTES", 2000)
    for number in range(60):
        record_run(tmp_path, replace(GOOD, schedule=f"s{number % 3}", exit_code=number))
    files = sorted(tmp_path.glob(f"{LOG}*"))
    assert len(files) == 1 + ROTATED_KEPT
    assert sum(file.stat().st_size for file in files) < (ROTATED_KEPT + 1) * 3000
    numbers = [one.exit_code for one in read_runs(tmp_path)]
    assert numbers == list(range(59, 59 - len(numbers), -1))


def test_lines_that_are_torn_or_foreign_are_left_out(tmp_path: Path) -> None:
    record_run(tmp_path, GOOD)
    with (tmp_path / LOG).open("ab") as file:
        file.write(b'{"schedule": 1}\n\xff\xfe\n[]\n' + b'{"schedule": "nigh')
    record_run(tmp_path, BAD)
    assert list(read_runs(tmp_path)) == [BAD, GOOD]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schedules": {"a": {}}}', b"\0" * 40])
def test_damaged_last_status_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    record_run(tmp_path, GOOD)
    (tmp_path / LAST_STATUS).write_bytes(content)
    record_run(tmp_path, BAD)
    assert read_last_runs(tmp_path) == {"nightly": BAD}


def test_runs_that_end_at_once_are_all_recorded(tmp_path: Path) -> None:
    records = [replace(GOOD, schedule=f"s{number}") for number in range(12)]
    threads = [threading.Thread(target=record_run, args=(tmp_path, record)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.schedule for one in read_runs(tmp_path)} == {one.schedule for one in records}
    assert set(read_last_runs(tmp_path)) == {one.schedule for one in records}


def test_forgotten_schedule_leaves_the_others(tmp_path: Path) -> None:
    record_run(tmp_path, GOOD)
    record_run(tmp_path, replace(BAD, schedule="weekly"))
    forget_schedule(tmp_path, "weekly")
    assert read_last_runs(tmp_path) == {"nightly": GOOD}
    assert json.loads((tmp_path / LAST_STATUS).read_text())["schedule"] == "nightly"
    forget_schedule(tmp_path, "nightly")
    assert read_last_runs(tmp_path) == {}


def test_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        record_run(tmp_path / "file", GOOD)
