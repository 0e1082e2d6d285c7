"""The environment of a program that a test starts: what a shell has, and nothing that the tests put into theirs."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The last is how coverage follows a process (`make coverage`).
KEPT = ("PATH", "HOME", "DOCKER_HOST", "LANG", "COVERAGE_PROCESS_CONFIG")


def shell_variables(**more: str) -> dict[str, str]:
    """Return what is kept, the way to this checkout's modules, and ``more``."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **more}
