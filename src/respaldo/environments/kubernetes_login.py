"""How a run proves who it is to a cluster: tokens, client certificates, credential plugins; each renewed in time."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from respaldo.errors import EnvironmentFailedError
from respaldo.language import _

#: A service account's token is replaced on disk at 80 % of its life, which is at least ten minutes.
REREAD_S: Final = 60.0
PLUGIN_S: Final = 60.0
#: A plugin's token is renewed this long before it expires.
MARGIN_S: Final = 60.0
_API_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What is shown to the API server: a header, a certificate with its key (PEM), both, or neither."""

    authorization: str | None = field(default=None, repr=False)
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)


class Login(ABC):
    """Gives a proof that is valid now. Thread-safe."""

    @abstractmethod
    def proof(self) -> Proof:
        """Return the proof; raise EnvironmentFailedError where none can be had."""

    def forget(self) -> None:
        """Take the last proof for refused: the next one is made anew."""
        return


class FixedLogin(Login):
    """A proof that a kubeconfig holds itself."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof

    def proof(self) -> Proof:
        return self._proof


class TokenFileLogin(Login):
    """A token in a file that somebody else keeps fresh, as the kubelet does for a pod's service account."""

    def __init__(self, path: Path, clock: Any = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = -REREAD_S
        self._token = ""

    def proof(self) -> Proof:
        with self._lock:
            if not self._token or self._clock() - self._read_at >= REREAD_S:
                try:
                    self._token = self._path.read_text().strip()
                except OSError as error:
                    raise EnvironmentFailedError(
                        _("the token file {path} cannot be read: {error}").format(path=self._path, error=error.strerror)
                    ) from error
                self._read_at = self._clock()
            return Proof(authorization=f"Bearer {self._token}")

    def forget(self) -> None:
        with self._lock:
            self._token = ""


class PluginLogin(Login):
    """A program that a kubeconfig names (`exec:`), asked again when what it gave expires.

    Kubernetes documentation, "client-go credential plugins".
    """

    def __init__(self, config: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> None:
        self._config = config
        self._folder = folder
        self._cluster = cluster
        self._lock = threading.Lock()
        self._given: Proof | None = None
        self._expires_s: float | None = None

    def proof(self) -> Proof:
        with self._lock:
            expired = self._expires_s is not None and time.time() >= self._expires_s - MARGIN_S
            if self._given is None or expired:
                self._given, self._expires_s = self._ask()
            return self._given

    def forget(self) -> None:
        with self._lock:
            self._given = None

    def _ask(self) -> tuple[Proof, float | None]:
        argv = self._argv()
        hint = self._config.get("installHint") or _("run it by hand and see what it says: {command}").format(
            command=" ".join(argv)
        )
        try:
            done = subprocess.run(
                argv,
                env=self._environment(),
                stdin=None if os.isatty(0) else subprocess.DEVNULL,
                capture_output=True,
                timeout=PLUGIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._failed(argv[0], str(error), hint) from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise self._failed(argv[0], said[-1] if said else f"status {done.returncode}", hint)
        try:
            status: dict[str, Any] = json.loads(done.stdout)["status"]
            token, expires = status.get("token"), status.get("expirationTimestamp")
            expires_s = datetime.fromisoformat(expires.replace("Z", "+00:00")).timestamp() if expires else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._failed(argv[0], _("what it printed is no ExecCredential"), hint) from error
        proof = Proof(
            authorization=f"Bearer {token}" if token else None,
            certificate=status.get("clientCertificateData"),
            key=status.get("clientKeyData"),
        )
        return proof, expires_s

    def _argv(self) -> list[str]:
        command = str(self._config.get("command") or "")
        # A relative path is relative to the kubeconfig's directory, a bare name is looked up on PATH.
        if "/" in command and not Path(command).is_absolute():
            command = str(self._folder / command)
        return [command, *(str(argument) for argument in self._config.get("args") or [])]

    def _environment(self) -> dict[str, str]:
        wanted = str(self._config.get("apiVersion") or _API_VERSIONS[0])
        if wanted not in _API_VERSIONS:
            raise EnvironmentFailedError(
                _("the kubeconfig's credential plugin speaks {version}, which is not supported").format(version=wanted)
            )
        spec: dict[str, Any] = {"interactive": os.isatty(0)}
        if self._config.get("provideClusterInfo"):
            spec["cluster"] = dict(self._cluster)
        info = {"apiVersion": wanted, "kind": "ExecCredential", "spec": spec}
        pairs: Sequence[Mapping[str, Any]] = self._config.get("env") or []
        added = {str(pair["name"]): str(pair["value"]) for pair in pairs}
        return {**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)}

    @staticmethod
    def _failed(program: str, reason: str, hint: str) -> EnvironmentFailedError:
        return EnvironmentFailedError(
            _("the credential plugin {program} failed: {reason}").format(program=program or "?", reason=reason),
            hint=hint,
        )


def basic(user: str, password: str) -> str:
    """Return the Authorization header of a user and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
