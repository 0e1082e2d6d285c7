"""The command line as a process of its own, in a directory of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.rig.program import run_program
from tests.rig.variables import shell_variables

ROOT = Path(__file__).parents[2]


def respaldo(directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in English, at home in the directory."""
    return _run(directory, ["-m", "respaldo", *words], variables)


def orchestrator(directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the flat command in English, at home in the directory."""
    return _run(directory, [str(ROOT / "backup_orchestrator.py"), *words], variables)


def _run(directory: Path, words: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = shell_variables(**{"HOME": str(directory), "RESPALDO_LANG": "en", **variables})
    return run_program(words, cwd=directory, env=environment)
