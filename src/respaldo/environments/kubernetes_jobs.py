"""Jobs of a cluster: made, waited for, their outcome read, removed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from respaldo.environments.kubernetes_api import PAUSES_S, Api, ApiRefusedError
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _

POLL_S: Final = 1.0
#: How long a pod may wait for a node, a volume or its image. A cluster that grows adds a node in less.
START_S: Final = 300.0
#: What does not pass by waiting. A claim that is not there is told by the scheduler, in words alone.
_NO_CLAIM: Final = re.compile(r'persistentvolumeclaim "[^"]+" not found')
_HOPELESS: Final = frozenset(
    {"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How a Job ended: its container's exit status (None: its pod was lost), and what that wrote."""

    status: int | None
    said: str
    reason: str = ""


class ClusterJobs:
    """The Jobs of one namespace. Thread-safe."""

    def __init__(self, api: Api, namespace: str, *, start_s: float = START_S) -> None:
        self._api = api
        self.namespace = namespace
        self._start_s = start_s
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    def run(self, document: Mapping[str, Any], pause: Callable[[float], object] = time.sleep) -> JobEnd:
        """Run a Job of one pod to its end, remove it, and return what came of it.

        Its name must be nobody else's. Raise EnvironmentFailedError where it cannot be made, or its pod cannot start.
        """
        name = document["metadata"]["name"]
        self._create(document, pause)
        try:
            end = self._wait(name, pause)
        except BaseException:
            with suppress(EnvironmentFailedError):  # another error is on its way; the Job's own time limit removes it
                self._remove(name)
            raise
        self._remove(name)
        return end

    def _create(self, document: Mapping[str, Any], pause: Callable[[float], object]) -> None:
        """Create it. Where no answer came it may be there: then its own name is taken."""
        pauses = list(PAUSES_S)
        while True:
            try:
                self._api.send("POST", self._jobs, document)
                return
            except ApiRefusedError as error:
                if error.status == 409 and len(pauses) < len(PAUSES_S):
                    return
                if error.status not in {429, 500, 502, 503, 504} or not pauses:
                    raise
            except EnvironmentFailedError:
                if not pauses:
                    raise
            pause(pauses.pop(0))

    def _wait(self, name: str, pause: Callable[[float], object]) -> JobEnd:
        deadline = time.monotonic() + self._start_s
        while True:
            try:
                status = self._api.get(f"{self._jobs}/{name}").get("status") or {}
            except ApiRefusedError as error:
                if error.status == 404:
                    return JobEnd(status=None, said="", reason=_("somebody removed the Job {name}").format(name=name))
                raise
            ended = [one for one in status.get("conditions") or [] if one.get("status") == "True"]
            if any(one["type"] in {"Complete", "Failed"} for one in ended):
                return self._read_end(name, " ".join(str(one.get("message") or "") for one in ended).strip())
            if not status.get("ready"):
                self._require_starting(name, is_late=time.monotonic() > deadline)
            pause(POLL_S)

    def _require_starting(self, name: str, *, is_late: bool) -> None:
        """Raise EnvironmentFailedError where the pod waits for what will not come."""
        pods = self._list(name)
        if not pods and is_late:
            raise EnvironmentFailedError(
                _("the cluster makes no pod for the Job {name}").format(name=name),
                hint=f"kubectl --namespace {self.namespace} get events",
            )
        for pod in pods:
            status = pod.get("status") or {}
            if status.get("phase") != "Pending":
                continue
            states = [one.get("state", {}).get("waiting") or {} for one in status.get("containerStatuses") or []]
            unmet = [one for one in status.get("conditions") or [] if one.get("status") == "False"]
            why = next((one for one in states if one.get("reason") in _HOPELESS), None)
            why = why or next((one for one in unmet if _NO_CLAIM.search(one.get("message") or "")), None)
            if why is None and is_late:
                why = next((one for one in [*states, *unmet] if one.get("message")), {"reason": "Pending"})
            if why is not None:
                raise EnvironmentFailedError(
                    _("the Job's pod {pod} does not start: {reason}").format(
                        pod=pod["metadata"]["name"], reason=why.get("message") or why.get("reason")
                    ),
                    hint=f"kubectl --namespace {self.namespace} get events",
                )

    def _read_end(self, name: str, reason: str) -> JobEnd:
        pods = sorted(self._list(name), key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        for pod in reversed(pods):
            states = (pod.get("status") or {}).get("containerStatuses") or []
            ended = next((one["state"]["terminated"] for one in states if "terminated" in one.get("state", {})), None)
            if ended is not None:
                said = self._api.text(f"{self._pods}/{pod['metadata']['name']}/log")
                return JobEnd(status=int(ended["exitCode"]), said=said, reason=str(ended.get("reason") or reason))
        return JobEnd(status=None, said="", reason=reason or _("its pod is gone"))

    def _list(self, name: str) -> list[dict[str, Any]]:
        return self._api.list(self._pods, [("labelSelector", f"job-name={name}")])

    def _remove(self, name: str) -> None:
        try:
            self._api.send("DELETE", f"{self._jobs}/{name}", query=[("propagationPolicy", "Background")])
        except ApiRefusedError as error:
            if error.status != 404:
                raise
