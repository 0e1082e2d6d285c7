"""A cluster's objects, read and written through one ``kubectl proxy``: a kubectl for each question takes a third of a
second of processor, and a wait asks many."""

from __future__ import annotations

import atexit
import json
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from tests.rig.engine import RigError

ANSWERS_IN_S = 60
# The path of each kind that the tests name, by its singular; those of a namespace, and the cluster's own.
_NAMESPACED = {
    "cronjob": "apis/batch/v1",
    "event": "api/v1",
    "job": "apis/batch/v1",
    "persistentvolumeclaim": "api/v1",
    "pod": "api/v1",
    "resourcequota": "api/v1",
    "secret": "api/v1",
    "serviceaccount": "api/v1",
    "statefulset": "apis/apps/v1",
}
_OF_THE_CLUSTER = {"namespace": "api/v1", "persistentvolume": "api/v1"}
_SHORT = {"pv": "persistentvolume", "pvc": "persistentvolumeclaim"}


class KubernetesApi:
    """One cluster's API. The proxy ends with this process."""

    def __init__(self, kubectl: Sequence[str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="respaldo-rig-")
        self._socket = f"{self._directory.name}/api"
        command = [*kubectl, "proxy", f"--unix-socket={self._socket}"]
        self._proxy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        atexit.register(self._end)
        # It says so once it listens, and nothing after.
        if self._proxy.stdout is None or not self._proxy.stdout.readline():
            raise RigError(f"{' '.join(command)}: ended with status {self._proxy.wait()}")

    def get(
        self, kind: str, name: str = "", *, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> dict[str, Any]:
        """Return an object; without a name, a list of those that are there, each with its kind."""
        query = {key: value for key, value in (("labelSelector", selector), ("fieldSelector", field_selector)) if value}
        found = self._ask("GET", f"{_path(kind, name, namespace)}?{urlencode(query)}")
        for item in found.get("items") or ():
            item["kind"] = found["kind"].removesuffix("List")
        return found

    def apply(self, document: Mapping[str, Any]) -> None:
        """Create an object, or change the one there is; what the last ``apply`` said and this one does not, goes."""
        metadata = document["metadata"]
        path = _path(document["kind"], metadata["name"], metadata.get("namespace", ""))
        self._ask("PATCH", f"{path}?fieldManager=respaldo-test&force=true", document)

    def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        """Have an object removed, if it is there, without waiting for its end."""
        self._ask("DELETE", _path(kind, name, namespace), missing_is_fine=True)

    def _ask(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, *, missing_is_fine: bool = False
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/apply-patch+yaml"} if document else {}
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(ANSWERS_IN_S)
        try:
            connection.sock.connect(self._socket)
            connection.request(method, path, json.dumps(document).encode() if document else None, headers)
            answer = connection.getresponse()
            said: dict[str, Any] = json.loads(answer.read())
        except (OSError, HTTPException, ValueError) as error:
            raise RigError(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 300 and not (missing_is_fine and answer.status == 404):
            raise RigError(f"{method} {path}: ({said.get('reason')}): {said.get('message')}")
        return said

    def _end(self) -> None:
        self._proxy.terminate()
        self._proxy.wait()
        self._directory.cleanup()


def _path(kind: str, name: str, namespace: str) -> str:
    singular = kind.lower()
    singular = _SHORT.get(singular, singular.removesuffix("s"))
    if singular in _OF_THE_CLUSTER:
        parts = [_OF_THE_CLUSTER[singular]]
    else:
        parts = [_NAMESPACED[singular], "namespaces", quote(namespace or "default")]
    return "/" + "/".join([*parts, f"{singular}s", *([quote(name)] if name else [])])
