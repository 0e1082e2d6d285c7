"""What API servers, and what stands before them, are known for: refusals that pass, streams that end in a lie, logins
that expire, restarts."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from respaldo.environments.base import InstanceQuery
from respaldo.environments.kubernetes import KubernetesEnvironment
from respaldo.environments.kubernetes_process import V4
from respaldo.environments.kubernetes_runner import PROTOCOLS
from respaldo.environments.websocket import PING_S
from respaldo.errors import EnvironmentFailedError, StreamCutError
from tests.contract.environments import Bench, kubernetes_bench
from tests.contract.faulty_api import FaultyApi, faulty_api
from tests.contract.test_environment_kubernetes import answers, read_to_status
from tests.rig.engine import RigError
from tests.rig.kube_cluster import KubernetesCluster

SIZE = 8_000_000


@pytest.fixture(scope="module")
def bench(kubernetes_cluster: KubernetesCluster) -> Iterator[Bench]:
    with (
        kubernetes_cluster.namespace() as namespace,
        kubernetes_bench(kubernetes_cluster, namespace) as made,
    ):
        yield made


@pytest.fixture
def api(kubernetes_cluster: KubernetesCluster, tmp_path: Path) -> Iterator[FaultyApi]:
    if not kubernetes_cluster.is_own:
        pytest.skip("another's cluster may log in otherwise")
    with faulty_api(kubernetes_cluster.kubeconfig, tmp_path) as made:
        yield made


def through(api: FaultyApi, bench: Bench, **options: Any) -> KubernetesEnvironment:
    namespace = bench.instance.id.split("/")[0]
    return KubernetesEnvironment({"KUBECONFIG": str(api.kubeconfig)}, namespace=namespace, **options)


def pause_nowhere(environment: KubernetesEnvironment) -> list[float]:
    """Have the API's client not wait; return what it would have waited."""
    waited: list[float] = []
    environment._client()._pause = waited.append
    return waited


def test_refusals_that_pass_are_waited_out(bench: Bench, api: FaultyApi) -> None:
    environment = through(api, bench)
    waited = pause_nowhere(environment)
    api.answers += [429, 500, 503]
    (instance,) = environment.find(InstanceQuery())
    runner = environment.open(instance)
    assert len(waited) == 3
    assert waited[0] >= 1  # what Retry-After asked for
    api.answers += [429, 500]
    assert runner.run(["echo", "here"]).stdout == b"here\n"
    assert len(waited) == 5


@pytest.mark.parametrize(("status", "hint"), [(429, "429"), (500, "readyz")])
def test_refusals_that_do_not_pass_are_one_clear_error(bench: Bench, api: FaultyApi, status: int, hint: str) -> None:
    environment = through(api, bench)
    pause_nowhere(environment)
    (instance,) = environment.find(InstanceQuery())
    runner = environment.open(instance)
    api.answers += [status] * 50
    asked = api.asked
    with pytest.raises(EnvironmentFailedError, match=f"injected {status}") as caught:
        runner.run(["true"])
    assert caught.value.hint
    assert hint in f"{caught.value.hint} {caught.value.message}"
    assert api.asked - asked < 10  # it does not hammer on


@pytest.mark.parametrize("protocols", [PROTOCOLS, [V4]], ids=["v5", "v4"])
@pytest.mark.parametrize("stdin", [True, False])
def test_stream_cut_at_70_percent_that_reports_success_is_a_cut(
    bench: Bench, api: FaultyApi, protocols: list[str], stdin: bool
) -> None:
    environment = through(api, bench, protocols=protocols)
    (instance,) = environment.find(InstanceQuery())
    runner = environment.open(instance)
    api.cut_after = SIZE * 7 // 10
    received = bytearray()
    with runner.start(["head", "-c", str(SIZE), "/dev/zero"], stdin=stdin) as process, pytest.raises(StreamCutError):
        read_to_status(process, received)
    assert 0 < len(received) < SIZE
    api.cut_after = None
    with runner.start(["head", "-c", str(SIZE), "/dev/zero"]) as process:
        assert read_to_status(process) == 0


def test_slow_reader_gets_every_byte(bench: Bench) -> None:
    script = f"seq 1 {SIZE} | head -c {SIZE}"
    expected = hashlib.sha256()
    with bench.runner.start(["sh", "-c", script]) as process:
        while data := process.read():
            expected.update(data)
        assert process.wait() == 0
    slow, begun = hashlib.sha256(), time.monotonic()
    with bench.runner.start(["sh", "-c", script]) as process:
        while data := process.read(1 << 16):
            slow.update(data)
            time.sleep(0.02)
        assert process.wait() == 0
    assert time.monotonic() - begun > 2
    assert slow.digest() == expected.digest()


