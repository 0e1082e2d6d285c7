"""What the summary says as a person sees it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from respaldo.operations.runs import RunRecord, record_run
from respaldo.operations.schedules import put_schedule
from respaldo.schedule.expression import parse_when
from respaldo.schedule.plan import Schedule, Trigger
from tests.commands.command import orchestrator
from tests.unit.manifests import START, write_backups


@pytest.mark.parametrize("is_known", [True, False])
def test_next_run_is_told_on_the_screen_and_as_json(tmp_path: Path, *, is_known: bool) -> None:
    (manifest,) = write_backups(tmp_path, 1)
    now = datetime.now(UTC)
    if is_known:
        nightly = Schedule(
            name="nightly",
            expression=parse_when("daily"),
            command=("backup",),
            trigger=Trigger.SERVE,
            created=START,
            time_zone="UTC",
        )
        put_schedule(tmp_path, nightly, lambda: None, replace=False)
        names = (str(manifest.target),)
        record_run(
            tmp_path,
            RunRecord(schedule="nightly", command=("backup",), started=START, ended=START, exit_code=0, targets=names),
        )
    words = ("--dir", str(tmp_path), "--backup-summary")
    shown, as_json = (orchestrator(tmp_path, *words, *more, TZ="UTC") for more in ((), ("--json",)))
    assert (shown.returncode, as_json.returncode) == (0, 0), shown.stderr + as_json.stderr
    document = json.loads(as_json.stdout)
    line = next(line for line in shown.stdout.splitlines() if line.strip().startswith("next run"))
    if is_known:
        assert re.fullmatch(r" +next run +\d{4}-\d\d-\d\d 02:00 UTC", line)
        at = datetime.fromisoformat(document[0]["next"]["at"])
        assert (at.hour, timedelta() < at - now <= timedelta(days=1, minutes=1)) == (2, True)
    else:
        assert line.split("next run")[1].strip() == "no schedule is known to back it up"
        assert document[0]["next"]["at"] is None
