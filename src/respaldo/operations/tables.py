"""Restore single tables: beside the live ones, or over them; only their own segments are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from respaldo.clock import Clock
from respaldo.errors import PostgresError, RespaldoError, UsageError
from respaldo.events import Listener, PhaseStarted, Warned
from respaldo.language import _, ngettext
from respaldo.operations.layout import SCHEMA, table_of
from respaldo.operations.loading import Loading
from respaldo.operations.verifying import compare_rows
from respaldo.postgres.archive import table_script
from respaldo.postgres.database import Creation
from respaldo.postgres.identifiers import qualify, quote_identifier, quote_literal, unqualify
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.snapshot import restore_settings
from respaldo.postgres.standstill import read_standstill
from respaldo.postgres.statements import split_bare_statements
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Series

_NAME_BYTES = 63
# An identity's sequence is named in the definition; beside the live table that name is taken.
_SEQUENCE_NAME = re.compile(r'SEQUENCE NAME "(?:[^"]|"")+"\."(?:[^"]|"")+"')
# The rows of partitions that load through their root come back as one ordinary table.
_PARTITIONED = re.compile(r"^PARTITION BY .*(?=;\Z)", re.MULTILINE)

# Numbers that were given out since must not be given out again, nor those of the rows that came back.
_SEQUENCES = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(s.relname) AS sequence,
       pg_catalog.quote_ident(a.attname) AS column
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = {table}::pg_catalog.regclass
   AND a.atttypid IN ('int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype)"""

_PARENTS = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS parent FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.inhrelid = {table}::pg_catalog.regclass"""

_REFERENCES = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS child,
       pg_catalog.quote_ident(pn.nspname) || '.' || pg_catalog.quote_ident(p.relname) AS parent,
       (SELECT pg_catalog.string_agg(pg_catalog.format('child.%I = parent.%I', ca.attname, pa.attname), ' AND ')
          FROM unnest(f.conkey, f.confkey) k(child, parent)
          JOIN pg_catalog.pg_attribute ca ON ca.attrelid = f.conrelid AND ca.attnum = k.child
          JOIN pg_catalog.pg_attribute pa ON pa.attrelid = f.confrelid AND pa.attnum = k.parent) AS pairs,
       (SELECT pg_catalog.string_agg(pg_catalog.format('child.%I IS NOT NULL', ca.attname), ' AND ')
          FROM unnest(f.conkey) k(child)
          JOIN pg_catalog.pg_attribute ca ON ca.attrelid = f.conrelid AND ca.attnum = k.child) AS filled
  FROM pg_catalog.pg_constraint f
  JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE f.contype = 'f' AND {table}::pg_catalog.regclass IN (f.confrelid, f.conrelid)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredTable:
    """A table that was restored: its name in the backup, the name that it has now, its rows."""

    table: str
    restored_as: str
    rows: int


def choose_tables(reader: BackupReader, patterns: Sequence[str]) -> list[Series]:
    """Return the series of the tables that match: ``name``, ``schema.name``, with ``*`` and ``?``.

    Raise UsageError for a pattern that matches none, with the tables that there are, and for a table whose name is not
    in UTF-8: no program inside could be told it.
    """
    tables = [(unqualify(series.key), series) for series in reader.series if series.head]
    chosen: dict[str, Series] = {}
    for pattern in patterns:
        matches = {series.key: series for names, series in tables if _is_meant(names, pattern)}
        if not matches:
            shown = sorted(_shown(".".join(names)) for names, _series in tables)[:20]
            raise UsageError(
                _("the backup {name} has no table {pattern}").format(name=reader.manifest.name, pattern=pattern),
                hint=_("it has: {names}").format(names=", ".join(shown) or _("none")),
            )
        chosen.update(matches)
    for key in chosen:
        if _shown(key) != key:
            raise UsageError(
                _("{table} cannot be restored alone: its name is not in UTF-8").format(table=_shown(key)),
                hint=_("restore the whole backup beside it: --to NEW"),
            )
    return list(chosen.values())


def _shown(name: str) -> str:
    """Return a name as it can be written anywhere."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _is_meant(names: tuple[str, str], pattern: str) -> bool:
    """Tell whether a table's name, with its schema or without, is the pattern or matches it."""
    matching = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return any(name == pattern or re.fullmatch(matching, name, re.DOTALL) for name in (names[1], ".".join(names)))


