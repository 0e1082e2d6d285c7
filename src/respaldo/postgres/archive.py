"""pg_dump's custom archive of definitions, read back by pg_restore inside the instance."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from respaldo.environments.base import Process
from respaldo.errors import PostgresError, StreamCutError
from respaldo.language import _, ngettext
from respaldo.postgres.complaints import explain
from respaldo.postgres.identifiers import conninfo
from respaldo.postgres.server import Server

# pg_restore takes several workers only for a file, so the archive lies in one while it runs. Its size is compared:
# an archive that arrived cut has lost its last definitions, not its readability. Workers that lose their pg_restore
# fall to process 1, and must end by no signal, SIGPIPE among them.
_WITH_FILE = r"""
trap "" PIPE
size=$1; shift
file=$(mktemp "${TMPDIR:-/tmp}/respaldo.XXXXXX") || exit 1
trap 'rm -f "$file"' EXIT
cat >"$file"
if [ "$(wc -c <"$file")" -ne "$size" ]; then echo "error: the archive arrived cut" >&2; exit 1; fi
"$@" "$file"
"""
# Two sessions that attach indexes of partitions at once may both miss that they made the parent's index whole: it then
# stays invalid (seen with PostgreSQL 17, in one restore of some ten). Those statements are run by one session, between
# the building of indexes and what needs whole ones. Event triggers come when all else is done: pg_dump puts them before
# the refreshing of materialized views, which would fire them. A list's line: number; class, oid, kind, what it is of.
_LISTS = r"""
for pass in build attach rest others events; do : >"$directory/$pass"; done
"$1" --list --section=post-data "$directory/archive" >"$directory/list" || exit 1
while read -r number class oid kind next others; do
  case $number in ";"*|"") continue ;; esac
  case "$kind $next $others" in
    "INDEX ATTACH "*) pass=attach ;;
    "INDEX "*|"CONSTRAINT "*) pass=build ;;
    "EVENT TRIGGER "*|"COMMENT - EVENT TRIGGER "*|"SECURITY LABEL - EVENT TRIGGER "*) pass=events ;;
    *) pass=rest ;;
  esac
  line="$number $class $oid $kind $next $others"
  printf '%s\n' "$line" >>"$directory/$pass"
  [ "$pass" = events ] || printf '%s\n' "$line" >>"$directory/others"
done <"$directory/list"
"""
_PASSES = (
    _LISTS
    + r"""
if [ -s "$directory/attach" ]; then
  "$@" --section=post-data --use-list="$directory/build" "$directory/archive" || status=$?
  "$@" --section=post-data --jobs=1 --use-list="$directory/attach" "$directory/archive" || status=$?
  "$@" --section=post-data --use-list="$directory/rest" "$directory/archive" || status=$?
else
  "$@" --section=post-data --use-list="$directory/others" "$directory/archive" || status=$?
