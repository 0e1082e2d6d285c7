"""A primary and a streaming standby in one StatefulSet, no label telling which is which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_kubernetes import ROOT, SHOP, respaldo, run
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod
from tests.rig.kube_replicas import replicated_set

PAUSED = "SELECT pg_is_wal_replay_paused()"


@pytest.fixture(scope="module")
def replicas(kubernetes_cluster: KubernetesCluster) -> Iterator[tuple[PostgresPod, PostgresPod]]:
    with kubernetes_cluster.namespace() as namespace:
        primary, standby = replicated_set(kubernetes_cluster, namespace, "par")
        primary.psql(SHOP.replace("60000", "40000"))
        wait_until_equal(primary, standby)
        yield primary, standby


def wait_until_equal(primary: PostgresPod, standby: PostgresPod) -> None:
    written = primary.psql("SELECT pg_current_wal_lsn()")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
    primary.cluster.wait_for("the standby", lambda: standby.psql(replayed) == "t", 60)


def test_primary_is_taken_where_only_the_servers_know(
    replicas: tuple[PostgresPod, PostgresPod], tmp_path: Path
) -> None:
    primary, _standby = replicas
    words = ["backup", "--environment", "kubernetes", "--json"]
    for name in ([], ["--pod", "statefulset/par"], ["--labels", "app=par"]):
        made = respaldo(primary, tmp_path, *words, *name, NAMESPACE=primary.namespace)
        assert made["instance"] == f"{primary.namespace}.par-0"
    # Of many targets the standby is no second one.
    told = respaldo(primary, tmp_path, *words, "--all", NAMESPACE=primary.namespace)
    assert [(one["instance"], one["database"]) for one in told] == [(f"{primary.namespace}.par-0", "tienda")]


def test_standby_is_read_while_what_it_replays_would_cancel_that(
    replicas: tuple[PostgresPod, PostgresPod], tmp_path: Path
) -> None:
    primary, standby = replicas
    ends = threading.Event()

    def churn() -> None:
        # Each VACUUM removes row versions that a reader of the standby may still need.
        while not ends.is_set():
            primary.psql("UPDATE pedidos SET nota = nota WHERE id % 7 = 0; VACUUM pedidos; VACUUM usuarios")

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        words = ["backup", "--environment", "kubernetes", "--standby", "--jobs", "1", "--json"]
        made = respaldo(primary, tmp_path, *words, NAMESPACE=primary.namespace)
    finally:
        ends.set()
        churning.join()
    assert made["instance"] == f"{primary.namespace}.par-1"
    assert made["rows"] == 40_500
    assert standby.psql(PAUSED) == "f"
    wait_until_equal(primary, standby)
    place = ["--pod", primary.name, "--namespace", primary.namespace]
    respaldo(primary, tmp_path, "restore", made["name"], "--to", "de_replica", *place, "--json")
    # A sequence is up to 32 values ahead on a standby: so many are logged at once (PostgreSQL, sequence.c).
    was, back = ([line for line in primary.contents(name) if b"setval" not in line] for name in (None, "de_replica"))
    assert back == was
    primary.psql("DROP DATABASE de_replica", "postgres")


def test_replay_goes_on_when_the_program_is_killed(replicas: tuple[PostgresPod, PostgresPod], tmp_path: Path) -> None:
    primary, standby = replicas
    primary.psql("CREATE TABLE grande AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 300000) n")
    wait_until_equal(primary, standby)
    words = ["--repository", str(tmp_path), "backup", "--pod", "par-1", "--namespace", primary.namespace, "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "KUBECONFIG": str(primary.cluster.kubeconfig)}
    running = subprocess.Popen([sys.executable, "-m", "respaldo", *words], env=environment, stderr=subprocess.DEVNULL)
    try:
        primary.cluster.wait_for("the pause", lambda: standby.psql(PAUSED) == "t", 60)
    finally:
        running.kill()
        running.wait()
    primary.cluster.wait_for("the end of the pause", lambda: standby.psql(PAUSED) == "f", 60)
    primary.psql("DROP TABLE grande")
    wait_until_equal(primary, standby)


def test_standby_that_is_not_there_is_one_clear_line(replicas: tuple[PostgresPod, PostgresPod], tmp_path: Path) -> None:
    primary, _standby = replicas
    words = ["backup", "--standby", "--pod", "par-0", "--namespace", primary.namespace, "--json"]
    done = run(primary.cluster, ["-m", "respaldo", "--repository", str(tmp_path), *words], RESPALDO_LANG="en")
    assert done.returncode == 40
    assert "there is no standby that runs" in done.stderr
    assert json.loads(run(primary.cluster, ["-m", "respaldo", "-d", str(tmp_path), "list", "--json"]).stdout) == []
