"""Schedules in a real cluster: a CronJob that the program writes fires by itself, and its backup restores."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_kubernetes import SHOP, respaldo, run
from tests.integration.test_kubernetes_manifests import deployed, image
from tests.integration.test_secrets import CommandLines
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod

__all__ = ["deployed", "image"]
SECRET = "clave-plantada-9921"
PLANTED = "T0PLANTADO/B0PLANTADO/clave-plantada-6650"
# A CronJob fires on the minute; its pod starts and backs up in a few seconds.
WITHIN_S = 180


def schedule(pod: PostgresPod, repository: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "respaldo", "--repository", str(repository), "schedule", *words]
    return run(pod.cluster, command, NAMESPACE=pod.namespace, RESPALDO_LANG="en", **variables)


def test_scheduled_cron_job_fires_and_its_backup_restores(deployed: tuple[PostgresPod, Path], tmp_path: Path) -> None:
    pod, volume = deployed
    place = ("--namespace", pod.namespace)
    pod.cluster.kubectl("delete", "cronjob", "respaldo", *place)
    pod.psql(SHOP)
    # Nobody answers there: the run says so, and must not say where it was sent to.
    secret = {"SLACK_WEBHOOK_URL": f"http://127.0.0.1:9/services/{PLANTED}"}
    names = {"name": "claves", "namespace": pod.namespace}
    pod.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": names, "stringData": secret})
    words = ["add", "each-minute", "--at", "* * * * *", "--time-zone", "America/Montevideo", "--secret", "claves"]
    command = ["--", "backup", "--pod", pod.name]
    # By itself with Kubernetes, for the database is there; a password of the person's own goes nowhere.
    added = schedule(pod, tmp_path, *words, *command, RESPALDO_SMTP_PASSWORD=SECRET, RESPALDO_ENVIRONMENT="kubernetes")
    assert added.returncode == 0, added.stderr
    again = schedule(pod, tmp_path, *words, "--with", "kubernetes", *command)
    assert (again.returncode, "already" in again.stderr) == (2, True)
    document = pod.cluster.api.get("cronjob", "each-minute", namespace=pod.namespace)
    assert SECRET not in json.dumps(document)
    assert (document["spec"]["timeZone"], document["spec"]["concurrencyPolicy"]) == ("America/Montevideo", "Forbid")

    status = volume / ".metadata/last_status.json"
    with CommandLines() as lines:
        pod.cluster.wait_for("the first run", status.exists, WITHIN_S)
    suspend = ("patch", "cronjob", "each-minute", *place, "--patch", '{"spec": {"suspend": true}}')
    pod.cluster.kubectl(*suspend)
    noted = json.loads(status.read_text())
    # A good backup is good where nobody could be told of it: done, with warnings.
    assert (noted["schedule"], noted["outcome"], noted["exit_code"]) == ("each-minute", "warned", 3), noted
    assert noted["targets"] == [f"{pod.namespace}.{pod.name}/tienda"]
    said = pod.cluster.kubectl("logs", "--selector", "batch.kubernetes.io/job-name", "--tail=-1", *place).decode()
    assert "slack-webhook was not told" in said
    objects = pod.cluster.kubectl("get", "cronjobs,jobs,pods,events", *place, "--output", "json").decode()
    files = b"".join(path.read_bytes() for path in volume.rglob("*") if path.is_file())
    for planted in (SECRET, PLANTED):
        assert planted not in said + objects
        assert planted.encode() not in files
        assert not [line for line in lines.seen if planted.encode() in line]

    listed = json.loads(schedule(pod, tmp_path, "list", "--json", "--environment", "kubernetes").stdout)
    assert [(one["name"], one["command"], one["suspended"]) for one in listed] == [
        ("each-minute", ["backup", "--pod", pod.name], True)
    ]
    repository = tmp_path / "copy"
    shutil.copytree(volume, repository)
    name = noted["backups"][0]["name"]
    respaldo(pod, repository, "restore", name, "--to", "vuelta", "--pod", pod.name, *place, "--json")
    assert pod.contents("vuelta") == pod.contents()

    replaced = schedule(pod, tmp_path, *words[:2], "--at", "weekly", "--replace", "--with", "kubernetes", *command)
    assert replaced.returncode == 0, replaced.stderr
    assert pod.cluster.api.get("cronjob", "each-minute", namespace=pod.namespace)["spec"]["schedule"] == "0 2 * * 0"
    # The summary asks the cluster when it runs next.
    (summary,) = respaldo(pod, repository, "summary", "--environment", "kubernetes", *place, "--json")
    following = datetime.fromisoformat(summary["next"]["at"]).astimezone()
    assert (following.weekday(), following.minute, following > datetime.now().astimezone()) == (6, 0, True)
    removed = schedule(pod, tmp_path, "remove", "each-minute", "--environment", "kubernetes")
    assert removed.returncode == 0, removed.stderr
    assert pod.cluster.api.get("cronjobs", namespace=pod.namespace)["items"] == []
    unknown = schedule(pod, tmp_path, "remove", "each-minute", "--environment", "kubernetes")
    assert (unknown.returncode, "each-minute" in unknown.stderr) == (2, True)


def test_printed_cron_job_is_what_the_cluster_takes(kubernetes_cluster: KubernetesCluster, tmp_path: Path) -> None:
    with kubernetes_cluster.namespace() as namespace:
        words = ["--repository", str(tmp_path), "schedule", "add", "nightly", "--with", "kubernetes", "--print"]
        done = run(kubernetes_cluster, ["-m", "respaldo", *words, "--secret", "claves", "--", "drill", "--due", "7"])
        assert done.returncode == 0, done.stderr
        place = ("--namespace", namespace)
        kubernetes_cluster.kubectl("create", "--filename", "-", *place, stdin=done.stdout.encode())
        made = kubernetes_cluster.api.get("cronjob", "nightly", namespace=namespace)
        container = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
        assert container["args"] == ["schedule", "run", "nightly", "--", "drill", "--due", "7"]
        assert yaml.safe_load(done.stdout)["spec"]["schedule"] == made["spec"]["schedule"]


def test_replacement_is_whole_and_one_that_the_cluster_refuses_changes_nothing(
    kubernetes_cluster: KubernetesCluster, tmp_path: Path
) -> None:
    with kubernetes_cluster.namespace() as namespace:
        pod = PostgresPod(cluster=kubernetes_cluster, namespace=namespace, name="postgres-0", database="")
        words = ["add", "nightly", "--with", "kubernetes"]
        old = schedule(pod, tmp_path, *words, "--secret", "claves", "--at", "daily", RESPALDO_EMAIL_TO="a@example.com")
        assert old.returncode == 0, old.stderr

        def job() -> dict[str, Any]:
            return kubernetes_cluster.api.get("cronjob", "nightly", namespace=namespace)

        before = job()
        for refused in (["--image", ""], ["--claim", ""], ["--secret", "No Secret"]):
            done = schedule(pod, tmp_path, *words, "--replace", "--at", "weekly", *refused)
            assert (done.returncode, done.stdout, bool(done.stderr)) == (40, "", True), done.stderr
            assert job() == before
        # Nothing of the old one stays that the new one does not say.
        assert schedule(pod, tmp_path, *words, "--replace", "--at", "weekly").returncode == 0
        after = job()
        container = after["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
        assert (after["spec"]["schedule"], container.get("envFrom")) == ("0 2 * * 0", None)
        assert "a@example.com" not in json.dumps(after)
        # And one that was not there is made.
        fresh = [*words, "--replace", "--at", "weekly"]
        fresh[1] = "other"
        assert schedule(pod, tmp_path, *fresh).returncode == 0
        assert kubernetes_cluster.api.get("cronjob", "other", namespace=namespace)["spec"]["schedule"] == "0 2 * * 0"


def test_flat_flags_schedule_show_and_remove(kubernetes_cluster: KubernetesCluster, tmp_path: Path) -> None:
    with kubernetes_cluster.namespace() as namespace:
        place = ["--dir", str(tmp_path), "--force-kubernetes", "--namespace", namespace]

        def flat(*words: str) -> subprocess.CompletedProcess[str]:
            return run(kubernetes_cluster, ["backup_orchestrator.py", *words, *place], RESPALDO_LANG="en")

        added = flat("--schedule", "workdays", "--pod", "postgres-0")
        assert added.returncode == 0, added.stderr
        (made,) = kubernetes_cluster.api.get("cronjobs", namespace=namespace)["items"]
        assert (made["metadata"]["name"], made["spec"]["schedule"]) == ("respaldo-workdays", "0 2 * * 1-5")
        assert "respaldo-workdays" in flat("--list-schedules").stdout
        assert flat("--remove-schedule", "respaldo-workdays").returncode == 0
        assert kubernetes_cluster.api.get("cronjobs", namespace=namespace)["items"] == []


@pytest.mark.parametrize("asked", ["add", "list", "remove"])
def test_missing_permission_is_one_line_with_the_rule_to_add(
    kubernetes_cluster: KubernetesCluster, tmp_path: Path, asked: str
) -> None:
    with kubernetes_cluster.namespace() as namespace:
        pod = PostgresPod(cluster=kubernetes_cluster, namespace=namespace, name="postgres-0", database="")
        words = {
            "add": ["add", "nightly", "--with", "kubernetes"],
            "list": ["list", "--environment", "kubernetes"],
            "remove": ["remove", "nightly", "--environment", "kubernetes"],
        }[asked]
        done = schedule(pod, tmp_path, *words, KUBECONFIG=str(powerless(kubernetes_cluster, namespace, tmp_path)))
        assert done.returncode == 40, done.stderr
        rule = '{apiGroups: ["batch"], resources: [cronjobs], verbs: [get, list, create, patch, delete]}'
        assert rule in done.stderr
        assert namespace in done.stderr
        assert len(done.stderr.splitlines()) == 2


def powerless(cluster: KubernetesCluster, namespace: str, directory: Path) -> Path:
    """Write a kubeconfig of an account that may do nothing."""
    token = cluster.kubectl("create", "token", "default", "--namespace", namespace).decode().strip()
    document: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in document["users"]:
        user["user"] = {"token": token}
    path = directory / "powerless"
    path.write_text(yaml.safe_dump(document))
    return path
