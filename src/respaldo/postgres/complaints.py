"""What PostgreSQL's clients say when they fail, turned into one clear error with a hint."""

from __future__ import annotations

import re

from respaldo.errors import PostgresError
from respaldo.language import _

# With VERBOSITY=verbose psql puts the SQLSTATE before the message; the word before that may be in any language.
# A code has a digit: "ERROR" itself, after a line's number, is none.
_CODED = re.compile(r"\b\w+:\s+(?=[A-Z]*[0-9])([0-9A-Z]{5}): (.*)")
_SEVERE = re.compile(r"(?:ERROR|FATAL|PANIC|error|fatal):\s+()(.*)")
# Without a severity, where the server went before it could say why; psql's last line only says that it could not go on.
_CLOSED = re.compile(r"()(server closed the connection unexpectedly)$")
# What pg_restore, and a client that could not connect, tell in words alone; in another language it stays unknown.
_STATES = (
    (re.compile(r"(?:No space left on device|Disk quota exceeded)$"), "53100"),
    (re.compile(r"(?:out of(?: shared)? memory|Cannot allocate memory)$"), "53200"),
    (re.compile(r"FATAL: .*(?:too many clients already$|remaining connection slots are reserved)"), "53300"),
    (re.compile(r"server closed the connection unexpectedly$"), "08006"),
    (re.compile(r"because of crash of another server process$"), "57P02"),
    (re.compile(r"FATAL: .*the database system is "), "57P03"),
)
# These carry rows and statements of the user's, who may write such words too.
_QUOTING = ("DETAIL", "CONTEXT", "HINT", "STATEMENT", "LINE", "Command was")


def explain(program: str, stderr: bytes, status: int | None = None) -> PostgresError:
    """Return the error for a client that failed. Never holds a password: the clients do not print any."""
    text = stderr.decode(errors="replace").strip()
    sqlstate, complaint = _complaint(text)
    message = _("{program} failed: {complaint}").format(
        program=program, complaint=complaint or _("exit status {status}").format(status=status)
    )
    return PostgresError(message, hint=_hint(text), sqlstate=sqlstate or _state(text))


def _state(text: str) -> str:
    """Return the SQLSTATE that words stand for, where they tell of the server's own state."""
    lines = [line for line in text.splitlines() if not line.startswith(_QUOTING)]
    return next((state for words, state in _STATES if any(map(words.search, lines))), "")


def _complaint(text: str) -> tuple[str, str]:
    """Return the SQLSTATE, if told, and the first line that names a fault with its DETAIL, or the last line."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        match = _CODED.search(line) or _SEVERE.search(line) or _CLOSED.search(line)
        if match:
            detail = next(
                (following for following in lines[number + 1 : number + 3] if following.startswith("DETAIL")), ""
            )
            return match[1], f"{match[2]} {detail}".strip()
    return "", lines[-1] if lines else ""


def _hint(text: str) -> str | None:
    snapshot_went = _("the session that held the backup's snapshot was ended: the server's log tells why; try again")
    too_short = _("the server, the database or the role sets a timeout that is too short: raise it there")
    needs_path = _("a function that finds others by search_path needs one of its own: ALTER FUNCTION … SET search_path")
    rules = (
        ("password authentication failed", _("set the right user with --user and its password in RESPALDO_PASSWORD")),
        ("no password supplied", _("set the password in the environment variable RESPALDO_PASSWORD")),
        ('role "', _("choose a role that exists with --user")) if "does not exist" in text else ("\0", ""),
        ('database "', _("choose a database that exists with --database")) if "does not exist" in text else ("\0", ""),
        ("function ", needs_path) if "does not exist" in text else ("\0", ""),
        ("unsupported startup parameter", _("a connection pooler stands there: connect to the server itself")),
        ('snapshot "', snapshot_went),
        ("invalid snapshot", snapshot_went),
        ("-session timeout", too_short),
        ("transaction timeout", too_short),
        ("terminating connection", _("somebody ended the session: the server's log tells more; try again")),
        ("closed the connection", _("the server's log tells why it ended the session; try again")),
        ("starting up", _("the server is starting: try again in a moment")),
        ("in recovery mode", _("the server is recovering from a crash: try again in a moment")),
        ("No such file or directory", _("no server answers there: check that PostgreSQL runs in it")),
        ("Connection refused", _("no server answers there: check that PostgreSQL runs in it")),
        ("too many clients", _("raise max_connections, or use fewer --jobs")),
        ("remaining connection slots", _("raise max_connections, or use fewer --jobs")),
        ("max_locks_per_transaction", _("raise max_locks_per_transaction on the server and restart it")),
        ("out of shared memory", _("raise max_locks_per_transaction on the server and restart it")),
        ("row-level security", _("use a superuser or a role with BYPASSRLS: --user")),
        ("permission denied", _("use a superuser or a role with pg_read_all_data: --user")),
        ("No space left on device", _("free space on the server's disk")),
    )
    return next((hint for pattern, hint in rules if pattern in text), None)
