"""Pods as their operators and charts label them: which is meant, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from respaldo.environments.kubernetes_pods import (
    Pod,
    describe,
    lacks_primary,
    looks_like_server,
    named,
    only_primaries,
    only_standbys,
    parse_pod,
    split_name,
)


def pod(
    name: str,
    labels: Mapping[str, str] | None = None,
    *,
    containers: Mapping[str, str] | None = None,
    owner: str = "",
    namespace: str = "shop",
    phase: str = "Running",
    reason: str = "",
    state: Mapping[str, Any] | None = None,
    is_deleted: bool = False,
    restart: str = "Always",
    annotations: Mapping[str, str] | None = None,
) -> Pod:
    """``containers``: names and images; ``owner``: ``Kind/name``."""
    images = containers or {"postgres": "postgres:17"}
    kind, _slash, owner_name = owner.partition("/")
    metadata: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "uid": f"uid-{name}",
        "labels": dict(labels or {}),
    }
    metadata["annotations"] = dict(annotations or {})
    if owner:
        metadata["ownerReferences"] = [{"kind": kind, "name": owner_name, "controller": True}]
    if is_deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    statuses = [{"name": one, "state": state or {"running": {}}, "containerID": f"c://{one}"} for one in images]
    spec: dict[str, Any] = {"nodeName": "n1", "restartPolicy": restart}
    spec["containers"] = [{"name": one, "image": image} for one, image in images.items()]
    status = {"phase": phase, "containerStatuses": statuses, **({"reason": reason} if reason else {})}
    return parse_pod({"metadata": metadata, "spec": spec, "status": status})


CNPG = {"cnpg.io/cluster": "db", "cnpg.io/podRole": "instance"}
ZALANDO = {"application": "spilo", "cluster-name": "db"}
CRUNCHY = {"postgres-operator.crunchydata.com/cluster": "db", "postgres-operator.crunchydata.com/data": "postgres"}
BITNAMI = {"app.kubernetes.io/name": "postgresql", "app.kubernetes.io/instance": "db"}
CRUNCHY_CONTAINERS = {
    "replication-cert-copy": "registry.developers.crunchydata.com/crunchydata/crunchy-postgres:ubi9-17",
    "database": "registry.developers.crunchydata.com/crunchydata/crunchy-postgres:ubi9-17",
    "pgbackrest": "registry.developers.crunchydata.com/crunchydata/crunchy-pgbackrest:ubi9",
}


@pytest.mark.parametrize(
    ("labels", "role", "primary", "standby", "containers", "container"),
    [
        (
            CNPG,
            "cnpg.io/instanceRole",
            "primary",
            "replica",
            {"postgres": "ghcr.io/cloudnative-pg/postgresql:17"},
            "postgres",
        ),
        (ZALANDO, "spilo-role", "master", "replica", {"postgres": "ghcr.io/zalando/spilo-17:4.0"}, "postgres"),
        (CRUNCHY, "postgres-operator.crunchydata.com/role", "master", "replica", CRUNCHY_CONTAINERS, "database"),
        (
            BITNAMI,
            "app.kubernetes.io/component",
            "primary",
            "read",
            {"postgresql": "docker.io/bitnami/postgresql:17", "metrics": "docker.io/bitnami/postgres-exporter:0"},
            "postgresql",
        ),
    ],
    ids=["cloudnative-pg", "zalando", "crunchy", "bitnami"],
)
def test_primary_of_every_operator_is_the_one_that_is_meant(
    labels: dict[str, str], role: str, primary: str, standby: str, containers: dict[str, str], container: str
) -> None:
    first = pod("db-a-0", {**labels, role: standby}, containers=containers, owner="StatefulSet/db-a")
    second = pod("db-b-0", {**labels, role: primary}, containers=containers, owner="StatefulSet/db-b")
    assert looks_like_server(first)
    assert only_primaries([first, second]) == [second]
    assert [one.id for one in describe(second)] == [f"shop/db-b-0/{container}"]
    found, is_set = named([first, second], "db")
    assert is_set
    assert only_primaries(found) == [second]
    assert named([first, second], "db-a-0") == ([first], False)
    assert lacks_primary([first, pod("db-c-0", {**labels, role: standby})])


def test_poolers_exporters_and_jobs_that_ended_are_no_servers() -> None:
    pooler = pod(
        "db-pooler-x", {"cnpg.io/poolerName": "p"}, containers={"pgbouncer": "ghcr.io/cloudnative-pg/pgbouncer:1"}
    )
    images = {"initdb": "ghcr.io/cloudnative-pg/postgresql:17"}
    ended = pod("db-1-initdb", CNPG, containers=images, phase="Succeeded", restart="Never")
    drill = pod("x", {"respaldo.drill": "yes"})
    backup = pod("respaldo-29", {"app.kubernetes.io/name": "respaldo"}, containers={"respaldo": "respaldo:0.1.0"})
    assert not any(looks_like_server(one) for one in (pooler, ended, drill, backup))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (pod("pg-0", owner="StatefulSet/pg"), "shop.pg-0"),
        (pod("pg-6d4-x2", {"pod-template-hash": "6d4"}, owner="ReplicaSet/pg-6d4"), "shop.pg"),
        (pod("pg-x2", owner="DaemonSet/pg"), "shop.pg.n1"),
        (pod("pg"), "shop.pg"),
        (pod("db-3", {**CNPG, "cnpg.io/instanceRole": "primary"}, owner="Cluster/db"), "shop.db"),
    ],
)
def test_name_of_an_instance_outlives_its_pod(given: Pod, name: str) -> None:
    assert [one.name for one in describe(given)] == [name]
    assert named([given], name) == ([given], True) or named([given], name) == ([given], False)


def test_deployment_that_rolls_over_is_one_instance() -> None:
    labels = {"pod-template-hash": "1"}
    old = pod("pg-1-a", labels, owner="ReplicaSet/pg-1", is_deleted=True)
    new = pod("pg-2-b", {"pod-template-hash": "2"}, owner="ReplicaSet/pg-2")
    assert only_primaries([old, new]) == [new]
    assert only_primaries([old]) == [old]
    assert describe(old)[0].state == "Terminating"


@pytest.mark.parametrize(
    ("given", "state", "should_run"),
    [
        (pod("job", phase="Succeeded", restart="Never", owner="Job/job"), "running", False),
        (pod("job", phase="Failed", restart="OnFailure", owner="Job/job"), "running", False),
        (pod("once", phase="Failed", restart="Never"), "running", False),
        # Its node ended it: what made it is to make another, and a pod by itself is lost.
        (pod("pg-0", phase="Failed", reason="Evicted", owner="StatefulSet/pg"), "Evicted", True),
        (pod("pg", phase="Failed", reason="NodeShutdown"), "NodeShutdown", True),
        # In the middle of a restart nothing may look like "there is no database here".
        (pod("pg-0", is_deleted=True, owner="StatefulSet/pg"), "Terminating", True),
        (pod("pg", is_deleted=True), "Terminating", False),
        (pod("job", is_deleted=True, owner="Job/job"), "Terminating", False),
        (pod("pg-0", state={"waiting": {"reason": "CrashLoopBackOff"}}), "CrashLoopBackOff", True),
        (pod("pg-0", phase="Pending", state={"waiting": {}}), "Pending", True),
    ],
)
def test_pod_that_does_not_run_is_a_fault_unless_it_was_to_end(given: Pod, state: str, should_run: bool) -> None:
    (instance,) = describe(given)
    assert (instance.state, instance.should_run) == (state, should_run)
    assert looks_like_server(given) == (not given.is_ended)


def test_pods_that_a_node_ended_are_no_instances_beside_their_successor() -> None:
    labels = {"pod-template-hash": "1"}
    evicted = [
        pod(f"pg-1-{name}", labels, owner="ReplicaSet/pg-1", phase="Failed", reason="Evicted") for name in ("a", "b")
    ]
    new = pod("pg-1-c", labels, owner="ReplicaSet/pg-1")
    assert only_primaries([*evicted, new]) == [new]
    # Without one the instance is missing, once.
    for choose in (only_primaries, only_standbys):
        assert [one.name for pod in choose(evicted) for one in describe(pod)] == ["shop.pg"]
    other = pod("other-0", owner="StatefulSet/other", is_deleted=True)
    assert only_standbys([new, other]) == [new, other]


@pytest.mark.parametrize(
    ("containers", "annotations", "expected"),
    [
        ({"app": "shop:1", "db": "acme/base:1"}, {}, ["db"]),
        ({"one": "acme/x:1", "two": "acme/y:1"}, {"kubectl.kubernetes.io/default-container": "two"}, ["two"]),
        ({"one": "acme/x:1", "two": "acme/y:1"}, {}, ["one", "two"]),
        ({"a": "postgres:17", "b": "postgres:17"}, {}, ["a", "b"]),
    ],
)
def test_container_of_several(containers: dict[str, str], annotations: dict[str, str], expected: Sequence[str]) -> None:
    given = pod("x", containers=containers, annotations=annotations)
    assert [one.id.rpartition("/")[2] for one in describe(given)] == expected
    assert [one.name for one in describe(given, "no-such")] == []


def test_container_that_is_not_the_natural_one_adds_its_name() -> None:
    given = pod("x", containers={"postgres": "postgres:17", "other": "acme/y:1"})
    assert [one.name for one in describe(given, "postgres")] == ["shop.x"]
    assert [one.name for one in describe(given, "other")] == ["shop.x.other"]


@pytest.mark.parametrize(
    ("state", "phase", "expected"),
    [
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "Running", "CrashLoopBackOff"),
        ({"terminated": {"reason": "OOMKilled"}}, "Running", "OOMKilled"),
        ({"waiting": {}}, "Pending", "Pending"),
    ],
)
def test_state_says_why_a_pod_does_not_run(state: dict[str, Any], phase: str, expected: str) -> None:
    (instance,) = describe(pod("x", state=state, phase=phase))
    assert (instance.state, instance.is_running) == (expected, False)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pg-0", (None, None, "pg-0")),
        ("shop/pg-0", ("shop", None, "pg-0")),
        ("pod/pg-0", (None, "", "pg-0")),
        ("statefulset/pg", (None, "StatefulSet", "pg")),
        ("shop/deploy/pg", ("shop", "Deployment", "pg")),
    ],
)
def test_names_may_say_namespace_and_kind(text: str, parts: tuple[str | None, str | None, str]) -> None:
    assert split_name(text) == parts
