"""pg_dump's custom archive of definitions, read back by pg_restore inside the instance."""

from __future__ import annotations

import re
from dataclasses import dataclass

from respaldo.errors import PostgresError, StreamCutError
from respaldo.language import _
from respaldo.postgres.complaints import explain
from respaldo.postgres.server import Server

# pg_restore takes several workers only for a file, so the archive lies in one while it runs. Its size is compared:
# an archive that arrived cut has lost its last definitions, not its readability.
_WITH_FILE = r"""
size=$1; shift
file=$(mktemp "${TMPDIR:-/tmp}/respaldo.XXXXXX") || exit 1
trap 'rm -f "$file"' EXIT
cat >"$file"
if [ "$(wc -c <"$file")" -ne "$size" ]; then echo "error: the archive arrived cut" >&2; exit 1; fi
"$@" "$file"
"""
_FAILED = re.compile(
    r"error: could not execute query: (?P<error>.*?)\nCommand was: (?P<command>.*?)(?=\npg_restore: |\Z)", re.DOTALL
)
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class FailedStatement:
    """A statement that the server refused, and what it said."""

    command: str
    error: str


def restore_section(server: Server, database: str, archive: bytes, section: str, *, jobs: int) -> None:
    """Run every statement of one section (``pre-data``, ``post-data``) in a database, with several workers.

    Raise PostgresError that lists the statements that failed: one is enough.
    """
    argv = [server.tools.pg_restore, "--no-password", f"--section={section}", f"--jobs={jobs}", f"--dbname={database}"]
    _run(server, argv, archive, database)


def section_script(server: Server, archive: bytes, section: str) -> bytes:
    """Return the SQL text of one section, as pg_restore writes it."""
    return _run(server, [server.tools.pg_restore, f"--section={section}", "--file=-"], archive, None)


def _run(server: Server, argv: list[str], archive: bytes, database: str | None) -> bytes:
    environment = server.connection.environment(database=database)
    command = ["sh", "-c", _WITH_FILE, "sh", str(len(archive)), *argv]
    output = bytearray()
    with server.runner.start(command, env=environment, stdin=True) as process:
        try:
            process.write(archive)
        except StreamCutError as error:
            raise explain("pg_restore", process.stderr_tail()) from error
        process.close_stdin()
        while data := process.read():
            output += data
        status = process.wait()
        if status != 0:
            raise _failure(process.stderr_tail(), status)
    return bytes(output)


def failed_statements(stderr: str) -> list[FailedStatement]:
    """Return what pg_restore said failed, in order."""
    return [
        FailedStatement(command=match["command"].strip(), error=match["error"].strip())
        for match in _FAILED.finditer(stderr)
    ]


def _failure(stderr: bytes, status: int) -> Exception:
    failed = failed_statements(stderr.decode(errors="replace"))
    if not failed:
        return explain("pg_restore", stderr, status)
    lines = [f"{one.command.splitlines()[0]}  ->  {one.error.splitlines()[0]}" for one in failed[:_SHOWN]]
    return PostgresError(
        _("{count} statements failed:\n  {statements}").format(count=len(failed), statements="\n  ".join(lines)),
        hint=explain("pg_restore", stderr).hint,
    )
