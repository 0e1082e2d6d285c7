"""A Kubernetes cluster for the tests: one that is named, else one of this machine's own (kube_cluster.sh).

Knows nothing of the product and nothing of pytest.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.rig.engine import LABEL, RigError, docker, is_abandoned, run, run_id
from tests.rig.kube_api import KubernetesApi
from tests.rig.psql import psql_from_here, psql_words
from tests.rig.waiting import wait_for

VARIABLE = "RESPALDO_TEST_KUBECONFIG"
SCRIPT = Path(__file__).with_name("kube_cluster.sh")
#: A run's name as a label's value: a slash cannot be in one.
RUN_LABEL = f"{LABEL}.run"
#: Held, shared, by every session that uses this machine's cluster: nobody ends it under another.
USERS = Path("/run/lock/respaldo-rig-kube.users")
#: The superuser's, of the servers that ``postgres_set`` makes.
PASSWORD = "contraseña"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesCluster:
    """A cluster that answers. ``is_own``: of this machine, where programs can be restarted and images are loaded."""

    kubeconfig: Path
    is_own: bool

    def kubectl(self, *argv: str, stdin: bytes | None = None, timeout_s: float = 120) -> bytes:
        """Run kubectl as an administrator and return its output; raise RigError with its errors."""
        return run([*_kubectl(self), *argv], stdin=stdin, timeout_s=timeout_s)

    @property
    def api(self) -> KubernetesApi:
        """What is asked and written without a kubectl each time."""
        return _api(self)

    def load(self, *images: str) -> None:
        """See to it that pods can use these images of the Docker engine; another's cluster must have them itself."""
        if self.is_own:
            missing = [image for image in images if not _is_loaded(image)]
            if missing:
                run([str(SCRIPT), "load", *missing], timeout_s=200)

    def restart(self, program: str) -> None:
        """End one program of the cluster, ``kubelet`` for instance, and run it again."""
        if not self.is_own:
            raise RigError("the programs of another's cluster are not ours to restart")
        run([str(SCRIPT), "restart", program])

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Create or change objects."""
        for document in documents:
            self.api.apply(document)

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float = 120) -> None:
        """Return once the condition holds; raise RigError at the deadline."""
        wait_for(condition, lambda: f"{what}: not after {timeout_s:g} s\n{self._describe()}", timeout_s, pause_s=0.2)

    def wait_ready(self, namespace: str, pod: str, timeout_s: float = 120) -> None:
        """Return once every container of a pod that may not exist yet is ready."""

        def is_ready() -> bool:
            listed = self.api.get("pods", namespace=namespace, field_selector=f"metadata.name={pod}")["items"]
            states = [one for item in listed for one in item["status"].get("containerStatuses", [])]
            return (
                bool(states)
                and all(one["ready"] for one in states)
                and "deletionTimestamp" not in listed[0]["metadata"]
            )

        self.wait_for(f"the pod {namespace}/{pod}", is_ready, timeout_s)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """Make a namespace that no other test has; remove it with all that is in it."""
        name = f"respaldo-test-{os.getpid()}-{next(_numbers)}"
        labels = {RUN_LABEL: run_id().replace("/", "_")}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

        def has_account() -> bool:
            accounts = self.api.get("serviceaccounts", namespace=name)["items"]
            return any(one["metadata"]["name"] == "default" for one in accounts)

        try:
            # No pod may be made before the controller has made the account that it runs as.
            self.wait_for(f"the service account of {name}", has_account)
            yield name
        finally:
            self.api.delete("namespace", name)

    def remove_abandoned(self) -> None:
        """Remove the namespaces of earlier runs that died before they could."""
        for item in self.api.get("namespaces", selector=RUN_LABEL)["items"]:
            metadata = item["metadata"]
            if is_abandoned(metadata["labels"][RUN_LABEL].replace("_", "/")):
                self.api.delete("namespace", metadata["name"])

    def _describe(self) -> str:
        listed = self.kubectl("get", "pods,events", "--all-namespaces").decode(errors="replace")
        return "\n".join(listed.splitlines()[-40:])


def _kubectl(cluster: KubernetesCluster) -> list[str]:
    program = [str(SCRIPT), "kubectl"] if cluster.is_own else ["kubectl"]
    return [*program, "--kubeconfig", str(cluster.kubeconfig)]


@cache
def _api(cluster: KubernetesCluster) -> KubernetesApi:
    return KubernetesApi(_kubectl(cluster))


def named_cluster(kubeconfig: str) -> KubernetesCluster:
    """Return the cluster of a kubeconfig; raise RigError where it does not answer."""
    if shutil.which("kubectl") is None:
        raise RigError(f"{VARIABLE} is set, and there is no kubectl")
    cluster = KubernetesCluster(kubeconfig=Path(kubeconfig), is_own=False)
    cluster.kubectl("get", "--raw", "/readyz", timeout_s=30)
    return cluster


def running_cluster() -> KubernetesCluster | None:
    """Return this machine's own cluster where it runs already, all of it."""
    try:
        kubeconfig = run([str(SCRIPT), "status"], timeout_s=30).decode().strip()
    except RigError:
        return None
    return KubernetesCluster(kubeconfig=Path(kubeconfig), is_own=True)


