#!/usr/bin/env python3
"""The documented command with flat flags. Translates them to the operations of ``respaldo``, and does nothing else.

Runs from a clone after ``pip install -r requirements.txt``, without installing the package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from respaldo.cli.environment import complete_environment

if __name__ == "__main__":
    complete_environment()

from respaldo.cli.flat import build_parser, run_flat
from respaldo.cli.orchestrator import UnifiedBackupOrchestrator

__all__ = ["UnifiedBackupOrchestrator", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flat command line and return its exit code."""
    parser: argparse.ArgumentParser = build_parser()
    return run_flat(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
