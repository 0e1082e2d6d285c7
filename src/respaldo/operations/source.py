"""What can be restored: a backup of the repository, or a dump file of another program."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from respaldo.events import Listener, PhaseStarted
from respaldo.language import _
from respaldo.operations.foreign import DumpFile, DumpKind
from respaldo.operations.layout import DATABASE, SCHEMA
from respaldo.operations.loading import Loading
from respaldo.operations.verifying import compare_rows
from respaldo.postgres.archive import check_archive, restore_archive, restore_section
from respaldo.postgres.database import Creation
from respaldo.postgres.load import LoadStream, apply_settings
from respaldo.postgres.server import Server
from respaldo.postgres.snapshot import restore_settings
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

    def __init__(self, reader: BackupReader) -> None:
        self._reader = reader
        self.name = reader.manifest.name
        self.made = reader.manifest.started
        self.major: int | None = int(reader.manifest.server.get("version_num") or 0) // 10000 or None
        self.record: Mapping[str, str] = reader.manifest.server

    def fill(self, server: Server, database: str, *, jobs: int, schema_only: bool, listen: Listener) -> int:
        reader = self._reader
        encoding = Creation.from_record(self.record).encoding or server.facts.encoding
        listen(PhaseStarted(phase=_("definitions")))
        schema = reader.read_object(SCHEMA)
        restore_section(server, database, schema, "pre-data", jobs=1)
        sums = {}
        if not schema_only:
            loading = Loading(server, reader, database, preamble=restore_settings(encoding), listen=listen)
            sums = loading.run(reader.segments, jobs=jobs)
        listen(PhaseStarted(phase=_("indexes and constraints")))
        restore_section(server, database, schema, "post-data", jobs=jobs)
        listen(PhaseStarted(phase=_("comparing every row")))
        tables = {series.key for series in reader.series if series.head}
        expected = {key: rows for key, rows in sums.items() if key in tables}
        rows = compare_rows(server, database, expected, encoding=encoding, jobs=jobs)
        # Last: a connection limit, or a setting of the database's, would hold for the sessions above too.
        apply_settings(server, database, reader.read_object(DATABASE))
        return rows


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
            with LoadStream(server, database, preamble="", begins=False) as stream:
                for text in self._dump.open_script():
                    stream.send_text(text)
                stream.commit()
        else:
            restore_archive(
                server, database, self._dump.open_archive(), is_directory=self._dump.is_directory, jobs=jobs
            )
        return _count_rows(server, database)


def _count_rows(server: Server, database: str) -> int:
    with server.open_session(database) as session:
        tables = [table.qualified for table in list_tables(session) if table.kind == "r"]
        return sum(int(session.value(f"SELECT count(*) AS n FROM ONLY {name}")) for name in tables)
