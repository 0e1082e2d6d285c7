"""Dump files of other programs are read to their end before anything is touched, and then restored like a backup."""
# ruff: noqa: E501 - SQL and the lines that are expected of it are easier to read as they are

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backports import zstd

from tests.integration.comparison import assert_description, assert_same_database, describe
from tests.integration.conftest import ENDS, Ended, RoundTrip, RoundTrips, kept_round_trip
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]
SCHEMA = r"""
CREATE TABLE t (id serial PRIMARY KEY, v text DEFAULT '\! id'); INSERT INTO t (v) SELECT E'ñ\\! \\.\n' || i FROM generate_series(1, 300) i;
CREATE TABLE u (id int REFERENCES t, n numeric CHECK (n > 0)); INSERT INTO u SELECT i, i FROM generate_series(1, 300) i;
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT E'\\! \' \\connect x' $$; COMMENT ON TABLE t IS E'a\nb \\! c';
SELECT lo_from_bytea(0, '\x00ff');
"""
FORMS = ("sql", "sql.gz", "sql.zst", "dump", "tar", "directory")


def write_dump(trip: RoundTrip, form: str, directory: Path, *options: str) -> Path:
    """Dump the source as that program's users do."""
    path = directory / f"shop.{form}"
    flags = {"dump": "--format=custom", "tar": "--format=tar", "directory": "--format=directory"}
    if form == "directory":
        script = 'rm -rf /tmp/d && "$@" --file=/tmp/d && tar -cf - -C /tmp/d .'
        argv = ["sh", "-c", script, "sh", "pg_dump", "-U", "postgres", "-d", trip.source.name, flags[form], *options]
        with tarfile.open(fileobj=io.BytesIO(trip.server.exec(argv).stdout)) as archive:
            archive.extractall(path, filter="data")
        return path
    text = trip.source.pg_dump(*([flags[form]] if form in flags else []), *options)
    if form == "sql.gz":
        text = gzip.compress(text)
    elif form == "sql.zst":
        text = zstd.compress(text)
    path.write_bytes(text)
    return path


def restore(trip: RoundTrip, path: Path | str, *words: str) -> Ended:
    return trip.respaldo.run("restore", str(path), "--container", trip.server.name, *words)


def databases(trip: RoundTrip) -> list[str]:
    return trip.server.psql("SELECT datname FROM pg_database ORDER BY 1", "postgres").splitlines()


@pytest.fixture(scope="module")
def kept(shared_postgres: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundTrip]:
    """The same database for all tests that only read it."""
    with kept_round_trip(shared_postgres(17), tmp_path_factory.mktemp("foreign")) as made:
        made.load(SCHEMA)
        yield made


@pytest.fixture
def trip(shared_postgres: Shared, round_trip: RoundTrips) -> RoundTrip:
    made = round_trip(shared_postgres(17))
    made.load(SCHEMA)
    return made


@pytest.mark.parametrize("form", FORMS)
def test_dump_of_each_form_restores_to_the_same_database(form: str, kept: RoundTrip, tmp_path: Path) -> None:
    path = write_dump(kept, form, tmp_path)
    assert_same_database(kept.server, kept.source.name, kept.restored(str(path)))


@pytest.mark.parametrize("major", ENDS)
def test_dump_of_each_version_restores_into_the_same_and_a_newer_one(
    major: int, shared_postgres: Shared, round_trip: RoundTrips, tmp_path: Path
) -> None:
    trip = round_trip(shared_postgres(major))
    trip.load(SCHEMA)
    there = shared_postgres(18)
    for form in ("sql", "dump"):
        path = write_dump(trip, form, tmp_path)
        to = f"{trip.source.name}_{form}"
        ended = trip.respaldo.run("restore", str(path), "--to", to, "--container", there.name)
        try:
            assert ended.status == 0, ended.err
            for table in ("t", "u"):
                rows = f"SELECT count(*), md5(string_agg(r::text, '' ORDER BY id)) FROM {table} r"
                assert there.psql(rows, to) == trip.source.psql(rows)
        finally:
            there.psql(f'DROP DATABASE IF EXISTS "{to}"', "postgres")


@pytest.mark.parametrize("form", ["sql", "dump"])
def test_dump_of_a_newer_version_is_refused_with_both(
    form: str, shared_postgres: Shared, round_trip: RoundTrips, tmp_path: Path
) -> None:
    trip = round_trip(shared_postgres(18))
    trip.load("CREATE TABLE t AS SELECT 1 AS a")
    path = write_dump(trip, form, tmp_path)
    there = shared_postgres(15)
    before = there.psql("SELECT datname FROM pg_database")
    ended = trip.respaldo.run("restore", str(path), "--to", "newer", "--container", there.name)
    assert ended.status == 30
    assert form == "dump" or "18" in ended.err
    assert there.psql("SELECT datname FROM pg_database") == before


