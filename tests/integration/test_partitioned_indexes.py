"""Indexes of partitioned tables, restored by several sessions at once, are whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_drill_local import Local
from tests.rig.database import database_on
from tests.rig.embedded import EmbeddedPostgres

CONTENT = """
CREATE TABLE other (id int PRIMARY KEY);
CREATE TABLE root (id int, part int, a text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE "leaf ATTACH 1" PARTITION OF root FOR VALUES IN (1);
CREATE TABLE inner_2 PARTITION OF root FOR VALUES IN (2) PARTITION BY RANGE (id);
CREATE TABLE inner_2_low PARTITION OF inner_2 FOR VALUES FROM (0) TO (100);
CREATE TABLE inner_2_high PARTITION OF inner_2 DEFAULT;
CREATE INDEX "by INDEX ATTACH a" ON root (a);
CREATE INDEX ON other (id);
INSERT INTO root SELECT i, 1 + i % 2, 'text ' || i FROM generate_series(1, 300) i;
CREATE TABLE pointing (id int, part int, FOREIGN KEY (id, part) REFERENCES root);
INSERT INTO pointing SELECT id, part FROM root;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM root;
"""
INDEXES = """
SELECT c.relname, indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid
 WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1"""


@pytest.fixture
def logged(embedded_postgres: EmbeddedPostgres) -> Iterator[Path]:
    """The server's log, in which definitions stand with the process of the session that made them."""
    embedded_postgres.psql("ALTER ROLE postgres SET log_statement = 'ddl'")
    yield embedded_postgres.log_file
    embedded_postgres.psql("ALTER ROLE postgres RESET log_statement")


@pytest.mark.parametrize("is_foreign", [False, True])
def test_indexes_of_partitions_are_attached_by_one_session_between_building_and_what_needs_them(
    is_foreign: bool, embedded_postgres: EmbeddedPostgres, logged: Path, tmp_path: Path
) -> None:
    """Attached by two sessions at once, the parent's index stays invalid in one restore of some ten. ``is_foreign``: of
    a directory that pg_dump wrote."""
    with database_on(embedded_postgres, options="") as source:
        source.psql(CONTENT)
        local = Local(server=embedded_postgres, repository=tmp_path / "repository", database=source.name)
        name = str(tmp_path / "dump") if is_foreign else "latest"
        if is_foreign:
            embedded_postgres.exec(["pg_dump", "--format=directory", f"--file={name}", source.name])
        else:
            local.backup()
        begun = logged.stat().st_size
        restored = f"{source.name}_restored"
        ended = local.run("restore", name, "--to", restored, *local.place, "--jobs", "2", "--yes")
        try:
            assert ended.returncode == 0, ended.stderr
            assert embedded_postgres.psql(INDEXES, restored) == source.psql(INDEXES)
            assert embedded_postgres.psql("SELECT n FROM counted", restored) == "300"
        finally:
            embedded_postgres.psql(f'DROP DATABASE "{restored}"')
    said = re.findall(r"\[(\d+)\] LOG:  statement: ((?:.|\n\t)*)", logged.read_bytes()[begun:].decode())
    attached = [place for place, (_pid, text) in enumerate(said) if "ATTACH PARTITION" in text and "INDEX" in text]
    assert len(attached) == 8
    assert len({said[place][0] for place in attached}) == 1
    built = [place for place, (_pid, text) in enumerate(said) if "CREATE INDEX" in text or "PRIMARY KEY" in text]
    needing = [place for place, (_pid, text) in enumerate(said) if "FOREIGN KEY" in text]
    assert len(needing) == 1
    assert max(built) < min(attached) < max(attached) < min(needing)
