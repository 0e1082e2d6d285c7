"""What a person gets wrong: one clear line, a hint, the right exit code, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from backup_orchestrator import UnifiedBackupOrchestrator
from respaldo.repository.manifest import seal
from tests.conftest import ContainerFactory
from tests.integration.conftest import run_here
from tests.rig.containers import PostgresContainer
from tests.rig.program import run_program
from tests.unit.languages import speaking

ROOT = Path(__file__).parents[2]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who types commands, with a repository of their own."""

    repository: Path
    container: PostgresContainer | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def run(
        self, *words: str, flat: bool = False, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**self.variables, **(variables or {})}
        if flat:
            given = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RESPALDO_LANG": "en", **environment}
            command = ["backup_orchestrator.py", "--dir", str(self.repository), *words]
            done = run_program(command, cwd=ROOT, env=given)
        else:
            with speaking("en"), patch.dict(os.environ, environment):
                ended = run_here("--repository", str(self.repository), *words)
            done = subprocess.CompletedProcess(words, ended.status, ended.out, ended.err)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def refused(
        self, status: int, *words: str, says: str = "", flat: bool = False, variables: Mapping[str, str] | None = None
    ) -> str:
        """Run what must be refused with one line and a hint; nothing is left of it."""
        before = sorted(self.repository.rglob("*")) if self.repository.is_dir() else []
        done = self.run(*words, flat=flat, variables=variables)
        assert done.returncode == status, done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "Error: "))]
        assert len(errors) == 1, done.stderr
        assert says in errors[0]
        if errors[0].startswith("error: "):
            assert "\nhint: " in f"\n{done.stderr}", done.stderr
        after = sorted(self.repository.rglob("*")) if self.repository.is_dir() else []
        # A failed run is remembered, so that its recovery can be told.
        kept = {"respaldo.json", ".metadata", "alerts.json"}
        assert [path for path in after if path not in before and path.name not in kept] == []
        return errors[0]


@pytest.fixture(scope="module")
def server(shared: Callable[[int], PostgresContainer]) -> Iterator[PostgresContainer]:
    container = shared(15)
    container.psql("CREATE DATABASE bad_input")
    container.psql("CREATE TABLE t AS SELECT 1 AS a", "bad_input")
    yield container
    container.psql("DROP DATABASE bad_input WITH (FORCE)")


@pytest.fixture(scope="module")
def shared(shared_postgres: Callable[[int], PostgresContainer]) -> Callable[[int], PostgresContainer]:
    return shared_postgres


@pytest.fixture
def person(server: PostgresContainer, tmp_path: Path) -> Person:
    variables = {"POSTGRES_CONTAINER": server.name, "RESPALDO_DATABASE": "bad_input"}
    return Person(repository=tmp_path / "backups", container=server, variables=variables)


@pytest.fixture
def alone(tmp_path: Path) -> Person:
    return Person(repository=tmp_path / "backups", variables=NO_ENGINE)


def test_backup_without_an_engine_says_where_it_looked(alone: Person) -> None:
    assert "/nowhere/docker.sock" in alone.refused(40, "backup")
    spanish = alone.run("backup", variables={"RESPALDO_LANG": "es"})
    assert spanish.returncode == 40
    assert "/nowhere/docker.sock" in spanish.stderr
    assert "sugerencia: " in spanish.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("backup", "--jobs", "0"), "--jobs"),
        (("backup", "--jobs", "100000"), "--jobs"),
        (("backup", "--jobs", "two"), "--jobs"),
        (("backup", "--lock-timeout", "-1"), "--lock-timeout"),
        (("backup", "--full-every-days", "99999999999"), "--full-every-days"),
        (("backup", "--largest-share", "nan"), "--largest-share"),
        (("backup", "--largest-share", "0"), "--largest-share"),
        (("backup", "--port", "65536"), "--port"),
        (("backup", "--labels", "a"), "--labels"),
        (("backup", "--labels", "=b"), "--labels"),
        (("backup", "--environment", "moon"), "moon"),
        (("backup", "--type", "half"), "half"),
        (("backup", "--no-such-option"), "--no-such-option"),
        (("no-such-command",), "no-such-command"),
    ],
)
def test_wrong_word_exits_2_and_names_it(alone: Person, words: tuple[str, ...], says: str) -> None:
    alone.refused(2, *words, says=says)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RESPALDO_JOBS", "0"),
        ("RESPALDO_LOCK_TIMEOUT", "soon"),
        ("RESPALDO_FULL_EVERY_DAYS", "99999999999"),
        ("RESPALDO_LARGEST_SHARE", "inf"),
        ("RESPALDO_PORT", "0"),
        ("RETENTION_DAILY", "-1"),
    ],
)
def test_wrong_variable_exits_2_and_names_it(alone: Person, name: str, value: str) -> None:
    alone.refused(2, "backup", says=name, variables={name: value})


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "-dash", "x" * 121, "latest", "a b", "manifest.json"])
def test_backup_name_that_cannot_be_one_exits_2(person: Person, name: str) -> None:
    person.refused(2, "backup", "--name", name, says="cannot be the name of a backup")


