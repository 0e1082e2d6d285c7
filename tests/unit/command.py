"""The command line as a process of its own, in a directory of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.rig.variables import shell_variables


def respaldo(directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in English, at home in the directory."""
    command = [sys.executable, "-m", "respaldo", *words]
    environment = shell_variables(**{"HOME": str(directory), "RESPALDO_LANG": "en", **variables})
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
