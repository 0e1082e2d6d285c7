"""Drills of a server on this machine, in a throwaway server of the same installation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from respaldo.clock import SystemClock
from respaldo.environments.base import InstanceQuery, SandboxSpec
from respaldo.environments.local import LocalEnvironment
from respaldo.errors import EnvironmentFailedError, ProofFailedError
from respaldo.operations.layout import columns_of, table_of
from respaldo.operations.rowsum import RowSum
from respaldo.operations.verifying import compare_rows
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.server import connect
from respaldo.repository.records import TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.integration.comparison import SQL
from tests.integration.conftest import AFTER_THE_FULL
from tests.rig.database import Database, database_on
from tests.rig.embedded import EmbeddedPostgres
from tests.rig.program import run_program
from tests.rig.requirements import require
from tests.rig.variables import shell_variables

ROWS = """
CREATE TABLE pairs (id int PRIMARY KEY, a text NOT NULL, b text NOT NULL);
INSERT INTO pairs SELECT i, 'left ' || i, 'same ' || i FROM generate_series(1, 2000) i;
CREATE INDEX pairs_a ON pairs (a);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """The program beside the embedded server, with one repository."""

    server: EmbeddedPostgres
    repository: Path
    database: str

    @property
    def place(self) -> list[str]:
        return ["--host", str(self.server.socket_directory), "--port", str(self.server.port)]

    def words(self, *words: str) -> list[str]:
        """What the interpreter is given."""
        return ["-m", "respaldo", "--repository", str(self.repository), *words]

    def variables(self, language: str = "en") -> dict[str, str]:
        path = f"{self.server.bin_directory}:{os.environ['PATH']}"
        # Where no other worker's drills are counted for leftovers.
        directory = str(self.server.directory)
        return shell_variables(PATH=path, PGUSER="postgres", RESPALDO_LANG=language, TMPDIR=directory)

    def run(self, *words: str, language: str = "en") -> subprocess.CompletedProcess[str]:
        return run_program(self.words(*words), cwd=self.repository.parent, env=self.variables(language), timeout_s=200)

    def backup(self) -> dict[str, Any]:
        ended = self.run("backup", *self.place, "--database", self.database, "--json")
        assert ended.returncode == 0, ended.stderr
        document: dict[str, Any] = json.loads(ended.stdout)
        return document

    def drill(self, *words: str) -> dict[str, Any]:
        ended = self.run("drill", *words, *self.place, "--json")
        assert ended.returncode in {0, 50}, ended.stderr
        (proof,) = json.loads(ended.stdout)
        assert (proof["verdict"] == "proven") == (ended.returncode == 0)
        return dict(proof)


@pytest.fixture(scope="module")
def source(embedded_postgres: EmbeddedPostgres) -> Iterator[Database]:
    with database_on(embedded_postgres, options="") as made:
        made.psql(ROWS)
        yield made


@pytest.fixture
def local(embedded_postgres: EmbeddedPostgres, source: Database, tmp_path: Path) -> Local:
    return Local(server=embedded_postgres, repository=tmp_path / "repository", database=source.name)


def leftovers(server: EmbeddedPostgres) -> Sequence[Path]:
    return list(server.directory.glob("respaldo-drill-*"))


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Mount a directory over itself, to be read only."""
    mounted = subprocess.run(["mount", "--bind", directory, directory], capture_output=True, text=True, check=False)
    require("root", f"mount: {mounted.stderr.strip()}" if mounted.returncode else None)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize("content", ["shop.sql", "extensions.sql"])
def test_full_and_incremental_of_the_shop_and_of_contrib_s_extensions_are_proven(
    content: str, embedded_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Of the second: row security, partitions and large objects too."""
    before, _mark, after = (SQL / content).read_text().partition(AFTER_THE_FULL)
    with database_on(embedded_postgres, options="") as source:
        local = Local(server=embedded_postgres, repository=tmp_path / "repository", database=source.name)
        source.psql(before)
        full = local.backup()
        source.psql(after)
        assert local.backup()["type"] == "incremental"
        for name in (full["name"], "latest"):
            proof = local.drill(name)
            assert proof["verdict"] == "proven", proof["findings"]
    assert leftovers(embedded_postgres) == []


