"""Counts with their nouns: one is singular."""

from __future__ import annotations

from respaldo.counting import count_backups, count_rows, count_tables


def test_one_is_singular_and_every_other_count_plural() -> None:
    assert (count_tables(1), count_rows(1), count_backups(1)) == ("1 tabla", "1 fila", "1 backup")
    assert (count_tables(0), count_rows(1000), count_backups(2)) == ("0 tablas", "1\u202f000 filas", "2 backups")
