"""Which tables of a backup a person means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from respaldo.errors import UsageError
from respaldo.operations.tables import choose_tables
from respaldo.postgres.identifiers import qualify
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Series

NAMES = [
    ("public", "t"),
    ("public", "t.x"),
    ("other", "t"),
    ("a", "b.c"),
    ("a.b", "c"),
    ("public", "a[1]*?"),
    ("public", "a1"),
]


def reader(*heads: tuple[str, str]) -> BackupReader:
    series = [Series(key=qualify(*name), head="COPY x;\n", tail="\\.\n") for name in heads]
    found: Any = SimpleNamespace(
        series=[*series, Series(key="statements", head="", tail="")], manifest=SimpleNamespace(name="b")
    )
    return cast(BackupReader, found)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["t"], [("public", "t"), ("other", "t")]),
        (["public.t"], [("public", "t")]),
        (["other.*"], [("other", "t")]),
        (["t.x"], [("public", "t.x")]),
        (["a[1]*?"], [("public", "a[1]*?")]),
        (["a1", "a?"], [("public", "a1")]),
        (["a.b.c"], [("a", "b.c"), ("a.b", "c")]),
        (["*"], NAMES),
    ],
)
def test_pattern_chooses_the_tables_that_it_names(patterns: list[str], expected: list[tuple[str, str]]) -> None:
    assert sorted(one.key for one in choose_tables(reader(*NAMES), patterns)) == sorted(
        qualify(*name) for name in expected
    )


@pytest.mark.parametrize("pattern", ["T", "statements", "x", "", "public.", "a[0-9]"])
def test_pattern_that_matches_nothing_is_refused_with_the_names_that_there_are(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_tables(reader(*NAMES), ["t", pattern])
    assert "public.t" in str(caught.value.hint)
