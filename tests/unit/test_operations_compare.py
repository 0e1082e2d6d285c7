"""Two backups compared from the repository alone: definitions, tables, and rows by their key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.clock import SystemClock
from respaldo.errors import DamagedError
from respaldo.events import ignore
from respaldo.operations import rowchanges
from respaldo.operations.compare import NO_DEFINITIONS, NO_KEY, OTHER_KEY, Comparison, compare_backups
from respaldo.operations.rowchanges import RowChanges, RowMatch, RowShape
from respaldo.postgres.definitions import SchemaObject, parse_definitions, primary_keys
from respaldo.repository.codec import compress
from respaldo.repository.records import BackupFacts, BackupType, Decision, Series, TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage

TARGET = TargetPath(instance="pc_db", database="pc_db")
START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
HEAD = """--
-- PostgreSQL database dump
--

SET statement_timeout = 0;

"""


def entry(name: str, kind: str, body: str, *, schema: str = "public", owner: str = "postgres") -> str:
    return f"--\n-- Name: {name}; Type: {kind}; Schema: {schema}; Owner: {owner}\n--\n\n{body}\n\n\n"


def table(name: str, *columns: str) -> str:
    lines = ",\n".join(f'    "{column}" "text"' for column in columns)
    return entry(name, "TABLE", f'CREATE TABLE "public"."{name}" (\n{lines}\n);')


def key(name: str, *columns: str) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    body = f'ALTER TABLE ONLY "public"."{name}"\n    ADD CONSTRAINT "{name}_pkey" PRIMARY KEY ({names});'
    return entry(f"{name} {name}_pkey", "CONSTRAINT", body)


def series(name: str, *columns: str) -> Series:
    names = ", ".join(f'"{column}"' for column in columns)
    return Series(key=f'"public"."{name}"', head=f'COPY "public"."{name}" ({names}) FROM stdin;\n', tail="\\.\n")


class Repositories:
    """Writes backups of segments and compares them."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.repository = Repository.open_or_create(self.storage, SystemClock())

    def write(self, name: str, rows: dict[Series, list[bytes]], script: str | None, *, encoding: str = "UTF8") -> None:
        with (
            self.repository.acquire(TARGET) as lease,
            self.repository.begin(TARGET, name, type=BackupType.FULL, base=None, lease=lease) as writer,
        ):
            pack = writer.new_pack()
            for one, texts in rows.items():
                number = writer.add_series(one)
                for part, text in enumerate(texts):
                    digest = blake3(text).hexdigest()
                    pack.add_frame(
                        number, f"{part}", compress(text), raw_size=len(text), rows=text.count(b"\n"), digest=digest
                    )
            if script is not None:
                writer.put_object("schema.sql.zst", compress((HEAD + script).encode()))
            facts = BackupFacts(
                started=START + timedelta(hours=len(list(self.storage.list()))),
                environment="docker",
                tool_version="0.1.0",
                decision=Decision(code="no-full", text=""),
                tables=len(rows),
                server={"encoding": encoding},
            )
            writer.commit(facts)

    def compare(self) -> Comparison:
        return compare_backups(
            self.repository.reader(TARGET, "old"), self.repository.reader(TARGET, "new"), listen=ignore
        )


@pytest.fixture
def backups() -> Repositories:
    return Repositories()


T = series("t", "id", "name")


def test_rows_of_a_table_with_a_key_are_counted_by_it(backups: Repositories) -> None:
    script = table("t", "id", "name") + key("t", "id")
    backups.write("old", {T: [b"1\ta\n2\tb\n", b"3\tc\n4\td\n"]}, script)
    # Row 2 moved to another segment and changed, 3 is gone, 5 is new, 1 and 4 moved only.
    backups.write("new", {T: [b"1\ta\n", b"4\td\n2\tB\n5\te\n"]}, script)
    [one] = backups.compare().tables
    assert (one.old_rows, one.new_rows, one.changes) == (4, 4, RowChanges(added=1, removed=1, changed=1))
    assert one.old_bytes == one.new_bytes == 16


