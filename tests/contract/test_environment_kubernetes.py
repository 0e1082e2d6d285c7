"""What only a cluster can do: lose a pod, hold several containers, fail over, restart its programs."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from respaldo.environments.base import InstanceQuery, Process
from respaldo.environments.detect import choose
from respaldo.environments.kubernetes import KubernetesEnvironment
from respaldo.environments.kubernetes_process import V4
from respaldo.environments.kubernetes_runner import PROTOCOLS
from respaldo.errors import EnvironmentFailedError, StreamCutError, UsageError
from tests.contract.environments import POD_IMAGE, Bench, kubernetes_bench
from tests.rig.kube_cluster import KubernetesCluster


@pytest.fixture(scope="module")
def namespace(kubernetes_cluster: KubernetesCluster) -> Iterator[str]:
    kubernetes_cluster.load(POD_IMAGE)
    with kubernetes_cluster.namespace() as name:
        yield name


@pytest.fixture(params=[PROTOCOLS, [V4]], ids=["v5", "v4"])
def bench(request: pytest.FixtureRequest, kubernetes_cluster: KubernetesCluster, namespace: str) -> Iterator[Bench]:
    with kubernetes_bench(kubernetes_cluster, namespace, request.param) as made:
        yield made


def environment_in(cluster: KubernetesCluster, namespace: str, **options: Any) -> KubernetesEnvironment:
    return KubernetesEnvironment({"KUBECONFIG": str(cluster.kubeconfig)}, namespace=namespace, **options)


def pod(name: str, containers: Mapping[str, str], labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod of containers that idle: their names, and what their ``env`` has."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": container,
                    "image": POD_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "3600"],
                    "env": [{"name": "WHO", "value": said}],
                }
                for container, said in containers.items()
            ],
        },
    }


@pytest.fixture
def apply(kubernetes_cluster: KubernetesCluster, namespace: str) -> Iterator[Any]:
    """Makes pods in a namespace of the test's own, and waits until they are ready."""
    with kubernetes_cluster.namespace() as own:

        def make(*pods: dict[str, Any], wait: bool = True) -> str:
            for document in pods:
                document["metadata"]["namespace"] = own
            kubernetes_cluster.apply(*pods)
            for document in pods if wait else ():
                kubernetes_cluster.wait_ready(own, document["metadata"]["name"])
            return own

        yield make


def read_to_status(process: Process, into: bytearray | None = None) -> int:
    while data := process.read():
        if into is not None:
            into += data
    return process.wait()


@pytest.mark.parametrize("script", ["while :; do echo y; done", "echo y; sleep 300"])
def test_pod_deleted_mid_stream_is_a_cut(bench: Bench, script: str) -> None:
    kill = bench.kill
    assert kill is not None
    with bench.runner.start(["sh", "-c", script]) as process:
        assert process.read()
        killer = threading.Timer(0.3, kill)
        killer.start()
        with pytest.raises(StreamCutError):
            read_to_status(process)
        killer.join()


def test_pod_deleted_while_input_is_sent_is_a_cut(bench: Bench) -> None:
    kill = bench.kill
    assert kill is not None
    with bench.runner.start(["sh", "-c", "cat >/dev/null"], stdin=True) as process:
        process.write(b"x" * 100_000)
        kill()

        def feed() -> None:
            while True:
                process.write(bytes(1 << 18))

        with pytest.raises(StreamCutError):
            feed()


def test_deleted_pod_is_said_to_be_gone(bench: Bench, kubernetes_cluster: KubernetesCluster, namespace: str) -> None:
    name = bench.instance.id.split("/")[1]
    kubernetes_cluster.kubectl("delete", "pod", name, "--namespace", namespace, "--wait=true")
    with pytest.raises(EnvironmentFailedError, match=name) as caught:
        bench.environment.open(bench.instance)
    assert caught.value.hint
    with pytest.raises(EnvironmentFailedError, match=name):
        bench.runner.run(["true"])


def test_connection_that_breaks_before_the_status_is_a_cut(bench: Bench) -> None:
    with bench.runner.start(["sh", "-c", "echo y; sleep 300"]) as process:
        assert process.read() == b"y\n"
        process._wire._connection.shutdown(2)  # type: ignore[attr-defined]
        with pytest.raises(StreamCutError):
            read_to_status(process)


def test_restarted_kubelet_cuts_or_carries_on_and_never_shortens(
    bench: Bench, kubernetes_cluster: KubernetesCluster
) -> None:
    if not kubernetes_cluster.is_own:
        pytest.skip("another's cluster is not ours to restart")
    size = 40_000_000
    script = f"head -c {size // 2} /dev/zero; sleep 5; head -c {size // 2} /dev/zero"
    received, status = 0, None
    with bench.runner.start(["sh", "-c", script]) as process:
        received += len(process.read())
        kubernetes_cluster.restart("kubelet")
        try:
            while data := process.read():
                received += len(data)
            status = process.wait()
        except StreamCutError:
            status = None
    assert status is None or (status, received) == (0, size)
    kubernetes_cluster.wait_for("the kubelet", lambda: answers(bench), 60)


def answers(bench: Bench) -> bool:
    try:
        return bench.runner.run(["true"], timeout_s=10).status == 0
    except EnvironmentFailedError:
        return False


