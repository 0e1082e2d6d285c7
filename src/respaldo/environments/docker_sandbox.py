"""Throwaway containers: made from a source's own image, known by their label, removed with their volume."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from respaldo.environments.base import Instance, Runner, Sandbox, SandboxSpec
from respaldo.environments.recognition import DRILL_LABEL
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _
from respaldo.process import ProcessIdentity, identify_process, is_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import APIClient

PASSWORD_VARIABLES: Final = ("POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD")
_SECRET_WORDS: Final = ("PASSWORD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "_FILE", "DSN", "URL", "URI")
# Where the image declares none, the engine gives it no volume, and the data lie in the container itself.
_OWNER: Final = "respaldo.owner"
_STOP_S: Final = 30
_REMOVED_S: Final = 60


def describe(details: Mapping[str, Any]) -> SandboxSpec:
    """Return what a copy of a container is made from: the image by its digest, the command, its variables but the
    secrets among them, and passwords of the copy's own in their place."""
    config: Mapping[str, Any] = details["Config"]
    pairs = (variable.partition("=") for variable in config.get("Env") or [])
    variables = {name: value for name, _equals, value in pairs if not any(word in name for word in _SECRET_WORDS)}
    return SandboxSpec(image=str(details["Image"]), command=tuple(config.get("Cmd") or ()), variables=variables)


class DockerSandbox(Sandbox):
    """One throwaway container. Not thread-safe."""

    def __init__(self, client: APIClient, spec: SandboxSpec, open_runner: Callable[[Instance], Runner]) -> None:
        self._client = client
        self._spec = spec
        self._open_runner = open_runner
        self._id = ""
        self._runner: Runner | None = None
        self._create()

    @property
    def runner(self) -> Runner:
        if self._runner is None:
            details = self._client.inspect_container(self._id)
            instance = Instance(
                environment="docker",
                name=details["Name"].lstrip("/"),
                id=self._id,
                image=self._spec.image,
                labels=details["Config"].get("Labels") or {},
            )
            self._runner = self._open_runner(instance)
        return self._runner

    def restart(self, *, meanwhile: Sequence[str] | None = None) -> None:
        self._client.stop(self._id, timeout=_STOP_S)
        if meanwhile is not None:
            self._run_on_data(meanwhile)
        self._client.start(self._id)
        self._runner = None

    def lose_data(self) -> None:
        self.close()
        self._create()

    def close(self) -> None:
        if self._id:
            _remove(self._client, self._id)
            self._id = ""
            self._runner = None

    def _create(self) -> None:
        password = secrets.token_urlsafe(24)
        variables = {**self._spec.variables, **dict.fromkeys(PASSWORD_VARIABLES, password)}
        created: dict[str, Any] = self._client.create_container(
            self._spec.image,
            command=list(self._spec.command) or None,
            environment=variables,
            name=f"respaldo-drill-{secrets.token_hex(6)}",
            labels={DRILL_LABEL: "true", _OWNER: _owner()},
            host_config=self._client.create_host_config(network_mode="none"),
        )
        self._id = str(created["Id"])
        self._client.start(self._id)

    def _run_on_data(self, command: Sequence[str]) -> None:
        """Run a command in a second container that has the stopped one's volumes."""
        created: dict[str, Any] = self._client.create_container(
            self._spec.image,
            command=list(command[1:]),
            entrypoint=list(command[:1]),
            labels={DRILL_LABEL: "true", _OWNER: _owner()},
            host_config=self._client.create_host_config(network_mode="none", volumes_from=[self._id]),
        )
        try:
            self._client.start(created["Id"])
            status = self._client.wait(created["Id"])["StatusCode"]
            if status != 0:
                raise EnvironmentFailedError(
                    _("{program} failed on the drill's data: exit status {status}").format(
                        program=command[0], status=status
                    )
                )
        finally:
            _remove(self._client, created["Id"], with_volumes=False)


def remove_leftovers(client: APIClient) -> int:
    """Remove the throwaway containers of runs on this machine that are gone; return how many."""
    removed = 0
    for entry in client.containers(all=True, filters={"label": DRILL_LABEL}):
        if _is_gone((entry.get("Labels") or {}).get(_OWNER, "")):
            _remove(client, entry["Id"])
            removed += 1
    return removed


def _remove(client: APIClient, container: str, *, with_volumes: bool = True) -> None:
    """Remove a container. One that is gone, or that another request removes now (of a run that was
    killed, of another drill that cleans up), is waited for until it is gone."""
    from docker.errors import APIError, NotFound

    with suppress(NotFound):
        try:
            client.remove_container(container, force=True, v=with_volumes)
        except APIError as error:
            if error.status_code != 409:
                raise
            client.wait(container, timeout=_REMOVED_S, condition="removed")


def _owner() -> str:
    """Return this process as a label's value."""
    return json.dumps(asdict(identify_process()))


def _is_gone(owner: str) -> bool:
    """Tell whether the process of a label's value surely runs no more."""
    try:
        return is_gone(ProcessIdentity(**json.loads(owner)))
    except (ValueError, TypeError):
        return False
