"""One command inside a container of a pod: an exec of the API, its websocket, and the proof that all of it came."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from respaldo.environments.base import Instance, Process
from respaldo.environments.kubernetes_api import Api, ApiRefusedError, Upgraded
from respaldo.environments.kubernetes_errors import read_message
from respaldo.environments.kubernetes_pods import RUNNING, parse_pod
from respaldo.environments.tail import ErrorTail
from respaldo.environments.websocket import INPUT, MESSAGE_BYTES, PING_S, ChannelReader, MessageWriter
from respaldo.errors import EnvironmentFailedError, StreamCutError
from respaldo.language import _

#: From v5 on the input can be ended by itself. The older one is spoken by servers before Kubernetes 1.30.
V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
#: How long the API may take to hear that a container has ended (the kubelet looks once a second).
GRACE_S: Final = 4.0
AHEAD_S: Final = 1.0
AHEAD_BYTES: Final = 1 << 20
NOT_EXECUTABLE, NOT_FOUND = 126, 127
KILLED: Final = 128 + 9
_CANNOT_START: Final = re.compile(r"exec failed|failed to (?:start|create) exec|OCI runtime")
_DENIED: Final = re.compile(r"permission denied|exec format error|is a directory", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodContainer:
    """One container of one pod as it was when it was opened: another ``uid`` or ``container_id`` is another one."""

    api: Api
    instance: Instance
    namespace: str
    pod: str
    container: str
    uid: str
    container_id: str
    ping_s: float = PING_S

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}"

    def is_alive(self) -> bool:
        """Tell whether the container still runs since it was opened; raise EnvironmentFailedError if unknown."""
        try:
            pod = parse_pod(self.api.get(self.path))
        except ApiRefusedError as error:
            if error.status == 404:
                return False
            raise
        container = pod.container(self.container)
        return (
            pod.uid == self.uid
            and container is not None
            and container.id == self.container_id
            and container.state == RUNNING
        )


class KubernetesProcess(Process):
    """An exec and its websocket. Closed by whoever started it."""

    def __init__(self, place: PodContainer, program: str, upgraded: Upgraded, mark: bytes, *, has_stdin: bool) -> None:
        """``mark``: the line after the command's output, which tells that it is whole."""
        self._place = place
        self._program = program
        self._wire = upgraded.wire
        self._errors = ErrorTail()
        self._writer = MessageWriter(upgraded.wire)
        self._channels = ChannelReader(upgraded.wire, upgraded.first, self._errors, self._writer, program)
        self._mark = mark
        self._was_marked = False
        self._held = b""
        self._is_in_pieces = has_stdin and upgraded.protocol == V4
        self._reading = threading.Lock()
        self._sending = threading.Lock()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._ahead = b""
        self._status: int | None = None
        self._has_ended = False
        self._is_input_ended = not has_stdin
        self._is_end_sent = not has_stdin
        self._writer.start_pings(place.ping_s)

    def begin(self, line: bytes) -> None:
        """Send the variables, before everything else."""
        with suppress(OSError):  # ended already: its status tells
            self._put(line)

    def read(self, size: int = 1 << 18) -> bytes:
        return self._read(size, None)

    def write(self, data: bytes | memoryview) -> None:
        if self._is_input_ended:
            raise ValueError("the input of this process is closed")
        view = memoryview(data)
        try:
            for begin in range(0, len(view), MESSAGE_BYTES):
                self._check_input()
                self._send(view[begin : begin + MESSAGE_BYTES])
        except OSError as error:
            self._end_input()
            self._read_ahead(AHEAD_S)
            reason = self._errors.last_line() or str(error)
            raise StreamCutError(
                _("{program} in {name} stopped reading its input: {reason}").format(
                    program=self._program, name=self._place.instance.name, reason=reason
                )
            ) from error

    def close_stdin(self) -> None:
        if not self._is_input_ended:
            self._is_input_ended = True
            self._end_input()

    def wait(self, timeout_s: float | None = None) -> int:
        if self._status is not None:
            return self._status
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while self._read(1 << 18, deadline_s):
                pass
        except TimeoutError as error:
            raise self._cut(_("it did not end in time")) from error
        self._status = self._read_status()
        return self._status

    def stderr_tail(self) -> bytes:
        return self._errors.read()

    def close(self) -> None:
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
            self._is_input_ended = True
            self._writer.stop()
            self._wire.close()

    def _check_input(self) -> None:
        """Raise BrokenPipeError once the command has ended; look for that where nobody reads meanwhile."""
        if not self._has_ended and not self._was_marked:
            self._read_ahead(0)
        if self._has_ended or self._was_marked:
            raise BrokenPipeError(_("it has ended"))

    def _send(self, piece: bytes | memoryview) -> None:
        # The reader ends the input where it sees the command's end: never between a piece's length and the piece.
        with self._sending:
            if self._is_end_sent:
                raise BrokenPipeError(_("it has ended"))
            self._put(piece)

    def _put(self, piece: bytes | memoryview) -> None:
        if self._is_in_pieces:
            self._writer.send(INPUT, b"%d\n" % len(piece))
        self._writer.send(INPUT, piece)

    def _end_input(self) -> None:
        with self._sending:
            if self._is_end_sent:
                return
            self._is_end_sent = True
            with suppress(OSError):  # ended by itself: its status tells
                if self._is_in_pieces:
                    self._writer.send(INPUT, b"0\n")
                else:
                    self._writer.end(INPUT)

    def _read(self, size: int, deadline_s: float | None) -> bytes:
        with self._reading:
            if self._closed.is_set():
                raise self._cut(_("it was closed"))
            if self._ahead:
                data, self._ahead = self._ahead[:size], self._ahead[size:]
                return data
            data = self._receive(size, deadline_s)
            data, self._ahead = data[:size], data[size:]
            return data

    def _receive(self, size: int, deadline_s: float | None) -> bytes:
        while not self._has_ended:
            try:
                data = self._channels.read(size, deadline_s)
            except StreamCutError:
                if self._closed.is_set():
                    raise self._cut(_("it was closed")) from None
                raise
            if not data:
                self._has_ended = True
                self._writer.stop()
                self._note_what_could_not_start()
                data, self._held = self._held, b""
                return data
            if output := self._until_mark(data):
                return output
        return b""

    def _until_mark(self, data: bytes) -> bytes:
        """Return what of the output comes before the mark; hold back what may be the mark's beginning."""
        if self._was_marked:
            return b""
        if self._held:
            data, self._held = self._held + data, b""
        found = data.find(self._mark)
        if found >= 0:
            self._was_marked = True
            self._end_input()
            return data[:found]
        begin = data.find(self._mark[:1], max(0, len(data) - len(self._mark) + 1))
        while begin >= 0:
            if self._mark.startswith(data[begin:]):
                self._held = data[begin:]
                return data[:begin]
            begin = data.find(self._mark[:1], begin + 1)
        return data

    def _read_ahead(self, wait_s: float) -> None:
        """Take what the command said so far, at most 1 MiB of output, unless another thread reads."""
        limit_s = time.monotonic() + wait_s
        if self._reading.acquire(timeout=wait_s) if wait_s else self._reading.acquire(blocking=False):
            try:
                with suppress(StreamCutError, TimeoutError):
                    while len(self._ahead) < AHEAD_BYTES and (data := self._receive(AHEAD_BYTES, limit_s)):
                        self._ahead += data
            finally:
                self._reading.release()

    def _note_what_could_not_start(self) -> None:
        document = self._status_document()
        message = str(document.get("message") or "")
        if _exit_code(document) is None and _CANNOT_START.search(message):
            self._errors.append(f"{self._program}: {message}\n".encode())

    def _status_document(self) -> dict[str, Any]:
        try:
            document = json.loads(self._channels.status)
        except ValueError as error:
            raise self._cut(_("its status cannot be read")) from error
        if not isinstance(document, dict):
            raise self._cut(_("its status cannot be read"))
        return document

    def _read_status(self) -> int:
        document = self._status_document()
        status = _exit_code(document)
        if status == 0 and self._was_marked:
            return 0
        if status == 0:
            raise self._cut(_("its output ended before the command did"))
        if status is None:
            message = read_message(self._channels.status) if document.get("message") else ""
            if not _CANNOT_START.search(message):
                raise self._cut(message or _("its status cannot be read"))
            status = NOT_EXECUTABLE if _DENIED.search(message) else NOT_FOUND
        self._check_container(status)
        return status

    def _check_container(self, status: int) -> None:
        # A container's end kills its commands, and the API hears of theirs before it hears of its own.
        limit_s = time.monotonic() + (GRACE_S if status == KILLED else 0)
        while True:
            try:
                is_alive = self._place.is_alive()
            except EnvironmentFailedError as error:
                raise self._cut(error.message) from error
            if not is_alive:
                raise self._cut(_("the container stopped"))
            if time.monotonic() >= limit_s or self._closed.wait(0.2):
                return

    def _cut(self, reason: str) -> StreamCutError:
        return StreamCutError(
            _("the stream of {program} in {name} was cut: {reason}").format(
                program=self._program, name=self._place.instance.name, reason=reason
            )
        )


def _exit_code(document: Mapping[str, Any]) -> int | None:
    """Return the command's exit status, None where the document is about something else than its end."""
    if document.get("status") == "Success":
        return 0
    causes = (document.get("details") or {}).get("causes") or []
    said = next((one.get("message") for one in causes if one.get("reason") == "ExitCode"), None)
    return int(said) if said is not None and re.fullmatch(r"\d{1,3}", str(said)) else None
