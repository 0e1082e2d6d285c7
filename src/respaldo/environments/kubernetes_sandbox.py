"""Throwaway pods: made from a source's own pod, known by their label, removed with their claim and their Secret."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from respaldo.environments.base import Instance, Runner, Sandbox
from respaldo.environments.kubernetes_api import Api, ApiRefusedError
from respaldo.environments.kubernetes_copy import (
    HOLDER,
    SERVER,
    Copy,
    claim_document,
    pod_document,
    secret_document,
)
from respaldo.environments.kubernetes_owner import ENDED, describe_owner, is_left, read_pod
from respaldo.environments.recognition import DRILL_LABEL
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _

#: A Role can grant exec and delete for names, not for beginnings of names: so many drills at once in a namespace.
NAMES: Final = tuple(f"respaldo-drill-{number}" for number in range(4))
RIGHTS: Final = (
    'rules: [{apiGroups: [""], resources: [pods, secrets, persistentvolumeclaims], verbs: [create]}, '
    f'{{apiGroups: [""], resources: [pods, secrets, persistentvolumeclaims], resourceNames: [{", ".join(NAMES)}], '
    "verbs: [delete]}, "
    f'{{apiGroups: [""], resources: [pods/exec], resourceNames: [{", ".join(NAMES)}], verbs: [create, get]}}, '
    '{apiGroups: [""], resources: [persistentvolumeclaims], verbs: [get]}]'
)
_PAUSE_S: Final = 0.2
_REMOVE_S: Final = 90.0
_STOP_S: Final = 60.0
#: How long a claim may look for a volume before the copy does without.
_BIND_S: Final = 20.0
_START_S: Final = 120.0
# ErrImagePull is tried once more, and is ImagePullBackOff then.
_HOPELESS: Final = frozenset({"ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError"})
_SECONDS_TO_END: Final = 2

# A line that no server starts with, so that the one that the kubelet starts at once waits for the work to be done.
_HOLD: Final = """
set -e
cd "$(dirname "$(find "$1" -name postmaster.pid 2>/dev/null | head -n 1)")"
cp -p postgresql.auto.conf respaldo.held
echo 'respaldo is at work' >>postgresql.auto.conf
pwd
"""
_STOP: Final = 'kill -INT "$(head -n 1 "$1/postmaster.pid")"'
_WORK: Final = """
directory=$1; shift; waited=0
while [ -e "$directory/postmaster.pid" ] && [ "$waited" -lt 600 ]; do sleep 0.1; waited=$((waited + 1)); done
[ -e "$directory/postmaster.pid" ] && exit 124
"$@"; status=$?
cat "$directory/respaldo.held" >"$directory/postgresql.auto.conf"
rm -f "$directory/respaldo.held"
exit "$status"
"""


class KubernetesSandbox(Sandbox):
    """One throwaway pod. Not thread-safe."""

    def __init__(
        self, api: Api, copy: Copy, variables: Mapping[str, str], open_runner: Callable[[Instance], Runner]
    ) -> None:
        self._api = api
        self._copy = copy
        self._variables = variables
        self._open_runner = open_runner
        self._name = ""
        self._runner: Runner | None = None
        self._with_claim = copy.claim is not None
        self._create()

    @property
    def runner(self) -> Runner:
        if self._runner is None:
            self._runner = self._open(SERVER)
        return self._runner

    def check_alive(self) -> None:
        document = self._read() or {}
        status = document.get("status") or {}
        if status.get("phase") in ENDED:
            raise EnvironmentFailedError(
                _("the throwaway pod {name} ended by itself: {reason}").format(
                    name=self._name, reason=status.get("message") or status.get("reason") or status["phase"]
                )
            )
        state = _status_of(document, SERVER)
        waiting: Mapping[str, Any] = (state.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS or (
            waiting.get("reason") == "CrashLoopBackOff" and state.get("restartCount", 0) > 2
        ):
            raise EnvironmentFailedError(
                _("the throwaway pod {name} does not start: {reason}").format(
                    name=self._name, reason=waiting.get("message") or waiting["reason"]
                )
            )
        if self._copy.image_id and state.get("imageID") and state["imageID"] != self._copy.image_id:
            raise EnvironmentFailedError(
                _("the throwaway pod has another image than the source: {image}").format(image=state["imageID"])
            )

    def restart(self, *, meanwhile: Sequence[str] | None = None) -> None:
        before = _status_of(self._read() or {}, SERVER).get("restartCount", 0)
        held = self._run(SERVER, ["sh", "-c", _HOLD, "sh", self._copy.directory]).decode().strip()
        with suppress(EnvironmentFailedError):  # the exec ends with the container
            self._run(SERVER, ["sh", "-c", _STOP, "sh", held])
        self._run(HOLDER, ["sh", "-c", _WORK, "sh", held, *(meanwhile or ["true"])])
        self._runner = None
        self._await(
            _("the throwaway pod's server started again"),
            lambda: _status_of(self._read() or {}, SERVER).get("restartCount", 0) > before,
            _STOP_S,
        )

    def lose_data(self) -> None:
        self.close()
        self._create()

    def close(self) -> None:
        if self._name:
            remove(self._api, self._copy.namespace, self._name)
            self._name, self._runner = "", None

    def _open(self, container: str) -> Runner:
        namespace = self._copy.namespace
        instance = Instance(
            environment="kubernetes",
            name=f"{namespace}.{self._name}",
            id=f"{namespace}/{self._name}/{container}",
            image=self._copy.image,
            labels={DRILL_LABEL: "true"},
        )
        return self._open_runner(instance)

    def _run(self, container: str, command: Sequence[str]) -> bytes:
        done = self._open(container).run(command, timeout_s=_STOP_S + 30)
        if done.status != 0:
            raise EnvironmentFailedError(
                _("{program} failed on the drill's data: exit status {status}").format(
                    program=command[0], status=done.status
                )
            )
        return done.stdout

    def _create(self) -> None:
        self._begin()
        try:
            self._await(
                _("the throwaway pod is given a node"), self._is_placed, _BIND_S if self._with_claim else _START_S
            )
        except EnvironmentFailedError:
            self.close()
            if not self._with_claim:
                raise
            # No volume is free for it: the copy's data lie beside the pod instead.
            self._with_claim = False
            self._create()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Create the pod, and then what it owns: it waits for them."""
        namespace = self._copy.namespace
        pods = f"/api/v1/namespaces/{namespace}/pods"
        owner = describe_owner(self._api, self._variables)
        try:
            for name in NAMES:
                document = pod_document(self._copy, name, owner, with_claim=self._with_claim)
                try:
                    self._api.send("POST", pods, document)
                except ApiRefusedError as error:
                    if error.status != 409:
                        raise
                else:
                    self._name = name
                    break
            else:
                raise EnvironmentFailedError(
                    _("{count} drills run in the namespace {namespace} already").format(
                        count=len(NAMES), namespace=namespace
                    )
                )
            try:
                pod = self._api.get(f"{pods}/{self._name}")
                self._api.send(
                    "POST", f"/api/v1/namespaces/{namespace}/secrets", secret_document(pod, secrets.token_urlsafe(24))
                )
                if self._with_claim and self._copy.claim is not None:
                    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
                    self._api.send("POST", claims, claim_document(pod, self._copy.claim))
            except BaseException:
                self.close()
                raise
        except ApiRefusedError as error:
            if error.status == 403 and " cannot " in error.reason:
                raise lacks_rights(namespace, error.reason) from error
            if error.status in {403, 422}:
                # A quota, a limit, a policy: no Role helps against those.
                raise EnvironmentFailedError(
                    _("the cluster does not take the throwaway pod: {reason}").format(reason=error.reason)
                ) from error
            raise

    def _is_placed(self) -> bool:
        return bool(((self._read() or {}).get("spec") or {}).get("nodeName"))

    def _read(self) -> Mapping[str, Any] | None:
        return read_pod(self._api, self._copy.namespace, self._name)

    def _await(self, what: str, condition: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                conditions = ((self._read() or {}).get("status") or {}).get("conditions") or []
                said = "; ".join(str(one["message"]) for one in conditions if one.get("message"))
                raise EnvironmentFailedError(
                    _("{what}: not within {seconds:g} s: {reason}").format(what=what, seconds=timeout_s, reason=said)
                )
            time.sleep(_PAUSE_S)


def lacks_rights(namespace: str, reason: str) -> EnvironmentFailedError:
    """Return the error that names the Role which a drill needs."""
    return EnvironmentFailedError(
        _("a drill needs more rights in the namespace {namespace}: {reason}").format(
            namespace=namespace, reason=reason
        ),
        hint=_("a Role with {rules} (deploy/kubernetes/drill/rbac.yaml)").format(rules=RIGHTS),
    )


def remove(api: Api, namespace: str, name: str, uid: str | None = None) -> None:
    """Remove a throwaway pod, its claim and its Secret, and wait until the pod and the claim are gone.

    ``uid``: that very pod, and no other run's that has taken its name meanwhile.
    """
    paths = [f"/api/v1/namespaces/{namespace}/{kind}/{name}" for kind in ("pods", "persistentvolumeclaims", "secrets")]
    for path in paths:
        is_pod = "/pods/" in path
        options = {"gracePeriodSeconds": _SECONDS_TO_END, **({"preconditions": {"uid": uid}} if uid else {})}
        try:
            api.send("DELETE", path, options if is_pod else None)
        except ApiRefusedError as error:
            if error.status == 409 and is_pod and uid:
                return
            # What the pod owns goes with it anyhow.
            if error.status != 404 and is_pod:
                raise
    deadline_s = time.monotonic() + _REMOVE_S
    while _is_there(api, namespace, name, uid):
        if time.monotonic() > deadline_s:
            raise EnvironmentFailedError(_("the throwaway pod {name} does not go away").format(name=name))
        time.sleep(_PAUSE_S)


def remove_leftovers(api: Api, namespaces: Sequence[str]) -> int:
    """Remove the throwaway pods of runs that are gone; return how many. What may not be seen stays."""
    removed = 0
    for namespace in namespaces:
        pods: list[dict[str, Any]] = []
        with suppress(ApiRefusedError):
            pods = api.list(f"/api/v1/namespaces/{namespace}/pods", [("labelSelector", DRILL_LABEL)])
        for pod in pods:
            name = str(pod["metadata"]["name"])
            if name in NAMES and is_left(api, pod):
                remove(api, namespace, name, str(pod["metadata"]["uid"]))
                removed += 1
    return removed


def _is_there(api: Api, namespace: str, name: str, uid: str | None) -> bool:
    pod = read_pod(api, namespace, name)
    if pod is not None:
        return uid in {None, pod["metadata"]["uid"]}
    try:
        api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
    except ApiRefusedError:
        return False  # one that may not be read goes with its pod
    return True


def _status_of(pod: Mapping[str, Any], container: str) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    found: Mapping[str, Any] = next((one for one in statuses if one["name"] == container), {})
    return found
