"""The shipped manifests, applied as they are written, with the image that the shipped recipe makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_kubernetes import SHOP, respaldo, run
from tests.rig.engine import RigError, docker
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod, postgres_set
from tests.rig.kube_image import IMAGE, ensure_image
from tests.rig.requirements import require

MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes"
USER = 65532


@pytest.fixture(scope="module")
def image(kubernetes_cluster: KubernetesCluster) -> str:
    if not kubernetes_cluster.is_own:
        pytest.skip("the image cannot be brought into another's cluster")
    name = ensure_image()
    kubernetes_cluster.load(name)
    return name


@pytest.fixture(scope="module")
def deployed(
    kubernetes_cluster: KubernetesCluster, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PostgresPod, Path]]:
    """A database, a volume for the claim, and all the manifests in one namespace; the volume's directory."""
    require("root", None if os.geteuid() == 0 else "this user is not root")
    volume = tmp_path_factory.mktemp("volume")
    os.chown(volume, USER, USER)
    with kubernetes_cluster.namespace() as namespace, bound_volume(kubernetes_cluster, namespace, volume):
        pod = postgres_set(kubernetes_cluster, namespace, "postgres")
        kubernetes_cluster.kubectl("apply", "--namespace", namespace, "--filename", str(MANIFESTS))
        yield pod, volume
    shutil.rmtree(volume, ignore_errors=True)


@contextmanager
def bound_volume(cluster: KubernetesCluster, namespace: str, directory: Path) -> Iterator[None]:
    """Keep a volume for the claim of deploy/kubernetes/pvc.yaml in a namespace: this directory."""
    claim = {"namespace": namespace, "name": "respaldo-backups"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": namespace},
            "spec": {
                "capacity": {"storage": "20Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": claim,
                "hostPath": {"path": str(directory)},
            },
        }
    )
    try:
        yield
    finally:
        cluster.api.delete("pv", namespace)


def run_job(pod: PostgresPod, name: str) -> str:
    """Run the CronJob now; return what its pod printed, and fail where it failed."""
    cluster, place = pod.cluster, ("--namespace", pod.namespace)
    cluster.kubectl("create", "job", "--from=cronjob/respaldo", name, *place)

    def status() -> dict[str, Any]:
        found: dict[str, Any] = cluster.api.get("job", name, namespace=pod.namespace)["status"]
        return found

    cluster.wait_for(f"the job {name}", lambda: bool(status().get("succeeded") or status().get("failed")))
    said = cluster.kubectl("logs", *place, f"job/{name}", "--all-containers").decode()
    assert status().get("succeeded"), said
    return said


def test_cron_job_makes_backups_that_restore(deployed: tuple[PostgresPod, Path], tmp_path: Path) -> None:
    pod, volume = deployed
    pod.psql(SHOP)
    assert "confirmad" in run_job(pod, "primera")
    pod.psql("DELETE FROM pedidos WHERE id % 100 = 3")
    run_job(pod, "segunda")
    # The volume's directory is the repository: another machine may restore from a copy of it.
    repository = tmp_path / "copy"
    shutil.copytree(volume, repository)
    full, incremental = respaldo(pod, repository, "list", "--json")
    assert (full["type"], incremental["type"]) == ("full", "incremental")
    assert full["instance"] == f"{pod.namespace}.postgres-0"
    place = ["--pod", pod.name, "--namespace", pod.namespace]
    respaldo(pod, repository, "restore", incremental["name"], "--to", "vuelta", *place, "--json")
    assert pod.contents("vuelta") == pod.contents()


def test_role_allows_nothing_more(deployed: tuple[PostgresPod, Path]) -> None:
    pod, _volume = deployed
    place = ("--namespace", pod.namespace)

    def can(*question: str, namespace: tuple[str, ...] = place) -> bool:
        account = f"system:serviceaccount:{pod.namespace}:respaldo"
        try:
            answer = pod.cluster.kubectl("auth", "can-i", *question, f"--as={account}", *namespace)
        except RigError:  # "no" is status 1
            return False
        return answer.strip().endswith(b"yes")

    assert can("get", "pods")
    assert can("list", "pods")
    assert can("create", "pods/postgres-0", "--subresource=exec")
    assert can("get", "pods/postgres-0", "--subresource=exec")
    assert not can("create", "pods/other-0", "--subresource=exec")
    assert not can("list", "pods", namespace=("--namespace", "default"))
    for verb in ("get", "list", "create", "delete", "update", "patch", "watch"):
        for resource in ("secrets", "configmaps", "deployments.apps", "cronjobs.batch", "persistentvolumeclaims"):
            assert not can(verb, resource), f"{verb} {resource}"
    for verb in ("create", "delete", "update", "patch", "watch"):
        assert not can(verb, "pods"), verb