@pytest.mark.parametrize("disaster", ["volume", "table-drop", "scramble", "index-corruption"])
def test_disaster_is_noticed_and_recovered_from(disaster: str, local: Local) -> None:
    local.backup()
    proof = local.drill("latest", "--disaster", disaster)
    assert proof["verdict"] == "proven", proof["findings"]
    assert proof["seconds"]["disaster"] > 0
    assert proof["seconds"]["restore"] > 0
    assert leftovers(local.server) == []
    recovery = json.loads(local.run("rto", "--json").stdout)
    assert [(group["disaster"], group["count"]) for group in recovery["groups"]] == [(disaster, 1)]


def test_report_is_one_page_in_the_language_of_the_run_with_everything_escaped(local: Local, tmp_path: Path) -> None:
    local.backup()
    for language, words in (("es", ("Informe del simulacro", "probado")), ("en", ("Drill report", "proven"))):
        page = tmp_path / f"{language}.html"
        ended = local.run("drill", *local.place, "--html", str(page), language=language)
        assert ended.returncode == 0, ended.stderr
        text = page.read_text()
        assert f'lang="{language}"' in text
        assert all(word in text for word in words)
        assert not re.search(r"<script|src=|https?://", text)
    proofs = sorted(local.repository.rglob("proof-*.json"))
    for place in (tmp_path / "none" / "page.html", tmp_path):
        ended = local.run("drill", *local.place, "--html", str(place))
        assert ended.returncode == 20
        assert str(place) in ended.stderr
    assert sorted(local.repository.rglob("proof-*.json")) == proofs, "it was drilled for nothing"


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("is_damaged", [False, True])
def test_drill_and_check_of_a_copy_that_can_only_be_read_tell_their_verdict(is_damaged: bool, local: Local) -> None:
    """That no proof could be kept is a warning."""
    local.backup()
    if is_damaged:
        pack = max(local.repository.rglob("data-*"), key=lambda path: path.stat().st_size)
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 1
        pack.write_bytes(data)
    with read_only(local.repository):
        shown = local.run("drill", *local.place)
        ended = local.run("drill", *local.place, "--json")
        checked = local.run("check", "--json")
    assert checked.returncode == (13 if is_damaged else 3), checked.stderr
    assert json.loads(checked.stdout)["backups"] == 1
    assert "could not be kept" in checked.stderr
    assert shown.returncode == ended.returncode == (50 if is_damaged else 3), shown.stderr
    verdict = "failed" if is_damaged else "proven"
    assert verdict in shown.stdout
    assert [proof["verdict"] for proof in json.loads(ended.stdout)] == [verdict]
    assert "could not be kept" in shown.stderr
    assert "Read-only" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_every_target_is_drilled_and_each_failure_is_told(
    local: Local, embedded_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Three are due: one is whole, and each of two has a damaged byte."""
    page = tmp_path / "page.html"
    with (
        database_on(embedded_postgres, options="") as second,
        database_on(embedded_postgres, options="") as third,
    ):
        for database in (local.database, second.name, third.name):
            embedded_postgres.psql("CREATE TABLE IF NOT EXISTS a AS SELECT 1 AS b", database)
            replace(local, database=database).backup()
        damaged = sorted((second.name, third.name))
        for name in damaged:
            pack = next(local.repository.glob(f"*/{name}/*/schema.dump"))
            pack.write_bytes(pack.read_bytes()[:-1] + b"X")
        ended = local.run("drill", "--due", "0", *local.place, "--json", "--html", str(page))
    assert ended.returncode == 50
    assert sorted(one["verdict"] for one in json.loads(ended.stdout)) == ["failed", "failed", "proven"]
    assert all(f"/{name}: " in ended.stderr for name in damaged), ended.stderr
    assert f"/{local.database}: " not in ended.stderr
    assert page.read_text().count("<section>") == 3


def test_server_that_a_killed_drill_left_is_ended_and_removed_by_the_next(local: Local) -> None:
    local.backup()
    command = [sys.executable, *local.words("drill", *local.place)]
    for step in ("owner.json", "data/postmaster.pid", "server.log"):
        with subprocess.Popen(
            command, env=local.variables(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as drill:
            deadline = time.monotonic() + 60
            while not any((place / step).exists() for place in leftovers(local.server)) and drill.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            drill.kill()
        left = [file for place in leftovers(local.server) for file in place.glob("data/postmaster.pid")]
        # The server makes the file first, and writes into it then.
        pids = [int(words[0]) for file in left if (words := file.read_text().split())]
        assert local.drill()["verdict"] == "proven"
        assert leftovers(local.server) == []
        for pid in pids:
            with suppress(FileNotFoundError):
                assert "respaldo-drill-" not in Path(f"/proc/{pid}/cmdline").read_text()


def test_version_that_is_not_installed_is_said_with_its_remedy() -> None:
    with pytest.raises(EnvironmentFailedError, match="99") as raised:
        LocalEnvironment().open_sandbox(SandboxSpec(major=99))
    assert "postgresql-99" in (raised.value.hint or "")


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE pairs SET a = 'left X' WHERE id = 1000",
        "DELETE FROM pairs WHERE id = 2000",
        "INSERT INTO pairs VALUES (2001, 'left 2001', 'same 2001')",
        "UPDATE pairs p SET a = q.a FROM pairs q WHERE (p.id, q.id) IN ((10, 11), (11, 10))",
        "UPDATE pairs SET a = b, b = a WHERE id = 7",
        "DELETE FROM pairs WHERE id = 3; INSERT INTO pairs VALUES (2001, 'left 3', 'same 3')",
        "TRUNCATE pairs",
        "DROP TABLE pairs",
    ],
)
def test_harm_to_one_row_is_found(
    harm: str, module_backup: tuple[Local, str], embedded_postgres: EmbeddedPostgres
) -> None:
    """The comparison of every drill, against a restored database whose rows were harmed by hand."""
    local, name = module_backup
    environment = LocalEnvironment(
        str(embedded_postgres.socket_directory), embedded_postgres.port, embedded_postgres.bin_directory
    )
    instance = environment.find(InstanceQuery())[0]
    repository = Repository.open(DirectoryStorage(local.repository), SystemClock())
    reader = repository.reader(TargetPath(instance=instance.name, database=local.database), name)
    expected: dict[str, RowSum] = {}
    columns: dict[str, list[str]] = {}
    for segment in reader.segments:
        series = reader.series[segment.series]
        if "pairs" in table_of(series):
            columns[table_of(series)] = columns_of(series)
            rows = expected.setdefault(table_of(series), RowSum())
            for text in reader.open_text(segment):
                rows.feed(text)
    assert [rows.rows for rows in expected.values()] == [2000]
    with database_on(embedded_postgres, options=f'TEMPLATE "{local.database}"') as copy:
        server = connect(environment.open(instance), ConnectionOverrides(database=copy.name))
        assert compare_rows(server, copy.name, expected, columns=columns, encoding="UTF8", jobs=1) == 2000
        copy.psql(harm)
        with pytest.raises(ProofFailedError, match="pairs"):
            compare_rows(server, copy.name, expected, columns=columns, encoding="UTF8", jobs=1)


@pytest.fixture(scope="module")
def module_backup(
    embedded_postgres: EmbeddedPostgres, source: Database, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Local, str]:
    repository = tmp_path_factory.mktemp("rows") / "repository"
    local = Local(server=embedded_postgres, repository=repository, database=source.name)
    return local, str(local.backup()["name"])
