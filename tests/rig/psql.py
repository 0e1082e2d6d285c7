"""This machine's own psql, for servers that it reaches: a quarter of the work of one in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.rig.engine import RigError

TIMEOUT_S = 300
# psql's exit status where it could not connect, or lost its connection.
_NOT_CONNECTED = 2


def psql_words(user: str, database: str) -> list[str]:
    """The command that runs statements from its input one by one: unaligned, tuples only."""
    return ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-f", "-"]


def psql_from_here(words: list[str], sql: bytes, *, address: str, password: str, options: str = "") -> bytes | None:
    """Return what it prints, or None where there is no psql here or it cannot log in; raise RigError where it fails.

    ``options``: libpq's, of the session.
    """
    program = _program()
    if program is None or not address:
        return None
    environment = {**os.environ, "PGHOST": address, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "5"}
    # What it says when it cannot log in is known by its first words, which are English then.
    environment |= {"PGOPTIONS": options, "LC_ALL": "C.UTF-8", "LANGUAGE": ""}
    done = subprocess.run(
        [program, "--no-password", *words[1:]],
        input=sql,
        env=environment,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode == _NOT_CONNECTED and done.stderr.startswith(b"psql: error: "):
        return None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")
        raise RigError(f"{address}: {' '.join(words)}: status {done.returncode}: {said}")
    return done.stdout


@cache
def _program() -> str | None:
    """The newest there is, past the wrapper that Debian puts on PATH, which takes longer than psql itself; None where
    containers run in a machine of their own, and their addresses lead nowhere."""
    if sys.platform != "linux":
        return None
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), key=lambda program: int(program.parts[4]))
    return str(installed[-1]) if installed else shutil.which("psql")
