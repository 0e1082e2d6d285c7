"""Drills of a pod, in a throwaway pod: with the shipped rights, on a claim of its own, and after a kill."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from respaldo.environments.base import SandboxSpec
from respaldo.environments.kubernetes import KubernetesEnvironment
from respaldo.errors import EnvironmentFailedError
from respaldo.operations.drill import await_server
from tests.integration.test_drill import CONTENT
from tests.integration.test_kubernetes import ROOT, run
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod, postgres_set

MANIFESTS = ROOT / "deploy" / "kubernetes"
ROWS = """
CREATE TABLE filas AS SELECT i, 'fila ' || i AS texto FROM generate_series(1, 3000) i;
ALTER TABLE filas ADD PRIMARY KEY (i);
SELECT lo_from_bytea(77, 'objeto');
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backed:
    """A pod with the backups of one of its databases in a repository."""

    pod: PostgresPod
    repository: Path

    def drill(self, *words: str, **variables: str) -> dict[str, Any]:
        command = [
            "-m",
            "respaldo",
            "--repository",
            str(self.repository),
            "drill",
            *words,
            "--namespace",
            self.pod.namespace,
            "--json",
        ]
        ended = run(self.pod.cluster, command, **variables)
        assert ended.returncode in {0, 50}, ended.stderr
        (proof,) = json.loads(ended.stdout)
        return dict(proof)

    def die_before(self, step: str) -> None:
        """Run a drill that is killed just before a step (tests/faults/dying_in_cluster.py)."""
        words = [step, "--repository", str(self.repository), "drill", "--namespace", self.pod.namespace]
        ended = run(self.pod.cluster, ["-m", "tests.faults.dying_in_cluster", *words])
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    def left(self) -> list[str]:
        """Return the names of what drills have in the namespace now; what the cluster is removing counts."""
        kinds = ("pods", "persistentvolumeclaims", "secrets")
        items = [one for kind in kinds for one in self.pod.cluster.api.get(kind, namespace=self.pod.namespace)["items"]]
        return [item["metadata"]["name"] for item in items if item["metadata"]["name"].startswith("respaldo-drill")]


@pytest.fixture(scope="module")
def backed(kubernetes_cluster: KubernetesCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backed]:
    """What pgbench fills, with a full, ``base``, and an incremental."""
    with kubernetes_cluster.namespace() as namespace:
        pod = postgres_set(kubernetes_cluster, namespace, "tienda-db")
        pgbench = ["pgbench", "-U", "postgres"]
        pod.exec([*pgbench, "--initialize", "--quiet", "--foreign-keys", pod.database])
        backed = Backed(pod=pod, repository=tmp_path_factory.mktemp("drill") / "repository")
        backup(backed, pod.database, "--name", "base")
        pod.exec([*pgbench, "--no-vacuum", "--transactions=100", pod.database])
        assert backup(backed, pod.database)["type"] == "incremental"
        yield backed


@pytest.fixture
def account(backed: Backed, tmp_path: Path) -> str:
    """A kubeconfig of the shipped service account with the rights of backups only."""
    cluster, namespace = backed.pod.cluster, backed.pod.namespace
    rights = (MANIFESTS / "rbac.yaml").read_text().replace("postgres-0", backed.pod.name)
    cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=rights.encode())
    token = cluster.kubectl("create", "token", "respaldo", "--namespace", namespace).decode().strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    return str(file)


def test_drill_takes_the_shipped_rights_and_says_which_are_missing(backed: Backed, account: str) -> None:
    refused = backed.drill(KUBECONFIG=account)
    assert refused["verdict"] == "inconclusive"
    assert any("resourceNames: [respaldo-drill-0" in finding for finding in refused["findings"]), refused
    assert backed.left() == []
    manifest = str(MANIFESTS / "drill" / "rbac.yaml")
    backed.pod.cluster.kubectl("apply", "--namespace", backed.pod.namespace, "--filename", manifest)
    proof = backed.drill("latest", "--disaster", "index-corruption", KUBECONFIG=account)
    assert proof["verdict"] == "proven", proof["findings"]
    assert proof["seconds"]["disaster"] > 0
    backed.pod.cluster.wait_for("what the pod owned is gone", lambda: backed.left() == [])


def test_what_a_drill_killed_at_any_step_left_is_removed_by_the_next(backed: Backed) -> None:
    # The pod waits for its Secret, which never came.
    backed.die_before("GET .*/pods/respaldo-drill")
    assert backed.left() == ["respaldo-drill-0"]
    # The next one dies while it removes that, and the one after it in the middle of the restore.
    backed.die_before("DELETE .*/secrets/")
    backed.die_before("+14")
    assert len(backed.left()) == 2
    proof = backed.drill("base", "--disaster", "table-drop")
    assert proof["verdict"] == "proven", proof["findings"]
    backed.pod.cluster.wait_for("what the pods owned is gone", lambda: backed.left() == [])


