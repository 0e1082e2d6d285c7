"""Reading one database whole, under one snapshot, with several workers, into a backup in the making."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

from respaldo import __version__
from respaldo.catalog.strategy import Decision
from respaldo.errors import StreamCutError
from respaldo.events import Event, Listener, PhaseStarted, SegmentDone, Waiting, Warned, WorkPlanned
from respaldo.language import _
from respaldo.operations.instructions import write_instructions
from respaldo.operations.layout import COPY_END, DATABASE, GLOBALS, RESTORE, SCHEMA, SCHEMA_SQL
from respaldo.operations.script import ScriptStore
from respaldo.operations.segments import BaseIndex, SegmentStore, Stored
from respaldo.operations.silence import Silence
from respaldo.operations.workers import Workers
from respaldo.postgres.archive import whole_script
from respaldo.postgres.database import Creation, read_creation, read_settings_script
from respaldo.postgres.dump import dump_data, dump_globals, dump_schema
from respaldo.postgres.ranges import BlockRange, blocks_of_part, is_read_by_ranges, order_by_size, plan_ranges
from respaldo.postgres.requirements import Requirements, read_requirements
from respaldo.postgres.rowstream import CommandStream, Piece, RowStream
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.snapshot import Snapshot
from respaldo.postgres.tables import Table
from respaldo.repository.codec import compress
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import BackupFacts, Series
from respaldo.repository.records import Decision as StoredDecision
from respaldo.repository.writer import BackupWriter
from respaldo.units import MIB

LONGEST_SCHEMA = 64 * MIB
"""An archive of definitions past this is stored without its text, which is held whole: before PostgreSQL 17 it lists
each large object, some 300 bytes of text for one."""


class Reading:
    """What the workers of one backup share. Used once."""

    def __init__(
        self,
        server: Server,
        writer: BackupWriter,
        base: BackupReader | None,
        *,
        jobs: int,
        lock_timeout_s: int,
        listen: Listener,
    ) -> None:
        self._server = server
        self._writer = writer
        self._base = BaseIndex(base) if base else None
        self._jobs = jobs
        self._lock_timeout_s = lock_timeout_s
        self._listener = listen
        self._lock = threading.Lock()
        self._workers = Workers(jobs)
        self._silence = Silence(self._say_silent)
        self._warnings: list[str] = []
        self._tables: set[str] = set()

    def execute(self, *, started: datetime, decision: Decision) -> BackupFacts:
        """Read everything into the writer and return what its manifest should say."""
        server = self._server
        if not server.facts.is_superuser:
            self._warn(
                _("role {role} may not read passwords: roles are saved without them").format(role=server.facts.role)
            )
        with Snapshot(server, lock_timeout_s=self._lock_timeout_s) as snapshot:
            tables = [table for table in snapshot.tables if table.kind == "r"]
            large = [table for table in tables if is_read_by_ranges(table, encoding=server.facts.encoding)]
            self._listen(WorkPlanned(tables=len(tables), size_bytes=sum(table.size_bytes for table in tables)))
            creation, requirements = self._store_database(snapshot)
            ranges = order_by_size(self._plan(large))
            with self._silence:
                self._workers.run(
                    partial(self._work, snapshot, ranges, large, is_first=number == 0) for number in range(self._jobs)
                )
            snapshot.finish()
        self._store_instructions(creation, decision)
        return BackupFacts(
            started=started,
            environment=server.runner.instance.environment,
            tool_version=__version__,
            decision=StoredDecision(code=decision.reason.value, text=decision.text),
            tables=len(self._tables),
            server={
                "version": server.facts.version,
                "version_num": str(server.facts.version_num),
                "system_identifier": server.facts.system_identifier,
                "image": server.runner.instance.image,
                **creation.as_record(),
                **requirements.as_record(),
            },
            warnings=tuple(self._warnings),
        )

    def _plan(self, large: Sequence[Table]) -> list[BlockRange]:
        blocks: dict[str, int] = {}
        if self._base is not None:
            blocks = {key: found for key, part in self._base.parts() if (found := blocks_of_part(part))}
        return [
            item
            for table in large
            for item in plan_ranges(
                table,
                block_size=self._server.facts.block_size,
                has_range_scans=self._server.facts.has_range_scans,
                base_blocks=blocks.get(table.qualified),
            )
        ]

    def _work(
        self, snapshot: Snapshot, ranges: Iterator[BlockRange], large: Sequence[Table], *, is_first: bool
    ) -> None:
        """One worker's loop: the first begins with pg_dump's part, then all take block ranges until none is left."""
        store = SegmentStore(self._writer, self._base)
        if is_first:
            self._store_dumps(snapshot, store, large)
        session: Session | None = None
        try:
            while (item := self._next(ranges)) is not None:
                if session is None:
                    session = snapshot.open_reader()
                    self._workers.closing(session)
                self._store_range(session, store, item)
        finally:
            if session is not None:
                self._workers.done_with(session)
                session.close()

    def _next(self, ranges: Iterator[BlockRange]) -> BlockRange | None:
        with self._lock:
            return None if self._workers.is_stopping else next(ranges, None)

    def _store_range(self, session: Session, store: SegmentStore, item: BlockRange) -> None:
        table = item.table
        series = self._writer.add_series(Series(key=table.qualified, head=table.copy_head, tail=COPY_END))
        # Of a range that the base has, a ref or a delta is stored, hardly ever the frame.
        stream = RowStream(session, item.query, is_kept=not store.has_base(table.qualified, item.part))
        pieces = self._silence.watch(stream)
        if item.blocks is None:
            stored = list(store.store_cut(series, table.qualified, (piece.text for piece in pieces)))
            rows = sum(one.rows for one in stored)
            if rows != stream.rows:
                raise StreamCutError(
                    _("{table}: the server sent {sent} rows, {received} arrived").format(
                        table=table.qualified, sent=stream.rows, received=rows
                    )
                )
        else:
            stored = [store.store_rows(series, table.qualified, item.part, stream, pieces)]
        for one in stored:
            self._told(table.qualified, one, item.size_bytes // len(stored))

    def _store_dumps(self, snapshot: Snapshot, store: SegmentStore, large: Sequence[Table]) -> None:
        """Store what PostgreSQL's own tools write: definitions, roles, and the data of all but the large tables."""
        timeout_s = self._lock_timeout_s
        self._listen(PhaseStarted(phase=_("definitions and roles")))
        archive = bytearray()
        with self._writer.open_object(SCHEMA) as sink:
            for piece in self._closing(dump_schema(self._server, snapshot.identifier, lock_timeout_s=timeout_s)):
                sink.write(piece.text)
                if len(archive) <= LONGEST_SCHEMA:
                    archive += piece.text
            sink.commit()
        if len(archive) <= LONGEST_SCHEMA:
            # pg_restore reads the archive to its end here: one that no one could restore fails the backup.
            self._writer.put_object(SCHEMA_SQL, compress(whole_script(self._server, bytes(archive))))
        del archive
        roles = b"".join(piece.text for piece in self._closing(dump_globals(self._server)))
        self._writer.put_object(GLOBALS, compress(roles))
        sizes = {table.qualified: table.size_bytes for table in snapshot.tables}
        script = ScriptStore(self._writer, store, lambda key, stored: self._told(key, stored, sizes.get(key, 0)))
        data = dump_data(self._server, snapshot.identifier, excluded=large, lock_timeout_s=timeout_s)
        script.store(piece.text for piece in self._closing(data))

    def _closing(self, stream: CommandStream) -> Iterator[Piece]:
        """Yield a stream's pieces; have it closed when the workers must stop."""
        self._workers.closing(stream)
        try:
            yield from self._silence.watch(stream)
        finally:
            self._workers.done_with(stream)
            stream.close()

    def _store_database(self, snapshot: Snapshot) -> tuple[Creation, Requirements]:
        session = snapshot.session
        self._writer.put_object(DATABASE, read_settings_script(session).encode(errors="surrogateescape"))
        return read_creation(session), read_requirements(session)

    def _store_instructions(self, creation: Creation, decision: Decision) -> None:
        text = write_instructions(
            name=self._writer.name,
            database=self._writer.target.database,
            instance=self._writer.target.instance,
            version=self._server.facts.version,
            prefix=self._writer.object_prefix,
            base=decision.base,
            creation=creation,
        )
        self._writer.put_object(RESTORE, text)

    def _told(self, table: str, stored: Stored, heap_bytes: int) -> None:
        with self._lock:
            self._tables.add(table)
        self._listen(
            SegmentDone(
                table=table,
                rows=stored.rows,
                raw_bytes=stored.raw_bytes,
                stored_bytes=stored.stored_bytes,
                heap_bytes=heap_bytes,
            )
        )

    def _say_silent(self) -> None:
        name = self._server.runner.instance.name
        self._listen(
            Waiting(message=_("nothing has come from {name} for a minute, and it is waited for").format(name=name))
        )

    def _warn(self, message: str) -> None:
        self._warnings.append(message)
        self._listen(Warned(message=message))

    def _listen(self, event: Event) -> None:
        with self._lock:
            self._listener(event)
