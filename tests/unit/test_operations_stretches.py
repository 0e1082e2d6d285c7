"""Stretches cover a table's rows once, in order, and each has the digest of its own text."""

from __future__ import annotations

import hashlib

from hypothesis import example, given
from hypothesis import strategies as st

from respaldo.operations.stretches import StretchDigest

SEGMENTS = st.lists(st.lists(st.binary(max_size=6).map(lambda row: row.replace(b"\n", b"")), max_size=9), max_size=8)


@given(segments=SEGMENTS, count=st.integers(0, 5), cut=st.integers(1, 7))
@example(segments=[[], []], count=0, cut=1)
def test_stretches_cover_all_rows_in_order(segments: list[list[bytes]], count: int, cut: int) -> None:
    rows = [row + b"\n" for segment in segments for row in segment]
    digest = StretchDigest(len(rows), count)
    for segment in segments:
        text = b"".join(row + b"\n" for row in segment)
        for start in range(0, len(text), cut):
            digest.feed(text[start : start + cut])
        digest.end_segment(len(segment))
    stretches = digest.finish()
    assert 1 <= len(stretches) <= max(1, count)
    before = 0
    for stretch in stretches:
        assert stretch.before == before
        text = b"".join(rows[before : before + stretch.rows])
        assert (stretch.digest, stretch.size_bytes) == (hashlib.sha256(text).hexdigest(), len(text))
        before += stretch.rows
    assert before == len(rows)