def test_backup_of_no_such_container_lists_those_there(person: Person) -> None:
    assert person.container is not None
    assert person.container.name in person.refused(2, "backup", "--container", "nope", says="nope")


def test_backup_of_a_stopped_container_says_how_to_start_it(
    person: Person, postgres_container: ContainerFactory
) -> None:
    stopped = postgres_container(wait=False)
    stopped.kill()
    done = person.run("backup", "--container", stopped.name)
    assert done.returncode == 40
    assert f"docker start {stopped.name}" in done.stderr


def test_backup_with_two_candidates_lists_both(person: Person, postgres_container: ContainerFactory) -> None:
    first, second = (postgres_container(run_args=("--label", "two=candidates"), wait=False) for _number in range(2))
    done = person.refused(2, "backup", "--labels", "two=candidates", variables={"POSTGRES_CONTAINER": ""})
    assert first.name in done
    assert second.name in done


@pytest.mark.parametrize(
    ("words", "says"), [(("--user", "nobody"), 'role "nobody"'), (("--database", "none"), 'database "none"')]
)
def test_backup_as_what_the_server_does_not_know_says_its_words(
    person: Person, words: tuple[str, ...], says: str
) -> None:
    person.refused(30, "backup", *words, says=says)


def test_backup_with_a_wrong_password_says_how_to_give_it(person: Person, postgres_container: ContainerFactory) -> None:
    server = postgres_container(password="right")
    server.exec(["sh", "-c", 'sed -i "s/trust$/scram-sha-256/" "$PGDATA/pg_hba.conf"'])
    server.exec(
        ["psql", "-U", "postgres", "-c", "SELECT pg_reload_conf()"], environment={"PGPASSWORD": "right"}, check=False
    )
    given = {"POSTGRES_CONTAINER": server.name, "RESPALDO_DATABASE": "postgres"}
    wrong = person.run("backup", variables={**given, "RESPALDO_PASSWORD": "wr'ong"})
    assert wrong.returncode == 30
    assert "password authentication failed" in wrong.stderr
    assert "RESPALDO_PASSWORD" in wrong.stderr
    assert "wr'ong" not in wrong.stderr
    right = person.run("backup", variables=given)
    assert right.returncode == 0, right.stderr


def test_backup_as_a_role_that_may_not_read_a_table_names_it(person: Person) -> None:
    assert person.container is not None
    person.container.psql("CREATE ROLE weak LOGIN")
    try:
        person.refused(30, "backup", "--user", "weak", says='"public"."t"')
        person.container.psql("GRANT SELECT ON t TO weak; ALTER TABLE t ENABLE ROW LEVEL SECURITY", "bad_input")
        person.refused(30, "backup", "--user", "weak", says='hide rows of "public"."t"')
    finally:
        person.container.psql(
            "ALTER TABLE t DISABLE ROW LEVEL SECURITY; DROP OWNED BY weak; DROP ROLE weak", "bad_input"
        )


def test_backup_of_an_image_without_postgresql_s_programs_says_so(
    person: Person, postgres_container: ContainerFactory
) -> None:
    other = postgres_container()
    other.exec(["sh", "-c", "rm -f /usr/lib/postgresql/*/bin/psql /usr/lib/postgresql/*/bin/pg_dump /usr/bin/psql"])
    other.exec(["rm", "-f", "/usr/bin/pg_dump"])
    person.refused(30, "backup", "--container", other.name, says="is not a PostgreSQL image")


