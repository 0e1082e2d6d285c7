"""Commands inside one container, each an exec of the engine without a TTY."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from respaldo.environments.address import EngineAddress
from respaldo.environments.base import Instance, Process, Runner
from respaldo.environments.docker_errors import refused, translating
from respaldo.environments.hijack import FrameReader, RefusedError, start_exec
from respaldo.environments.tail import ErrorTail
from respaldo.environments.wire import Wire
from respaldo.errors import EnvironmentFailedError, StreamCutError
from respaldo.language import _

if TYPE_CHECKING:
    from docker import APIClient

STATUS_S: Final = 30.0
GRACE_S: Final = 0.5
NOT_FOUND: Final = 127
KILLED: Final = 128 + 9
AHEAD_S: Final = 1.0
AHEAD_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """One exec as the engine knows it, and the container it runs in."""

    client: APIClient
    address: EngineAddress
    instance: Instance
    started_at: str
    id: str
    program: str

    def inspect(self) -> dict[str, Any]:
        """Return the engine's record; raise EnvironmentFailedError where it has none any more."""
        with translating(self.address):
            record: dict[str, Any] = self.client.exec_inspect(self.id)
        return record

    def is_container_alive(self) -> bool:
        """Tell whether the container still runs since before the exec began."""
        with translating(self.address):
            state: dict[str, Any] = self.client.inspect_container(self.instance.id)["State"]
        return bool(state.get("Running")) and state.get("StartedAt") == self.started_at


class DockerProcess(Process):
    """An exec and its connection. Closed by whoever started it."""

    def __init__(self, exec_: Exec, wire: Wire, first: bytes, *, has_stdin: bool) -> None:
        self._exec = exec_
        self._wire = wire
        self._errors = ErrorTail()
        self._frames = FrameReader(wire, first, self._errors, exec_.program)
        self._reading = threading.Lock()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._ahead = b""
        self._status: int | None = None
        self._is_input_ended = not has_stdin

    def read(self, size: int = 1 << 18) -> bytes:
        return self._read(size, None)

    def write(self, data: bytes | memoryview) -> None:
        if self._is_input_ended:
            raise ValueError("the input of this process is closed")
        self._frames.reset_means_end = True
        try:
            self._wire.send(data)
        except OSError as error:
            self._read_ahead()
            reason = self._errors.last_line() or str(error)
            raise StreamCutError(
                _("{program} in {name} stopped reading its input: {reason}").format(
                    program=self._exec.program, name=self._exec.instance.name, reason=reason
                )
            ) from error

    def close_stdin(self) -> None:
        if not self._is_input_ended:
            self._is_input_ended = True
            with suppress(OSError):  # ended by itself: its status tells
                self._wire.end()

    def wait(self, timeout_s: float | None = None) -> int:
        if self._status is not None:
            return self._status
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while self._read(1 << 18, deadline_s):
                pass
        except TimeoutError as error:
            raise self._cut(_("it did not end in time")) from error
        limit_s = time.monotonic() + STATUS_S
        self._status = self._ask_status(limit_s if deadline_s is None else min(limit_s, deadline_s))
        return self._status

    def stderr_tail(self) -> bytes:
        return self._errors.read()

    def close(self) -> None:
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
            self._is_input_ended = True
            self._wire.close()
            if self._status is None:
                with suppress(EnvironmentFailedError):  # no engine, or no container any more: nothing is left to end
                    self._await_end()

    def _read(self, size: int, deadline_s: float | None) -> bytes:
        with self._reading:
            if self._closed.is_set():
                raise self._cut(_("it was closed"))
            if self._ahead:
                data, self._ahead = self._ahead[:size], self._ahead[size:]
                return data
            data = self._frames.read(size, deadline_s)
            if not data and self._closed.is_set():
                raise self._cut(_("it was closed"))
            return data

    def _read_ahead(self) -> None:
        """After a command stopped reading its input: fetch what it said last, no more than lies in the socket."""
        limit_s = time.monotonic() + AHEAD_S
        if self._reading.acquire(timeout=AHEAD_S):
            try:
                with suppress(StreamCutError, TimeoutError):
                    while len(self._ahead) < AHEAD_BYTES and (data := self._frames.read(AHEAD_BYTES, limit_s)):
                        self._ahead += data
            finally:
                self._reading.release()

    def _ask_status(self, limit_s: float) -> int:
        """Ask until the engine has noticed the end: it closes the stream before it stores the status."""
        pause_s = 0.002
        while True:
            try:
                record = self._exec.inspect()
                status = record.get("ExitCode")
                is_known = not record.get("Running") and status is not None
                if is_known and self._frames.was_not_started:
                    return NOT_FOUND
                if is_known and status == 0:
                    return 0
                if (is_known or pause_s > 0.1) and not self._is_container_alive(status):
                    raise self._cut(_("the container stopped"))
            except StreamCutError:
                raise
            except EnvironmentFailedError as error:
                raise self._cut(error.message) from error
            if is_known:
                return int(status or 0)
            if time.monotonic() >= limit_s or self._closed.wait(pause_s):
                raise self._cut(_("the engine cannot tell its exit status"))
            pause_s = min(pause_s * 2, 0.5)

    def _is_container_alive(self, status: int | None) -> bool:
        # A container's end kills its commands, and the engine hears of theirs before it hears of its own.
        limit_s = time.monotonic() + (GRACE_S if status == KILLED else 0)
        while is_alive := self._exec.is_container_alive():
            if time.monotonic() >= limit_s or self._closed.wait(0.05):
                break
        return is_alive

    def _await_end(self) -> None:
        """Give the command a moment to end by the end of its input.

        It is never sent a signal. An orphan of it would fall to process 1, which in a container is PostgreSQL's
        postmaster: that takes a child that a signal ended for a crashed backend, and restarts the whole server.
        """
        limit_s = time.monotonic() + GRACE_S
        pause = threading.Event()
        while self._exec.inspect().get("Running") and time.monotonic() < limit_s:
            pause.wait(0.05)

    def _cut(self, reason: str) -> StreamCutError:
        return StreamCutError(
            _("the stream of {program} in {name} was cut: {reason}").format(
                program=self._exec.program, name=self._exec.instance.name, reason=reason
            )
        )


