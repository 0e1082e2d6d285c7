"""What becomes of a segment's text: a ref, a delta or a frame."""

from __future__ import annotations

from respaldo.clock import SystemClock
from respaldo.operations.segments import HELD_BYTES, BaseIndex, SegmentStore
from respaldo.repository.records import BackupType, Series
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage
from tests.unit.repositories import FACTS, TARGET

SERIES = Series(key="t", head="COPY t FROM stdin;\n", tail="\\.\n")
OLD = b"".join(b"%d\trow\n" % number for number in range(1000))


def test_text_that_grew_past_what_a_delta_is_made_of_is_stored_by_itself() -> None:
    """A row may have a gigabyte, where its base had none."""
    repository = Repository.open_or_create(MemoryStorage(), SystemClock())
    texts = {"same": OLD, "changed": OLD + b"one more\n", "grown": OLD + bytes(HELD_BYTES)}
    with repository.acquire(TARGET) as lease:
        with repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer:
            store, series = SegmentStore(writer, None), writer.add_series(SERIES)
            for part in texts:
                store.store_text(series, "t", part, OLD)
            writer.commit(FACTS)
        base = repository.reader(TARGET, "full")
        with repository.begin(TARGET, "inc", type=BackupType.INCREMENTAL, base=base, lease=lease) as writer:
            store, series = SegmentStore(writer, BaseIndex(base)), writer.add_series(SERIES)
            for part, text in texts.items():
                store.store_text(series, "t", part, text)
            writer.commit(FACTS)
    reader = repository.reader(TARGET, "inc")
    assert {one.part: one.kind for one in reader.segments} == {"same": "ref", "changed": "delta", "grown": "frame"}
    assert all(reader.read_text(one) == texts[one.part] for one in reader.segments)
