"""Every database of every server of a namespace, by Jobs of the cluster, with the manifests and the image shipped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_kubernetes import respaldo, run
from tests.integration.test_kubernetes_manifests import MANIFESTS, USER, bound_volume, image
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod, postgres_set
from tests.rig.requirements import require

__all__ = ["image"]  # a fixture
TABLE = "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 1000) n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    cluster: KubernetesCluster
    namespace: str
    volume: Path
    first: PostgresPod
    second: PostgresPod


@pytest.fixture(scope="module")
def fleet(
    kubernetes_cluster: KubernetesCluster, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Two servers, one of them with two databases, and a pod that looks like a third and serves nothing."""
    require("root", None if os.geteuid() == 0 else "this user is not root")
    volume = tmp_path_factory.mktemp("volume")
    os.chown(volume, USER, USER)
    with kubernetes_cluster.namespace() as namespace, bound_volume(kubernetes_cluster, namespace, volume):
        for file in (MANIFESTS / "pvc.yaml", MANIFESTS / "fleet"):
            kubernetes_cluster.kubectl("apply", "--namespace", namespace, "--filename", str(file))
        first = postgres_set(kubernetes_cluster, namespace, "compras")
        second = postgres_set(kubernetes_cluster, namespace, "ventas")
        container = {"name": "postgres", "image": "postgres:15", "command": ["sleep", "3600"]}
        spec = {"containers": [{**container, "imagePullPolicy": "IfNotPresent"}], "terminationGracePeriodSeconds": 1}
        metadata = {"name": "rota", "namespace": namespace}
        kubernetes_cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        kubernetes_cluster.wait_ready(namespace, "rota")
        first.psql(TABLE)
        second.psql(TABLE)
        second.psql("CREATE DATABASE archivo", "postgres")
        second.psql(TABLE, "archivo")
        yield Fleet(cluster=kubernetes_cluster, namespace=namespace, volume=volume, first=first, second=second)


def jobs(fleet: Fleet) -> list[dict[str, Any]]:
    found = fleet.cluster.get("jobs", "--namespace", fleet.namespace, "--selector", "app.kubernetes.io/component=fleet")
    items: list[dict[str, Any]] = found["items"]
    return items


def test_jobs_back_up_every_target_and_one_that_fails_stops_no_other(fleet: Fleet, tmp_path: Path) -> None:
    words = ["--repository", str(tmp_path / "unused"), "backup", "--environment", "kubernetes", "--all", "--as-jobs"]
    done = run(fleet.cluster, ["-m", "respaldo", *words, "--json"], NAMESPACE=fleet.namespace, RESPALDO_LANG="en")
    assert done.returncode == 1, done.stderr
    told = {(one["instance"], one["database"]): one for one in json.loads(done.stdout)}
    names = [f"{fleet.namespace}.{name}" for name in ("compras-0", "rota", "ventas-0")]
    good = {(names[0], "tienda"), (names[2], "tienda"), (names[2], "archivo")}
    assert set(told) == {*good, (names[1], "*")}
    assert all(told[one]["backup"]["rows"] == 1000 and not told[one]["error"] for one in good)
    assert told[names[1], "*"]["error"]
    assert f"error: 1 of 4 failed: {names[1]}/*" in done.stderr
    assert jobs(fleet) == []
    assert not (tmp_path / "unused").exists()
    # What the Jobs wrote restores.
    repository = tmp_path / "copy"
    shutil.copytree(fleet.volume, repository)
    place = ["--pod", fleet.second.name, "--namespace", fleet.namespace]
    words = ["restore", "latest", "--database", "archivo", "--to", "vuelta", *place, "--json"]
    respaldo(fleet.second, repository, *words)
    assert fleet.second.contents("vuelta") == fleet.second.contents("archivo")
    fleet.second.psql("DROP DATABASE vuelta", "postgres")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--job-claim", "no-such-claim"], 'persistentvolumeclaim "no-such-claim" not found', "get events"),
        (["--job-account", "default"], ":default", '{apiGroups: [""], resources: [pods], verbs: [get, list]}'),
    ],
)
def test_job_that_cannot_do_it_is_told_with_its_reason(
    fleet: Fleet, tmp_path: Path, words: list[str], message: str, hint: str
) -> None:
    command = ["--repository", str(tmp_path), "backup", "--environment", "kubernetes", "--all", "--as-jobs", "--json"]
    command += ["--labels", "app=compras", *words]
    done = run(fleet.cluster, ["-m", "respaldo", *command], NAMESPACE=fleet.namespace, RESPALDO_LANG="en")
    assert done.returncode == 1, done.stderr
    (told,) = json.loads(done.stdout)
    assert told["backup"] is None
    assert message in told["error"]
    assert hint in (told["hint"] or "")
    assert jobs(fleet) == []


def test_cron_job_of_a_fleet_takes_up_new_databases_with_the_role_shipped(fleet: Fleet, tmp_path: Path) -> None:
    place = ("--namespace", fleet.namespace)
    fleet.cluster.kubectl("delete", "pod", "rota", *place, "--wait=true")
    fleet.first.psql("CREATE DATABASE nueva", "postgres")
    fleet.first.psql(TABLE, "nueva")
    fleet.cluster.kubectl("create", "job", "--from=cronjob/respaldo-fleet", "noche", *place)

    def status() -> dict[str, Any]:
        found: dict[str, Any] = fleet.cluster.get("job", "noche", *place)["status"]
        return found

    fleet.cluster.wait_for("the job", lambda: bool(status().get("succeeded") or status().get("failed")))
    said = fleet.cluster.kubectl("logs", *place, "job/noche").decode()
    assert status().get("succeeded"), said
    for target in ("compras-0/tienda", "compras-0/nueva", "ventas-0/tienda", "ventas-0/archivo"):
        assert f"{fleet.namespace}.{target}" in said
    repository = tmp_path / "copy"
    shutil.copytree(fleet.volume, repository)
    databases = [one["database"] for one in respaldo(fleet.first, repository, "list", "--json")]
    assert "nueva" in databases
    assert jobs(fleet) == []