def test_list_of_what_the_account_can_do_holds_nothing_more(deployed: tuple[PostgresPod, Path]) -> None:
    pod, _volume = deployed

    def listed(account: str) -> set[tuple[str, ...]]:
        user = f"system:serviceaccount:{pod.namespace}:{account}"
        said = pod.cluster.kubectl("auth", "can-i", "--list", f"--as={user}", "--namespace", pod.namespace).decode()
        return {tuple(line.split()) for line in said.splitlines()[1:]}

    granted = listed("respaldo") - listed("default")  # what every account may
    assert granted == {
        ("pods", "[]", "[]", "[get", "list]"),
        ("pods/exec", "[]", "[postgres-0]", "[create", "get]"),
    }


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ("[]", '{apiGroups: [""], resources: [pods], verbs: [get, list]}'),
        (
            '[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]',
            '{apiGroups: [""], resources: [pods/exec], verbs: [get, create]}',
        ),
    ],
)
def test_permission_that_is_missing_is_told_with_the_rule_to_add(
    deployed: tuple[PostgresPod, Path], tmp_path: Path, rules: str, rule: str
) -> None:
    pod, _volume = deployed
    place = ("--namespace", pod.namespace)
    pod.cluster.kubectl("patch", "role", "respaldo", *place, "--type=merge", "--patch", f'{{"rules": {rules}}}')
    token = pod.cluster.kubectl("create", "token", "respaldo", *place).decode().strip()
    document = yaml.safe_load(pod.cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(document))
    words = ["-m", "respaldo", "--repository", str(tmp_path / "r"), "backup", "--pod", pod.name, *place]
    done = run(pod.cluster, words, KUBECONFIG=str(kubeconfig), RESPALDO_LANG="en")
    assert done.returncode == 40
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: the cluster at ")
    assert f"in the namespace {pod.namespace}, bound to this login, the rule {rule}" in hint
    pod.cluster.kubectl("apply", *place, "--filename", str(MANIFESTS / "rbac.yaml"))
    done = run(pod.cluster, words, KUBECONFIG=str(kubeconfig), RESPALDO_LANG="en")
    assert done.returncode == 0, done.stderr


def test_missing_permission_is_one_line_with_the_rule_to_add(deployed: tuple[PostgresPod, Path]) -> None:
    pod, _volume = deployed
    pod.cluster.kubectl("delete", "rolebinding", "respaldo", "--namespace", pod.namespace)
    place = ("--namespace", pod.namespace)
    pod.cluster.kubectl("create", "job", "--from=cronjob/respaldo", "sin-permiso", *place)

    def said() -> str:
        try:
            return pod.cluster.kubectl("logs", *place, "job/sin-permiso").decode()
        except RigError:
            return ""

    pod.cluster.wait_for("the job's complaint", lambda: "pods" in said())
    assert "[pods]" in said()
    assert pod.namespace in said()


def test_image_runs_as_nobody_on_a_read_only_root_with_everything_compiled(image: str) -> None:
    options = ["--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp"]
    assert b"0.1.0" in docker("run", *options, image, "--version")
    script = (
        "import importlib.util, os, pathlib, respaldo;"
        "root = pathlib.Path(respaldo.__file__).parent.parent;"
        "missing = [f for f in root.rglob('*.py') if not os.path.exists(importlib.util.cache_from_source(str(f)))];"
        "print(os.getuid(), len(missing))"
    )
    said = docker("run", *options, "--entrypoint", "python", image, "-c", script).split()
    assert said == [str(USER).encode(), b"0"]


def test_manifest_and_rig_name_the_same_image() -> None:
    assert f"image: {IMAGE}" in (MANIFESTS / "cronjob.yaml").read_text()
    version = subprocess.run([sys.executable, "-m", "respaldo", "--version"], capture_output=True, check=True)
    assert IMAGE.rpartition(":")[2] in version.stdout.decode()
