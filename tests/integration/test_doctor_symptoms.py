"""``respaldo doctor`` on a real server: each thing that would go wrong is said with its remedy, and no more."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from respaldo.clock import SystemClock
from respaldo.repository.manifest import encode_manifest
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.records import Manifest
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.rig import embedded
from tests.rig.program import run_program
from tests.rig.requirements import require
from tests.rig.variables import shell_variables
from tests.unit.manifests import write_backups

# max_locks_per_transaction * max_connections: 100 locks, for tables that need 2 each.
SMALL = {"max_locks_per_transaction": "10", "max_connections": "10", "max_wal_senders": "0"}
ILL = """
CREATE TABLE plain (id int);
CREATE UNLOGGED TABLE unlogged (id int);
CREATE FOREIGN DATA WRAPPER idle;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER idle;
CREATE FOREIGN TABLE far_away (id int) SERVER elsewhere;
CREATE TABLE hiding (id int);
ALTER TABLE hiding ENABLE ROW LEVEL SECURITY;
CREATE ROLE small LOGIN;
CREATE ROLE reading LOGIN;
GRANT pg_read_all_data TO reading;
ALTER ROLE postgres SET statement_timeout = '5s';
ALTER DATABASE ill SET lock_timeout = '3s';
SELECT format('CREATE TABLE many_%s (id int)', i) FROM generate_series(1, 60) i \\gexec
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the doctor said: state and remedy by text, and how the command ended."""

    status: int
    symptoms: dict[str, tuple[str, str]]

    def find(self, words: str) -> tuple[str, str]:
        """Return state and remedy of the one symptom whose text holds the words."""
        found = [value for text, value in self.symptoms.items() if words in text]
        assert len(found) == 1, (words, self.symptoms)
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """The command on one server, with one repository."""

    server: embedded.EmbeddedPostgres
    repository: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run any command there."""
        place = ["--host", str(self.server.socket_directory), "--port", str(self.server.port)]
        variables = {"PATH": f"{self.server.bin_directory}:{os.environ['PATH']}", "TMPDIR": str(self.server.directory)}
        command = ["-m", "respaldo", "--repository", str(self.repository), words[0], *place, *words[1:]]
        environment = shell_variables(RESPALDO_LANG="en", **variables)
        return run_program(command, cwd=self.repository.parent, env=environment, timeout_s=60)

    def examine(self, database: str, *words: str) -> Seen:
        ended = self.run("doctor", "--database", database, *(words or ("--user", "postgres")), "--json")
        assert ended.returncode in {0, 50}, ended.stderr
        symptoms = json.loads(ended.stdout)
        assert all(one["remedy"] for one in symptoms if one["state"] != "good")
        return Seen(status=ended.returncode, symptoms={one["text"]: (one["state"], one["remedy"]) for one in symptoms})


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.EmbeddedPostgres]:
    require("embedded", embedded.why_unavailable())
    with embedded.embedded_postgres(settings=SMALL) as made:
        made.psql("CREATE DATABASE ill")
        made.psql("CREATE DATABASE well")
        made.psql(ILL, "ill")
        yield made


@pytest.fixture
def doctor(server: embedded.EmbeddedPostgres, tmp_path: Path) -> Doctor:
    return Doctor(server=server, repository=tmp_path / "repository")


def newest(doctor: Doctor, *, hours_ago: float) -> tuple[Repository, Manifest]:
    """Write a backup of the healthy database that began so many hours ago."""
    instance = f"local_{doctor.server.port}"
    (written,) = write_backups(doctor.repository, 1, database="well", instance=instance)
    repository = Repository.open(DirectoryStorage(doctor.repository), SystemClock())
    began = SystemClock().now() - timedelta(hours=hours_ago)
    manifest = replace(written, started=began, finished=began + timedelta(minutes=1))
    repository.storage.put(f"{instance}/well/{manifest.name}/manifest.json", encode_manifest(manifest))
    return repository, manifest


def prove(repository: Repository, manifest: Manifest, verdict: Verdict, *, days_ago: float = 0) -> None:
    made = SystemClock().now() - timedelta(days=days_ago)
    proof = Proof(uid=manifest.uid, kind=ProofKind.DRILL, verdict=verdict, made=made, tool_version="0.1.0")
    repository.add_proof(manifest.target, manifest.name, proof)


def test_what_a_server_would_spoil_is_said_with_its_remedy(doctor: Doctor) -> None:
    doctor.server.psql('CREATE DATABASE "ill__restoring_dead"')
    seen = doctor.examine("ill")
    doctor.server.psql('DROP DATABASE "ill__restoring_dead"')
    assert seen.status == 50
    (head,) = [text for text in seen.symptoms if text.startswith("PostgreSQL 17")]
    assert "MiB" in head
    assert head.endswith("63 tables")
    assert seen.find("locks than the server has (100)") == (
        "bad",
        "raise max_locks_per_transaction on the server and restart it",
    )
    assert seen.find("data checksums are off") == ("note", "stop the server and run pg_checksums --enable")
    assert seen.find("1 foreign table:") == ("note", "back up the server that holds them")
    assert seen.find("1 unlogged table:") == ("note", "ALTER TABLE … SET LOGGED")
    assert seen.find("lock_timeout=3s, statement_timeout=5s")[0] == "good"
    assert seen.find("ill__restoring_dead")[0] == "note"
    assert seen.find("there is no backup yet") == ("bad", "respaldo backup")


