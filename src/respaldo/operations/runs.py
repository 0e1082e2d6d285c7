"""What scheduled runs came to: a line of each in ``scheduled_backups.log``, and the last of every schedule in
``.metadata/last_status.json``, both in the directory of the repository. Knows nothing of schedules or commands.

Any number of processes may write: one at a time, held by ``.metadata/runs.lock``. Both files are 0600, and hold none of
the texts that are passed as secrets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from respaldo.errors import DONE_WITH_WARNINGS, InterruptedRunError, ObjectNotFoundError
from respaldo.redaction import redact
from respaldo.repository.fields import FieldError, Fields, Json, as_object, parse_object
from respaldo.repository.format import METADATA
from respaldo.repository.manifest import format_instant, seal, unseal
from respaldo.repository.records import Manifest
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.files import FILE_MODE, held, translated, write_all
from respaldo.units import MIB

LOG = "scheduled_backups.log"
LAST_STATUS = f"{METADATA}/last_status.json"
LOCK = f"{METADATA}/runs.lock"
ROTATED_AT_BYTES = MIB
ROTATED_KEPT = 5
_LONGEST_STATUS_BYTES = 16 * MIB


class Outcome(StrEnum):
    """How a run ended, by its exit code."""

    SUCCEEDED = "succeeded"
    WARNED = "warned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @classmethod
    def of(cls, exit_code: int) -> Outcome:
        """Return what an exit code of the program says."""
        known = {0: cls.SUCCEEDED, DONE_WITH_WARNINGS: cls.WARNED, InterruptedRunError.exit_code: cls.INTERRUPTED}
        return known.get(exit_code, cls.FAILED)

    @property
    def is_good(self) -> bool:
        """Tell whether the work was done, with warnings or without."""
        return self in {Outcome.SUCCEEDED, Outcome.WARNED}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBackup:
    """A backup that a run committed: its name, type, bytes stored, and rows. ``target``: ``instance/database``."""

    target: str
    name: str
    type: str
    stored_bytes: int
    rows: int

    @classmethod
    def of(cls, manifest: Manifest) -> RunBackup:
        """Return what a run's record tells of a backup."""
        return cls(
            target=str(manifest.target),
            name=manifest.name,
            type=manifest.type.value,
            stored_bytes=manifest.totals.stored_bytes,
            rows=manifest.totals.rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One scheduled run that ended. ``slot``: the time that it was due at, where that is known; ``targets``: each
    ``instance/database`` that it found, also where it failed then."""

    schedule: str
    command: tuple[str, ...]
    started: datetime
    ended: datetime
    exit_code: int
    slot: datetime | None = None
    targets: tuple[str, ...] = ()
    error: str | None = None
    hint: str | None = None
    backups: tuple[RunBackup, ...] = ()

    @property
    def outcome(self) -> Outcome:
        return Outcome.of(self.exit_code)

    @property
    def duration_s(self) -> float:
        return (self.ended - self.started).total_seconds()


def record_run(directory: Path, record: RunRecord, *, secrets: Collection[str] = ()) -> None:
    """Append the run to the log, and make it its schedule's last. Each of ``secrets`` is struck out of every text.

    Raise StorageError where the directory cannot be written.
    """
    record = _without(record, secrets)
    with held(str(directory / LOCK)):
        _append(directory, _encode(run_document(record)))
        # The one of an unreadable document is lost; its runs are in the log.
        schedules = {**_last_runs(directory), record.schedule: record}
        document = {**run_document(record), "schedules": {name: run_document(one) for name, one in schedules.items()}}
        DirectoryStorage(directory).put(LAST_STATUS, seal(document))


def read_last_runs(directory: Path) -> Mapping[str, RunRecord]:
    """Return the last run of each schedule that ever ran, by the schedule's name; none where nothing was recorded."""
    return _last_runs(directory)


def read_runs(directory: Path) -> Iterator[RunRecord]:
    """Yield the runs of the log and of its rotated parts, the newest first. Lines that are not ours are left out."""
    for path in (directory / LOG, *_rotated(directory)):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        except OSError:
            with translated(str(path), reading=True):
                raise
        for line in reversed(lines):
            with suppress(FieldError):
                yield _parse(parse_object(line))


def forget_schedule(directory: Path, name: str) -> None:
    """Take a schedule that is no more out of ``last_status.json``, so that nothing waits for its next run."""
    with held(str(directory / LOCK)):
        left = {one: record for one, record in _last_runs(directory).items() if one != name}
        if not left:
            DirectoryStorage(directory).delete(LAST_STATUS)
            return
        last = max(left.values(), key=lambda record: record.ended)
        document = {**run_document(last), "schedules": {one: run_document(record) for one, record in left.items()}}
        DirectoryStorage(directory).put(LAST_STATUS, seal(document))


def run_document(record: RunRecord) -> dict[str, Any]:
    """Return a run as JSON carries it: in the log, in ``last_status.json``, and on the screen. A contract."""
    return {
        "schedule": record.schedule,
        "command": list(record.command),
        "slot": format_instant(record.slot) if record.slot else None,
        "started": format_instant(record.started),
        "ended": format_instant(record.ended),
        "duration_s": round(record.duration_s, 3),
        "outcome": record.outcome.value,
        "exit_code": record.exit_code,
        "targets": list(record.targets),
        "error": record.error,
        "hint": record.hint,
        "backups": [
            {
                "target": one.target,
                "name": one.name,
                "type": one.type,
                "stored_bytes": one.stored_bytes,
                "rows": one.rows,
            }
            for one in record.backups
        ],
    }


def _encode(document: Mapping[str, Any]) -> bytes:
    """Write JSON with an end of line. A name that is no UTF-8 comes as what Python makes of it, and goes back as it."""
    text = json.dumps(document, ensure_ascii=False)
    return text.encode(errors="backslashreplace") + b"\n"


def _parse(fields: Fields) -> RunRecord:
    return RunRecord(
        schedule=fields.text("schedule"),
        command=fields.texts("command"),
        slot=fields.instant("slot") if fields.get("slot") is not None else None,
        started=fields.instant("started"),
        ended=fields.instant("ended"),
        exit_code=fields.count("exit_code"),
        targets=fields.texts("targets"),
        error=fields.optional_text("error"),
        hint=fields.optional_text("hint"),
        backups=tuple(_parse_backup(item) for item in fields.items("backups")),
    )


def _parse_backup(item: Json) -> RunBackup:
    fields = Fields(as_object(item, "backups"))
    return RunBackup(
        target=fields.text("target"),
        name=fields.text("name"),
        type=fields.text("type"),
        stored_bytes=fields.count("stored_bytes"),
        rows=fields.count("rows"),
    )


def _last_runs(directory: Path) -> dict[str, RunRecord]:
    try:
        data = DirectoryStorage(directory).get(LAST_STATUS, limit_bytes=_LONGEST_STATUS_BYTES)
        schedules = unseal(data).fields("schedules").members
        return {name: _parse(Fields(as_object(one, name))) for name, one in schedules.items()}
    except (ObjectNotFoundError, FieldError):
        return {}


def _append(directory: Path, line: bytes) -> None:
    path = directory / LOG
    with translated(str(path)):
        rotate(path, ROTATED_AT_BYTES)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        try:
            # A line that a full disk has cut is not to take the next one with it.
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            write_all(descriptor, (b"\n" if torn else b"") + line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rotate(path: Path, at_bytes: int) -> bool:
    """Move a file of so many bytes aside, to ``.1``, that to ``.2``, and drop the last; tell whether it was done."""
    try:
        if path.stat().st_size < at_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(ROTATED_KEPT - 1, 0, -1):
        with suppress(FileNotFoundError):
            os.replace(f"{path}.{number}", f"{path}.{number + 1}")
    os.replace(path, f"{path}.1")
    return True


def _rotated(directory: Path) -> list[Path]:
    return [directory / f"{LOG}.{number}" for number in range(1, ROTATED_KEPT + 1)]


def _without(record: RunRecord, secrets: Collection[str]) -> RunRecord:
    """Strike secrets out of what programs said."""
    return replace(
        record,
        command=tuple(redact(word, secrets) for word in record.command),
        error=record.error and redact(record.error, secrets),
        hint=record.hint and redact(record.hint, secrets),
    )
