"""Pods as instances: which container holds the server, what a pod belongs to, which of a set is the primary, its name.

Pure. Labels of Bitnami's chart, CloudNativePG, Zalando's and Crunchy's operators (and Percona's, made from it),
StackGres and KubeBlocks, as their documentation names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from respaldo.environments.base import Instance
from respaldo.environments.recognition import DRILL_LABEL, ENABLE_LABEL, PORT, looks_like_postgres

RUNNING: Final = "running"
NO_PRIMARY: Final = "no primary"
_CLUSTER_LABELS: Final = (
    "cnpg.io/cluster",
    "postgres-operator.crunchydata.com/cluster",
    "stackgres.io/cluster-name",
    "cluster-name",  # Zalando, and Patroni's own examples
)
_ROLE_LABELS: Final = (
    "cnpg.io/instanceRole",
    "postgres-operator.crunchydata.com/role",
    "spilo-role",
    "kubeblocks.io/role",
    "role",
    "app.kubernetes.io/component",  # Bitnami: primary, read
)
_PRIMARY: Final = frozenset({"primary", "master", "leader"})
_STANDBY: Final = frozenset({"replica", "standby", "read", "secondary", "sync_standby", "quorum_standby", "slave"})
_RELEASE_LABEL: Final = "app.kubernetes.io/instance"
_HASH_LABEL: Final = "pod-template-hash"
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
# What the charts and operators above call the container with the server.
_CONTAINERS: Final = ("postgres", "postgresql", "database", "patroni", "spilo", "db")
_KINDS: Final = {
    "pod": "", "pods": "", "po": "", "statefulset": "StatefulSet", "sts": "StatefulSet", "deployment": "Deployment",
    "deploy": "Deployment", "daemonset": "DaemonSet", "ds": "DaemonSet", "cluster": "Cluster",
}  # fmt: skip


# Nothing makes such a pod anew once it is deleted.
_MADE_ONCE: Final = frozenset({"", "Job"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of a pod. ``id`` changes when it is restarted."""

    name: str
    image: str
    state: str
    id: str
    variables: frozenset[str]
    ports: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What the API tells of a pod. ``kind`` and ``owner``: what made it, a Deployment rather than its ReplicaSet.

    ``is_ended``: it was to end one day (a Job's), and did. ``is_lost``: it was to run for ever, and its node ended it
    (evicted, shut down): what made it makes another, a pod by itself is gone. ``is_deleted``: it is being deleted.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    kind: str
    owner: str
    node: str
    is_ended: bool
    is_lost: bool
    is_deleted: bool
    containers: tuple[Container, ...]

    @property
    def cluster(self) -> str:
        """The replicated cluster that an operator made this pod for, or ``""``."""
        return next((self.labels[label] for label in _CLUSTER_LABELS if self.labels.get(label)), "")

    @property
    def is_primary(self) -> bool:
        return self._role in _PRIMARY

    @property
    def is_standby(self) -> bool:
        return self._role in _STANDBY

    @property
    def is_leaving(self) -> bool:
        return self.is_deleted or self.is_lost

    @property
    def should_run(self) -> bool:
        """Whether its absence is a fault. A pod that is deleted is made anew by what made it, and that may fail; a pod
        by itself is not."""
        return not self.is_ended and not (self.is_deleted and self.kind in _MADE_ONCE)

    @property
    def set_name(self) -> str:
        """What the pods of one set share: a cluster, a chart's release, a StatefulSet; a pod alone its own name."""
        release = self.labels.get(_RELEASE_LABEL, "") if self.is_primary or self.is_standby else ""
        return self.cluster or release or self.owner or self.name

    @property
    def steady_name(self) -> str:
        """A name that outlives the pod: of its cluster, its Deployment, or its place in its StatefulSet."""
        if self.cluster:
            return f"{self.namespace}.{self.cluster}"
        if self.kind == "Deployment":
            return f"{self.namespace}.{self.owner}"
        if self.kind == "DaemonSet":
            return f"{self.namespace}.{self.owner}.{self.node}"
        return f"{self.namespace}.{self.name}"

    @property
    def _role(self) -> str:
        return next((self.labels[label].lower() for label in _ROLE_LABELS if self._has_role(label)), "")

    def _has_role(self, label: str) -> bool:
        value = self.labels.get(label, "").lower()
        # Many charts have a `role` or a `component` that says something else.
        return value in _PRIMARY or value in _STANDBY

    def container(self, name: str) -> Container | None:
        """Return the container of this name."""
        return next((one for one in self.containers if one.name == name), None)


def parse_pod(document: Mapping[str, Any]) -> Pod:
    """Return what of a pod's document concerns us."""
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    labels: dict[str, str] = metadata.get("labels") or {}
    owners = metadata.get("ownerReferences") or []
    owner: Mapping[str, Any] = next((one for one in owners if one.get("controller")), {})
    kind, owner_name = str(owner.get("kind") or ""), str(owner.get("name") or "")
    if kind == "ReplicaSet":
        kind, owner_name = "Deployment", owner_name.removesuffix(f"-{labels.get(_HASH_LABEL, '')}")
    phase = str(status.get("reason") or status.get("phase") or "")
    is_deleted = "deletionTimestamp" in metadata
    has_stopped = status.get("phase") in {"Succeeded", "Failed"}
    runs_for_ever = spec.get("restartPolicy", "Always") == "Always"
    is_lost = has_stopped and runs_for_ever
    leaving = "Terminating" if is_deleted else phase if is_lost else ""
    states = {one["name"]: one for one in status.get("containerStatuses") or []}
    return Pod(
        namespace=str(metadata["namespace"]),
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        labels=labels,
        annotations=metadata.get("annotations") or {},
        kind=kind,
        owner=owner_name,
        node=str(spec.get("nodeName") or ""),
        is_ended=has_stopped and not runs_for_ever,
        is_lost=is_lost,
        is_deleted=is_deleted,
        containers=tuple(
            _parse_container(one, states.get(one["name"], {}), phase, leaving) for one in spec.get("containers") or []
        ),
    )


def _parse_container(spec: Mapping[str, Any], status: Mapping[str, Any], phase: str, leaving: str) -> Container:
    state: Mapping[str, Any] = status.get("state") or {}
    if leaving:
        text = leaving
    elif "running" in state:
        text = RUNNING
    else:
        said = state.get("waiting") or state.get("terminated") or {}
        text = str(said.get("reason") or phase or "Unknown")
    return Container(
        name=str(spec["name"]),
        image=str(spec.get("image") or ""),
        state=text,
        id=str(status.get("containerID") or ""),
        variables=frozenset(str(one["name"]) for one in spec.get("env") or []),
        ports=frozenset(int(one["containerPort"]) for one in spec.get("ports") or []),
    )


def server_containers(pod: Pod) -> Sequence[Container]:
    """Return the containers of a pod that look like a PostgreSQL server: mostly one; the most likely of several."""
    enabled = pod.labels.get(ENABLE_LABEL, "").lower()
    if enabled == "false":
        return []
    likely = [
        one for one in pod.containers if looks_like_postgres(image=one.image, variables=one.variables, ports=one.ports)
    ]
    if not likely and (enabled == "true" or _is_named_postgres(pod)):
        likely = _default_containers(pod)
    if len(likely) > 1:
        names = {one.name: one for one in likely}
        known = next((names[name] for name in _CONTAINERS if name in names), None)
        listening = [one for one in likely if PORT in one.ports]
        likely = [known] if known else listening or likely
    return likely


def _is_named_postgres(pod: Pod) -> bool:
    return any(looks_like_postgres(image=one.image, labels=pod.labels) for one in pod.containers)


def _default_containers(pod: Pod) -> list[Container]:
    """Return the container that is meant where none is said and none looks like a server."""
    default = pod.container(pod.annotations.get(_DEFAULT_CONTAINER, ""))
    known = next((one for name in _CONTAINERS if (one := pod.container(name))), None)
    one = default or known
    return [one] if one else list(pod.containers)


def describe(pod: Pod, wanted: str | None = None) -> list[Instance]:
    """Return a pod's instances: of the container that is wanted, else of those that hold a server, else of all.

    Empty where it has no container of that name.
    """
    servers = server_containers(pod)
    natural = servers or _default_containers(pod)
    chosen = [one for one in pod.containers if one.name == wanted] if wanted else natural
    return [
        Instance(
            environment="kubernetes",
            name=pod.steady_name if natural == [one] else f"{pod.steady_name}.{one.name}",
            id=f"{pod.namespace}/{pod.name}/{one.name}",
            image=one.image,
            state=one.state,
            labels=pod.labels,
            is_postgres=one in servers,
            should_run=pod.should_run,
        )
        for one in chosen
    ]


def only_primaries(pods: Sequence[Pod]) -> list[Pod]:
    """Leave out the standbys of every set that has a primary, and pods on their way out whose successor is there."""
    with_primary = {(pod.namespace, pod.set_name) for pod in pods if pod.is_primary and not pod.is_leaving}
    kept = [pod for pod in pods if not (pod.is_standby and (pod.namespace, pod.set_name) in with_primary)]
    return _without_replaced(kept, lambda pod: (pod.namespace, pod.steady_name))


def only_standbys(pods: Sequence[Pod]) -> list[Pod]:
    """Leave out the primary of every set whose labels tell its standbys."""
    with_standby = {(pod.namespace, pod.set_name) for pod in pods if pod.is_standby and not pod.is_leaving}
    kept = _without_replaced(pods, lambda pod: (pod.namespace, pod.set_name))
    return [pod for pod in kept if pod.is_standby or (pod.namespace, pod.set_name) not in with_standby]


def _without_replaced(pods: Sequence[Pod], key: Callable[[Pod], object]) -> list[Pod]:
    """Leave out pods on their way out, but one where no other of the same key is there."""
    last = {key(pod): pod for pod in sorted(pods, key=lambda pod: not pod.is_leaving)}
    return [pod for pod in pods if not pod.is_leaving or last[key(pod)] is pod]


def lacks_primary(pods: Sequence[Pod]) -> bool:
    """Tell whether these pods of one set are several standbys, and nothing else: in the middle of a failover."""
    return len(pods) > 1 and all(pod.is_standby for pod in pods)


def looks_like_server(pod: Pod) -> bool:
    """Tell whether a pod that nobody named is to be taken for a server: jobs that ended and drills are not."""
    return not pod.is_ended and DRILL_LABEL not in pod.labels and bool(server_containers(pod))


def named(pods: Sequence[Pod], wanted: str) -> tuple[list[Pod], bool]:
    """Return the pods that a name means, and whether it is the name of a set rather than of one pod.

    A pod's own name first; then an instance's name (``namespace.name``); then what made the pod (``statefulset/pg``,
    ``pg``), its cluster, its chart's release. ``namespace/`` may stand before any.
    """
    namespace, kind, name = split_name(wanted)
    among = [pod for pod in pods if namespace in {None, pod.namespace}]
    if kind in {None, ""}:
        own = [pod for pod in among if pod.name == name]
        if own:
            return own, False
    steady = [pod for pod in among if kind is None and name in {one.name for one in describe(pod)}]
    if steady:
        return steady, True
    made = [pod for pod in among if pod.owner == name and kind in {None, pod.kind}]
    made = made or [pod for pod in among if pod.cluster == name and kind in {None, "Cluster"}]
    made = made or [pod for pod in among if kind is None and pod.labels.get(_RELEASE_LABEL) == name]
    servers = [pod for pod in made if looks_like_server(pod)]
    return servers or made, True


def split_name(wanted: str) -> tuple[str | None, str | None, str]:
    """Split ``[namespace/][kind/]name``; an unknown kind is a namespace."""
    parts = wanted.strip("/").split("/")
    kind = _KINDS.get(parts[-2].lower()) if len(parts) > 1 else None
    namespace = parts[0] if len(parts) > 2 or (len(parts) == 2 and kind is None) else None
    return namespace, kind, parts[-1]
