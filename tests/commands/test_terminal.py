"""A terminal without UTF-8 shows every backup, and ``--json`` stays JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from respaldo.cli.documents import backup_document
from respaldo.storage.directory import DirectoryStorage
from tests.unit.repositories import TARGET, fill

ROOT = Path(__file__).parents[2]


def run(directory: Path, *arguments: str, language: str) -> subprocess.CompletedProcess[bytes]:
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "LANG": "C", "PYTHONIOENCODING": "ascii",
        "RESPALDO_LANG": language,
    }  # fmt: skip
    command = [sys.executable, "-m", "respaldo", "-d", str(directory), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("language", ["es", "en"])
def test_ascii_terminal_shows_the_list_and_valid_json(tmp_path: Path, language: str) -> None:
    repository = fill(DirectoryStorage(tmp_path))
    names = [one.name for one in repository.backups(TARGET).manifests]
    shown = run(tmp_path, "list", language=language)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.isascii()
    assert all(name.encode() in shown.stdout for name in names)
    document = json.loads(run(tmp_path, "list", "--json", language=language).stdout)
    assert [one["name"] for one in document] == names
    assert [one["decision"] for one in document] == [
        backup_document(one)["decision"] for one in repository.backups(TARGET).manifests
    ]


def test_ascii_terminal_shows_an_error_with_accents(tmp_path: Path) -> None:
    done = run(tmp_path, "pin", "año", language="es")
    assert done.returncode == 10
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: ")
