"""What the contract of environments runs on: a container of a real engine, and this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from respaldo.environments.base import Environment, Instance, InstanceQuery, Runner
from respaldo.environments.docker import DockerEnvironment
from respaldo.environments.kubernetes import KubernetesEnvironment
from respaldo.environments.kubernetes_runner import PROTOCOLS
from respaldo.environments.local import LocalEnvironment
from respaldo.environments.local_tools import REQUIRED
from respaldo.errors import EnvironmentFailedError
from tests.rig.kube_cluster import KubernetesCluster
from tests.rig.listening import answering_server

IMAGES = ("postgres:17", "postgres:18", "postgres:16", "postgres:15", "postgres:14", "postgres:13")

#: The one that every test of the cluster uses: another would take its time to be brought there.
POD_IMAGE = "postgres:15"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One environment with one running instance, and how to make that instance die."""

    environment: Environment
    instance: Instance
    runner: Runner
    kill: Callable[[], None] | None = None
    scratch: str = "/tmp"  # a directory where commands may write
    variables: Mapping[str, str] = field(default_factory=dict)


def require_docker() -> None:
    """Skip without an engine or an image, or fail where RESPALDO_REQUIRE says that there must be one."""
    try:
        DockerEnvironment().check()
        reason = "" if _find_image() else f"none of these images is there: {', '.join(IMAGES)}"
    except EnvironmentFailedError as error:
        reason = error.message
    if reason and "docker" in os.environ.get("RESPALDO_REQUIRE", ""):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@contextmanager
def docker_bench(**labels: str) -> Iterator[Bench]:
    """A container that idles, of a PostgreSQL image."""
    import docker

    require_docker()
    client = docker.from_env()
    container = client.containers.run(
        _find_image(),
        ["3600"],
        entrypoint="sleep",
        init=True,
        detach=True,
        name=f"contract-{secrets.token_hex(4)}",
        environment={"POSTGRES_PASSWORD": "pässword with spaces"},
        labels={"contract": "yes", **{key.replace("_", "."): value for key, value in labels.items()}},
    )
    environment = DockerEnvironment()
    try:
        (instance,) = environment.find(InstanceQuery(name=container.name))
        yield Bench(
            environment=environment,
            instance=instance,
            runner=environment.open(instance),
            kill=container.kill,
            variables={"POSTGRES_PASSWORD": "pässword with spaces"},
        )
    finally:
        container.remove(force=True, v=True)
        environment.close()
        client.close()


@contextmanager
def kubernetes_bench(
    cluster: KubernetesCluster, namespace: str, protocols: Sequence[str] = PROTOCOLS, **labels: str
) -> Iterator[Bench]:
    """A pod that idles, of a PostgreSQL image."""
    cluster.load(POD_IMAGE)
    name = f"contract-{secrets.token_hex(4)}"
    metadata = {"name": name, "labels": {"contract": "yes", **labels}}
    container = {
        "name": "postgres",
        "image": POD_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "3600"],
        "env": [{"name": "POSTGRES_PASSWORD", "value": "pässword with spaces"}],
    }
    spec = {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "containers": [container]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "namespace": namespace}, "spec": spec})
    environment = KubernetesEnvironment(
        {"KUBECONFIG": str(cluster.kubeconfig)}, namespace=namespace, protocols=protocols
    )

    def delete() -> None:
        cluster.api.delete("pod", name, namespace=namespace)

    try:
        cluster.wait_ready(namespace, name)
        (instance,) = environment.find(InstanceQuery(name=name))
        yield Bench(
            environment=environment,
            instance=instance,
            runner=environment.open(instance),
            kill=delete,
            variables={"POSTGRES_PASSWORD": "pässword with spaces"},
        )
    finally:
        delete()
        environment.close()


@contextmanager
def local_bench(folder: Path) -> Iterator[Bench]:
    """This machine, with something that answers as a server does and files that are named as its programs."""
    tools = folder / "bin"
    tools.mkdir()
    for program in REQUIRED:
        (tools / program).touch(mode=0o755)
    variables = {"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": "pässword with spaces"}
    with answering_server() as port:
        environment = LocalEnvironment("127.0.0.1", port, tools, variables)
        (instance,) = environment.find(InstanceQuery())
        yield Bench(
            environment=environment,
            instance=instance,
            runner=environment.open(instance),
            scratch=str(folder),
            variables=variables | {"PATH": f"{tools}:{variables['PATH']}", "PGHOST": "127.0.0.1", "PGPORT": str(port)},
        )


def _find_image() -> str:
    import docker

    client = docker.from_env()
    try:
        tags = {tag for image in client.images.list() for tag in image.tags}
    finally:
        client.close()
    return next((image for image in IMAGES if image in tags), "")
