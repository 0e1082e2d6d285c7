"""Whose a throwaway pod is: the process that made it and the pod which that runs in, as annotations.

By them another run tells a leftover from a drill that goes on.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from respaldo.environments.kubernetes_api import Api, ApiRefusedError
from respaldo.errors import EnvironmentFailedError
from respaldo.process import ProcessIdentity, identify_process, is_gone

OWNER: Final = "respaldo.owner"
OWNER_POD: Final = "respaldo.owner-pod"
#: The phases of a pod that runs no more.
ENDED: Final = frozenset({"Failed", "Succeeded"})


def describe_owner(api: Api, variables: Mapping[str, str]) -> dict[str, str]:
    """Return annotations that name this process, and in a cluster its pod."""
    own = {OWNER: json.dumps(asdict(identify_process()))}
    if "KUBERNETES_SERVICE_HOST" in variables:
        own[OWNER_POD] = _own_pod(api)
    return own


def is_left(api: Api, pod: Mapping[str, Any]) -> bool:
    """Tell whether the run that made a pod is surely gone: its process, the pod that it ran in, or its time."""
    if (pod.get("status") or {}).get("phase") in ENDED:
        return True
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    if _is_pod_gone(api, annotations.get(OWNER_POD, "")):
        return True
    try:
        return is_gone(ProcessIdentity(**json.loads(annotations.get(OWNER, ""))))
    except (ValueError, TypeError):
        return False


def read_pod(api: Api, namespace: str, name: str) -> Mapping[str, Any] | None:
    """Return a pod's document; None where there is none of that name."""
    try:
        return api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
    except ApiRefusedError as error:
        if error.status == 404:
            return None
        raise


def _own_pod(api: Api) -> str:
    """Return the pod that this process runs in as ``namespace/name/uid``; ``""`` where it cannot be seen: its network
    is the node's, whose name it has, or its Role does not let it look."""
    namespace, name = api.cluster.namespace, socket.gethostname()
    try:
        found = read_pod(api, namespace, name)
    except EnvironmentFailedError:
        return ""
    return f"{namespace}/{name}/{found['metadata']['uid']}" if found else ""


def _is_pod_gone(api: Api, owner: str) -> bool:
    """Tell whether a pod by ``_own_pod`` surely runs no more. A StatefulSet gives the next one the same name."""
    namespace, name, uid = [*owner.split("/"), "", ""][:3]
    if not uid:
        return False
    try:
        found = read_pod(api, namespace, name)
    except EnvironmentFailedError:
        return False
    return found is None or found["metadata"]["uid"] != uid or (found.get("status") or {}).get("phase") in ENDED
