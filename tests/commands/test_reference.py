"""The reference of the commands is what the program says of itself."""

from __future__ import annotations

import os

from tests.commands.command import ROOT
from tests.rig.program import run_program


def test_command_reference_is_what_the_program_says() -> None:
    done = run_program(["scripts/command_reference.py", "--check"], cwd=ROOT, env=os.environ)
    assert done.returncode == 0, f"{done.stderr}run python3 scripts/command_reference.py"