fi
"""
)
_IN_DIRECTORY = r"""
trap "" PIPE
status=0
size=$1; shift
directory=$(mktemp -d "${TMPDIR:-/tmp}/respaldo.XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
cat >"$directory/archive"
if [ "$(wc -c <"$directory/archive")" -ne "$size" ]; then echo "error: the archive arrived cut" >&2; exit 1; fi
"""
_IN_PASSES = _IN_DIRECTORY + _PASSES + 'exit "$status"\n'
# The text of the lists that the first argument names, in their order.
_TEXT_OF = (
    _IN_DIRECTORY
    + "lists=$1; shift\n"
    + _LISTS
    + r"""
for list in $lists; do cat "$directory/$list" >>"$directory/chosen"; done
[ ! -s "$directory/chosen" ] || "$@" --section=post-data --use-list="$directory/chosen" "$directory/archive"
"""
)
_WITH_DIRECTORY = r"""
directory=$(mktemp -d "${TMPDIR:-/tmp}/respaldo.XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
tar -xf - -C "$directory" || exit 1
"$@" "$directory"
"""
_DIRECTORY_IN_PASSES = (
    r"""
status=0
directory=$(mktemp -d "${TMPDIR:-/tmp}/respaldo.XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
mkdir "$directory/archive" && tar -xf - -C "$directory/archive" || exit 1
"$@" --section=pre-data --section=data "$directory/archive" || status=$?
"""
    + _PASSES
    + r"""
if [ -s "$directory/events" ]; then
  "$@" --section=post-data --use-list="$directory/events" "$directory/archive" || status=$?
fi
exit "$status"
"""
)
# The first lines tell the version; all of the rest is read, and thrown away inside.
_HEAD_ONLY = r"""
exec 4>&1
status=$( { { "$@"; echo "$?" >&3; } | { head -n 50 >&4; cat >/dev/null; }; } 3>&1 )
exit "$status"
"""
# The mark follows the output of a command that succeeded: where the connection was cut, none does.
_MARKED = r"""
mark=$1; shift
"$@" || exit
echo "$mark"
"""
_VERSION = re.compile(rb"-- Dumped from database version (\d+)")
_FAILED = re.compile(
    r"error: could not execute query: (?P<error>.*?)\nCommand was: (?P<command>.*?)(?=\npg_restore: |\Z)", re.DOTALL
)
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class FailedStatement:
    """A statement that the server refused, and what it said."""

    command: str
    error: str


def restore_section(
    server: Server,
    database: str,
    archive: bytes,
    section: str,
    *,
    jobs: int,
    options: Sequence[str] = (),
    started: Callable[[Process], None] = lambda process: None,
) -> None:
    """Run every statement of one section (``pre-data``, ``post-data``) but event triggers' in a database, with several
    workers.

    ``options`` of pg_restore, here and below. ``started`` is given the process, to close it from another thread. Raise
    PostgresError that lists the statements that failed: one is enough.
    """
    argv = [server.tools.pg_restore, "--no-password", f"--section={section}", f"--jobs={jobs}", *options]
    argv.append(f"--dbname={conninfo(database)}")
    _run(server, argv, archive, database, started, script=_IN_PASSES if section == "post-data" else _WITH_FILE)


def section_script(server: Server, archive: bytes, section: str, options: Sequence[str] = ()) -> bytes:
    """Return the SQL text of one section, as pg_restore writes it; event triggers last."""
    if section == "post-data":
        return _text_of(server, archive, "others events", options)
    return _run(server, [server.tools.pg_restore, f"--section={section}", "--file=-", *options], archive, None)


def post_data_script(server: Server, archive: bytes, options: Sequence[str] = ()) -> bytes:
    """Return the SQL text of all that comes after the rows, but for event triggers."""
    return _text_of(server, archive, "others", options)


def event_trigger_script(server: Server, archive: bytes) -> bytes:
    """Return the SQL text that makes the event triggers; empty where there are none."""
    # The archive's own list is never compressed: what it does not name is not there.
    return _text_of(server, archive, "events") if b"EVENT TRIGGER" in archive else b""


def _text_of(server: Server, archive: bytes, lists: str, options: Sequence[str] = ()) -> bytes:
    argv = [server.tools.pg_restore, "--file=-", *options]
    return _run(server, [lists, *argv], archive, None, script=_TEXT_OF)


def whole_script(server: Server, archive: bytes) -> bytes:
    """Return the SQL text of all that an archive defines; read to its end, so an archive that is damaged fails."""
    return _run(server, [server.tools.pg_restore, "--file=-"], archive, None)


def table_script(server: Server, archive: bytes, schema: str, name: str) -> bytes:
    """Return the SQL text that defines one table, without its indexes and constraints."""
    argv = [server.tools.pg_restore, "--section=pre-data", "--file=-", f"--schema={schema}", f"--table={name}"]
    return _run(server, argv, archive, None)


def restore_archive(server: Server, database: str, pieces: Iterable[bytes], *, is_directory: bool, jobs: int) -> None:
    """Restore a whole archive of another program: custom or tar as it streams, a directory (packed as a tar) from a
    copy inside the instance, with several workers. Raise PostgresError that lists the statements that failed."""
    argv = [server.tools.pg_restore, "--no-password", f"--dbname={conninfo(database)}"]
    environment = server.connection.environment(database=database)
    if is_directory:
        argv = ["sh", "-c", _DIRECTORY_IN_PASSES, "sh", *argv, f"--jobs={jobs}"]
    _stream(server, argv, pieces, environment)


def check_archive(server: Server, pieces: Iterable[bytes], *, is_directory: bool) -> int | None:
    """Read an archive to its end with the server's own pg_restore; return the major version it came from, if told."""
    argv = [server.tools.pg_restore, "--file=-"]
    if is_directory:
        argv = ["sh", "-c", _WITH_DIRECTORY, "sh", *argv]
    output = _stream(server, ["sh", "-c", _HEAD_ONLY, "sh", *argv], pieces, {})
    version = _VERSION.search(output)
    return int(version[1]) if version else None


def _run(
    server: Server,
    argv: list[str],
    archive: bytes,
    database: str | None,
    started: Callable[[Process], None] = lambda process: None,
    *,
    script: str = _WITH_FILE,
) -> bytes:
    command = ["sh", "-c", script, "sh", str(len(archive)), *argv]
    return _stream(server, command, [archive], server.connection.environment(database=database), started)


def _stream(
    server: Server,
    argv: list[str],
    pieces: Iterable[bytes],
    environment: dict[str, str],
    started: Callable[[Process], None] = lambda process: None,
) -> bytes:
    output = bytearray()
    mark = f"respaldo-{secrets.token_hex(16)}"
    with server.runner.start(["sh", "-c", _MARKED, "sh", mark, *argv], env=environment, stdin=True) as process:
        started(process)
        with ThreadPoolExecutor(1, thread_name_prefix="respaldo-archive") as feeder:
            feeding = feeder.submit(_feed, process, pieces)
            try:
                while data := process.read():
                    output += data
                status = process.wait()
            except BaseException as error:
                # An interrupt, too, must not wait until all is sent.
                process.close()
                if isinstance(error, StreamCutError):
                    _raise_own(feeding)
                raise
        _raise_own(feeding)
        if status != 0:
            raise _failure(process.stderr_tail(), status)
        feeding.result()
    text = bytes(output)
    if not text.endswith(f"{mark}\n".encode()):
        raise StreamCutError(_("{program} was cut short").format(program="pg_restore"))
    return text.removesuffix(f"{mark}\n".encode())


def _feed(process: Process, pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            process.write(piece)
        process.close_stdin()
    except StreamCutError:
        raise
    except BaseException:
        # Its reader would wait for the rest for ever.
        process.close()
        raise


def _raise_own(feeding: Future[None]) -> None:
    """Raise what ended the feeding, unless it only tells of a process that had ended."""
    error = feeding.exception()
    if error is not None and not isinstance(error, StreamCutError):
        raise error


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
    told = explain("pg_restore", stderr)
    lines = [f"{one.command.splitlines()[0]}  ->  {one.error.splitlines()[0]}" for one in failed[:_SHOWN]]
    return PostgresError(
        ngettext(
            "{count} statement failed:\n  {statements}", "{count} statements failed:\n  {statements}", len(failed)
        ).format(count=len(failed), statements="\n  ".join(lines)),
        hint=told.hint,
        sqlstate=told.sqlstate,
    )
