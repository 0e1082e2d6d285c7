"""What can be restored: a backup of the repository, or a dump file of another program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from respaldo.errors import PostgresError
from respaldo.events import Listener, PhaseStarted, Warned
from respaldo.language import _
from respaldo.operations.filling import Filling
from respaldo.operations.foreign import DumpFile, DumpKind
from respaldo.operations.layout import DATABASE, SCHEMA
from respaldo.operations.roles import map_roles
from respaldo.operations.workers import Closable, Workers
from respaldo.postgres.archive import (
    check_archive,
    event_trigger_script,
    post_data_script,
    restore_archive,
    restore_section,
    section_script,
)
from respaldo.postgres.database import Creation
from respaldo.postgres.load import LoadStream, apply_settings, can_restrict
from respaldo.postgres.requirements import Requirements
from respaldo.postgres.safescript import SafeScript
from respaldo.postgres.server import Server
from respaldo.postgres.tables import list_tables
from respaldo.repository.reader import BackupReader


class Source(Protocol):
    """Something that fills an empty database. ``major`` None, and an empty record: it does not tell."""

    @property
    def name(self) -> str: ...

    @property
    def made(self) -> datetime: ...

    @property
    def major(self) -> int | None: ...

    @property
    def record(self) -> Mapping[str, str]:
        """What ``Creation`` and ``Requirements`` are read from."""

    def fill(self, server: Server, database: str, *, jobs: int, schema_only: bool, listen: Listener) -> int:
        """Fill an empty database, see that it is whole, and return its rows."""


class BackupSource:
    """A backup: definitions, rows by several workers, indexes and constraints, settings; every row compared."""

    def __init__(self, reader: BackupReader, role_map: Mapping[str, str] | None = None) -> None:
        self._reader = reader
        self._role_map = role_map or {}
        self.name = reader.manifest.name
        self.made = reader.manifest.started
        self.major: int | None = int(reader.manifest.server.get("version_num") or 0) // 10000 or None
        self.record: Mapping[str, str] = _with_roles(reader.manifest.server, self._role_map)

    def fill(self, server: Server, database: str, *, jobs: int, schema_only: bool, listen: Listener) -> int:
        reader = self._reader
        encoding = Creation.from_record(self.record).encoding or server.facts.encoding
        listen(PhaseStarted(phase=_("definitions")))
        schema = reader.read_object(SCHEMA)
        options = () if self._has_tablespaces(server) else ("--no-tablespaces",)
        self._define(server, database, schema, "pre-data", jobs=1, options=options)

        def finish(workers: Workers | None = None) -> None:
            listen(PhaseStarted(phase=_("indexes and constraints")))
            self._define(server, database, schema, "post-data", jobs=jobs, options=options, workers=workers)

        rows = 0
        if schema_only:
            finish()
        else:
            rows = Filling(server, database, reader, encoding=encoding, jobs=jobs, listen=listen).run(finish)
        # Last, and by one session: what is set on the database, a connection limit too, would hold for those above, and
        # they would fire its event triggers.
        events = b"".join(SafeScript([event_trigger_script(server, schema)]))
        last = map_roles((events + reader.read_object(DATABASE)).decode(errors="surrogateescape"), self._role_map)
        if last:
            apply_settings(server, database, last.encode(errors="surrogateescape"))
        return rows

    def _has_tablespaces(self, server: Server) -> bool:
        """Tell whether all those that the backup names are there; else everything goes to the database's own."""
        named = set(Requirements.from_record(self.record).tablespaces)
        if not named:
            return True
        with server.open_session() as session:
            return named <= {
                row["name"] for row in session.query("SELECT spcname AS name FROM pg_catalog.pg_tablespace")
            }

    def _define(
        self,
        server: Server,
        database: str,
        schema: bytes,
        section: str,
        *,
        jobs: int,
        options: Sequence[str],
        workers: Workers | None = None,
    ) -> None:
        """Run one section of the definitions; pg_restore knows no map of roles, so with one its text is run.
        ``workers``: with them it stops, too."""
        closing: Callable[[Closable], None] = workers.closing if workers else lambda thing: None
        if not self._role_map:
            restore_section(server, database, schema, section, jobs=jobs, options=options, started=closing)
            return
        text = (
            post_data_script(server, schema, options)
            if section == "post-data"
            else section_script(server, schema, section, options)
        )
        script = text.decode(errors="surrogateescape")
        with LoadStream(server, database, preamble="") as stream:
            closing(stream)
            for piece in SafeScript([map_roles(script, self._role_map).encode(errors="surrogateescape")]):
                stream.send_text(piece)
            stream.commit()


def _with_roles(record: Mapping[str, str], role_map: Mapping[str, str]) -> Mapping[str, str]:
    """Return a record whose owner and required roles are the mapped ones."""
    creation, requirements = Creation.from_record(record), Requirements.from_record(record)
    owner = role_map.get(creation.owner, creation.owner)
    roles = tuple(role_map.get(role, role) for role in requirements.roles)
    return {
        **record,
        **replace(creation, owner=owner).as_record(),
        **replace(requirements, roles=roles).as_record(),
    }


class DumpSource:
    """A dump file. It cannot say what its tables should hold: the rows that arrived are counted."""

    def __init__(self, dump: DumpFile, major: int | None) -> None:
        self._dump = dump
        self.name = dump.path.name
        self.made = dump.made
        self.major = major
        self.record: Mapping[str, str] = {}

    @classmethod
    def open(cls, server: Server, dump: DumpFile) -> DumpSource:
        """Return the source, an archive read to its end first by the server's own pg_restore."""
        if dump.kind is DumpKind.SCRIPT:
            return cls(dump, dump.major)
        return cls(dump, check_archive(server, dump.open_archive(), is_directory=dump.is_directory))

    def fill(self, server: Server, database: str, *, jobs: int, schema_only: bool, listen: Listener) -> int:
        listen(PhaseStarted(phase=_("loading {name}").format(name=self.name)))
        if self._dump.kind is DumpKind.SCRIPT:
            restricts = can_restrict(server)
            if not restricts:
                listen(Warned(message=_("psql in the image is of before August 2025: restore only scripts you trust")))
            with LoadStream(server, database, preamble="", begins=False, restricts=restricts) as stream:
                try:
                    for text in self._dump.open_script():
                        stream.send_text(text)
                    stream.commit()
                except PostgresError as error:
                    raise self._with_statement(error, stream.failed_line) from error
        else:
            restore_archive(
                server, database, self._dump.open_archive(), is_directory=self._dump.is_directory, jobs=jobs
            )
        return _count_rows(server, database)

    def _with_statement(self, error: PostgresError, line: int | None) -> PostgresError:
        """Return the error with the statement that failed, where psql told its line."""
        if line is None:
            return error
        shown = self._dump.statement_at(line)
        return PostgresError(f"{error.message}\n  {self.name}:{line}: {shown}", hint=error.hint)


def _count_rows(server: Server, database: str) -> int:
    with server.open_session(database) as session:
        tables = [table.qualified for table in list_tables(session) if table.kind == "r"]
        return sum(int(session.value(f"SELECT count(*) AS n FROM ONLY {name}")) for name in tables)