class DockerRunner(Runner):
    """Runs commands in one container, as the container's own user. Thread-safe; holds no connection of its own."""

    def __init__(
        self, client: APIClient, address: EngineAddress, instance: Instance, details: Mapping[str, Any]
    ) -> None:
        self._client = client
        self._address = address
        self._instance = instance
        self._started_at = str(details["State"].get("StartedAt"))
        pairs = (pair.partition("=") for pair in details["Config"].get("Env") or [])
        self._variables: Mapping[str, str] = {name: value for name, _equals, value in pairs}

    @property
    def instance(self) -> Instance:
        return self._instance

    def variables(self) -> Mapping[str, str]:
        return self._variables

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        with translating(self._address):
            created: dict[str, Any] = self._client.exec_create(
                self._instance.id,
                list(argv),
                stdin=stdin,
                tty=False,
                environment=dict(env or {}),
            )
        exec_ = Exec(
            client=self._client,
            address=self._address,
            instance=self._instance,
            started_at=self._started_at,
            id=str(created["Id"]),
            program=argv[0],
        )
        try:
            wire, first = start_exec(self._address, self._client.api_version, exec_.id)
        except RefusedError as error:
            raise refused(self._address, error.status, error.message) from error
        except OSError as error:
            raise EnvironmentFailedError(
                _("{program} could not be started in {name}: {error}").format(
                    program=argv[0], name=self._instance.name, error=error
                )
            ) from error
        return DockerProcess(exec_, wire, first, has_stdin=stdin)