def test_leftover_is_told_by_the_very_pod_that_made_it_wherever_that_runs(backed: Backed) -> None:
    cluster, owner = backed.pod.cluster, backed.pod
    uid = cluster.api.get("pod", owner.name, namespace=owner.namespace)["metadata"]["uid"]
    # Of a StatefulSet's pod that was made anew only the name is the same.
    owners = [
        f"{owner.namespace}/{owner.name}/{uid}",
        f"{owner.namespace}/{owner.name}/another",
        f"{owner.namespace}/no-such/{uid}",
        "",
    ]
    container = {"name": "postgres", "image": "postgres:15"}
    spec = {"containers": [container], "nodeSelector": {"no.such": "node"}}
    with cluster.namespace() as namespace:
        for number, made_by in enumerate(owners):
            metadata = {
                "name": f"respaldo-drill-{number}",
                "namespace": namespace,
                "labels": {"respaldo.drill": "true"},
            }
            marks = {"labels": {"respaldo.drill": "true"}, "annotations": {"respaldo.owner-pod": made_by}}
            cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **marks}, "spec": spec})
        environment = KubernetesEnvironment({"KUBECONFIG": str(cluster.kubeconfig)}, namespace=namespace)
        assert environment.remove_leftovers() == 2
        left = cluster.api.get("pods", namespace=namespace)["items"]
        assert [one["metadata"]["name"] for one in left] == ["respaldo-drill-0", "respaldo-drill-3"]


def test_copy_has_a_claim_like_the_source_s_and_loses_it_for_real(
    kubernetes_cluster: KubernetesCluster, as_root: None, tmp_path: Path
) -> None:
    """Volumes by hand, one for each claim: of the source, of a killed drill's copy, of the copy, and of the one that
    follows the loss."""
    if not kubernetes_cluster.is_own:
        pytest.skip("no directories on another's nodes")
    with kubernetes_cluster.namespace() as namespace:
        names = [f"{namespace}-{number}" for number in range(4)]
        for name in names:
            (tmp_path / name).mkdir()
            volume = {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": namespace,
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(tmp_path / name)},
                },
            }
            kubernetes_cluster.apply(volume)
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "datos", "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": namespace,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        kubernetes_cluster.apply(claim)
        try:
            pod = with_claim(kubernetes_cluster, namespace)
            pod.psql(ROWS)
            backed = Backed(pod=pod, repository=tmp_path / "repository")
            words = ["--repository", str(backed.repository), "backup", "--pod", pod.name, "--namespace", namespace]
            ended = run(kubernetes_cluster, ["-m", "respaldo", *words])
            assert ended.returncode == 0, ended.stderr
            backed.die_before("+6")
            assert len(backed.left()) == 3
            proof = backed.drill("latest", "--disaster", "volume")
            assert proof["verdict"] == "proven", proof["findings"]
            listed = kubernetes_cluster.api.get("pv")["items"]
            used = [
                one["metadata"]["name"]
                for one in listed
                if one["metadata"]["name"] in names and "claimRef" in one["spec"]
            ]
            assert sorted(used) == names
            kubernetes_cluster.wait_for("what the pods owned is gone", lambda: backed.left() == [])
        finally:
            kubernetes_cluster.kubectl("delete", "pv", *names, "--wait=false", "--ignore-not-found")


def with_claim(cluster: KubernetesCluster, namespace: str) -> PostgresPod:
    """Make a pod whose data lie in the claim ``datos``, with another command line and a preloaded library."""
    container = {
        "name": "postgres",
        "image": "postgres:15",
        "imagePullPolicy": "IfNotPresent",
        "args": ["postgres", "-c", "shared_preload_libraries=pg_stat_statements", "-c", "max_connections=50"],
        "env": [
            {"name": "POSTGRES_PASSWORD", "value": base64.b64encode(namespace.encode()).decode()},
            {"name": "POSTGRES_DB", "value": "tienda"},
            {"name": "PGDATA", "value": "/data/pgdata"},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
    }
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "con-pvc", "namespace": namespace},
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "containers": [container],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "datos"}}],
            },
        }
    )
    cluster.wait_ready(namespace, "con-pvc")
    return PostgresPod(cluster=cluster, namespace=namespace, name="con-pvc", database="tienda")


