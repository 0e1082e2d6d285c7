"""Which tables are read by block ranges, and where the ranges lie. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from respaldo.postgres.identifiers import quote_identifier
from respaldo.postgres.tables import Table
from respaldo.units import MIB

# Below this a table costs less inside pg_dump's one stream than as a process of its own (about 10 ms a range).
LARGE_BYTES = 8 * MIB
# Bytes on disk (heap and TOAST) that one range covers, as nearly as whole blocks allow. An incremental holds its text
# and the base's: with two workers on 1.1 GB, 227 MB of memory at most, where 32 MiB took 343 MB and no less time.
RANGE_BYTES = 16 * MIB
_PART = re.compile(r"b(\d+):(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRange:
    """Blocks ``index * blocks`` up to the next range's first; the last one of a table has no end.

    ``blocks`` None: the whole table. ``size_bytes``: about how much of the table's bytes on disk it covers.
    """

    table: Table
    blocks: int | None
    index: int
    is_last: bool
    size_bytes: int

    @property
    def part(self) -> str:
        """The range's name, equal in two backups when it covers the same blocks."""
        return f"b{self.blocks}:{self.index}"

    @property
    def query(self) -> str:
        """The SELECT that reads it, on one line, in the heap's order."""
        columns = ", ".join(map(quote_identifier, self.table.columns))
        select = f"SELECT {columns} FROM ONLY {self.table.qualified}"
        if self.blocks is None:
            return select
        conditions = [f"ctid >= '({self.index * self.blocks},0)'::pg_catalog.tid"]
        if not self.is_last:
            conditions.append(f"ctid < '({(self.index + 1) * self.blocks},0)'::pg_catalog.tid")
        return f"{select} WHERE {' AND '.join(conditions)}"


def is_read_by_ranges(table: Table, *, encoding: str) -> bool:
    """Tell whether a table is worth ranges, and can be: an ordinary heap table of a person's own that is loaded under
    its own name. psql's ``\\copy`` ends at a line's end, so names that hold one are left to pg_dump, as are names that
    two encodings write in two ways."""
    names = "".join((table.schema, table.name, *table.columns))
    return (
        table.kind == "r"
        and table.is_heap
        and table.size_bytes >= LARGE_BYTES
        and not table.is_of_extension
        and not table.is_hash_partition
        and bool(table.columns)
        and not {"\n", "\r"} & set(names)
        and (names.isascii() or encoding == "UTF8")
    )


def plan_ranges(
    table: Table,
    *,
    block_size: int,
    has_range_scans: bool,
    base_blocks: int | None = None,
    range_bytes: int = RANGE_BYTES,
) -> list[BlockRange]:
    """Return a table's ranges in block order.

    ``base_blocks``: the blocks per range of the base, kept so that ranges line up. Before version 14 a table is read
    whole, because a condition on ctid would read all of it each time.
    """
    if not has_range_scans:
        return [BlockRange(table=table, blocks=None, index=0, is_last=True, size_bytes=table.size_bytes)]
    heap_blocks = max(1, -(-table.heap_bytes // block_size))
    blocks = base_blocks or max(1, round(heap_blocks * range_bytes / max(1, table.size_bytes)))
    count = -(-heap_blocks // blocks)
    share = table.size_bytes // count
    return [
        BlockRange(table=table, blocks=blocks, index=index, is_last=index == count - 1, size_bytes=share)
        for index in range(count)
    ]


def blocks_of_part(part: str) -> int | None:
    """Return the blocks per range that a part's name tells, or None where it is not a range's."""
    match = _PART.fullmatch(part)
    return int(match[1]) if match else None


def order_by_size(ranges: Sequence[BlockRange]) -> Iterator[BlockRange]:
    """Yield the largest tables' ranges first, each table's in block order: no worker is left with a long tail."""
    yield from sorted(ranges, key=lambda item: (-item.table.size_bytes, item.table.qualified, item.index))
