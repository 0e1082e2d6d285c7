"""Disasters in a throwaway instance: real destruction, and whether it is noticed. Never anywhere else."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum

from respaldo.environments.base import Sandbox
from respaldo.environments.recognition import DRILL_LABEL
from respaldo.errors import InconclusiveError, UsageError
from respaldo.language import N_, _
from respaldo.operations.equality import can_check_indexes, check_indexes, find_differences
from respaldo.operations.rowsum import RowSum
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.databases import database_names
from respaldo.postgres.identifiers import quote_literal
from respaldo.postgres.rowstream import RowStream
from respaldo.postgres.server import Server, reconnect
from respaldo.repository.reader import BackupReader

_LARGEST = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY pg_catalog.pg_relation_size(c.oid) DESC, 1 LIMIT 1"""
_INDEX_FILE = """
SELECT pg_catalog.current_setting('data_directory') || '/' || pg_catalog.pg_relation_filepath(i.indexrelid) AS path
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am a ON a.oid = c.relam JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.amname = 'btree' AND c.relkind = 'i' AND n.nspname !~ '^pg_' AND c.relpages > 1
 ORDER BY c.relpages DESC LIMIT 1"""


# A number or a text that no unique index covers: changing it breaks nothing but the truth.
_COLUMN = """
SELECT pg_catalog.quote_ident(a.attname) AS name, t.typcategory AS kind FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = {table}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
   AND (t.typcategory = 'N' OR t.typname = 'text')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique
                      AND a.attnum = ANY (i.indkey))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'c'
                      AND a.attnum = ANY (c.conkey))
 ORDER BY t.typcategory LIMIT 1"""


class Disaster(Enum):
    """What is destroyed; the values are those of ``--disaster``."""

    VOLUME = "volume"
    TABLE_DROP = "table-drop"
    SCRAMBLE = "scramble"
    INDEX_CORRUPTION = "index-corruption"

    @property
    def title(self) -> str:
        """A gettext message for a person."""
        return _TITLES[self]

    @classmethod
    def parse(cls, name: str | None) -> Disaster | None:
        """Return the disaster of that name; ``random`` is one of them, None none."""
        if name is None:
            return None
        return random.choice(list(cls)) if name == "random" else cls(name)


_TITLES = {
    Disaster.VOLUME: N_("the data's volume is lost"),
    Disaster.TABLE_DROP: N_("the largest table is dropped"),
    Disaster.SCRAMBLE: N_("rows are scrambled"),
    Disaster.INDEX_CORRUPTION: N_("an index is damaged on disk"),
}


def strike(
    disaster: Disaster,
    sandbox: Sandbox,
    server: Server,
    reader: BackupReader,
    *,
    await_server: Callable[[Sandbox], Server],
) -> bool:
    """Destroy, and return whether the damage is noticed by the same comparison that proves a restore.

    Raise UsageError for an instance that does not carry the drill's own label, before anything is touched.
    """
    if sandbox.runner.instance.labels.get(DRILL_LABEL) is None:
        raise UsageError(
            _("{name} is no throwaway instance: nothing is destroyed there").format(name=sandbox.runner.instance.name)
        )
    if disaster is Disaster.VOLUME:
        sandbox.lose_data()
        return server.connection.database not in database_names(await_server(sandbox))
    if disaster is Disaster.INDEX_CORRUPTION:
        return _damage_index(sandbox, server, await_server)
    with server.open_session() as session:
        found = [str(row["name"]) for row in session.query(_LARGEST)]
    if not found:
        return True
    if disaster is Disaster.TABLE_DROP:
        with server.open_session() as session:
            session.execute(f"DROP TABLE {found[0]} CASCADE;")
        return bool(find_differences(server, reader))
    return _scramble(server, found[0])


def _scramble(server: Server, table: str) -> bool:
    """Change a column of some rows, and see that the sum over the rows is another one."""
    before = _sum(server, table)
    with server.open_session() as session:
        columns = list(session.query(_COLUMN.format(table=quote_literal(table))))
        some = f"ctid IN (SELECT ctid FROM {table} LIMIT 100)"
        change = f"DELETE FROM {table} WHERE {some};"
        if columns:
            name, kind = columns[0]["name"], columns[0]["kind"]
            value = f"{name} + 1" if kind == "N" else f"pg_catalog.reverse({name}::text) || 'x'"
            change = f"UPDATE {table} SET {name} = {value} WHERE {some};"
        session.execute(f"SET session_replication_role = replica;\n{change}")
    return before != _sum(server, table)


def _sum(server: Server, table: str) -> tuple[int, int]:
    rows = RowSum()
    with server.open_session() as session:
        for piece in RowStream(session, f"SELECT * FROM ONLY {table}"):
            rows.feed(piece.text)
    return rows.total


def _damage_index(sandbox: Sandbox, server: Server, await_server: Callable[[Sandbox], Server]) -> bool:
    """Overwrite the middle of the largest index's file with noise, and see that it is noticed."""
    with server.open_session() as session:
        if not can_check_indexes(server, session):
            raise InconclusiveError(_("the image has no amcheck: nothing would notice a damaged index"))
        session.execute("CHECKPOINT;")
        found = [str(row["path"]) for row in session.query(_INDEX_FILE)]
    if not found:
        return True
    damage = 'dd if=/dev/urandom of="$1" bs=8192 seek=1 count=1 conv=notrunc 2>/dev/null'
    sandbox.restart(meanwhile=["sh", "-c", damage, "sh", found[0]])
    damaged = reconnect(await_server(sandbox), ConnectionOverrides(database=server.connection.database))
    with damaged.open_session() as session:
        return any(True for _finding in check_indexes(damaged, session))
