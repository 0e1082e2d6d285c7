"""The database that is measured: one dominant table, several middling, hundreds of small ones, some large objects.

The same SQL makes the same bytes: every value comes from a hash of its row's number, nothing from a clock or a random
generator. Text is sentences of a vocabulary with a skewed choice, so that it compresses about as people's data does.
"""

from __future__ import annotations

from dataclasses import dataclass

DATABASE = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many rows of what. ``updates`` and ``inserts`` are what an incremental finds changed."""

    dominant_rows: int
    middling_rows: tuple[int, ...]
    small_tables: int
    large_objects: int
    updates: int
    inserts: int


FULL = Size(
    dominant_rows=5_600_000,
    middling_rows=(100_000, 160_000, 220_000, 280_000, 340_000, 400_000),
    small_tables=500,
    large_objects=40,
    updates=80_000,
    inserts=20_000,
)
SMALL = Size(
    dominant_rows=250_000,
    middling_rows=(40_000, 80_000),
    small_tables=40,
    large_objects=4,
    updates=3_000,
    inserts=800,
)
SIZES = {"full": FULL, "small": SMALL}


_FUNCTIONS = """
SET client_min_messages = warning;
SET synchronous_commit = off;
-- A number below `below` that depends on the row and the column alone.
CREATE FUNCTION pick(row_number bigint, of_column bigint, below bigint) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (hashint8extended(row_number, of_column) & 9223372036854775807) % below;
CREATE TABLE sentence (id int PRIMARY KEY, text text NOT NULL);
INSERT INTO sentence
SELECT s, (SELECT string_agg(
             substr('lorem ipsum dolor amet order paid sent back customer invoice north store item box refund delay',
                    1 + pick(s * 40 + w, 1, 80)::int, 4 + pick(s * 40 + w, 2, 7)::int), ' ' ORDER BY w)
             FROM generate_series(1, 5 + pick(s, 3, 6)::int) w)
  FROM generate_series(0, 8191) s;
"""

_COLUMNS = """(
  id bigint NOT NULL, account_id int NOT NULL, kind text NOT NULL, at timestamptz NOT NULL,
  amount numeric(12,2) NOT NULL, is_open boolean NOT NULL, code text NOT NULL, note text NOT NULL)"""

_SELECT = """
SELECT i, pick(i, 10, 90000)::int, (ARRAY['order', 'payment', 'refund', 'visit', 'mail'])[1 + pick(i, 11, 5)::int],
       timestamptz '2024-01-01 00:00+00' + i * interval '7 seconds' + pick(i, 12, 5000) * interval '1 millisecond',
       (pick(i, 13, 2000000) / 100.0)::numeric(12,2), pick(i, 14, 3) = 0,
       to_hex(pick(i, 15, 4294967296)), a.text || '; ' || b.text
  FROM generate_series({first}, {last}) i
  JOIN sentence a ON a.id = (pick(i, 16, 91) * pick(i, 17, 91)) % 8192
  JOIN sentence b ON b.id = (pick(i, 18, 91) * pick(i, 19, 91)) % 8192
 ORDER BY i"""


def creation_script(size: Size) -> str:
    """Return the statements that make the database's content, statistics and visibility map included."""
    parts = [_FUNCTIONS, _table("event", size.dominant_rows)]
    parts += [_table(f"middling_{number:02d}", rows) for number, rows in enumerate(size.middling_rows, 1)]
    parts.append(
        f"""
DO $$ BEGIN
  FOR t IN 1..{size.small_tables} LOOP
    EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, name text NOT NULL, at date NOT NULL)',
                   lpad(t::text, 3, '0'));
    EXECUTE format('INSERT INTO small_%s SELECT i, %L || i, date ''2024-01-01'' + i FROM generate_series(1, %s) i',
                   lpad(t::text, 3, '0'), 'name ' || t || ' ', 20 + pick(t, 30, 400));
  END LOOP;
END $$;
SELECT lo_from_bytea(100000 + o, decode(string_agg(md5(o::text || b), '' ORDER BY b), 'hex'))
  FROM generate_series(1, {size.large_objects}) o, generate_series(1, 6400) b GROUP BY o;
VACUUM ANALYZE;
CHECKPOINT;
"""
    )
    return "".join(parts)


def change_script(size: Size) -> str:
    """Return the statements between a full and an incremental: rows of the dominant table, chosen all over it."""
    rows = size.dominant_rows
    return f"""
SET synchronous_commit = off;
UPDATE event SET amount = amount + 1, is_open = NOT is_open
 WHERE id IN (SELECT 1 + pick(u, 20, {rows}) FROM generate_series(1, {size.updates * 101 // 100}) u
              GROUP BY 1 LIMIT {size.updates});
INSERT INTO event {_SELECT.format(first=rows + 1, last=rows + size.inserts)};
CHECKPOINT;
"""


def _table(name: str, rows: int) -> str:
    return (
        f"CREATE TABLE {name} {_COLUMNS};\nINSERT INTO {name} {_SELECT.format(first=1, last=rows)};\n"
        f"ALTER TABLE {name} ADD PRIMARY KEY (id);\n"
    )