def test_silence_is_bridged_where_silent_connections_are_ended(bench: Bench, api: FaultyApi) -> None:
    # Load balancers end what is silent for a minute or more: by itself a ping comes every 20 s, and is answered.
    assert PING_S <= 30
    api.idle_s = 2
    script = ["sh", "-c", "echo a; sleep 4; echo b"]
    for ping_s in (0.5, PING_S):
        environment = through(api, bench, ping_s=ping_s)
        (instance,) = environment.find(InstanceQuery())
        with environment.open(instance).start(script) as process:
            assert process.read() == b"a\n"
            if ping_s < api.idle_s:
                assert (process.read(), process.wait()) == (b"b\n", 0)
            else:
                with pytest.raises(StreamCutError):
                    read_to_status(process)


def test_evicted_pod_is_a_cut(kubernetes_cluster: KubernetesCluster, bench: Bench) -> None:
    namespace = bench.instance.id.split("/")[0]
    with kubernetes_bench(kubernetes_cluster, namespace, evicted="yes") as other:
        name = other.instance.id.split("/")[1]
        document = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        with other.runner.start(["sh", "-c", "while :; do echo y; sleep 0.1; done"]) as process:
            assert process.read()
            kubernetes_cluster.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(document).encode())
            with pytest.raises(StreamCutError):
                read_to_status(process)


def test_token_that_expires_in_a_long_run_is_read_anew(
    kubernetes_cluster: KubernetesCluster, bench: Bench, tmp_path: Path
) -> None:
    namespace = bench.instance.id.split("/")[0]
    place = ("--namespace", namespace)
    kubernetes_cluster.kubectl(
        "create", "role", "reader", *place, "--verb=get,list,create", "--resource=pods,pods/exec"
    )
    kubernetes_cluster.kubectl(
        "create", "rolebinding", "reader", *place, "--role=reader", f"--serviceaccount={namespace}:default"
    )
    # A token dies with the Secret that it is bound to: no shorter life than ten minutes can be asked for.
    kubernetes_cluster.kubectl("create", "secret", "generic", "life", *place)
    bound = ("--bound-object-kind=Secret", "--bound-object-name=life")
    token = kubernetes_cluster.kubectl("create", "token", "default", *place, *bound)
    document = yaml.safe_load(kubernetes_cluster.kubeconfig.read_text())
    file = tmp_path / "token"
    file.write_bytes(token.strip())
    document["users"][0]["user"] = {"tokenFile": str(file)}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(document))
    environment = KubernetesEnvironment({"KUBECONFIG": str(kubeconfig)}, namespace=namespace)
    (instance,) = environment.find(InstanceQuery(name=bench.instance.id.split("/")[1]))
    runner = environment.open(instance)
    with runner.start(["cat"], stdin=True) as process:
        process.write(b"before\n")
        assert process.read() == b"before\n"
        kubernetes_cluster.kubectl("delete", "secret", "life", *place)
        old = KubernetesEnvironment({"KUBECONFIG": str(kubeconfig)}, namespace=namespace)

        def is_dead() -> bool:
            try:
                old.check()
            except EnvironmentFailedError:
                return True
            return False

        kubernetes_cluster.wait_for("the token's end", is_dead, 60)
        with pytest.raises(EnvironmentFailedError) as caught:
            runner.run(["true"])
        assert "kubectl get pods" in (caught.value.hint or "")
        file.write_bytes(kubernetes_cluster.kubectl("create", "token", "default", *place).strip())
        assert runner.run(["echo", "renewed"]).stdout == b"renewed\n"
        # What runs already is not asked again.
        process.write(b"after\n")
        process.close_stdin()
        assert read_to_status(process) == 0


def test_restarted_api_server_cuts_or_carries_on_and_answers_again(
    bench: Bench, kubernetes_cluster: KubernetesCluster
) -> None:
    if not kubernetes_cluster.is_own:
        pytest.skip("another's cluster is not ours to restart")
    script = f"head -c {SIZE} /dev/zero; sleep 3; head -c {SIZE} /dev/zero"
    received, status = 0, None
    with bench.runner.start(["sh", "-c", script]) as process:
        received += len(process.read())
        restarting = threading.Thread(target=kubernetes_cluster.restart, args=("apiserver",))
        restarting.start()
        try:
            while data := process.read():
                received += len(data)
            status = process.wait()
        except StreamCutError:
            status = None
        restarting.join()
    assert status is None or (status, received) == (0, 2 * SIZE)
    kubernetes_cluster.wait_for("the API server", lambda: answers(bench), 60)

    def is_ready() -> bool:
        try:
            return kubernetes_cluster.kubectl("get", "--raw", "/readyz") == b"ok"
        except RigError:
            return False

    kubernetes_cluster.wait_for("all of the API server", is_ready, 60)