def test_container_with_the_server_is_taken_of_several(kubernetes_cluster: KubernetesCluster, apply: Any) -> None:
    own = apply(
        pod("db-0", {"exporter": "other", "database": "server", "replication-cert-copy": "other"}),
        pod("two-0", {"one": "server", "two": "server"}, {"pair": "yes"}),
    )
    environment = environment_in(kubernetes_cluster, own)
    # A fleet takes each of them; who asks for one server says which.
    pair = environment.find(InstanceQuery(labels={"pair": "yes"}, every=True))
    assert [one.name for one in pair] == [f"{own}.two-0.one", f"{own}.two-0.two"]
    with pytest.raises(UsageError, match="one, two") as caught:
        environment.find(InstanceQuery(name="two-0"))
    assert "--k8s-container" in (caught.value.hint or "")
    instance = choose(environment, InstanceQuery(name="db-0"))
    assert (instance.name, instance.id) == (f"{own}.db-0", f"{own}/db-0/database")
    assert environment.open(instance).variables()["WHO"] == "server"
    other = choose(environment_in(kubernetes_cluster, own, container="exporter"), InstanceQuery(name="db-0"))
    assert (other.name, other.id) == (f"{own}.db-0.exporter", f"{own}/db-0/exporter")
    with pytest.raises(UsageError, match="exporter, database") as caught:
        environment_in(kubernetes_cluster, own, container="no").find(InstanceQuery(name="db-0"))
    assert "--k8s-container" in (caught.value.hint or "")


def test_primary_is_taken_of_a_cluster_and_the_standby_by_its_name(
    kubernetes_cluster: KubernetesCluster, apply: Any
) -> None:
    def member(number: int, role: str) -> dict[str, Any]:
        labels = {"cnpg.io/cluster": "shop", "cnpg.io/podRole": "instance", "cnpg.io/instanceRole": role}
        return pod(f"shop-{number}", {"postgres": role}, labels)

    own = apply(member(1, "replica"), member(2, "primary"))
    environment = environment_in(kubernetes_cluster, own)
    for query in (InstanceQuery(), InstanceQuery(name="shop"), InstanceQuery(labels={"cnpg.io/cluster": "shop"})):
        instance = choose(environment, query)
        assert (instance.name, instance.id) == (f"{own}.shop", f"{own}/shop-2/postgres")
    standby = choose(environment, InstanceQuery(name="shop-1"))
    assert (standby.name, standby.id) == (f"{own}.shop", f"{own}/shop-1/postgres")
    # In the middle of a failover nobody is the primary: one clear line, and no guess.
    kubernetes_cluster.kubectl("label", "--namespace", own, "--overwrite", "pod/shop-2", "cnpg.io/instanceRole=replica")
    with pytest.raises(EnvironmentFailedError, match=r"shop.*primar") as caught:
        choose(environment, InstanceQuery())
    assert "--pod shop-" in (caught.value.hint or "")


def test_pod_that_does_not_run_is_found_and_not_opened(kubernetes_cluster: KubernetesCluster, apply: Any) -> None:
    document = pod("never", {"postgres": "x"})
    document["spec"]["nodeSelector"] = {"no.such": "node"}
    own = apply(document, wait=False)
    environment = environment_in(kubernetes_cluster, own)
    (found,) = environment.find(InstanceQuery(name="never"))
    assert not found.is_running
    for attempt in (lambda: environment.open(found), lambda: choose(environment, InstanceQuery())):
        with pytest.raises(EnvironmentFailedError, match="Pending") as caught:
            attempt()
        assert caught.value.hint == f"kubectl --namespace {own} describe pod never"


def test_find_looks_in_one_namespace_and_with_the_flag_in_all(
    kubernetes_cluster: KubernetesCluster, apply: Any
) -> None:
    own = apply(pod("here", {"postgres": "x"}))
    everywhere = KubernetesEnvironment({"KUBECONFIG": str(kubernetes_cluster.kubeconfig)}, all_namespaces=True)
    elsewhere = KubernetesEnvironment({"KUBECONFIG": str(kubernetes_cluster.kubeconfig)}, namespace="default")
    assert f"{own}.here" in [one.name for one in everywhere.find(InstanceQuery())]
    assert f"{own}.here" not in [one.name for one in elsewhere.find(InstanceQuery())]
    # A name that says its namespace is found from any.
    for name in (f"{own}.here", f"{own}/here", f"{own}/pod/here"):
        assert [one.id for one in elsewhere.find(InstanceQuery(name=name))] == [f"{own}/here/postgres"]


def test_drill_and_disabled_pods_are_left_alone_unless_named(kubernetes_cluster: KubernetesCluster, apply: Any) -> None:
    own = apply(
        pod("drill", {"postgres": "x"}, {"respaldo.drill": "yes"}),
        pod("off", {"postgres": "x"}, {"respaldo.enable": "false"}),
    )
    environment = environment_in(kubernetes_cluster, own)
    assert not environment.find(InstanceQuery())
    assert [one.name for one in environment.find(InstanceQuery(name="drill"))] == [f"{own}.drill"]


@pytest.mark.parametrize("protocols", [PROTOCOLS, [V4]], ids=["v5", "v4"])
def test_secret_is_in_nothing_that_is_asked_of_the_server(
    kubernetes_cluster: KubernetesCluster, namespace: str, protocols: Sequence[str]
) -> None:
    asked: list[str] = []
    secret = secrets.token_hex(8)
    with kubernetes_bench(kubernetes_cluster, namespace, protocols) as bench:
        api = bench.environment._client()  # type: ignore[attr-defined]
        upgrade = api.upgrade

        def recording(path: str, query: Any, wanted: Any) -> Any:
            asked.append(f"{path} {query}")
            return upgrade(path, query, wanted)

        api.upgrade = recording
        seen = bench.runner.run(["sh", "-c", 'printf %s "$PGPASSWORD"'], env={"PGPASSWORD": secret}, stdin=b"x")
        assert seen.stdout.decode() == secret
        seen = bench.runner.run(["sh", "-c", 'printf %s "$PGPASSWORD"'], env={"PGPASSWORD": secret})
        assert seen.stdout.decode() == secret
    assert len(asked) == 2
    assert secret not in "".join(asked)
