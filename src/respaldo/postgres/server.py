"""One PostgreSQL server as seen from beside it: how to connect, its tools, its facts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from respaldo.environments.base import Runner
from respaldo.errors import PostgresError
from respaldo.language import _
from respaldo.postgres.connection import Connection, ConnectionOverrides, resolve_connection
from respaldo.postgres.session import Session
from respaldo.postgres.tools import Tools, find_tools

OLDEST_SUPPORTED = 130000
# ctid range scans came with version 14 (release notes of PostgreSQL 14, E.25.3.1.2).
RANGE_SCANS_SINCE = 140000
# Made by initdb for exactly this: to be connected to while another is dropped or renamed.
_MAINTENANCE = ("postgres", "template1")

# Names one backend for ever. No two sessions have the same, unless a pooler hands them on.
BACKEND = """(SELECT pid || ' ' || backend_start FROM pg_catalog.pg_stat_activity
                 WHERE pid = pg_catalog.pg_backend_pid())"""

_FACTS = f"""
SELECT pg_catalog.current_setting('server_version_num')::int AS version_num,
       pg_catalog.current_setting('server_version') AS version,
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collation, d.datctype AS ctype,
       pg_catalog.pg_get_userbyid(d.datdba) AS owner,
       pg_catalog.current_setting('block_size')::int AS block_size,
       r.rolsuper AS is_superuser, (r.rolsuper OR r.rolbypassrls) AS bypasses_rls, r.rolname AS role,
       pg_catalog.pg_is_in_recovery() AS is_standby, {BACKEND} AS backend
  FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
 WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What does not change while a backup runs. ``version_num`` is libpq's (150004); ``block_size`` in bytes;
    ``backend`` is the ``BACKEND`` of the session that read the rest."""

    version_num: int
    version: str
    system_identifier: str
    encoding: str
    collation: str
    ctype: str
    owner: str
    block_size: int
    is_superuser: bool
    bypasses_rls: bool
    role: str
    is_standby: bool
    backend: str

    @property
    def major(self) -> int:
        return self.version_num // 10000

    @property
    def short_version(self) -> str:
        """The version without the packager's remark: ``15.4``."""
        return self.version.split()[0]

    @property
    def has_range_scans(self) -> bool:
        return self.version_num >= RANGE_SCANS_SINCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Everything that is needed to open a session or start a tool. Thread-safe."""

    runner: Runner
    connection: Connection
    tools: Tools
    facts: ServerFacts

    def open_session(self, database: str | None = None) -> Session:
        return Session(self.runner, self.tools, self.connection, database=database)


def connect(runner: Runner, overrides: ConnectionOverrides, *, any_database: bool = False) -> Server:
    """Find the tools and the way in, and read the server's facts.

    ``any_database``: connect to one that is always there; the one meant may be gone, or about to be replaced.
    Raise PostgresError, with a hint, where this is no PostgreSQL image, the server refuses us, or is too old.
    """
    return _connect(runner, find_tools(runner), overrides, any_database=any_database)


def reconnect(server: Server, overrides: ConnectionOverrides) -> Server:
    """Return the same server as it is seen by other ways, or from another of its databases."""
    return _connect(server.runner, server.tools, overrides, any_database=False)


def _connect(runner: Runner, tools: Tools, overrides: ConnectionOverrides, *, any_database: bool) -> Server:
    connection = resolve_connection(runner, overrides)
    if any_database:
        connection, facts = _read_facts_by_maintenance(runner, tools, connection)
    else:
        facts = _read_facts(runner, tools, connection)
    if facts.encoding == "SQL_ASCII":
        connection = replace(connection, client_encoding="SQL_ASCII")
    if facts.version_num < OLDEST_SUPPORTED:
        raise PostgresError(
            _("PostgreSQL {version} is not supported").format(version=facts.version),
            hint=_("versions 13 to 18 are; dump older ones with their own pg_dump"),
        )
    return Server(runner=runner, connection=connection.to_version(facts.version_num), tools=tools, facts=facts)


def _read_facts(runner: Runner, tools: Tools, connection: Connection) -> ServerFacts:
    with Session(runner, tools, connection) as session:
        return ServerFacts(**next(session.query(_FACTS)))


def _read_facts_by_maintenance(runner: Runner, tools: Tools, connection: Connection) -> tuple[Connection, ServerFacts]:
    """Return the connection to ``postgres``, or to ``template1`` where somebody dropped that, and the facts."""
    usual, other = (replace(connection, database=name) for name in _MAINTENANCE)
    try:
        return usual, _read_facts(runner, tools, usual)
    except PostgresError as error:
        if "does not exist" not in error.message or "database" not in error.message:
            raise
    return other, _read_facts(runner, tools, other)