def start_cluster() -> KubernetesCluster:
    """Start this machine's own cluster; raise RigError where that takes what is not here, a build among it."""
    for program in ("etcd", "containerd", "ctr", "iptables", "openssl", "docker"):
        if shutil.which(program) is None:
            raise RigError(f"no {program} on this machine")
    if os.geteuid() != 0:
        raise RigError("running a cluster takes root")
    if not Path("/usr/lib/cni/bridge").exists():
        raise RigError("no containernetworking-plugins on this machine")
    if not _is_built():
        raise RigError(f"Kubernetes is not built yet, which takes minutes and Go: {SCRIPT.name} build")
    kubeconfig = run([str(SCRIPT), "start"], timeout_s=200).decode().strip()
    return KubernetesCluster(kubeconfig=Path(kubeconfig), is_own=True)


@contextmanager
def own_cluster() -> Iterator[KubernetesCluster]:
    """Give this machine's own cluster, whole. It is started if need be, and then ended by whoever started it, unless
    another session uses it by then; its state stays."""
    USERS.parent.mkdir(parents=True, exist_ok=True)
    with USERS.open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        ran_before = running_cluster()
        yield ran_before or start_cluster()
        if ran_before is None:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            run([str(SCRIPT), "stop"], timeout_s=120)


def _is_built() -> bool:
    try:
        return bool(run([str(SCRIPT), "path"]).strip())
    except RigError:
        return False


def _is_loaded(image: str) -> bool:
    try:
        wanted = json.loads(docker("image", "inspect", image))[0]["Id"]
    except RigError as error:
        raise RigError(f"no image {image} in the Docker engine") from error
    return str(wanted) in _loaded().get(_full_name(image), "")


def _loaded() -> dict[str, str]:
    """Return the images of this machine's cluster: their names, and the digests of their configurations."""
    listed = run([str(SCRIPT), "images"]).decode().splitlines()
    return {name: digest for name, _space, digest in (line.partition(" ") for line in listed)}


def _full_name(image: str) -> str:
    return f"docker.io/{image}" if "/" in image else f"docker.io/library/{image}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresPod:
    """A pod that serves PostgreSQL, as its superuser sees it."""

    cluster: KubernetesCluster
    namespace: str
    name: str
    database: str

    def exec(self, argv: Sequence[str], stdin: bytes | None = None) -> bytes:
        """Run a command in the pod's container and return its output."""
        options = ["--stdin"] if stdin is not None else []
        place = ["--namespace", self.namespace, self.name, "--container", "postgres"]
        return self.cluster.kubectl("exec", *options, *place, "--", *argv, stdin=stdin)

    def psql(self, sql: str, database: str | None = None) -> str:
        """Run statements one by one and return what they print: unaligned, tuples only."""
        database = database or self.database
        said = psql_from_here(
            sql.encode(), address=self._address(), user="postgres", password=PASSWORD, database=database
        )
        said = self.exec(psql_words("postgres", database), sql.encode()) if said is None else said
        return said.decode().removesuffix("\n")

    def _address(self) -> str:
        """The pod's address, where it leads there from this machine."""
        if not self.cluster.is_own:
            return ""
        pod = self.cluster.api.get("pod", self.name, namespace=self.namespace)
        return str(pod["status"].get("podIP", ""))

    def pg_dump(self, *options: str, database: str | None = None) -> bytes:
        """Return what the container's own ``pg_dump`` writes."""
        return self.exec(["pg_dump", "-U", "postgres", "-d", database or self.database, *options])

    def contents(self, database: str | None = None) -> list[bytes]:
        """Return all that ``pg_dump`` says of a database, its lines in order, for comparison with another's."""
        lines = self.pg_dump("--encoding=UTF8", database=database).splitlines()
        return sorted(line for line in lines if not line.startswith((b"\\restrict", b"\\unrestrict")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedVolume:
    """A claim of a namespace, bound to a directory of the node."""

    cluster: KubernetesCluster
    namespace: str
    claim: str

    @property
    def name(self) -> str:
        return f"{self.namespace}-{self.claim}"

    def make(self) -> None:
        """Make volume and claim, the directory empty, and wait until they are one another's: a scheduler that finds a
        pod's claim unbound looks again only seconds later."""
        claim = {"namespace": self.namespace, "name": self.claim}
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
        directory = {"path": f"/var/tmp/{self.name}-{next(_numbers)}", "type": "DirectoryOrCreate"}
        volume = {"persistentVolumeReclaimPolicy": "Retain", "claimRef": claim, "hostPath": directory}
        wanted = {
            "accessModes": spec["accessModes"],
            "storageClassName": "",
            "volumeName": self.name,
            "resources": {"requests": spec["capacity"]},
        }
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": self.name},
                "spec": {**spec, **volume},
            },
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim, "spec": wanted},
        )

        def is_bound() -> bool:
            claim = self.cluster.api.get("pvc", self.claim, namespace=self.namespace)
            return bool(claim["status"].get("phase") == "Bound")

        self.cluster.wait_for("the claim", is_bound, 60)

    def renew(self) -> None:
        """Once the claim is deleted, make it again, with another directory."""
        self.remove()
        self.make()

    def remove(self) -> None:
        """Delete both, and the directories where they are on this machine."""
        place = ("--namespace", self.namespace)
        self.cluster.kubectl("delete", "pvc", self.claim, *place, "--ignore-not-found", "--timeout=60s")
        self.cluster.kubectl("delete", "pv", self.name, "--ignore-not-found", "--timeout=60s")
        for directory in Path("/var/tmp").glob(f"{self.name}-*") if self.cluster.is_own else ():
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def claimed_volume(cluster: KubernetesCluster, namespace: str, claim: str) -> Iterator[ClaimedVolume]:
    """Give a claim of a volume of its own; the pods that use it go first."""
    volume = ClaimedVolume(cluster=cluster, namespace=namespace, claim=claim)
    volume.make()
    try:
        yield volume
    finally:
        cluster.kubectl("delete", "statefulset", "--all", "--namespace", namespace, "--cascade=foreground")
        volume.remove()


