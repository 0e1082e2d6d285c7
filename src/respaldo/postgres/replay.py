"""A standby's replay stands still while it is read: what it replays would cancel long reads (PostgreSQL, 27.4.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from respaldo.environments.base import Process
from respaldo.errors import PostgresError
from respaldo.language import _
from respaldo.postgres.complaints import explain
from respaldo.postgres.server import Server

#: How long what was received already may take to be replayed before the read begins.
CATCH_UP_S: Final = 60.0
PAUSE_S: Final = 20.0
_POLL_S: Final = 0.2

_BEHIND = """
SELECT coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()),
                0)::int8 AS bytes"""

# Whatever becomes of us, the input ends, and replay goes on: a standby that nobody wakes would fall behind for ever.
_HOLD = """
"$@" -c 'SELECT pg_catalog.pg_wal_replay_pause()' >/dev/null || exit 1
echo paused
cat >/dev/null
"$@" -c 'SELECT pg_catalog.pg_wal_replay_resume()' >/dev/null && echo resumed
"""


@contextmanager
def paused_replay(server: Server, warn: Callable[[str], object]) -> Iterator[None]:
    """Let a standby replay what it has received, then hold its replay until the ``with`` block ends.

    Does nothing on a primary, and where somebody else holds it already. Where the role may not, ``warn`` hears so,
    and the read goes on. Replay goes on also where this program dies: a shell beside the server sees to it.
    """
    if not server.facts.is_standby:
        yield
        return
    _catch_up(server, warn)
    with server.open_session() as session:
        is_held = bool(session.value("SELECT pg_catalog.pg_is_wal_replay_paused() AS p"))
    if is_held:
        yield
        return
    psql = [server.tools.psql, "--no-psqlrc", "--no-password", "--quiet", "--tuples-only"]
    command = ["sh", "-c", _HOLD, "sh", *psql, "--set=ON_ERROR_STOP=1"]
    with server.runner.start(command, env=server.connection.environment(), stdin=True) as process:
        if process.read().strip() != b"paused":
            process.close_stdin()
            process.wait(PAUSE_S)
            error = explain("psql", process.stderr_tail())
            warn(
                _("replay goes on while the standby is read, and may cancel it: {reason}").format(reason=error.message)
            )
            yield
            return
        try:
            _wait_until_held(server)
            yield
        finally:
            _resume(process)


def _catch_up(server: Server, warn: Callable[[str], object]) -> None:
    limit = time.monotonic() + CATCH_UP_S
    with server.open_session() as session:
        while behind := int(session.value(_BEHIND)):
            if behind < 0 or time.monotonic() > limit:
                warn(_("the standby is {bytes} bytes behind what it has received").format(bytes=behind))
                return
            time.sleep(_POLL_S)


def _wait_until_held(server: Server) -> None:
    """Return once replay really stands; before version 14 a request is all that can be seen."""
    if server.facts.major < 14:
        return
    limit = time.monotonic() + PAUSE_S
    with server.open_session() as session:
        while session.value("SELECT pg_catalog.pg_get_wal_replay_pause_state() AS s") != "paused":
            if time.monotonic() > limit:
                raise PostgresError(
                    _("the standby's replay does not stop within {seconds} s").format(seconds=int(PAUSE_S)),
                    hint=_("see what it waits for: SELECT * FROM pg_stat_activity WHERE backend_type = 'startup'"),
                )
            time.sleep(_POLL_S)


def _resume(process: Process) -> None:
    process.close_stdin()
    said = b""
    while data := process.read():
        said += data
    if process.wait(PAUSE_S) != 0 or b"resumed" not in said:
        raise explain("psql", process.stderr_tail())