def test_role_that_may_not_read_or_would_not_see_every_row_is_bad(doctor: Doctor) -> None:
    seen = doctor.examine("ill", "--user", "small")
    assert seen.status == 50
    state, remedy = seen.find('may not read "public"')
    assert state == "bad"
    assert "pg_read_all_data" in remedy
    assert seen.find("saved without them")[0] == "note"
    seen = doctor.examine("ill", "--user", "reading")
    state, remedy = seen.find('would hide rows of "public"."hiding"')
    assert state == "bad"
    assert "BYPASSRLS" in remedy


def test_database_with_a_fresh_and_proven_backup_is_well(doctor: Doctor) -> None:
    repository, manifest = newest(doctor, hours_ago=2)
    prove(repository, manifest, Verdict.PROVEN)
    seen = doctor.examine("well")
    assert seen.status == 0
    assert seen.find("newest backup: b1, 2 h")[0] == "good"
    assert not [text for text in seen.symptoms if "proven" in text]
    assert doctor.examine("well", "--user", "postgres", "--rpo-objective", "1").status == 50


def test_backup_that_is_old_and_proof_that_is_older_are_said(doctor: Doctor) -> None:
    repository, manifest = newest(doctor, hours_ago=25)
    prove(repository, manifest, Verdict.PROVEN, days_ago=31)
    seen = doctor.examine("well")
    assert seen.status == 50
    assert seen.find("newest backup: b1, 1 d 1 h") == ("bad", "respaldo backup")
    assert seen.find("no backup was proven in the last 30 days") == ("note", "respaldo drill")


def test_failed_proof_and_damaged_backup_are_bad(doctor: Doctor) -> None:
    repository, manifest = newest(doctor, hours_ago=1)
    prove(repository, manifest, Verdict.FAILED)
    repository.storage.put(f"local_{doctor.server.port}/well/b2/manifest.json", b"{}")
    seen = doctor.examine("well")
    assert seen.status == 50
    assert seen.find("failed: b1") == ("bad", "respaldo backup --type full")
    assert seen.find("b2")[1] == "respaldo check"


def test_each_remedy_cures_its_symptom_when_followed(tmp_path: Path) -> None:
    """As a person would, on a server of its own: no remedy is a word that leads nowhere."""
    require("embedded", embedded.why_unavailable())
    small = {name: value for name, value in SMALL.items() if name != "max_locks_per_transaction"}
    with embedded.embedded_postgres(settings=small) as server:
        doctor = Doctor(server=server, repository=tmp_path / "repository")
        server.psql("CREATE DATABASE ill")
        server.psql(ILL, "ill")
        server.psql('CREATE DATABASE "ill__restoring_dead"; ALTER SYSTEM SET max_locks_per_transaction = 10')
        server.stop()
        server.start()
        assert doctor.examine("ill").find("locks than the server has (100)")[0] == "bad"

        server.psql("ALTER SYSTEM SET max_locks_per_transaction = 64; GRANT pg_read_all_data TO small")
        server.psql("ALTER ROLE small BYPASSRLS; ALTER TABLE unlogged SET LOGGED", "ill")
        server.stop()
        server.exec(["pg_checksums", "--enable", "--no-sync", "-D", str(server.data_directory)])
        server.start()
        assert doctor.run("backup", "--database", "ill", "--user", "postgres").returncode == 0
        assert doctor.run("restore", "latest", "--to", "beside", "--user", "postgres", "--yes").returncode == 0
        assert doctor.run("drill", "--user", "postgres").returncode == 0
        seen = doctor.examine("ill", "--user", "small")
        assert seen.status == 0
        # Rows that live elsewhere, and passwords that this role may not read, stay worth knowing.
        assert [state for state, _remedy in seen.symptoms.values() if state != "good"] == ["note", "note"]
        seen.find("1 foreign table")
        seen.find("saved without them")

        definitions = next(doctor.repository.rglob("schema.dump"))
        definitions.write_bytes(definitions.read_bytes()[:-1] + b"X")
        assert doctor.run("drill", "--user", "postgres").returncode == 50
        seen = doctor.examine("ill")
        assert seen.status == 50
        assert seen.find("failed: ") == ("bad", "respaldo backup --type full")
        assert seen.find("no backup was proven")[1] == "respaldo drill"
        assert doctor.run("backup", "--database", "ill", "--user", "postgres", "--type", "full").returncode == 0
        assert doctor.run("drill", "--user", "postgres").returncode == 0
        seen = doctor.examine("ill")
        assert seen.status == 0
        assert seen.find("failed: ")[0] == "note"
        assert not [text for text in seen.symptoms if "no backup was proven" in text]
