"""Containers of a Docker engine (or Podman's, which speaks the same): found by the SDK, commands run by exec.

Imported only by whoever uses it; the SDK only when the engine is first asked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from respaldo.environments.address import EngineAddress, find_engine
from respaldo.environments.base import Environment, Instance, InstanceQuery, Runner, Sandbox, SandboxSpec
from respaldo.environments.docker_errors import stopped, translating
from respaldo.environments.docker_process import DockerRunner
from respaldo.environments.docker_sandbox import DockerSandbox, describe, remove_leftovers
from respaldo.environments.recognition import DRILL_LABEL, PORT, looks_like_postgres
from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _

if TYPE_CHECKING:
    from docker import APIClient

PROBE_S: Final = 2.0
REQUEST_S: Final = 60
SERVICE_LABEL: Final = "com.docker.compose.service"
#: `docker compose run`: a command beside the services, not one of them.
ONE_OFF_LABEL: Final = "com.docker.compose.oneoff"
MIN_ID_LENGTH: Final = 12


class DockerEnvironment(Environment):
    """The engine that the variables of this process name. Thread-safe."""

    name: ClassVar[str] = "docker"
    flag: ClassVar[str] = "--container"

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables
        self._lock = threading.Lock()
        self._client: APIClient | None = None

    def check(self) -> None:
        try:
            self._address().connect(PROBE_S).close()
        except UsageError as error:
            raise EnvironmentFailedError(error.message, hint=error.hint) from error

    def find(self, query: InstanceQuery) -> Sequence[Instance]:
        with self._asking() as client:
            listed: list[dict[str, Any]] = client.containers(all=True)
            if query.name is None and not query.labels:
                found = [entry for entry in listed if DRILL_LABEL not in (entry.get("Labels") or {})]
                instances = [self._describe(client, entry) for entry in found]
                instances = [instance for instance in instances if instance.is_postgres]
            else:
                chosen = listed if query.name is None else _named(listed, query.name)
                chosen = [entry for entry in chosen if query.labels.items() <= (entry.get("Labels") or {}).items()]
                instances = [self._describe(client, entry) for entry in chosen]
        return sorted(instances, key=lambda instance: instance.name)

    def list_names(self) -> Sequence[str]:
        with self._asking() as client:
            return sorted(_name(entry) for entry in client.containers(all=True))

    def open(self, instance: Instance) -> Runner:
        from docker.errors import NotFound

        with self._asking() as client:
            try:
                details: dict[str, Any] = client.inspect_container(instance.id)
            except NotFound as error:
                raise EnvironmentFailedError(
                    _("the container {name} is not there any more").format(name=instance.name),
                    hint=_("list the containers: docker ps -a"),
                ) from error
            state = str(details["State"].get("Status") or "")
            if state != "running":
                raise stopped(instance.name, state)
            return DockerRunner(client, self._address(), instance, details)

    def describe_stopped(self, instance: Instance) -> EnvironmentFailedError:
        return stopped(instance.name, instance.state)

    def describe_source(self, instance: Instance) -> SandboxSpec:
        with self._asking() as client:
            return describe(client.inspect_container(instance.id))

    def added_files(self, instance: Instance) -> Sequence[str]:
        with self._asking() as client:
            # Kind 1 is "added", in the engine's API: GET /containers/{id}/changes.
            return [str(change["Path"]) for change in client.diff(instance.id) or [] if change["Kind"] == 1]

    def open_sandbox(self, spec: SandboxSpec) -> Sandbox:
        with self._asking() as client:
            return DockerSandbox(client, spec, self.open)

    def remove_leftovers(self) -> int:
        with self._asking() as client:
            return remove_leftovers(client)

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _address(self) -> EngineAddress:
        return find_engine(self._variables)

    @contextmanager
    def _asking(self) -> Iterator[APIClient]:
        """Give the SDK's client; translate its errors."""
        address = self._address()
        with self._lock:
            if self._client is None:
                # The SDK buries the reason three exceptions deep; a plain connection tells it at once.
                address.connect(PROBE_S).close()
                with translating(address):
                    self._client = _connect(address)
            client = self._client
        with translating(address):
            yield client

    def _describe(self, client: APIClient, entry: Mapping[str, Any]) -> Instance:
        is_postgres = self._is_postgres(client, entry)
        return Instance(
            environment=self.name,
            name=_name(entry),
            id=str(entry["Id"]),
            image=str(entry.get("Image") or ""),
            state=str(entry.get("State") or ""),
            labels=dict(entry.get("Labels") or {}),
            is_postgres=is_postgres,
            should_run=not is_postgres or self._should_run(client, entry),
        )

    @staticmethod
    def _should_run(client: APIClient, entry: Mapping[str, Any]) -> bool:
        """Tell whether the absence of a container that does not run is a fault: not of one that ended in order and is
        not to be started again, nor of one that was never started (moby, api/swagger.yaml: ContainerState)."""
        from docker.errors import NotFound

        state = entry.get("State")
        if state in {"removing", "dead"}:
            return False
        if state not in {"created", "exited"}:
            return True
        if (entry.get("Labels") or {}).get(ONE_OFF_LABEL) == "True":
            return False
        try:
            details: dict[str, Any] = client.inspect_container(entry["Id"])
        except NotFound:  # removed since it was listed
            return False
        has_failed = bool(details["State"].get("ExitCode") or details["State"].get("Error"))
        policy = (details["HostConfig"].get("RestartPolicy") or {}).get("Name")
        return has_failed or (state == "exited" and policy in {"always", "unless-stopped"})

    @staticmethod
    def _is_postgres(client: APIClient, entry: Mapping[str, Any]) -> bool:
        from docker.errors import NotFound

        labels = entry.get("Labels") or {}
        image = str(entry.get("Image") or "")
        ports = [int(port["PrivatePort"]) for port in entry.get("Ports") or [] if "PrivatePort" in port]
        if looks_like_postgres(image=image, ports=ports, labels=labels):
            return True
        try:
            config: dict[str, Any] = client.inspect_container(entry["Id"])["Config"]
        except NotFound:  # removed since it was listed
            return False
        return looks_like_postgres(
            image=str(config.get("Image") or image),
            variables=[variable.partition("=")[0] for variable in config.get("Env") or []],
            ports=[PORT] if f"{PORT}/tcp" in (config.get("ExposedPorts") or {}) else ports,
            labels=labels,
        )


