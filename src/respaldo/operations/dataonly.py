"""Rows alone into the empty tables of a database that exists."""

from __future__ import annotations

from respaldo.errors import PostgresError
from respaldo.events import Listener, PhaseStarted
from respaldo.language import _
from respaldo.operations.layout import table_of
from respaldo.operations.loading import Loading
from respaldo.operations.verifying import compare_rows
from respaldo.postgres.database import Creation
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.snapshot import restore_settings
from respaldo.postgres.standstill import read_standstill
from respaldo.postgres.tables import list_tables
from respaldo.repository.reader import BackupReader

_SHOWN = 5


def restore_rows(server: Server, reader: BackupReader, database: str, *, jobs: int, listen: Listener) -> int:
    """Load every row into tables that are there and empty, in one transaction, compare them, and return their number.

    Triggers and foreign keys stand still meanwhile, which takes a superuser. Raise PostgresError naming the tables
    that are missing or hold rows, before anything is loaded; a failure later leaves the tables empty.
    """
    keys = list(dict.fromkeys(table_of(series) for series in reader.series if series.head))
    encoding = Creation.from_record(reader.manifest.server).encoding or server.facts.encoding
    with server.open_session(database) as session:
        # Names are those of the backup: in the database's own encoding.
        session.execute(restore_settings(encoding))
        _require_empty(session, database, keys)
        off, back = read_standstill(session, keys)
    loading = Loading(
        server,
        reader,
        database,
        preamble=f"{restore_settings(encoding)}SET LOCAL session_replication_role = replica;\n{off}",
        listen=listen,
        is_one_transaction=True,
        ending=back,
    )
    sums = loading.run(reader.segments)
    listen(PhaseStarted(phase=_("comparing every row")))
    return compare_rows(
        server,
        database,
        {key: sums[key] for key in keys},
        columns=loading.columns,
        encoding=encoding,
        jobs=jobs,
    )


def _require_empty(session: Session, database: str, keys: list[str]) -> None:
    there = {table.qualified for table in list_tables(session)}
    missing = [key for key in keys if key not in there]
    filled = [key for key in keys if key in there and session.value(f"SELECT EXISTS (SELECT FROM {key}) AS has_rows")]
    if missing:
        raise PostgresError(
            _("{database} lacks tables: {names}").format(database=database, names=", ".join(missing[:_SHOWN])),
            hint=_("restore the definitions first: --schema-only"),
        )
    if filled:
        raise PostgresError(
            _("{database} has rows in {names}").format(database=database, names=", ".join(filled[:_SHOWN])),
            hint=_("--data-only loads into empty tables: empty them first, or restore beside with --to"),
        )