def test_segments_of_both_are_not_read(backups: Repositories) -> None:
    script = table("t", "id", "name") + key("t", "id")
    same = b"".join(b"%d\tx\n" % number for number in range(1000))
    backups.write("old", {T: [same, b"2000\ta\n"]}, script)
    backups.write("new", {T: [same, b"2000\tb\n"]}, script)
    for name in ("old", "new"):
        [pack] = [one.name for one in backups.storage.list(f"pc_db/pc_db/{name}") if "data-" in one.name]
        data = bytearray(backups.storage.get(pack))
        segment = backups.repository.reader(TARGET, name).segments[0]
        data[segment.offset + segment.length // 2] ^= 0xFF
        backups.storage.put(pack, bytes(data))
    [one] = backups.compare().tables
    assert one.changes == RowChanges(changed=1)


def test_rows_that_cannot_be_matched_say_why(backups: Repositories) -> None:
    keyless, other, lost = (series(name, "id", "name") for name in ("keyless", "other", "lost"))
    rows = {one: [b"1\ta\n"] for one in (keyless, other, lost)}
    changed = {one: [b"1\tb\n"] for one in (keyless, other, lost)}
    backups.write("old", rows, table("keyless") + key("other", "id") + key("lost", "id"))
    backups.write("new", changed, table("keyless") + key("other", "id", "name"))
    found = {one.table: (one.changes, one.remark) for one in backups.compare().tables}
    assert found == {
        '"public"."keyless"': (None, NO_KEY),
        '"public"."lost"': (None, OTHER_KEY),
        '"public"."other"': (None, OTHER_KEY),
    }


def test_backup_without_the_text_of_its_definitions_is_compared_as_far_as_it_goes(backups: Repositories) -> None:
    backups.write("old", {T: [b"1\ta\n"]}, None)
    backups.write("new", {T: [b"1\ta\n2\tb\n"]}, key("t", "id"))
    comparison = backups.compare()
    assert comparison.schema is None
    assert [(one.changes, one.remark) for one in comparison.tables] == [(None, NO_DEFINITIONS)]


def test_table_in_one_backup_only_counts_its_rows_unread(backups: Repositories) -> None:
    gone = series("gone", "id")
    backups.write("old", {gone: [b"1\n2\n"]}, table("gone", "id"))
    backups.write("new", {T: [b"1\ta\n"]}, table("t", "id", "name"))
    comparison = backups.compare()
    assert [(one.old_rows, one.new_rows, one.changes) for one in comparison.tables] == [
        (2, None, RowChanges(removed=2)),
        (None, 1, RowChanges(added=1)),
    ]
    assert comparison.schema is not None
    assert comparison.schema.added == (SchemaObject(type="TABLE", schema="public", name="t"),)
    assert comparison.schema.removed == (SchemaObject(type="TABLE", schema="public", name="gone"),)


def test_column_added_is_left_out_of_the_rows_comparison(backups: Repositories) -> None:
    wide = series("t", "id", "extra", "name")
    backups.write("old", {T: [b"1\ta\n2\tb\n"]}, table("t", "id", "name") + key("t", "id"))
    backups.write("new", {wide: [b"1\tx\ta\n2\tx\tB\n"]}, table("t", "id", "extra", "name") + key("t", "id"))
    comparison = backups.compare()
    assert comparison.tables[0].changes == RowChanges(changed=1)
    assert comparison.schema is not None
    assert comparison.schema.altered == (SchemaObject(type="TABLE", schema="public", name="t"),)


def test_owner_is_an_alteration_and_order_is_none(backups: Repositories) -> None:
    a, b = entry("a", "VIEW", "CREATE VIEW a;"), entry("b; x", "VIEW", "CREATE VIEW b;")
    backups.write("old", {}, a + b)
    backups.write("new", {}, entry("b; x", "VIEW", "CREATE VIEW b;", owner="ana") + a)
    schema = backups.compare().schema
    assert schema is not None
    assert (schema.added, schema.removed) == ((), ())
    assert schema.altered == (SchemaObject(type="VIEW", schema="public", name="b; x"),)


def test_same_backup_twice_differs_in_nothing(backups: Repositories) -> None:
    for name in ("old", "new"):
        backups.write(name, {T: [b"1\ta\n"], Series(key="statements"): [b"SELECT 1;\n"]}, table("t", "id", "name"))
    comparison = backups.compare()
    assert not any(one.is_changed for one in comparison.tables)
    assert not comparison.statements_differ


def test_rows_with_other_columns_than_they_say_are_damage(backups: Repositories) -> None:
    backups.write("old", {T: [b"1\ta\n"]}, key("t", "id"))
    backups.write("new", {T: [b"1\ta\tb\n"]}, key("t", "id"))
    with pytest.raises(DamagedError):
        backups.compare()


def test_primary_keys_are_read_with_any_name() -> None:
    script = 'ALTER TABLE ONLY "ventas"."a ""b"" (c)"\n    ADD CONSTRAINT "k" PRIMARY KEY ("x ""y"", z", "ñ");\n'
    with_period = 'ALTER TABLE ONLY "s"."t"\n    ADD CONSTRAINT "k" PRIMARY KEY ("id", "valid" WITHOUT OVERLAPS);\n'
    found = primary_keys(
        parse_definitions((HEAD + entry("k", "CONSTRAINT", script) + entry("l", "CONSTRAINT", with_period)).encode())
    )
    assert found == {'"ventas"."a ""b"" (c)"': ('x "y", z', "ñ"), '"s"."t"': ("id", "valid")}


@settings(max_examples=150)
@given(
    st.dictionaries(st.integers(0, 40), st.integers(0, 3)),
    st.dictionaries(st.integers(0, 40), st.integers(0, 3)),
    st.integers(1, 50),
    st.randoms(),
)
def test_rows_matched_in_any_pieces_and_parts_are_what_dictionaries_say(
    old: dict[int, int], new: dict[int, int], piece: int, random: object
) -> None:
    shape = RowShape.of(["id", "x"], key=["id"], values=["id", "x"])
    rows = rowchanges.ROWS_AT_ONCE * (1 + len(old) % 3)
    with RowMatch(rows) as match:
        for is_new, side in enumerate((old, new)):
            items = list(side.items())
            random.shuffle(items)  # type: ignore[attr-defined]
            text = b"".join(b"%d\t%d\n" % item for item in items)
            match.feed([text[at : at + piece] for at in range(0, len(text), piece)], shape, is_new=bool(is_new))
        found = match.result()
    assert found == RowChanges(
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        changed=sum(old[one] != new[one] for one in old.keys() & new.keys()),
    )
