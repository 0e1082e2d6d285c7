"""Labels that several runs of the program change at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from respaldo.clock import SystemClock
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.rig.variables import shell_variables
from tests.unit.manifests import write_backups


def test_processes_at_once_lose_no_label(tmp_path: Path) -> None:
    manifests = write_backups(tmp_path, 6)
    environment = shell_variables(RESPALDO_LANG="en")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "respaldo", "-d", str(tmp_path), "version", "tag", one.name, f"tag-{one.name}"],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for one in manifests
    ]
    for process in running:
        _out, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr.decode()
    repository = Repository.open(DirectoryStorage(tmp_path), SystemClock())
    labels = repository.labels(manifests[0].target).read()
    expected = {one.name: (f"tag-{one.name}",) for one in manifests} | {"b1": ("stable", "tag-b1")}
    assert {name: one.tags for name, one in labels.backups.items()} == expected
