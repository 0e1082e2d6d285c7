"""Every documented flat flag, as a person of the original project types it, beside a container and beside a pod."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backup_orchestrator import UnifiedBackupOrchestrator
from respaldo.cli.flat import build_parser
from tests.conftest import DatabaseFactory
from tests.rig.containers import PostgresContainer
from tests.rig.kube_cluster import KubernetesCluster, postgres_set
from tests.rig.program import run_program
from tests.rig.variables import shell_variables

ROOT = Path(__file__).parents[2]
TABLE = "CREATE TABLE usuarios (usuario_id int PRIMARY KEY, nombre text); INSERT INTO usuarios VALUES (1, 'Ana')"
COUNT = "SELECT count(*) FROM usuarios"
# The machine's own schedules and mail are not the person's.
FAKE_CRONTAB = '#!/bin/sh\n[ "$1" = -l ] && exec cat "$0.lines"; cat >"$0.lines"\n'
FAKE_SENDMAIL = '#!/bin/sh\ncat >>"$0.mail"\n'


@dataclass(slots=True, kw_only=True)
class Person:
    """Runs ``python3 backup_orchestrator.py`` in a directory with a ``.env``; notes the flags that were used."""

    directory: Path
    psql: Callable[[str], str]
    variables: dict[str, str]
    yes: str = "s"
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        programs = self.directory / "bin"
        programs.mkdir()
        for name, text in (("crontab", FAKE_CRONTAB), ("sendmail", FAKE_SENDMAIL)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (programs / "crontab.lines").touch()
        lines = [f'{name}="{value}"' for name, value in self.variables.items() if name != "RESPALDO_LANG"]
        (self.directory / ".env").write_text("\n".join([*lines, f"RESPALDO_SENDMAIL={programs / 'sendmail'}"]))

    def run(self, *words: str, status: int = 0) -> str:
        self.used |= {word for word in words if word.startswith("-")}
        path = f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = run_program(
            [str(ROOT / "backup_orchestrator.py"), *words],
            cwd=self.directory,
            env=shell_variables(PATH=path, RESPALDO_LANG=self.variables["RESPALDO_LANG"]),
            answers=f"1\n{self.yes}\n",
            timeout_s=200,
        )
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout


def walk(person: Person, place: list[str], other: list[str], force: str) -> None:
    """Use every flag. ``place``: those that say which server and database; ``other``: the same server by its labels."""
    assert person.run("--list")
    person.psql(TABLE)
    # Backups: by name, overwritten, of either type, with versions.
    person.run("--name", "antes", *place, "--verbose")
    person.run("--name", "antes", status=2)
    person.run("-n", "antes", "--force", "--force-full", force)
    person.run("--backup-type", "incremental", "--auto-detect", "--no-color", *other)
    assert person.run("--quiet", "--enable-versioning", "--branch", "main", "--tags", "estable", "inicial") == ""
    person.psql("INSERT INTO usuarios VALUES (2, 'Ben')")
    person.run("--enable-versioning", "--version-increment", "minor", "--description", "con Ben")
    person.run("--enable-versioning", "--branch", "develop", "--version", "3.0.0")
    # Retention has removed the one of the day without a label.
    assert len(json.loads(person.run("--list", "--json"))) == 4
    # Versions.
    listed = [one["version"] for one in json.loads(person.run("--list-versions", "--json"))]
    assert listed == ["3.0.0-develop.1", "1.1.0-main.2", "1.0.0-main.1"]
    filtered = person.run("--list-versions", "--filter-branch", "main", "--filter-tag", "estable", "--limit", "1")
    assert "1.0.0-main.1" in filtered
    assert "con Ben" in person.run("--version-info", "1.1.0-main.2")
    assert "public.usuarios" in person.run("--compare-versions", "1.0.0-main.1", "1.1.0-main.2")
    assert "develop" in person.run("--list-branches")
    person.run("--create-tag", "1.1.0-main.2", "con_ben", "--description", "con Ben")
    assert "con_ben" in person.run("--list-tags")
    # Restores: beside the live database, in its place by the list and a question, and by a version.
    person.run("--restore", "--restore-file", "backups/antes.sql", "--to", "al_lado", "--yes")
    assert person.psql(COUNT) == "2"
    person.run("--restore")
    assert person.psql(COUNT) == "1"
    person.run("--rollback-to", "1.1.0-main.2", "--yes")
    assert person.psql(COUNT) == "2"
    assert "1.1.0-main.2" in person.run("--rollback-history")
    # Retention, and what there is.
    policy = ["--retention-daily", "1", "--retention-weekly", "1", "--retention-monthly", "1", "--retention-full", "1"]
    before = person.run("--list", "--json")
    person.run("--apply-retention", "--retention-dry-run", *policy)
    assert person.run("--list", "--json") == before
    person.run("--apply-retention", *policy)
    left = json.loads(person.run("--list", "-v", "--json"))
    # By name, and by their tags.
    assert "antes" in {one["name"] for one in left}
    assert {"estable", "con_ben"} <= {tag for one in left for tag in one["tags"]}
    person.run("--cleanup-versions", "1", "--cleanup-dry-run")
    person.run("--cleanup-versions", "1")
    assert "develop" in person.run("--backup-summary", "--dir", "backups")
    # Schedules, and who is told.
    person.run("--schedule", "daily", "--schedule-prefix", "tienda")
    person.run("--schedule-custom", "30 1 * * 1-5")
    scheduled = {one["name"] for one in json.loads(person.run("--list-schedules", "--json"))}
    assert scheduled == {"tienda-daily", "respaldo-custom"}
    for name in scheduled:
        person.run("--remove-schedule", name)
    assert json.loads(person.run("--list-schedules", "--json")) == []
    person.run("--test-notifications", "--notification-email", "ops@example.com")
    assert "ops@example.com" in (person.directory / "bin/sendmail.mail").read_text()


def flags() -> set[str]:
    return {max(action.option_strings, key=len) for action in build_parser()._actions if action.option_strings}


# Slack has one address; where it is another, test_telling has the server, and knows what comes there.
ELSEWHERE = {"--slack-token", "--slack-channel", "--help"}
ANOTHER_ENVIRONMENT = {
    "docker": {"--force-kubernetes", "--pod", "--namespace", "--k8s-container"},
    "kubernetes": {"--force-docker", "--container"},
}


def test_every_flag_does_what_it_says_beside_a_container(
    shared_postgres: Callable[[int], PostgresContainer],
    fresh_database: DatabaseFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shared_postgres(15)
    database = fresh_database(server=server)
    variables = {
        "POSTGRES_CONTAINER": server.name,
        "RESPALDO_DATABASE": database.name,
        "RESPALDO_ENVIRONMENT": "docker",
        "RESPALDO_LANG": "es",
    }
    person = Person(directory=tmp_path, psql=database.psql, variables=variables)
    labels = ["--labels", f"respaldo.test={json.loads(labels_of(server))['respaldo.test']}"]
    try:
        walk(
            person,
            ["--container", server.name, "--database", database.name, "--user", server.user],
            ["--container", server.name, *labels],
            "--force-docker",
        )
    finally:
        server.psql("DROP DATABASE IF EXISTS al_lado")
    assert flags() - person.used - {"--yes"} == ELSEWHERE | ANOTHER_ENVIRONMENT["docker"]
    monkeypatch.chdir(tmp_path)
    orchestrator = UnifiedBackupOrchestrator()
    assert orchestrator.create_backup("de_python")
    assert "de_python" in [one["name"] for one in orchestrator.list_backups()]


def labels_of(server: PostgresContainer) -> str:
    from tests.rig.engine import docker

    return docker("inspect", "--format", "{{json .Config.Labels}}", server.id).decode()


def test_every_flag_does_what_it_says_beside_a_pod(kubernetes_cluster: KubernetesCluster, tmp_path: Path) -> None:
    with kubernetes_cluster.namespace() as namespace:
        pod = postgres_set(kubernetes_cluster, namespace, "postgres")
        variables = {
            "KUBECONFIG": str(kubernetes_cluster.kubeconfig),
            "POD_NAME": pod.name,
            "NAMESPACE": namespace,
            "RESPALDO_ENVIRONMENT": "kubernetes",
            "RESPALDO_LANG": "en",
        }
        person = Person(directory=tmp_path, psql=pod.psql, variables=variables, yes="y")
        labels = kubernetes_cluster.api.get("pod", pod.name, namespace=namespace)["metadata"]["labels"]
        key, value = next((key, value) for key, value in labels.items() if "/" not in key and "-" not in key)
        walk(
            person,
            ["--pod", pod.name, "--namespace", namespace, "--database", pod.database, "--user", "postgres"],
            ["--labels", f"{key}={value}", "--k8s-container", container_of(kubernetes_cluster, namespace, pod.name)],
            "--force-kubernetes",
        )
        assert flags() - person.used - {"--yes"} == ELSEWHERE | ANOTHER_ENVIRONMENT["kubernetes"]


def container_of(cluster: KubernetesCluster, namespace: str, pod: str) -> str:
    spec = cluster.api.get("pod", pod, namespace=namespace)["spec"]
    return str(spec["containers"][0]["name"])
