"""What cron appends to: kept from growing without end while this program itself writes there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from respaldo.cli.schedule_launch import OUTPUT
from respaldo.clock import SystemClock
from respaldo.operations.runs import ROTATED_AT_BYTES
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.rig.variables import shell_variables


def test_output_that_has_grown_is_put_aside_and_the_run_goes_on_in_a_new_file(tmp_path: Path) -> None:
    Repository.open_or_create(DirectoryStorage(tmp_path), SystemClock())
    output = tmp_path / OUTPUT
    output.write_bytes(b"old\n" * (ROTATED_AT_BYTES // 4))
    command = [sys.executable, "-m", "respaldo", "-d", str(tmp_path), "schedule", "run", "x", "--", "check"]
    with output.open("ab") as file:
        subprocess.run(command, env=shell_variables(RESPALDO_LANG="en"), stdout=file, stderr=file, check=False)
    assert output.with_name(f"{output.name}.1").read_bytes().endswith(b"old\nold\n")
    assert b"all is whole" in output.read_bytes()
    assert output.stat().st_mode & 0o777 == 0o600
