"""A backup as the one file that other tools know: a script, compressed or not, or an archive of pg_dump's."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from backports import zstd

from respaldo.clock import Clock
from respaldo.events import Listener, PhaseStarted
from respaldo.language import _
from respaldo.operations.layout import SCHEMA
from respaldo.operations.restore import RestoreRequest, drop_quietly, execute_restore, plan_restore
from respaldo.operations.source import BackupSource
from respaldo.postgres.archive import section_script
from respaldo.postgres.database import Creation
from respaldo.postgres.databases import RESTORING, held
from respaldo.postgres.dump import dump_archive
from respaldo.postgres.server import Server
from respaldo.postgres.snapshot import restore_settings
from respaldo.repository.reader import BackupReader

# pg_restore's script begins with comments, then this; nothing of the database's stands before it.
_RESTRICT = re.compile(rb"(?:--[^\n]*\n|\n)*(?P<line>\\restrict (?P<key>\S+)\n)")


def export_script(server: Server, reader: BackupReader, output: IO[bytes], form: str) -> int:
    """Write a backup as one SQL script, every segment compared on the way; return the bytes written before
    compression. The server lends its pg_restore only; none of its databases is touched."""
    written = 0
    with _compressed(output, form) as write:
        for text in _script(server, reader):
            write(text)
            written += len(text)
    return written


def _script(server: Server, reader: BackupReader) -> Iterator[bytes]:
    schema = reader.read_object(SCHEMA)
    yield _without_restrict(section_script(server, schema, "pre-data"))
    encoding = Creation.from_record(reader.manifest.server).encoding or "UTF8"
    yield restore_settings(encoding).encode()
    current: int | None = None
    for segment in sorted(reader.segments, key=lambda one: one.series):
        series = reader.series[segment.series]
        if segment.series != current:
            if current is not None:
                yield reader.series[current].tail.encode()
            yield series.head.encode(errors="surrogateescape")
            current = segment.series
        yield from reader.open_text(segment)
    if current is not None:
        yield reader.series[current].tail.encode()
    yield _without_restrict(section_script(server, schema, "post-data"))


def _without_restrict(script: bytes) -> bytes:
    """Drop the pair of lines that psql of before August 2025 does not know; the like inside of quotes stays."""
    head = _RESTRICT.match(script)
    if head is None:
        return script
    body = script[: head.start("line")] + script[head.end("line") :]
    before, _line, after = body.rpartition(b"\n\\unrestrict " + head["key"])
    return before + after


@contextmanager
def _compressed(output: IO[bytes], form: str) -> Iterator[Callable[[bytes], object]]:
    """Give a function that writes through the compressor that a form's name tells."""
    if form == "sql.gz":
        with gzip.GzipFile(fileobj=output, mode="wb", compresslevel=6, mtime=0) as gzipped:
            yield gzipped.write
    elif form == "sql.zst":
        with zstd.ZstdFile(output, mode="wb") as framed:
            yield framed.write
    else:
        yield output.write


def export_archive(
    server: Server,
    reader: BackupReader,
    write: Callable[[bytes], object],
    form: str,
    *,
    jobs: int,
    clock: Clock,
    listen: Listener,
) -> int:
    """Write a backup as pg_dump's custom archive, or its directory as a tar; return the bytes written.

    Only pg_dump writes these, so the backup is restored into a throwaway database of the server, dumped, and dropped.
    """
    source = BackupSource(reader)
    # By this name the next restore drops what a run that was killed has left, and fleets leave it out.
    name = f"export{RESTORING}{clock.now():%Y%m%d_%H%M%S}"
    plan = plan_restore(server, source, name, RestoreRequest(to=name, jobs=jobs), clock=clock)
    written = 0
    with held(server, name):
        execute_restore(server, source, plan, listen=listen)
        try:
            listen(PhaseStarted(phase=_("dumping")))
            for piece in dump_archive(server, name, form=form, jobs=jobs):
                write(piece.text)
                written += len(piece.text)
        finally:
            drop_quietly(server, name, listen)
    return written
