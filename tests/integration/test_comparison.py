"""What the other tests compare databases by sees every change of a value."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.comparison import SQL
from tests.integration.conftest import RoundTrips
from tests.rig.containers import PostgresContainer

# More than the 4 blocks whose rows are also compared in their order.
ROWS = """
CREATE TYPE pair AS (one int, two int);
CREATE TABLE t AS SELECT g AS id, 'a' AS v, 'b' AS w, 1.0 AS n, '[1]'::json AS j, ROW(1, 2)::pair AS r,
  ARRAY['x'] AS l, repeat('filler', 50) AS filler FROM generate_series(1, 300) g
"""
# One after another: what some change is what the one before has made.
CHANGES = [
    "v = 'A' WHERE id = 1",
    "v = '' WHERE id = 2",
    "v = NULL WHERE id = 2",
    "v = '\\N' WHERE id = 2",
    "v = w, w = v WHERE id = 3",
    "n = 1.00 WHERE id = 4",
    "j = '[ 1 ]' WHERE id = 5",
    "r = ROW(1, NULL) WHERE id = 6",
    "r = ROW(NULL, NULL) WHERE id = 6",
    "r = NULL WHERE id = 6",
    "l = '{\"NULL\"}' WHERE id = 7",
    "l = '{NULL}' WHERE id = 7",
    "id = 9 WHERE id = 8",
]


def test_each_change_of_a_value_is_a_difference(
    shared_postgres: Callable[[int], PostgresContainer], round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(13))
    trip.load(ROWS)
    contents = (SQL / "contents.sql").read_bytes()
    was = trip.server.run_sql(contents, trip.source.name)
    assert trip.server.run_sql(contents, trip.source.name) == was
    for change in CHANGES:
        trip.load(f"UPDATE t SET {change}")
        now = trip.server.run_sql(contents, trip.source.name)
        assert now != was, change
        was = now
