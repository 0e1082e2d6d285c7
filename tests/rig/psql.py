"""SQL from here, for servers that this machine reaches: a single statement by libpq, a sixth of the work of a psql in
the container; several by this machine's own psql, a quarter of it."""

from __future__ import annotations

import os
import re
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


def psql_from_here(
    sql: bytes, *, address: str, user: str, password: str, database: str, options: str = ""
) -> bytes | None:
    """Return what psql prints, or None where there is no psql here or it cannot log in; raise RigError where it fails.

    ``options``: libpq's, of the session.
    """
    program = _program()
    if program is None or not address:
        return None
    if _is_one_statement(sql):
        return _answer(sql, address=address, user=user, password=password, database=database, options=options)
    words = psql_words(user, database)
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


def _is_one_statement(sql: bytes) -> bool:
    return not sql.strip().upper().startswith(b"COPY") and not re.search(rb"\\|;(?!\s*$)|^\s*$", sql)


def _answer(sql: bytes, *, address: str, user: str, password: str, database: str, options: str) -> bytes | None:
    """Do as psql does with one statement that is no COPY."""
    import psycopg

    try:
        connection = psycopg.connect(
            host=address,
            user=user,
            password=password,
            dbname=database,
            options=options,
            connect_timeout=5,
            autocommit=True,
            cursor_factory=psycopg.ClientCursor,
        )
    except psycopg.OperationalError:
        return None
    with connection:
        try:
            result = connection.execute(sql).pgresult
        except psycopg.Error as error:
            raise RigError(f"{address}: {sql.decode(errors='replace')}: {error}") from error
        assert result is not None
        rows = (
            b"|".join(result.get_value(row, column) or b"" for column in range(result.nfields))
            for row in range(result.ntuples)
        )
        return b"".join(row + b"\n" for row in rows)


@cache
def _program() -> str | None:
    """The newest there is, past the wrapper that Debian puts on PATH, which takes longer than psql itself; None where
    containers run in a machine of their own, and their addresses lead nowhere."""
    if sys.platform != "linux":
        return None
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), key=lambda program: int(program.parts[4]))
    return str(installed[-1]) if installed else shutil.which("psql")
