"""A server on this machine or reached over the network, with the client programs that this machine has."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from respaldo.environments.base import Environment, Instance, InstanceQuery, Runner, Sandbox, SandboxSpec
from respaldo.environments.local_process import LocalRunner
from respaldo.environments.local_sandbox import LocalSandbox, remove_leftovers
from respaldo.environments.local_tools import REQUIRED, find_server, find_tools
from respaldo.environments.recognition import PORT
from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _

PROBE_S: Final = 2.0
SOCKET_PLACES: Final = ("/var/run/postgresql", "/tmp")
#: PostgreSQL, "Message Formats", SSLRequest: length 8, code 80877103; a server answers with one byte.
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
#: What a program started here may see of this process: nothing else, least of all keys of an object store.
_PASSED: Final = re.compile(r"PG\w+|POSTGRES_\w+|PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a server may listen: ``host`` is a name, an address, or the directory of its socket."""

    host: str
    port: int

    @property
    def name(self) -> str:
        """What the repository files it under."""
        if not self.host.startswith("/"):
            return f"{self.host}_{self.port}"
        return "local" if self.port == PORT else f"local_{self.port}"

    def is_answering(self) -> bool:
        """Tell whether a PostgreSQL server answers there, as pg_isready does, without logging in."""
        try:
            with self._connect() as connection:
                connection.sendall(_SSL_REQUEST)
                return connection.recv(1) in {b"S", b"N"}
        except OSError:
            return False

    def _connect(self) -> socket.socket:
        if not self.host.startswith("/"):
            return socket.create_connection((self.host, self.port), PROBE_S)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(PROBE_S)
            connection.connect(f"{self.host}/.s.PGSQL.{self.port}")
        except OSError:
            connection.close()
            raise
        return connection


class LocalEnvironment(Environment):
    """One server by its address; where none is given: PGHOST, the usual sockets, then localhost. Thread-safe."""

    name: ClassVar[str] = "local"
    flag: ClassVar[str] = "--host"

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        tools: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._variables = os.environ if variables is None else variables
        # libpq allows a list of hosts; the first is the one that is meant when all is well.
        self._host = host or self._variables.get("PGHOST", "").partition(",")[0] or None
        self._port = port or _parse_port(self._variables.get("PGPORT", "").partition(",")[0])
        self._tools = tools

    def check(self) -> None:
        if not any(address.is_answering() for address in self._addresses()):
            tried = ", ".join(f"{address.host}:{address.port}" for address in self._addresses())
            raise EnvironmentFailedError(
                _("no PostgreSQL server answers on this machine (tried {tried})").format(tried=tried),
                hint=_("say where it is: --host and --port, or PGHOST and PGPORT"),
            )
        self._bin()

    def find(self, query: InstanceQuery) -> Sequence[Instance]:
        if query.labels:
            return []
        addresses = list(self._addresses())
        answering = next((address for address in addresses if address.is_answering()), None)
        if answering is None and self._host is None:
            return []
        address = answering or addresses[0]
        if query.name not in {None, address.name}:
            return []
        state = "running" if answering else "not answering"
        return [Instance(environment=self.name, name=address.name, id=f"{address.host}:{address.port}", state=state)]

    def list_names(self) -> Sequence[str]:
        return [instance.name for instance in self.find(InstanceQuery())]

    def open(self, instance: Instance) -> Runner:
        host, _colon, port = instance.id.rpartition(":")
        address = ServerAddress(host=host, port=int(port))
        if not address.is_answering():
            raise self.describe_stopped(instance)
        variables = {name: value for name, value in self._variables.items() if _PASSED.fullmatch(name)}
        variables["PATH"] = f"{self._bin()}:{variables.get('PATH', os.defpath)}"
        variables["PGHOST"], variables["PGPORT"] = address.host, str(address.port)
        return LocalRunner(instance, variables)

    def describe_stopped(self, instance: Instance) -> EnvironmentFailedError:
        return EnvironmentFailedError(
            _("no PostgreSQL server answers at {address}").format(address=instance.id),
            hint=_("start it, or say where it is: --host and --port"),
        )

    def open_sandbox(self, spec: SandboxSpec) -> Sandbox:
        programs = find_server(self._variables, spec.major, self._tools or find_tools(self._variables))
        if programs is None:
            raise EnvironmentFailedError(
                _("no server of PostgreSQL {major} is installed here (initdb, postgres, pg_ctl)").format(
                    major=spec.major
                ),
                hint=_("install it (apt install postgresql-{major}): a drill starts one of its own").format(
                    major=spec.major
                ),
            )
        return LocalSandbox(programs, spec, self._variables)

    def remove_leftovers(self) -> int:
        return remove_leftovers()

    def _addresses(self) -> Iterator[ServerAddress]:
        hosts = (self._host,) if self._host else (*SOCKET_PLACES, "localhost")
        return (ServerAddress(host=host, port=self._port) for host in hosts)

    def _bin(self) -> Path:
        tools = find_tools(self._variables, None if self._tools is None else [self._tools])
        if tools is None:
            raise EnvironmentFailedError(
                _("no PostgreSQL client programs here ({programs})").format(programs=", ".join(REQUIRED)),
                hint=_("install them (apt install postgresql-client), or say in which directory they are"),
            )
        return tools


def _parse_port(text: str) -> int:
    if not text:
        return PORT
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise UsageError(_("PGPORT={port} is not a port").format(port=text))
    return int(text)