@pytest.mark.parametrize("form", [form for form in FORMS if form != "directory"])
def test_dump_cut_at_many_places_is_refused_before_anything_is_touched(
    form: str, kept: RoundTrip, tmp_path: Path
) -> None:
    path = write_dump(kept, form, tmp_path)
    whole = path.read_bytes()
    before = databases(kept)
    was = describe(kept.server, kept.source.name)
    for end in (0, 1, 5, 300, len(whole) // 3, len(whole) // 2, len(whole) * 3 // 4, int(len(whole) * 0.9)):
        path.write_bytes(whole[:end])
        ended = restore(kept, path, "--to", "from_cut")
        assert ended.status in {2, 13, 30}, (end, ended.err)
        assert databases(kept) == before, end
    assert_description(was, kept.server, kept.source.name)


@pytest.mark.parametrize("options", [(), ("--compress=0",)])
def test_directory_with_a_file_that_is_cut_or_gone_is_refused(
    options: tuple[str, ...], kept: RoundTrip, tmp_path: Path
) -> None:
    path = write_dump(kept, "directory", tmp_path, *options)
    before = databases(kept)
    # Nothing tells how long a large object was that is not compressed.
    for name in sorted(name for name in os.listdir(path) if not (options and name.startswith("blob_"))):
        whole = (path / name).read_bytes()
        lines = whole.splitlines(keepends=True)
        cuts = [whole[: len(whole) // 2], whole[: len(whole) * 9 // 10], b"".join(lines[: len(lines) // 2])]
        for number, cut in enumerate(cuts):
            (path / name).write_bytes(cut)
            ended = restore(kept, path, "--to", "from_cut")
            assert ended.status in {2, 13, 30}, (name, number, ended.err)
            assert databases(kept) == before
        (path / name).unlink()
        ended = restore(kept, path, "--to", "from_cut")
        assert ended.status in {2, 10, 13, 30}, (name, ended.err)
        assert databases(kept) == before
        (path / name).write_bytes(whole)


@pytest.mark.parametrize(
    "content",
    [
        b"", b" \n", b"-- nothing\n", b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20, b"\x1f\x8b" + b"x" * 500,
        b"\x28\xb5\x2f\xfd" + b"x" * 500, b"PGDMP" + b"x" * 500, gzip.compress(b"", mtime=0), zstd.compress(b""), b"hello\n",
        gzip.compress(b"SELECT 1;\n", mtime=0) + b"garbage", "-- PostgreSQL database dump\nSELECT 1;\n".encode("utf-16"),
    ],
)  # fmt: skip
def test_file_that_is_no_dump_is_refused(content: bytes, kept: RoundTrip, tmp_path: Path) -> None:
    path = tmp_path / "file.sql"
    path.write_bytes(content)
    before = databases(kept)
    ended = restore(kept, path, "--to", "from_garbage")
    assert ended.status in {2, 13, 30}, ended.err
    assert "Traceback" not in ended.err
    assert databases(kept) == before


def test_dump_of_a_whole_cluster_is_refused(kept: RoundTrip, tmp_path: Path) -> None:
    before = databases(kept)
    for options in ((), ("--globals-only",)):
        path = tmp_path / "all.sql"
        path.write_bytes(kept.server.exec(["pg_dumpall", "-U", "postgres", *options]).stdout)
        ended = restore(kept, path, "--to", "from_all")
        assert ended.status == 2, ended.err
        assert databases(kept) == before


@pytest.mark.parametrize(
    "line",
    [
        "\\! touch /tmp/run",
        "\\copy t from program 'touch /tmp/run'",
        "SELECT 1 \\g | touch /tmp/run",
        "\\connect postgres",
    ],
)
def test_command_of_psql_in_a_script_does_not_run(line: str, kept: RoundTrip, tmp_path: Path) -> None:
    path = tmp_path / "evil.sql"
    path.write_text(f"CREATE TABLE t (a text);\n{line}\nCREATE TABLE later (a int);\n")
    before = databases(kept)
    ended = restore(kept, path, "--to", f"{kept.source.name}_evil")
    kept.made.append(f"{kept.source.name}_evil")
    if line.startswith("\\connect"):
        assert ended.status == 0, ended.err
        assert kept.server.psql("SELECT to_regclass('later')", "postgres") == ""
        return
    assert ended.status == 2
    assert "2" in ended.err
    assert databases(kept) == before
    assert kept.server.exec(["ls", "/tmp"]).stdout.find(b"run") < 0


@pytest.mark.parametrize(
    "turn_off",
    [
        "SET standard_conforming_strings = off;",
        "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$;",
    ],
)
def test_command_of_psql_that_only_psql_can_see_does_not_run(turn_off: str, kept: RoundTrip, tmp_path: Path) -> None:
    """With that setting off the second quote is escaped, and what looks like a string to a reader is none."""
    path = tmp_path / "sly.sql"
    path.write_text(f"{turn_off}\nSELECT 'a\\' , ' \\! touch /tmp/sly ';\n")
    ended = kept.respaldo.run("restore", str(path), "--to", "sly", "--container", kept.server.name)
    assert ended.status == 30
    assert kept.server.exec(["ls", "/tmp/sly"], check=False).returncode != 0
    assert "sly" not in kept.server.psql("SELECT datname FROM pg_database", "postgres").split()


def test_dump_with_create_and_clean_touches_no_live_database(trip: RoundTrip, tmp_path: Path) -> None:
    name = trip.source.name
    trip.load(
        f'\\set name {name}\nCOMMENT ON DATABASE :"name" IS E\'two\\nlines;\'; GRANT CREATE ON DATABASE :"name" TO :"ana";'
        'ALTER DATABASE :"name" SET work_mem TO \'7MB\'; ALTER ROLE :"ben" IN DATABASE :"name" SET work_mem TO \'8MB\''
    )
    path = write_dump(trip, "sql", tmp_path, "--create", "--clean", "--if-exists")
    trip.load(
        f'\\set name {name}\nCOMMENT ON DATABASE :"name" IS NULL; REVOKE CREATE ON DATABASE :"name" FROM :"ana";'
        'ALTER DATABASE :"name" RESET ALL; ALTER ROLE :"ben" IN DATABASE :"name" RESET ALL; DROP TABLE u'
    )
    was = describe(trip.server, name)
    to = trip.restored(str(path))
    assert trip.server.psql("SELECT count(*) FROM u", to) == "300"
    assert_description(was, trip.server, name)


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("CREATE TABLE a (id int);\nINSERT INTO nowhere VALUES (1);\nSELECT 1;\n", "nowhere"),
        ("CREATE TABLE a (id int PRIMARY KEY);\nCOPY a FROM stdin;\n1\n1\n\\.\n", "a_pkey"),
        ("CREATE TABLE a (id int);\nCOPY a FROM stdin;\n1\nx\n\\.\nSELECT 1;\n", '"x"'),
        ("BEGIN;\nCREATE TABLE a (id int);\nSELECT 1/0;\nCOMMIT;\n", "1/0"),
        ("CREATE TABLE a (id int CHECK (id > 0) );\nINSERT INTO a\n  VALUES (0);\n", "INSERT INTO a"),
    ],
)
def test_statement_that_fails_ends_in_an_error_that_shows_it(
    statements: str, named: str, kept: RoundTrip, tmp_path: Path
) -> None:
    path = tmp_path / "bad.sql"
    path.write_text(statements)
    before = databases(kept)
    for words in (("--to", "from_bad"), ("--database", kept.source.name, "--yes")):
        ended = restore(kept, path, *words)
        assert ended.status == 30, ended.err
        assert named in ended.err
        assert databases(kept) == before


def test_archive_whose_statements_fail_lists_them_all(trip: RoundTrip, tmp_path: Path) -> None:
    trip.load('CREATE SCHEMA one AUTHORIZATION :"ana"; CREATE TABLE one.x (a int); ALTER TABLE one.x OWNER TO :"ben"')
    path = write_dump(trip, "dump", tmp_path)
    trip.load('DROP SCHEMA one CASCADE; ALTER ROLE :"ana" RENAME TO gone_ana; ALTER ROLE :"ben" RENAME TO gone_ben')
    before = databases(trip)
    try:
        ended = restore(trip, path, "--to", "from_bad")
        assert ended.status == 30
        for role in trip.roles.values():
            assert role in ended.err
        assert databases(trip) == before
    finally:
        trip.load(
            f'ALTER ROLE gone_ana RENAME TO "{trip.roles["ana"]}"; ALTER ROLE gone_ben RENAME TO "{trip.roles["ben"]}"'
        )


def test_dump_in_the_place_of_a_live_database_keeps_what_is_set_on_it(trip: RoundTrip, tmp_path: Path) -> None:
    path = write_dump(trip, "sql.gz", tmp_path)
    trip.load(
        f'\\set name {trip.source.name}\nALTER DATABASE :"name" OWNER TO :"ana"; ALTER DATABASE :"name" SET work_mem TO \'7MB\';'
        'GRANT CREATE ON DATABASE :"name" TO :"ben"; COMMENT ON DATABASE :"name" IS \'kept\''
    )
    expected = describe(trip.server, trip.source.name)
    trip.load("DROP TABLE u, t")
    ended = restore(trip, path, "--database", trip.source.name, "--yes", "--drop-old")
    assert ended.status == 0, ended.err
    assert_description(expected, trip.server, trip.source.name)
    assert [one["name"][:15] for one in trip.respaldo.list()] == ["before_restore_"]


def test_path_of_a_backup_s_name_means_that_backup_where_there_is_no_file(trip: RoundTrip, tmp_path: Path) -> None:
    trip.respaldo.backup(trip.source.name, "--name", "mine")
    assert_same_database(trip.server, trip.source.name, trip.restored("backups/mine.sql"))
    ended = restore(trip, "backups/other.sql", "--to", "x")
    assert ended.status == 2
    assert "other.sql" in ended.err
    # A file of that name is itself.
    (tmp_path / "mine.sql").write_text("CREATE TABLE another (a int);\n")
    assert trip.server.psql("SELECT to_regclass('another')", trip.restored(str(tmp_path / "mine.sql"))) == "another"
