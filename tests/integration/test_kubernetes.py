"""The program on a real cluster: a database in a StatefulSet, there and back, from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.rig.containers import PostgresContainer
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod, claimed_volume, postgres_set
from tests.rig.program import run_program
from tests.rig.variables import shell_variables

Shared = Callable[[int], PostgresContainer]
ROOT = Path(__file__).parents[2]
SHOP = """
CREATE TABLE usuarios (id int PRIMARY KEY, nombre text NOT NULL);
CREATE TABLE pedidos (id bigserial PRIMARY KEY, usuario int REFERENCES usuarios, nota text, imagen bytea,
  hecho timestamptz);
INSERT INTO usuarios SELECT n, 'Ñandú ' || n FROM generate_series(1, 500) n;
INSERT INTO pedidos (usuario, nota, imagen, hecho)
SELECT n % 500 + 1, repeat(md5(n::text), 8), decode(md5(n::text), 'hex'), '2026-01-01'::timestamptz + n * interval '1s'
  FROM generate_series(1, 60000) n;
CREATE INDEX ON pedidos (hecho);
CREATE VIEW ultimos AS SELECT * FROM pedidos ORDER BY hecho DESC LIMIT 10;
"""


@pytest.fixture(scope="module")
def postgres(kubernetes_cluster: KubernetesCluster) -> Iterator[PostgresPod]:
    with kubernetes_cluster.namespace() as namespace:
        pod = postgres_set(kubernetes_cluster, namespace, "tienda-db")
        pod.psql(SHOP)
        yield pod


def run(cluster: KubernetesCluster, program: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = shell_variables(**{"KUBECONFIG": str(cluster.kubeconfig), **variables})
    return run_program(program, cwd=ROOT, env=environment, timeout_s=200)


def respaldo(pod: PostgresPod, repository: Path, *words: str, **variables: str) -> Any:
    done = run(pod.cluster, ["-m", "respaldo", "--repository", str(repository), *words], **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_full_and_incremental_of_a_stateful_set_restore_to_what_it_was(postgres: PostgresPod, tmp_path: Path) -> None:
    place = ["--pod", postgres.name, "--namespace", postgres.namespace]
    full = respaldo(postgres, tmp_path, "backup", *place, "--json")
    assert (full["type"], full["database"], full["environment"]) == ("full", "tienda", "kubernetes")
    assert full["instance"] == f"{postgres.namespace}.tienda-db-0"
    was = postgres.contents()
    postgres.psql("UPDATE pedidos SET nota = 'cambiado' WHERE id % 1000 = 7; INSERT INTO usuarios VALUES (501, 'Otra')")
    # By itself: the namespace holds one server.
    incremental = respaldo(
        postgres, tmp_path, "backup", "--environment", "kubernetes", "--json", NAMESPACE=postgres.namespace
    )
    assert (incremental["type"], incremental["base"]) == ("incremental", full["name"])
    assert incremental["stored_bytes"] < full["stored_bytes"] / 4
    # The second into the cluster without a word of it: the backup is of there.
    namespace = ["--namespace", postgres.namespace]
    for backup, expected, words in ((full, was, place), (incremental, postgres.contents(), namespace)):
        to = f"de_{backup['type']}"
        respaldo(postgres, tmp_path, "restore", backup["name"], "--to", to, *words, "--json")
        assert postgres.contents(to) == expected
    # One table alone, beside the live one and in its place.
    postgres.psql("UPDATE usuarios SET nombre = 'perdido'")
    table = ["restore", full["name"], "--table", "usuarios", *place, "--yes", "--json"]
    (beside,) = respaldo(postgres, tmp_path, *table)
    same = "SELECT count(*), count(*) FILTER (WHERE nombre = 'Ñandú ' || id) FROM {}"
    assert (beside["rows"], postgres.psql(same.format(beside["restored_as"]))) == (500, "500|500")
    assert postgres.psql(same.format("usuarios")) == "501|0"
    respaldo(postgres, tmp_path, *table, "--replace-table")
    assert postgres.psql(same.format("usuarios")) == "500|500"


def test_flat_flags_take_a_pod_by_labels_and_by_name(postgres: PostgresPod, tmp_path: Path) -> None:
    words = ["backup_orchestrator.py", "--dir", str(tmp_path), "--force-kubernetes", "--json"]
    by_labels = [*words, "--namespace", postgres.namespace, "--labels", "app=tienda-db", "--name", "por_etiquetas"]
    done = run(postgres.cluster, by_labels)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["instance"] == f"{postgres.namespace}.tienda-db-0"
    variables = {"POD_NAME": "tienda-db", "KUBE_NAMESPACE": postgres.namespace}
    done = run(postgres.cluster, [*words, "--k8s-container", "postgres", "--name", "por_nombre"], **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["type"] == "incremental"


def test_claim_and_pod_lost_come_back_from_the_backup_here_and_in_docker(
    kubernetes_cluster: KubernetesCluster, shared_postgres: Shared, tmp_path: Path
) -> None:
    rows = SHOP.replace("60000", "20000")
    with kubernetes_cluster.namespace() as namespace, ExitStack() as stack:
        volume = stack.enter_context(claimed_volume(kubernetes_cluster, namespace, "datos"))
        pod = postgres_set(kubernetes_cluster, namespace, "perdida", claim="datos")
        pod.psql(rows)
        was = pod.contents()
        place = ["--pod", pod.name, "--namespace", namespace]
        backup = respaldo(pod, tmp_path, "backup", *place, "--json")
        kubernetes_cluster.api.delete("pvc", "datos", namespace=namespace)
        kubernetes_cluster.kubectl("delete", "pod", pod.name, "--namespace", namespace, "--wait=true")
        volume.renew()
        kubernetes_cluster.wait_ready(namespace, pod.name)
        assert pod.psql("SELECT count(*) FROM pg_class WHERE relname = 'pedidos'") == "0"
        respaldo(pod, tmp_path, "restore", "latest", *place, "--yes", "--json")
        assert pod.contents() == was
        again = respaldo(pod, tmp_path, "backup", *place, "--json")
        # Another server in the same place: its backups stand on one of its own (the restore's safety backup).
        assert again["instance"] == backup["instance"]
        assert again["base"] != backup["name"]
    container = shared_postgres(15)
    words = ["restore", backup["name"], "--to", namespace, "--container", container.name, "--json"]
    respaldo(pod, tmp_path, *words, RESPALDO_ENVIRONMENT="docker")
    dump = container.pg_dump("--encoding=UTF8", database=namespace).splitlines()
    container.psql(f'DROP DATABASE "{namespace}"', "postgres")
    assert sorted(line for line in dump if not line.startswith((b"\\restrict", b"\\unrestrict"))) == was


def test_pod_deleted_in_the_middle_of_a_backup_leaves_nothing_half_made(
    kubernetes_cluster: KubernetesCluster, tmp_path: Path
) -> None:
    with kubernetes_cluster.namespace() as namespace:
        pod = postgres_set(kubernetes_cluster, namespace, "cortada")
        pod.psql(SHOP)
        pod.psql("CREATE TABLE lenta AS SELECT repeat(md5(n::text), 15) FROM generate_series(1, 800000) n")
        words = ["--repository", str(tmp_path), "backup", "--pod", pod.name, "--namespace", namespace, "--jobs", "1"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "KUBECONFIG": str(kubernetes_cluster.kubeconfig)}
        with subprocess.Popen(
            [sys.executable, "-m", "respaldo", *words], env=environment, stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stderr is not None
            assert any("MiB" in line for line in running.stderr), "it never began to read"
            kubernetes_cluster.kubectl(
                "delete", "pod", pod.name, "--namespace", namespace, "--grace-period=0", "--force", "--wait=false"
            )
            said = running.communicate(timeout=120)[1]
        assert running.returncode in {30, 40}, said
        done = run(kubernetes_cluster, ["-m", "respaldo", "--repository", str(tmp_path), "list", "--json"])
        assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--pod", "no-such-pod"], "no-such-pod", "--pod"),
        (["--k8s-container", "no-such-container"], "postgres", "--k8s-container"),
        (["--labels", "app=other"], "app=other", "--pod"),
        (["--context", "no-such-context"], "no-such-context", "respaldo-test"),
    ],
)
def test_what_is_not_there_is_one_clear_line_and_a_hint(
    postgres: PostgresPod, tmp_path: Path, words: list[str], message: str, hint: str
) -> None:
    place = ["--environment", "kubernetes", "--namespace", postgres.namespace]
    command = ["-m", "respaldo", "--repository", str(tmp_path), "backup", *place, *words]
    done = run(postgres.cluster, command, RESPALDO_LANG="en")
    assert done.returncode == 2
    said, advice = done.stderr.splitlines()
    assert message in said
    assert hint in advice


def test_cluster_that_does_not_answer_is_one_clear_line(postgres: PostgresPod, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    text = postgres.cluster.kubeconfig.read_text()
    kubeconfig.write_text(text.replace("https://127.0.0.1:16443", "https://127.0.0.1:1"))
    command = ["-m", "respaldo", "--repository", str(tmp_path), "backup", "--pod", "x"]
    done = run(postgres.cluster, command, KUBECONFIG=str(kubeconfig), RESPALDO_LANG="en")
    if not postgres.cluster.is_own:
        pytest.skip("another's cluster listens elsewhere")
    assert done.returncode == 40
    assert "https://127.0.0.1:1 (context respaldo-test) cannot be reached: Connection refused" in done.stderr