def postgres_set(
    cluster: KubernetesCluster,
    namespace: str,
    name: str,
    *,
    claim: str | None = None,
    wait: bool = True,
    **options: Any,
) -> PostgresPod:
    """Make a StatefulSet of one PostgreSQL 15, its password in a Secret, and wait until it serves unless that is the
    caller's. ``claim``: where its data is; without it they go with the pod."""
    cluster.load("postgres:15")
    metadata = {"name": name, "namespace": namespace}
    reference = {"secretKeyRef": {"name": name, "key": "password"}}
    settings: list[dict[str, Any]] = [
        {"name": "POSTGRES_PASSWORD", "valueFrom": reference},
        {"name": "POSTGRES_DB", "value": "tienda"},
        {"name": "POSTGRES_INITDB_ARGS", "value": "--no-sync"},
        {"name": "PGDATA", "value": "/data/pgdata"},
    ]
    # The entrypoint's temporary server listens on its socket alone: an answer on TCP is the final one's.
    probe = ["psql", "-d", f"postgres://postgres:{quote(PASSWORD)}@127.0.0.1/tienda", "-c", "SELECT 1"]
    kept = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {"medium": "Memory"}}
    document = stateful_set(
        name,
        "postgres:15",
        environment=settings,
        probe=probe,
        volumes=[{"name": "data", **kept}],
        mounts=[{"name": "data", "mountPath": "/data"}],
        **options,
    )
    document["metadata"] = metadata
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": PASSWORD}}
    cluster.apply(secret, document)
    if wait:
        cluster.wait_ready(namespace, f"{name}-0")
    return PostgresPod(cluster=cluster, namespace=namespace, name=f"{name}-0", database="tienda")


def stateful_set(
    name: str,
    image: str,
    *,
    environment: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str] | None = None,
    replicas: int = 1,
    command: Sequence[str] = (),
    sidecars: Sequence[Mapping[str, Any]] = (),
    probe: Sequence[str] = (),
    volumes: Sequence[Mapping[str, Any]] = (),
    mounts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return a StatefulSet as a person would write it for PostgreSQL."""
    selector = {"app": name}
    container: dict[str, Any] = {
        "name": "postgres",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": list(environment),
        "ports": [{"containerPort": 5432}],
        "volumeMounts": list(mounts),
    }
    if command:
        container["command"] = list(command)
    if probe:
        # It tells that the server is there, and a connection that it still is: a command each second is much work.
        once = {"exec": {"command": list(probe)}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 120}
        container["startupProbe"] = once
        container["readinessProbe"] = {"tcpSocket": {"port": 5432}, "periodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": {**selector, **(labels or {})}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "automountServiceAccountToken": False,
                    "containers": [*sidecars, container],
                    "volumes": list(volumes),
                },
            },
        },
    }
