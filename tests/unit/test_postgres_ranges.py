"""Block ranges: every block in exactly one, the base's kept."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respaldo.postgres.ranges import (
    LARGE_BYTES,
    RANGE_BYTES,
    BlockRange,
    blocks_of_part,
    is_read_by_ranges,
    order_by_size,
    plan_ranges,
)
from respaldo.postgres.tables import Table

BLOCK = 8192


def table(**changes: Any) -> Table:
    given: dict[str, Any] = {
        "oid": 1,
        "schema": "public",
        "name": "t",
        "kind": "r",
        "is_rewritten": False,
        "heap_bytes": LARGE_BYTES,
        "toast_bytes": 0,
        "is_heap": True,
        "is_readable": True,
        "hides_rows": False,
        "may_truncate": True,
        "is_of_extension": False,
        "is_hash_partition": False,
        "columns": ("a",),
    }
    return Table(**{**given, **changes})


def bounds(item: BlockRange) -> tuple[int, int | None]:
    first = re.search(r"ctid >= '\((\d+),0\)'", item.query)
    end = re.search(r"ctid < '\((\d+),0\)'", item.query)
    assert first is not None
    return int(first[1]), int(end[1]) if end else None


@given(
    heap=st.integers(0, 1 << 36),
    toast=st.integers(0, 1 << 38),
    base_blocks=st.none() | st.integers(1 << 10, 1 << 22),
    range_bytes=st.integers(1 << 24, 1 << 30),
)
def test_plan_ranges_covers_every_block_exactly_once(
    heap: int, toast: int, base_blocks: int | None, range_bytes: int
) -> None:
    plan = plan_ranges(
        table(heap_bytes=min(heap, range_bytes * 300), toast_bytes=min(toast, range_bytes * 300)),
        block_size=BLOCK,
        has_range_scans=True,
        base_blocks=base_blocks,
        range_bytes=range_bytes,
    )
    places = [bounds(item) for item in plan]
    assert places[0][0] == 0
    # Rows that came after the plan lie past its last block: the last range has no end.
    assert places[-1][1] is None
    assert all(here[1] == following[0] for here, following in pairwise(places))
    assert all(first < (end or first + 1) for first, end in places)
    assert len({item.part for item in plan}) == len(plan)
    assert all(blocks_of_part(item.part) == item.blocks for item in plan)
    if base_blocks is not None:
        assert {item.blocks for item in plan} == {base_blocks}


def test_plan_ranges_before_version_14_reads_the_table_whole() -> None:
    one = table(toast_bytes=1)
    plan = plan_ranges(one, block_size=BLOCK, has_range_scans=False, base_blocks=7)
    assert plan == [BlockRange(table=one, blocks=None, index=0, is_last=True, size_bytes=LARGE_BYTES + 1)]
    assert "ctid" not in plan[0].query


def test_plan_ranges_sizes_them_by_what_lies_on_disk() -> None:
    plan = plan_ranges(table(heap_bytes=RANGE_BYTES * 4), block_size=BLOCK, has_range_scans=True)
    assert len(plan) == 4
    toasted = plan_ranges(
        table(heap_bytes=RANGE_BYTES, toast_bytes=RANGE_BYTES * 3), block_size=BLOCK, has_range_scans=True
    )
    assert len(toasted) == 4
    # Nearly all of it is TOAST: a range has one block at least, and none lies past the heap's end.
    for blocks in (1, 3):
        thin = plan_ranges(
            table(heap_bytes=BLOCK * blocks, toast_bytes=RANGE_BYTES * 7), block_size=BLOCK, has_range_scans=True
        )
        assert len(thin) == blocks
        assert {item.size_bytes for item in thin} == {(BLOCK * blocks + RANGE_BYTES * 7) // blocks}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"heap_bytes": LARGE_BYTES - 1}, False),
        ({"heap_bytes": 0, "toast_bytes": LARGE_BYTES}, True),
        ({"kind": "p"}, False),
        ({"is_heap": False}, False),
        ({"is_of_extension": True}, False),
        ({"is_hash_partition": True}, False),
        ({"columns": ()}, False),
        ({"schema": "a\nb"}, False),
        ({"name": "a\rb"}, False),
        ({"columns": ("a", "b\n")}, False),
        ({"name": "año"}, True),
    ],
)
def test_is_read_by_ranges_by_the_rules(changes: dict[str, Any], expected: bool) -> None:
    assert is_read_by_ranges(table(**changes), encoding="UTF8") is expected


@pytest.mark.parametrize("changes", [{"schema": "ñ"}, {"name": "año"}, {"columns": ("a", "ñ")}])
def test_is_read_by_ranges_leaves_names_that_two_encodings_write_in_two_ways(changes: dict[str, Any]) -> None:
    assert is_read_by_ranges(table(), encoding="LATIN1")
    assert not is_read_by_ranges(table(**changes), encoding="LATIN1")


@pytest.mark.parametrize("part", ["", "s0", "b1", "b:1", "b1:", "b-1:0", "b1:0x", "xb1:0"])
def test_blocks_of_part_of_another_name_is_none(part: str) -> None:
    assert blocks_of_part(part) is None


def test_order_by_size_gives_the_largest_table_first_in_block_order() -> None:
    small, large = table(name="a"), table(name="b", heap_bytes=RANGE_BYTES * 3)
    plan = [item for one in (small, large) for item in plan_ranges(one, block_size=BLOCK, has_range_scans=True)]
    assert [(item.table.name, item.index) for item in order_by_size(plan)] == [("b", 0), ("b", 1), ("b", 2), ("a", 0)]