def _connect(address: EngineAddress) -> APIClient:
    from docker import APIClient
    from docker.tls import TLSConfig

    tls: TLSConfig | bool = False
    if address.is_tls:
        own, key, authority = (address.certificates / name for name in ("cert.pem", "key.pem", "ca.pem"))
        tls = TLSConfig(
            client_cert=(str(own), str(key)) if own.exists() else None,
            ca_cert=str(authority) if address.is_verified and authority.exists() else None,
            verify=address.is_verified,
        )
    return APIClient(base_url=address.url, version="auto", timeout=REQUEST_S, tls=tls)


def _name(entry: Mapping[str, Any]) -> str:
    # A linked container carries names of others too, "/other/alias": its own has one slash.
    names = [str(name).lstrip("/") for name in entry.get("Names") or []]
    return next((name for name in names if "/" not in name), str(entry["Id"])[:MIN_ID_LENGTH])


def _named(listed: Sequence[dict[str, Any]], wanted: str) -> Sequence[dict[str, Any]]:
    """Return the container of exactly this name; else those of this id; else those of this compose service."""
    name = wanted.lstrip("/")
    by_name = [entry for entry in listed if _name(entry) == name]
    if by_name:
        return by_name
    by_id = [entry for entry in listed if len(name) >= MIN_ID_LENGTH and str(entry["Id"]).startswith(name)]
    return by_id or [entry for entry in listed if (entry.get("Labels") or {}).get(SERVICE_LABEL) == name]