def restore_tables(
    server: Server,
    reader: BackupReader,
    database: str,
    tables: Sequence[Series],
    *,
    over: bool,
    jobs: int,
    clock: Clock,
    listen: Listener,
) -> list[RestoredTable]:
    """Restore tables into a database that exists, as ``T__restored_YYYYMMDD_HHMMSS``, every row compared.

    ``over``: then their rows take the place of the live table's in one transaction, in which every foreign key that
    points at it is checked; the live table keeps its indexes, constraints, triggers and privileges. Whatever fails,
    the live tables are as they were and nothing new is left.
    """
    stamp = clock.now().astimezone().strftime("__restored_%Y%m%d_%H%M%S")
    names = {table: _renamed(table, stamp) for table in map(table_of, tables)}
    ids = {number for number, series in enumerate(reader.series) if series in tables}
    segments = [segment for segment in reader.segments if segment.series in ids]
    encoding = Creation.from_record(reader.manifest.server).encoding or server.facts.encoding
    try:
        listen(PhaseStarted(phase=_("definitions")))
        _define(server, database, encoding, reader.read_object(SCHEMA), names)
        loading = Loading(
            server,
            reader,
            database,
            preamble=restore_settings(encoding),
            listen=listen,
            head_of=lambda series: _head(series, names),
            jobs=jobs,
        )
        sums = {names[key]: rows for key, rows in loading.run(segments).items()}
        listen(PhaseStarted(phase=_("comparing every row")))
        columns = {name: loading.columns[table] for table, name in names.items()}
        compare_rows(server, database, sums, columns=columns, encoding=encoding, jobs=jobs)
        if over:
            _replace(server, database, encoding, names)
    except BaseException:
        _drop(server, database, encoding, names, listen)
        raise
    return [
        RestoredTable(table=key, restored_as=key if over else name, rows=sums[name].rows) for key, name in names.items()
    ]


def _renamed(key: str, stamp: str) -> str:
    schema, name = unqualify(key)
    kept = name.encode()[: _NAME_BYTES - len(stamp)].decode(errors="ignore")
    return qualify(schema, kept + stamp)


def _head(series: Series, names: Mapping[str, str]) -> str:
    """Return the statement before a series' rows for the table's new name; never one that fills the live table."""
    table = table_of(series)
    rest = series.head.removeprefix(f"COPY {table} ")
    if rest == series.head:
        raise _no_definition(table)
    return f"COPY {names[table]} {rest}"


def _no_definition(table: str) -> PostgresError:
    return PostgresError(
        _("the backup holds no definition of {table}").format(table=table),
        hint=_("restore the whole backup beside it: --to NEW"),
    )


@contextmanager
def _open_session(server: Server, database: str, encoding: str) -> Iterator[Session]:
    """Open a session that takes and gives text as the backup holds it, in the database's own encoding."""
    with server.open_session(database) as session:
        session.execute(f"SET client_encoding = {quote_literal(encoding)};")
        yield session


def _define(server: Server, database: str, encoding: str, schema: bytes, names: dict[str, str]) -> None:
    """Create the tables under their new names: columns and defaults, without what belongs to the live ones."""
    with _open_session(server, database, encoding) as session:
        session.execute(
            "SET standard_conforming_strings = on;\nSELECT pg_catalog.set_config('search_path', '', false);"
        )
        for key, name in names.items():
            script = table_script(server, schema, *unqualify(key)).decode(errors="surrogateescape")
            live = _mention(key)
            statements = [text for text in _statements(script) if live.search(text) and not _is_of_the_live_one(text)]
            if not statements:
                raise _no_definition(key)
            to = name.replace("\\", "\\\\")
            renamed = [live.sub(to, _PARTITIONED.sub("", _SEQUENCE_NAME.sub("", text))) for text in statements]
            session.execute("\n".join(renamed))
            # Its rows must not be the live parents' too; it keeps their columns.
            parents = list(session.query(_PARENTS.format(table=quote_literal(name))))
            session.execute("\n".join(f"ALTER TABLE {name} NO INHERIT {row['parent']};" for row in parents))


def _mention(key: str) -> re.Pattern[str]:
    """Return what finds a table's name in a script; pg_restore quotes what it adds itself only where it must."""
    parts = (f"(?:{re.escape(quote_identifier(part))}|{re.escape(part)})" for part in unqualify(key))
    return re.compile(rf'(?<![\w$".]){"[.]".join(parts)}(?![\w$"])')