def test_backup_name_in_use_is_kept_until_it_is_replaced(person: Person) -> None:
    assert person.run("backup", "--name", "one").returncode == 0
    person.refused(2, "backup", "--name", "one", says="exists already")
    replaced = person.run("backup", "--name", "one", "--type", "full", "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert [entry["name"] for entry in json.loads(person.run("list", "--json").stdout)] == ["one"]
    person.refused(10, "restore", "none", "--to", "x", says="none")
    person.refused(30, "restore", "one", "--to", "bad_input", says="exists already")
    assert person.container is not None
    assert person.run("restore", "one", "--to", "a=b'c").returncode == 0
    assert person.container.psql("SELECT a FROM t", "dbname='a=b\\'c'") == "1"
    person.container.psql('DROP DATABASE "a=b\'c"')


def test_restore_into_an_older_server_is_refused(person: Person, shared: Callable[[int], PostgresContainer]) -> None:
    newer = shared(18)
    done = person.run("backup", "--name", "new", "--container", newer.name, "--database", "postgres")
    assert done.returncode == 0, done.stderr
    line = person.refused(30, "restore", "new", "--to", "older", variables={"RESPALDO_DATABASE": "postgres"})
    assert "18" in line
    assert person.container is not None
    assert not person.container.psql("SELECT 1 FROM pg_database WHERE datname LIKE 'older%'")


def test_list_with_damaged_manifests_shows_the_others_and_exits_13(person: Person) -> None:
    for name in ("one", "two", "three"):
        assert person.run("backup", "--name", name, "--type", "full").returncode == 0
    for name in ("two", "three"):
        path = next(person.repository.rglob(f"{name}/manifest.json"))
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
    done = person.run("list")
    assert done.returncode == 13
    assert "one" in done.stdout
    assert "/two is damaged" in done.stderr
    assert "/three is damaged" in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize("command", ["list", "backup"])
def test_repository_of_a_newer_format_is_refused(person: Person, command: str) -> None:
    person.repository.mkdir()
    document: dict[str, object] = {"format": 2, "id": "0" * 32, "created": "2026-01-01T00:00:00.000000Z"}
    (person.repository / "respaldo.json").write_bytes(seal(document))
    person.refused(10, command, says="format 2")


@pytest.mark.parametrize("command", ["list", "backup"])
def test_repository_that_is_a_file_is_refused(person: Person, command: str) -> None:
    person.repository.write_text("")
    person.refused(20, command, says="not a directory")


def test_list_of_nothing_says_so(alone: Person) -> None:
    for flat in (False, True):
        done = alone.run("--list" if flat else "list", flat=flat)
        assert (done.returncode, done.stdout) == (0, f"No backups found in {alone.repository}\n")
    assert not alone.repository.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--force-full", "--backup-type", "incremental"),
        ("--list", "--restore"),
        ("--verbose", "--quiet"),
        ("--force-docker", "--auto-detect"),
        ("--backup-type", "half"),
        ("--no-such-flag",),
        ("--name",),
        ("--restore-file", "x"),
        ("--to", "x"),
        ("stray",),
    ],
)
def test_flat_flags_that_contradict_exit_2_and_write_nothing(alone: Person, words: tuple[str, ...]) -> None:
    done = alone.run(*words, flat=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: " in done.stderr
    assert not alone.repository.exists()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ((), "incremental"),
        (("--force-full",), "full"),
        (("--backup-type", "full"), "full"),
        (("--backup-type", "incremental"), "incremental"),
        (("--backup-type", "auto", "--auto-detect", "--no-color"), "incremental"),
        (("--force-docker", "-v"), "incremental"),
    ],
)
def test_flat_flags_make_the_backup_they_ask_for(person: Person, words: tuple[str, ...], kind: str) -> None:
    assert person.run("-n", "base", flat=True).returncode == 0
    done = person.run("--name", "one", "--json", *words, flat=True)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["name"], json.loads(done.stdout)["type"]) == ("one", kind)


def test_flat_name_in_use_is_refused_or_replaced(person: Person) -> None:
    assert person.run("-n", "base", flat=True).returncode == 0
    assert person.run("-n", "one", flat=True).returncode == 0
    again = person.run("-n", "one", flat=True)
    assert again.returncode == 2
    replaced = person.run("-n", "one", "-f", "-q", flat=True)
    assert (replaced.returncode, replaced.stdout, replaced.stderr) == (0, "", "")
    listed = person.run("-l", "--json", flat=True)
    assert [entry["name"] for entry in json.loads(listed.stdout)] == ["base", "one"]


def test_flat_container_from_flag_wins_over_the_variables(person: Person) -> None:
    assert person.container is not None
    name = person.container.name
    assert (
        person.run("-c", name, flat=True, variables={"POSTGRES_CONTAINER": "no", "CONTAINER_NAME": "nor"}).returncode
        == 0
    )
    assert person.run(flat=True, variables={"POSTGRES_CONTAINER": "", "CONTAINER_NAME": name}).returncode == 0
    elsewhere = person.run("--list", flat=True, variables={"BACKUP_DIR": "/nowhere"})
    assert "No backups" not in elsewhere.stdout


def test_flat_restore_makes_the_new_database(person: Person) -> None:
    assert person.container is not None
    assert person.run("-n", "one", flat=True).returncode == 0
    done = person.run("--restore", "--restore-file", "one", "--to", "flat_restored", flat=True)
    assert done.returncode == 0, done.stderr
    assert person.container.psql("SELECT a FROM t", "flat_restored") == "1"
    person.container.psql("DROP DATABASE flat_restored")


def test_orchestrator_class_backs_up_lists_and_restores(
    person: Person, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert person.container is not None
    orchestrator = UnifiedBackupOrchestrator(
        dir=str(person.repository), container=person.container.name, database="bad_input", to="class_restored"
    )
    assert orchestrator.list_backups() == []
    assert orchestrator.create_backup("one")
    assert not orchestrator.create_backup("one")
    assert orchestrator.create_backup("one", force_overwrite=True)
    assert [entry["name"] for entry in orchestrator.list_backups()] == ["one"]
    assert orchestrator.restore_database("one")
    assert not orchestrator.restore_database("none")
    assert person.container.psql("SELECT a FROM t", "class_restored") == "1"
    person.container.psql("DROP DATABASE class_restored")
    with pytest.raises(TypeError, match="unknown arguments: colour"):
        UnifiedBackupOrchestrator(colour=True)
    monkeypatch.setenv("RESPALDO_JOBS", "0")
    assert not orchestrator.create_backup("two")
    capfd.readouterr()
