"""A database that goes from Docker to Kubernetes and back, each way by one command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ContainerFactory
from tests.contracts import CONTRACT
from tests.integration.test_kubernetes import SHOP, run
from tests.rig.containers import PostgresContainer
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod, postgres_set

ROLES = """
CREATE ROLE vendedora; ALTER TABLE pedidos OWNER TO vendedora; GRANT SELECT ON usuarios TO vendedora;
ALTER DATABASE tienda SET work_mem = '8MB';
"""


def contents(server: PostgresContainer | PostgresPod, database: str) -> list[bytes]:
    lines = server.pg_dump("--encoding=UTF8", database=database).splitlines()
    return sorted(line for line in lines if not line.startswith((b"\\restrict", b"\\unrestrict")))


def move(cluster: KubernetesCluster, repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(cluster, ["-m", "respaldo", "--repository", str(repository), "move", *words], RESPALDO_LANG="en")


def test_database_moves_to_the_cluster_and_back(
    kubernetes_cluster: KubernetesCluster, postgres_container: ContainerFactory, tmp_path: Path
) -> None:
    container = postgres_container(15)
    container.psql("CREATE DATABASE tienda", "postgres")
    container.psql(SHOP.replace("60000", "20000") + ROLES, "tienda")
    was = contents(container, "tienda")
    with kubernetes_cluster.namespace() as namespace:
        pod = postgres_set(kubernetes_cluster, namespace, "destino")
        docker, kubernetes = f"docker:{container.name}", f"kubernetes:{namespace}/{pod.name}"
        pod.psql("CREATE TABLE vieja AS SELECT 1 AS uno")
        said = move(kubernetes_cluster, tmp_path, docker, kubernetes, "--database", "tienda", "--dry-run", "--json")
        assert said.returncode == 0, said.stderr
        assert "tienda, " in said.stderr
        document = json.loads(said.stdout)
        CONTRACT.check("respaldo move", document)
        assert document["source"] == {"environment": "docker", "instance": container.name, "database": "tienda"}
        assert document["destination"]["instance"] == f"{namespace}.{pod.name}"
        assert min(document["size_bytes"], document["replaces_bytes"]) > 1_000_000
        taken = move(kubernetes_cluster, tmp_path, docker, kubernetes, "--database", "tienda", "--to", "postgres")
        assert (taken.returncode, "the database postgres exists already" in taken.stderr) == (30, True)
        assert not list(tmp_path.iterdir())
        # There is a database of that name: it is replaced, and kept under another.
        moved = move(kubernetes_cluster, tmp_path, docker, kubernetes, "--database", "tienda", "--yes", "--json")
        assert moved.returncode == 0, moved.stderr
        document = json.loads(moved.stdout)
        CONTRACT.check("respaldo move", document)
        assert (document["database"], document["tables"], document["rows"]) == ("tienda", 2, 20_500)
        assert contents(pod, "tienda") == was
        assert pod.psql("SELECT uno FROM vieja", document["old_database"]) == "1"
        assert pod.psql("SELECT setconfig FROM pg_db_role_setting", "tienda") == "{work_mem=8MB}"
        # And back, changed, beside the first.
        pod.psql("DELETE FROM pedidos WHERE id % 10 = 3")
        moved = move(kubernetes_cluster, tmp_path, kubernetes, docker, "--to", "de_vuelta")
        assert moved.returncode == 0, moved.stderr
        assert "every row of 2 tables compared" in moved.stdout
        assert contents(container, "de_vuelta") == contents(pod, "tienda")
        assert contents(container, "tienda") == was


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        ("docker:same", "docker:same", "is both source and destination"),
        ("podman:x", "docker:same", "podman:x names no environment"),
        ("docker:no_such_container", "docker:same", "no_such_container"),
    ],
)
def test_move_that_makes_no_sense_is_one_clear_line(
    kubernetes_cluster: KubernetesCluster,
    shared_postgres: ContainerFactory,
    tmp_path: Path,
    source: str,
    destination: str,
    message: str,
) -> None:
    name = shared_postgres(15).name
    words = [place.replace("same", name) for place in (source, destination)]
    done = move(kubernetes_cluster, tmp_path, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "hint: " in done.stderr
    assert not list(tmp_path.iterdir())
