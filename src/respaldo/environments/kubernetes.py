"""Pods of a Kubernetes cluster: found through its API, commands run by exec. No kubectl is needed.

Imported only by whoever uses it; the cluster is looked up when it is first asked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import ClassVar, Final

from respaldo.environments.base import Environment, Instance, InstanceQuery, Runner, Sandbox, SandboxSpec
from respaldo.environments.kubernetes_api import Api, ApiRefusedError
from respaldo.environments.kubernetes_config import find_cluster
from respaldo.environments.kubernetes_copy import Copy, claim_name, copy_pod
from respaldo.environments.kubernetes_errors import gone, not_running
from respaldo.environments.kubernetes_pods import (
    NO_PRIMARY,
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
from respaldo.environments.kubernetes_process import PodContainer
from respaldo.environments.kubernetes_runner import PROTOCOLS, KubernetesRunner
from respaldo.environments.kubernetes_sandbox import KubernetesSandbox, lacks_rights, remove_leftovers
from respaldo.environments.websocket import PING_S
from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _

PROBE_S: Final = 2.0


class KubernetesEnvironment(Environment):
    """The cluster that a context, or the variables of this process, name. Thread-safe."""

    name: ClassVar[str] = "kubernetes"
    flag: ClassVar[str] = "--pod"

    def __init__(
        self,
        variables: Mapping[str, str] | None = None,
        *,
        context: str | None = None,
        namespace: str | None = None,
        all_namespaces: bool = False,
        container: str | None = None,
        protocols: Sequence[str] = PROTOCOLS,
        ping_s: float = PING_S,
    ) -> None:
        self._variables = os.environ if variables is None else variables
        self._context = context
        self._namespace = namespace
        self._is_everywhere = all_namespaces
        self._container = container
        self._protocols = protocols
        self._ping_s = ping_s
        self._lock = threading.Lock()
        self._api: Api | None = None

    def check(self) -> None:
        try:
            self._client().probe(PROBE_S)
        except UsageError as error:
            raise EnvironmentFailedError(error.message, hint=error.hint) from error

    def find(self, query: InstanceQuery) -> Sequence[Instance]:
        leave = only_standbys if query.standby else only_primaries
        if query.name is not None:
            pods, is_set = self._find_named(query.name)
            pods = leave(pods) if is_set else pods
        else:
            pods, is_set = self._list_pods(), True
            if not query.labels:
                pods = [pod for pod in pods if looks_like_server(pod)]
            pods = leave(pods)
        pods = [pod for pod in pods if query.labels.items() <= pod.labels.items()]
        describe_all = self._describe_sets if is_set and not query.standby else self._describe
        found = describe_all(pods)
        if len(found) > 1 and len(pods) == 1 and not query.every:
            raise UsageError(
                _("the pod {pod} has several containers: {names}").format(
                    pod=pods[0].name, names=", ".join(instance.id.rpartition("/")[2] for instance in found)
                ),
                hint=_("{flag} NAME picks one").format(flag="--k8s-container"),
            )
        return sorted(found, key=lambda instance: (instance.name, instance.id))

    def list_names(self) -> Sequence[str]:
        return sorted({instance.name for pod in self._list_pods() for instance in describe(pod)})

    def hint_elsewhere(self, name: str) -> str:
        if self._is_everywhere:
            return ""
        try:
            pods = [parse_pod(document) for document in self._client().list("/api/v1/pods")]
        except EnvironmentFailedError:
            return _("--pod NAME picks one by its name, --namespace NAME looks in another namespace")
        namespaces = sorted({pod.namespace for pod in named(pods, name)[0]})
        if not namespaces:
            return ""
        return _("it is in another namespace: --namespace {namespace}").format(namespace=namespaces[0])

    def open(self, instance: Instance) -> Runner:
        namespace, name, container_name = instance.id.split("/")
        try:
            pod = parse_pod(self._client().get(f"/api/v1/namespaces/{namespace}/pods/{name}"))
        except ApiRefusedError as error:
            if error.status == 404:
                raise gone(f"{namespace}/{name}") from error
            raise
        container = pod.container(container_name)
        if container is None:
            raise gone(instance.id)
        if container.state != "running":
            raise not_running(instance.name, namespace, name, container_name, container.state)
        place = PodContainer(
            api=self._client(),
            instance=instance,
            namespace=namespace,
            pod=name,
            container=container_name,
            uid=pod.uid,
            container_id=container.id,
            ping_s=self._ping_s,
        )
        return KubernetesRunner(place, self._protocols)

    def describe_stopped(self, instance: Instance) -> EnvironmentFailedError:
        namespace, name, container = instance.id.split("/")
        if instance.state == NO_PRIMARY:
            return EnvironmentFailedError(
                _("{name} has no primary at the moment").format(name=instance.name),
                hint=_("wait for the failover to end, or take a standby: --namespace {namespace} --pod {pod}").format(
                    namespace=namespace, pod=name
                ),
            )
        return not_running(instance.name, namespace, name, container, instance.state)

    def place(self) -> tuple[Api, str]:
        """Return the cluster's API, and the namespace where nothing else is said."""
        client = self._client()
        return client, self._namespace or client.cluster.namespace

    def open_sandbox(self, spec: SandboxSpec) -> Sandbox:
        return KubernetesSandbox(self._client(), self._copy(spec), self._variables, self.open)

    def remove_leftovers(self) -> int:
        return remove_leftovers(self._client(), [self._namespace or self._client().cluster.namespace])

    def _copy(self, spec: SandboxSpec) -> Copy:
        client = self._client()
        if spec.source is None:
            # An instance's name begins with its namespace, which has no dot.
            before, dot, _rest = spec.name.partition(".")
            namespace = before if dot else self._namespace or client.cluster.namespace
            remove_leftovers(client, [namespace])
            return Copy(namespace=namespace, image=spec.image)
        namespace, name, container = spec.source.id.split("/")
        remove_leftovers(client, [namespace])
        pod = client.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        data = "/var/lib/postgresql/data"
        with suppress(EnvironmentFailedError):  # a source that is down tells nothing
            variables = self.open(spec.source).variables()
            data = variables.get("PGDATA") or variables.get("POSTGRESQL_DATA_DIR") or data
        claimed = claim_name(pod, container, data)
        claim = None
        if claimed:
            try:
                claim = client.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claimed}")
            except ApiRefusedError as error:
                if error.status == 403:
                    raise lacks_rights(namespace, error.reason) from error
                raise
        return copy_pod(pod, container, data, claim)

    def close(self) -> None:
        with self._lock:
            self._api = None

    def _client(self) -> Api:
        with self._lock:
            if self._api is None:
                self._api = Api(find_cluster(self._variables, self._context))
            return self._api

    def _list_pods(self, namespace: str | None = None) -> list[Pod]:
        client = self._client()
        if namespace is None and not self._is_everywhere:
            namespace = self._namespace or client.cluster.namespace
        path = "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"
        return [parse_pod(document) for document in client.list(path)]

    def _find_named(self, wanted: str) -> tuple[list[Pod], bool]:
        namespace, kind, name = split_name(wanted)
        client = self._client()
        within = namespace or (None if self._is_everywhere else self._namespace or client.cluster.namespace)
        if within is not None and kind in {None, ""}:
            # A pod's own name takes no more than `get`, which a Role can grant for that one pod.
            try:
                return [parse_pod(client.get(f"/api/v1/namespaces/{within}/pods/{name}"))], False
            except ApiRefusedError as error:
                if error.status not in {403, 404}:
                    raise
        pods, is_set = named(self._list_pods(within), wanted)
        before, dot, _rest = name.partition(".")
        if not pods and dot and before != within and namespace is None and not self._is_everywhere:
            # An instance's own name tells its namespace.
            try:
                pods, is_set = named(self._list_pods(before), wanted)
            except ApiRefusedError:
                return [], False
        return pods, is_set

    def _describe(self, pods: Sequence[Pod]) -> list[Instance]:
        found = []
        for pod in pods:
            instances = describe(pod, self._container)
            if self._container is not None and not instances:
                raise UsageError(
                    _("the pod {pod} has no container {container}; there are: {names}").format(
                        pod=pod.name,
                        container=self._container,
                        names=", ".join(container.name for container in pod.containers),
                    ),
                    hint=_("{flag} NAME picks one").format(flag="--k8s-container"),
                )
            found += instances
        return found

    def _describe_sets(self, pods: Sequence[Pod]) -> list[Instance]:
        """Describe pods; a set that has only standbys now is one instance, which does not run."""
        found: list[Instance] = []
        ordered = sorted(pods, key=lambda pod: (pod.namespace, pod.set_name, pod.name))
        for _key, members in groupby(ordered, key=lambda pod: (pod.namespace, pod.set_name)):
            group = list(members)
            instances = self._describe(group)
            if lacks_primary(group):
                first = instances[0]
                instances = [
                    Instance(
                        environment=first.environment,
                        name=first.name,
                        id=first.id,
                        image=first.image,
                        state=NO_PRIMARY,
                        labels=first.labels,
                        is_postgres=first.is_postgres,
                    )
                ]
            found += instances
        return found
