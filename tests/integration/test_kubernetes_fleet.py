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
LABELS = {"flota": "si"}
BROKEN = ("caida", "pendiente", "rota")
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
    """Two servers, one of them with two databases, three that do not serve, and two pods that are no instances."""
    require("root", None if os.geteuid() == 0 else "this user is not root")
    volume = tmp_path_factory.mktemp("volume")
    os.chown(volume, USER, USER)
    with kubernetes_cluster.namespace() as namespace, bound_volume(kubernetes_cluster, namespace, volume):
        for file in (MANIFESTS / "pvc.yaml", MANIFESTS / "fleet"):
            kubernetes_cluster.kubectl("apply", "--namespace", namespace, "--filename", str(file))
        first, second = (
            postgres_set(kubernetes_cluster, namespace, name, wait=False, labels=LABELS)
            for name in ("compras", "ventas")
        )
        kubernetes_cluster.apply(*other_pods(namespace, image))
        # Nothing takes this one away, and it was never anywhere.
        held = ("pod", "borrada", "--namespace", namespace)
        kubernetes_cluster.kubectl("delete", *held, "--wait=false")
        try:
            for pod in (first, second):
                kubernetes_cluster.wait_ready(namespace, pod.name)
            kubernetes_cluster.wait_ready(namespace, "rota")
            first.psql(TABLE)
            second.psql(TABLE)
            second.psql("CREATE DATABASE archivo", "postgres")
            second.psql(TABLE, "archivo")
            yield Fleet(cluster=kubernetes_cluster, namespace=namespace, volume=volume, first=first, second=second)
        finally:
            kubernetes_cluster.kubectl("patch", *held, "--patch", '{"metadata": {"finalizers": null}}')


def other_pods(namespace: str, image: str) -> list[dict[str, Any]]:
    """Return pods of PostgreSQL's image that serve nothing: one that idles beside a container of another kind, one that
    ends again and again, one that finds no node; one that did what it was to do, and one that is being deleted."""
    idle = {"name": "postgres", "image": "postgres:15", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
    beside = {
        **idle,
        "name": "exportador",
        "image": image,
        "command": ["python3", "-c", "import time; time.sleep(3600)"],
    }
    specs: dict[str, dict[str, Any]] = {
        "rota": {"containers": [beside, idle]},
        "caida": {"containers": [{**idle, "command": ["false"]}]},
        "pendiente": {"containers": [idle], "nodeSelector": {"no.such": "node"}},
        "hecha": {"containers": [{**idle, "command": ["true"]}], "restartPolicy": "Never"},
        "borrada": {"containers": [idle], "nodeSelector": {"no.such": "node"}},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {**LABELS, "sirve": "no"},
                **({"finalizers": ["respaldo.test/held"]} if name == "borrada" else {}),
            },
            "spec": {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, **spec},
        }
        for name, spec in specs.items()
    ]


def jobs(fleet: Fleet) -> list[dict[str, Any]]:
    found = fleet.cluster.api.get("jobs", namespace=fleet.namespace, selector="app.kubernetes.io/component=fleet")
    items: list[dict[str, Any]] = found["items"]
    return items


def test_jobs_back_up_every_target_and_one_that_fails_stops_no_other(fleet: Fleet, tmp_path: Path) -> None:
    words = ["--repository", str(tmp_path / "unused"), "backup", "--environment", "kubernetes", "--all", "--as-jobs"]
    words += ["--labels", "flota=si", "--json"]
    done = run(fleet.cluster, ["-m", "respaldo", *words], NAMESPACE=fleet.namespace, RESPALDO_LANG="en")
    assert done.returncode == 1, done.stderr
    told = {(one["instance"], one["database"]): one for one in json.loads(done.stdout)}
    good = {
        (f"{fleet.namespace}.{instance}", database)
        for instance, database in (("compras-0", "tienda"), ("ventas-0", "tienda"), ("ventas-0", "archivo"))
    }
    broken = [f"{fleet.namespace}.{name}" for name in BROKEN]
    assert set(told) == {*good, *((name, "*") for name in broken)}
    assert all(told[one]["backup"]["rows"] == 1000 and not told[one]["error"] for one in good)
    assert all(told[name, "*"]["error"] for name in broken)
    assert f"error: 3 of 6 failed: {broken[0]}/*, {broken[1]}/*, {broken[2]}/*" in done.stderr
    for name in ("borrada", "hecha"):
        assert f"{fleet.namespace}.{name} is left out: it does not run" in done.stderr
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


@pytest.mark.parametrize(
    ("words", "status", "message", "hint"),
    [
        ([], 2, "several instances match: {0}.caida (", "--pod NAME picks one"),
        (["--pod", "pendiente"], 40, "{0}.pendiente is not running (Pending)", "kubectl --namespace {0} describe pod"),
        (["--pod", "hecha"], 40, "{0}.hecha is not running (Completed)", "kubectl --namespace {0} describe pod"),
        (["--pod", "borrada"], 40, "{0}.borrada is not running (Terminating)", "kubectl --namespace {0} describe pod"),
        (["--pod", "rota"], 30, "No such file or directory", "check that PostgreSQL runs in it"),
        (["--pod", "compras-0", "--namespace", "default"], 2, "is called compras-0", "--namespace {0}"),
        (["--pod", "rota", "--k8s-container", "otro"], 2, "there are: exportador, postgres", "--k8s-container NAME"),
        (["--pod", "rota", "--k8s-container", "exportador"], 30, "has no psql", "PostgreSQL with --k8s-container"),
        (
            ["--pod", "caida"],
            40,
            "{0}.caida is not running (",
            "kubectl --namespace {0} logs caida --container postgres",
        ),
    ],
)
def test_pod_that_cannot_be_meant_is_one_clear_line_with_the_way_out(
    fleet: Fleet, tmp_path: Path, words: list[str], status: int, message: str, hint: str
) -> None:
    command = ["-m", "respaldo", "--repository", str(tmp_path / "r"), "backup", "--environment", "kubernetes", *words]
    done = run(fleet.cluster, command, NAMESPACE=fleet.namespace, RESPALDO_LANG="en")
    assert done.returncode == status, done.stderr
    *_told, said, advice = done.stderr.splitlines()
    assert message.format(fleet.namespace) in said
    assert hint.format(fleet.namespace) in advice
    assert not (tmp_path / "r").exists()
    if not words:  # the names that it lists are names that it takes
        assert all(f"{fleet.namespace}.{name}" in said for name in ("compras-0", "ventas-0"))
        respaldo(fleet.second, tmp_path, "backup", "--pod", f"{fleet.namespace}.compras-0", "--json")


def test_cron_job_of_a_fleet_takes_up_new_databases_with_the_role_shipped(fleet: Fleet, tmp_path: Path) -> None:
    place = ("--namespace", fleet.namespace)
    fleet.cluster.kubectl("delete", "pod", *BROKEN, *place, "--wait=true")
    fleet.first.psql("CREATE DATABASE nueva", "postgres")
    fleet.first.psql(TABLE, "nueva")
    fleet.cluster.kubectl("create", "job", "--from=cronjob/respaldo-fleet", "noche", *place)

    def status() -> dict[str, Any]:
        found: dict[str, Any] = fleet.cluster.api.get("job", "noche", namespace=fleet.namespace)["status"]
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
