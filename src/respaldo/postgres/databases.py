"""Databases of one server as wholes: made, dropped, renamed, exchanged; the leftovers of dead runs removed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from respaldo.errors import InterruptedRunError, PostgresError, RespaldoError
from respaldo.language import _
from respaldo.postgres.identifiers import quote_identifier, quote_literal
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.standstill import settings_without_event_triggers

RESTORING = "__restoring_"
"""Stands in the name of a database that is being filled; nothing of a person's is called so."""
KEPT = "__old_"
"""Stands before the time in the name of a database that a restore has replaced."""

_LEFT_BY_RESTORE = re.compile(rf"{RESTORING}|{KEPT}\d{{8}}_\d{{6}}$")
# The first key of the advisory locks by which a live run holds the database that it fills.
_LOCK_SPACE = 0x7265_7370
_PAUSE_S = 0.1
# How long both databases may stand renamed but not committed.
_UNDECIDED = "10s"
# How long the server may take to end a session whose stream was cut.
_ENDING = "30s"
# There is one of that name, or another transaction that gave it was waited for.
_TAKEN = {"42P04", "23505"}


def database_names(server: Server) -> list[str]:
    """Return the names of every database, templates too."""
    with server.open_session() as session:
        return [str(row["datname"]) for row in session.query("SELECT datname FROM pg_catalog.pg_database")]


def is_left_by_restore(name: str) -> bool:
    """Tell whether a database is one that a restore fills now, or keeps of what it replaced."""
    return _LEFT_BY_RESTORE.search(name) is not None


def drop_database(server: Server, name: str) -> None:
    """Drop a database with whatever session is still in it; one that is not there is no error."""
    with server.open_session() as session:
        session.execute(f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE);")


def drop_own(server: Server, name: str) -> None:
    """Drop a database that this program made. What came from a backup must not hold it: the subscriptions go first,
    without a word to the servers they name, whose slots belong to the database that was backed up."""
    select = f"""SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
                  WHERE d.datname = {quote_literal(name)}"""
    with server.open_session() as session:
        subscriptions = [quote_identifier(str(row["subname"])) for row in session.query(select)]
    if subscriptions:
        with server.open_session(name) as session:
            # No event trigger of the backup's has a say in it.
            session.execute(settings_without_event_triggers(server))
            for subscription in subscriptions:
                change = f"ALTER SUBSCRIPTION {subscription}"
                session.execute(
                    f"{change} DISABLE;\n{change} SET (slot_name = NONE);\nDROP SUBSCRIPTION {subscription};"
                )
    drop_database(server, name)


@contextmanager
def held(server: Server, name: str) -> Iterator[Session]:
    """Hold the name of a database that is being filled, so that no other run takes it for a dead one's leftover.

    Gives the session that holds it: what is run in it raises where it has ended meanwhile.
    """
    with server.open_session() as session:
        session.execute(f"SELECT pg_catalog.pg_advisory_lock({_key(name)});")
        yield session


def end_holder(server: Server, name: str, holder: Session) -> None:
    """End the session that holds a name, in the server too: nothing that it was sent is done after this returns.

    A stream that was cut ends the wait for a statement, not the statement.
    """
    holder.close()
    with server.open_session() as session:
        session.execute(
            f"""SET lock_timeout = '{_ENDING}';
                SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks
                 WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = {_LOCK_SPACE}
                   AND objid::bigint = {_second_key(name)}::bigint & x'ffffffff'::bigint;
                SELECT pg_catalog.pg_advisory_lock({_key(name)});"""
        )


def drop_leftovers(server: Server) -> dict[str, PostgresError | None]:
    """Drop the databases that dead runs were filling; return their names, with why one could not be dropped."""
    pattern = quote_literal("%" + RESTORING.replace("_", r"\_") + "%")
    found: dict[str, PostgresError | None] = {}
    with server.open_session() as session:
        names = [
            str(row["datname"])
            for row in session.query(f"SELECT datname FROM pg_catalog.pg_database WHERE datname LIKE {pattern}")
        ]
        for name in names:
            if session.value(f"SELECT pg_catalog.pg_try_advisory_lock({_key(name)}) AS is_free"):
                found[name] = None
                try:
                    drop_own(server, name)
                except PostgresError as error:
                    found[name] = error
    return found


def exchange(server: Server, renaming: Session, *, new: str, live: str, old: str | None) -> None:
    """Give ``new`` the name ``live``, and what is called so now the name ``old``, in one transaction of ``renaming``,
    the session that holds ``new``.

    Sessions in either are ended: a rename needs the database to itself (PostgreSQL 18, ALTER DATABASE). The rename
    holds off new ones while it waits for those there, up to five seconds, and another session ends them meanwhile.
    The commit is sent once both renames are done: whatever comes before it, an interrupt too, leaves the old names.
    Who connects in between waits for it; should it never come, because the connection is gone, the server rolls back.
    """
    statements = f"ALTER DATABASE {quote_identifier(new)} RENAME TO {quote_identifier(live)};"
    if old is not None:
        statements = f"ALTER DATABASE {quote_identifier(live)} RENAME TO {quote_identifier(old)};\n{statements}"
    with server.open_session() as ending:
        try:
            _rename(renaming, ending, statements, (new, live))
        except PostgresError as error:
            if old is None and error.sqlstate in _TAKEN:
                taken = _("the database {name} exists already").format(name=live)
                raise PostgresError(taken, hint=_("choose another name with --to")) from error
            raise PostgresError(
                _("{database} could not be given its name: {reason}").format(database=live, reason=error.message),
                hint=error.hint or _("end the sessions and prepared transactions in it, and try again"),
            ) from error
        try:
            renaming.execute("COMMIT;")
        except (RespaldoError, KeyboardInterrupt) as error:
            # The answer is lost, not always what it would have said.
            end_holder(server, new, renaming)
            if new in database_names(server):
                raise
            if isinstance(error, KeyboardInterrupt):
                done = _("interrupted when {database} was the restored one already; the old one is kept as {old}")
                raise InterruptedRunError(done.format(database=live, old=old or "-")) from error


def _rename(renaming: Session, ending: Session, statements: str, databases: Sequence[str]) -> None:
    """Begin a transaction and rename in it, while another session ends those in the databases."""
    names = ", ".join(quote_literal(name) for name in databases)
    failures: list[RespaldoError] = []
    done = threading.Event()

    def rename() -> None:
        try:
            renaming.execute(f"BEGIN;\nSET LOCAL idle_in_transaction_session_timeout = '{_UNDECIDED}';\n{statements}")
        except RespaldoError as error:
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=rename, name="respaldo-rename")
    thread.start()
    try:
        while not done.wait(_PAUSE_S):
            _end_sessions(ending, names)
    except BaseException:
        renaming.close()
        raise
    finally:
        thread.join()
    if failures:
        raise failures[0]


def _end_sessions(session: Session, names: str) -> None:
    session.execute(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
        f" WHERE datname IN ({names}) AND pid <> pg_catalog.pg_backend_pid();"
    )


def _key(name: str) -> str:
    return f"{_LOCK_SPACE}, {_second_key(name)}"


def _second_key(name: str) -> str:
    return f"pg_catalog.hashtext({quote_literal(name)})"
