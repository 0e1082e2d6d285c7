"""A small repository, with one full and one incremental that has a frame, a ref and a delta."""

from __future__ import annotations

from datetime import UTC, datetime

from blake3 import blake3

from respaldo.clock import SystemClock
from respaldo.repository.codec import compress
from respaldo.repository.delta import encode_delta
from respaldo.repository.records import BackupFacts, BackupType, Decision, Series, TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.base import Storage

TARGET = TargetPath(instance="i", database="d")
FACTS = BackupFacts(
    started=datetime(2026, 11, 24, 2, 0, tzinfo=UTC),
    environment="local",
    tool_version="0.1.0",
    decision=Decision(code="first", text="first"),
    tables=1,
)
OLD = b"".join(b"%d\trow\n" % i for i in range(40))
NEW = OLD.replace(b"7", b"8")


def fill(storage: Storage) -> Repository:
    repository = Repository.open_or_create(storage, SystemClock())
    with repository.acquire(TARGET) as lease:
        for name, base in (("full", None), ("inc", "full")):
            kind = BackupType.INCREMENTAL if base else BackupType.FULL
            reader = repository.reader(TARGET, base) if base else None
            with repository.begin(TARGET, name, type=kind, base=reader, lease=lease) as writer:
                series = writer.add_series(Series(key="t", head="COPY t FROM stdin;\n", tail="\\.\n"))
                pack = writer.new_pack()
                for part in ("a", "b"):
                    text = NEW if base and part == "b" else OLD
                    known = {"raw_size": len(text), "rows": 40}
                    digest = blake3(text).hexdigest()
                    if base and part == "a":
                        writer.add_ref(series, part, base_part=part, digest=digest, **known)
                    elif base:
                        delta = encode_delta(NEW, OLD)
                        pack.add_delta(series, part, delta, base_part=part, digest=digest, **known)
                    else:
                        pack.add_frame(series, part, compress(text), digest=digest, **known)
                writer.put_object("schema.dump", b"PGDMP" * 10)
                writer.commit(FACTS)
    return repository