def _statements(script: str) -> list[str]:
    """Return the statements of pg_restore's script."""
    found = (statement for _before, statement in split_bare_statements(script))
    return [statement for statement in found if statement and not statement.startswith("SET ")]


def _is_of_the_live_one(statement: str) -> bool:
    return "ATTACH PARTITION" in statement or "set_config" in statement or " OWNED BY " in statement


def _replace(server: Server, database: str, encoding: str, names: dict[str, str]) -> None:
    """Exchange the rows of the live tables for the restored ones, all in one transaction."""
    with _open_session(server, database, encoding) as session:
        references = [row for key in names for row in session.query(_REFERENCES.format(table=quote_literal(key)))]
        # Triggers and foreign keys stand still: a cascade would empty other tables.
        session.execute("BEGIN;\nSET LOCAL session_replication_role = replica;\nSET LOCAL lock_timeout = '30s';")
        kind = "SELECT relkind FROM pg_catalog.pg_class WHERE oid = {}::pg_catalog.regclass"
        live = {key: key if session.value(kind.format(quote_literal(key))) == "p" else f"ONLY {key}" for key in names}
        session.execute("\n".join(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;" for table in live.values()))
        off, back = read_standstill(session, names)
        session.execute(off)
        for key, name in names.items():
            columns = ", ".join(quote_identifier(column) for column in _columns(session, key, name))
            session.execute(
                f"DELETE FROM {live[key]};\n"
                f"INSERT INTO {key} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM ONLY {name};\n"
                f"DROP TABLE {name};"
            )
        for reference in references:
            orphans = session.value(
                f"SELECT count(*) AS n FROM {reference['child']} child WHERE {reference['filled']}"
                f" AND NOT EXISTS (SELECT FROM {reference['parent']} parent WHERE {reference['pairs']})"
            )
            if orphans:
                raise PostgresError(
                    ngettext(
                        "{count} row of {child} would point at a row of {parent} that is not there",
                        "{count} rows of {child} would point at rows of {parent} that are not there",
                        orphans,
                    ).format(count=orphans, child=reference["child"], parent=reference["parent"]),
                    hint=_("restore both tables together, or beside the live ones without --replace-table"),
                )
        for key in names:
            _advance_sequences(session, key)
        session.execute(f"{back}COMMIT;")


def _advance_sequences(session: Session, table: str) -> None:
    """Move the sequences of a table's columns past its rows; none goes back."""
    for row in list(session.query(_SEQUENCES.format(table=quote_literal(table)))):
        session.execute(
            f"SELECT pg_catalog.setval({quote_literal(row['sequence'])}, rows.last)"
            f" FROM (SELECT pg_catalog.max({row['column']})::int8 AS last FROM {table}) rows, {row['sequence']} s"
            " WHERE rows.last >= s.last_value + (CASE WHEN s.is_called THEN 1 ELSE 0 END);"
        )


def _columns(session: Session, live: str, restored: str) -> list[str]:
    """Return the columns to copy, in the restored table's order. Raise PostgresError where the live one lacks one."""
    select = (
        "SELECT attname, attrelid = {live}::pg_catalog.regclass AS is_live FROM pg_catalog.pg_attribute"
        " WHERE attrelid IN ({live}::pg_catalog.regclass, {restored}::pg_catalog.regclass)"
        " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
    )
    rows = list(session.query(select.format(live=quote_literal(live), restored=quote_literal(restored))))
    columns = [str(row["attname"]) for row in rows if not row["is_live"]]
    missing = set(columns) - {str(row["attname"]) for row in rows if row["is_live"]}
    if missing:
        raise PostgresError(
            _("{table} has no columns {names} any more").format(table=live, names=", ".join(sorted(missing))),
            hint=_("restore it beside the live one, without --replace-table"),
        )
    return columns


def _drop(server: Server, database: str, encoding: str, names: dict[str, str], listen: Listener) -> None:
    """Drop the restored tables while another error is on its way; where that fails too, say what is left."""
    try:
        with _open_session(server, database, encoding) as session:
            session.execute("\n".join(f"DROP TABLE IF EXISTS {name};" for name in names.values()))
    except RespaldoError as error:
        left = _("{names} may be left: {reason}")
        listen(Warned(message=left.format(names=", ".join(names.values()), reason=error.message)))