PRELOADED = ["docker-entrypoint.sh", "postgres", "-c", "shared_preload_libraries=pg_stat_statements"]
# Fails in a copy that has not the source's command line.
NEEDS_PRELOAD = "CREATE EXTENSION pg_stat_statements; CREATE MATERIALIZED VIEW calls AS TABLE pg_stat_statements_info;"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The shop and more in a pod with a preloaded library, backed up fully and incrementally; a database ``plain``."""

    backed: Backed
    full: str
    plain: Backed


@pytest.fixture(scope="module")
def shop(kubernetes_cluster: KubernetesCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with kubernetes_cluster.namespace() as namespace:
        pod = postgres_set(kubernetes_cluster, namespace, "postgres", command=PRELOADED)
        pod.psql((ROOT / "deploy/demo/init.sql").read_text())
        pod.psql("CREATE ROLE ana;" + CONTENT.replace(':"ana"', "ana") + NEEDS_PRELOAD)
        pod.psql("CREATE DATABASE plain")
        pod.psql(ROWS, "plain")
        backed, plain = (Backed(pod=pod, repository=tmp_path_factory.mktemp(name)) for name in ("shop", "plain"))
        full = backup(backed, "tienda")
        pod.psql("UPDATE parent SET name = 'changed' WHERE id < 10; SELECT setval('child_id_seq', 9000);")
        assert backup(backed, "tienda")["type"] == "incremental"
        backup(plain, "plain")
        yield Shop(backed=backed, full=full["name"], plain=plain)


def backup(backed: Backed, database: str, *more: str) -> dict[str, Any]:
    words = ["--pod", backed.pod.name, "--namespace", backed.pod.namespace, "--database", database, "--json", *more]
    ended = run(backed.pod.cluster, ["-m", "respaldo", "--repository", str(backed.repository), "backup", *words])
    assert ended.returncode == 0, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def test_shop_extensions_partitions_and_large_objects_are_proven_full_and_incremental(shop: Shop) -> None:
    for words in ([shop.full], ["latest", "--disaster", "scramble"]):
        proof = shop.backed.drill(*words)
        assert proof["verdict"] == "proven", proof["findings"]
    command = ["-m", "respaldo", "--repository", str(shop.backed.repository), "rto", "--json"]
    groups = json.loads(run(shop.backed.pod.cluster, command).stdout)["groups"]
    assert "scramble" in {group["disaster"] for group in groups}


def test_quota_without_room_is_inconclusive_and_asks_for_no_role(shop: Shop) -> None:
    cluster, namespace = shop.backed.pod.cluster, shop.backed.pod.namespace
    quota = {"name": "full", "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota, "spec": {"hard": {"pods": "1"}}})
    try:
        cluster.wait_for(
            "the quota",
            lambda: "used" in cluster.api.get("resourcequota", "full", namespace=namespace).get("status", {}),
        )
        proof = shop.plain.drill(RESPALDO_LANG="en")
    finally:
        cluster.kubectl("delete", "resourcequota", "full", "--namespace", namespace)
    assert proof["verdict"] == "inconclusive"
    assert "exceeded quota" in " ".join(proof["findings"])
    assert "Role" not in " ".join(proof["findings"])
    assert shop.plain.left() == []


def test_image_that_cannot_be_pulled_is_said_early(shop: Shop) -> None:
    environment = KubernetesEnvironment({"KUBECONFIG": str(shop.backed.pod.cluster.kubeconfig)})
    spec = SandboxSpec(
        image="127.0.0.1:1/respaldo-test/gone:1", is_remembered=True, name=f"{shop.backed.pod.namespace}.x"
    )
    begun_s = time.monotonic()
    with pytest.raises(EnvironmentFailedError, match="gone:1"), environment.open_sandbox(spec) as sandbox:
        await_server(sandbox)
    assert time.monotonic() - begun_s < 100
    assert shop.backed.left() == []


def test_source_that_is_gone_is_drilled_in_the_image_that_the_backup_remembers(shop: Shop) -> None:
    cluster, place = shop.backed.pod.cluster, ("--namespace", shop.backed.pod.namespace)
    cluster.kubectl("delete", "statefulset", "postgres", *place)
    cluster.kubectl("wait", "--for=delete", f"pod/{shop.backed.pod.name}", *place)
    proof = shop.plain.drill()
    assert proof["verdict"] == "proven", proof["findings"]
    # What only the source's own command line loads is missing there, which is no fault of the backup.
    proof = shop.backed.drill(shop.full)
    assert proof["verdict"] == "inconclusive", proof["findings"]
    assert "pg_stat_statements" in proof["findings"][0]
