"""Commands inside one container of a pod, each an exec of the API without a TTY.

Exec has no parameter for variables, and its arguments stand in audit logs. So variables travel first on standard
input, and a shell reads them before it becomes the command.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from respaldo.environments.base import Instance, Process, Runner
from respaldo.environments.kubernetes_api import Api, ApiRefusedError, Upgraded
from respaldo.environments.kubernetes_errors import gone, not_running
from respaldo.environments.kubernetes_pods import RUNNING, parse_pod
from respaldo.environments.tail import ErrorTail
from respaldo.environments.websocket import INPUT, MESSAGE_BYTES, ChannelReader, MessageWriter
from respaldo.errors import EnvironmentFailedError, StreamCutError
from respaldo.language import _

#: From v5 on the input can be ended by itself. The older one is spoken by servers before Kubernetes 1.30.
V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
PROTOCOLS: Final = (V5, V4)
#: How long the API may take to hear that a container has ended (the kubelet looks once a second).
GRACE_S: Final = 4.0
AHEAD_S: Final = 1.0
AHEAD_BYTES: Final = 1 << 20
NOT_EXECUTABLE, NOT_FOUND = 126, 127
KILLED: Final = 128 + 9
_CANNOT_START: Final = re.compile(r"exec failed|failed to (?:start|create) exec|OCI runtime")
_DENIED: Final = re.compile(r"permission denied|exec format error|is a directory", re.IGNORECASE)

# One line of assignments, quoted by us; `$n` stands for a newline in a value.
_WITH_VARIABLES: Final = "n='\n'; IFS= read -r line && eval \"$line\" && unset n line || exit 125\n"
_WITHOUT_INPUT: Final = 'exec "$@" </dev/null'

# The last line of errors tells that the command has ended; what it left of its input is taken away until we end it.
# Otherwise the unread input blocks the connection between API server and kubelet, and the status never comes (seen
# with Kubernetes 1.34). Every child is waited for, and none may die of SIGPIPE: an orphan that a signal ends makes a
# postmaster restart its server.
_WITH_INPUT: Final = """
mark=$1; shift
"$@"; status=$?
echo "$mark" >&2
cat >/dev/null
exit "$status"
"""

# Where the input cannot be ended by itself it comes in pieces, each after a line with its length; 0 ends it.
_IN_PIECES: Final = """
mark=$1; shift; exec 3<&0
{ trap '' PIPE
  while IFS= read -r size && [ "$size" -gt 0 ]; do dd bs="$size" count=1 iflag=fullblock; done <&3 2>/dev/null
} | { exec 3<&-; "$@"; status=$?; echo "$mark" >&2; exit "$status"; }
"""


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

    def __init__(self, place: PodContainer, program: str, upgraded: Upgraded, mark: bytes | None) -> None:
        """``mark``: the line that tells of the command's end, None where the command has no input."""
        self._place = place
        self._program = program
        self._wire = upgraded.wire
        self._errors = ErrorTail()
        self._writer = MessageWriter(upgraded.wire)
        self._channels = ChannelReader(upgraded.wire, upgraded.first, self._errors, self._writer, program)
        self._mark = mark
        self._is_in_pieces = upgraded.protocol == V4
        if mark is not None:
            self._channels.await_mark(mark, self._end_input)
        self._reading = threading.Lock()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._ahead = b""
        self._status: int | None = None
        self._has_ended = False
        self._is_input_ended = mark is None
        self._is_end_sent = False
        self._writer.start_pings()

    def begin(self, line: bytes) -> None:
        """Send the variables, before everything else."""
        with suppress(OSError):  # ended already: its status tells
            if self._mark is None:
                self._writer.send(INPUT, line)
            else:
                self._send(line)

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
            self._check_input()
        except OSError as error:
            self._end_input()
            self._read_ahead(AHEAD_S)
            reason = self._last_line() or str(error)
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
        data = self._errors.read()
        return data if self._mark is None else data.replace(self._mark + b"\n", b"")

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
        if not self._has_ended and not self._channels.was_marked:
            self._read_ahead(0)
        if self._has_ended or self._channels.was_marked:
            raise BrokenPipeError(_("it has ended"))

    def _send(self, piece: bytes | memoryview) -> None:
        if self._is_in_pieces:
            self._writer.send(INPUT, b"%d\n" % len(piece))
        self._writer.send(INPUT, piece)

    def _end_input(self) -> None:
        if self._mark is None or self._is_end_sent:
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
            return self._receive(size, deadline_s)

    def _receive(self, size: int, deadline_s: float | None) -> bytes:
        if self._has_ended:
            return b""
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
        if status == 0:
            return 0
        message = " ".join(str(document.get("message") or "").split())
        if status is None:
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

    def _last_line(self) -> str:
        lines = self.stderr_tail().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

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


class KubernetesRunner(Runner):
    """Runs commands in one container, as the container's own user. Thread-safe; holds no connection of its own."""

    def __init__(self, place: PodContainer, protocols: Sequence[str] = PROTOCOLS) -> None:
        self._place = place
        self._protocols = tuple(protocols)
        self._variables: Mapping[str, str] | None = None

    @property
    def instance(self) -> Instance:
        return self._place.instance

    def variables(self) -> Mapping[str, str]:
        if self._variables is None:
            completed = self.run(["cat", "/proc/self/environ"])
            if completed.status != 0:
                raise EnvironmentFailedError(
                    _("the variables of {name} cannot be read: {reason}").format(
                        name=self.instance.name, reason=completed.stderr.decode("utf-8", "replace").strip()
                    )
                )
            text = completed.stdout.decode("utf-8", "surrogateescape")
            split = (pair.partition("=") for pair in text.split("\0") if pair)
            self._variables = {name: value for name, _equals, value in split}
        return self._variables

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        if not stdin:
            script = ["sh", "-c", _WITH_VARIABLES + _WITHOUT_INPUT, "sh"] if env else []
            upgraded = self._upgrade([*script, *argv], self._protocols, has_input=bool(env))
            mark = None
        else:
            mark = f"respaldo-{secrets.token_hex(16)}"
            upgraded = self._open_input(argv, mark, has_variables=bool(env))
        process = KubernetesProcess(self._place, argv[0], upgraded, mark.encode() if mark else None)
        if env:
            process.begin(_assignments(env))
        return process

    def _open_input(self, argv: Sequence[str], mark: str, *, has_variables: bool) -> Upgraded:
        """Start the exec by the newest protocol that the server speaks."""
        variables = _WITH_VARIABLES if has_variables else ""
        if V5 in self._protocols:
            try:
                script = variables + _WITH_INPUT
                return self._upgrade(["sh", "-c", script, "sh", mark, *argv], [V5], has_input=True)
            except ApiRefusedError as error:
                # A server that does not know v5 refuses the handshake; nothing was started.
                if V4 not in self._protocols or error.status not in {400, 403, 426} or "cannot" in error.reason:
                    raise
            self._protocols = (V4,)
        then = ["sh", "-c", variables + 'exec "$@"', "sh"] if has_variables else []
        return self._upgrade(["sh", "-c", _IN_PIECES, "sh", mark, *then, *argv], [V4], has_input=True)

    def _upgrade(self, command: Sequence[str], protocols: Sequence[str], *, has_input: bool) -> Upgraded:
        place = self._place
        query = [("container", place.container), ("stdout", "true"), ("stderr", "true")]
        query += [("stdin", "true")] if has_input else []
        query += [("command", part) for part in command]
        try:
            upgraded = place.api.upgrade(f"{place.path}/exec", query, protocols)
        except ApiRefusedError as error:
            if error.status == 404:
                raise gone(f"{place.namespace}/{place.pod}") from error
            if error.status == 400 and "not" in error.reason and "valid" not in error.reason:
                raise not_running(self.instance.name, place.namespace, place.pod, error.reason) from error
            raise
        if upgraded.protocol not in protocols:
            upgraded.wire.close()
            raise EnvironmentFailedError(
                _("the cluster at {server} answers exec in a protocol that is not known: {protocol}").format(
                    server=place.api.cluster.server, protocol=upgraded.protocol or "-"
                )
            )
        return upgraded


def _assignments(env: Mapping[str, str]) -> bytes:
    """Return one line of shell that exports these variables, whatever their values hold (NUL cannot be in one)."""
    words = []
    for name, value in env.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or "\0" in value:
            raise ValueError(f"not an environment variable: {name}")
        quoted = value.replace("'", "'\\''").replace("\n", "'\"$n\"'")
        words.append(f"{name}='{quoted}'")
    return f"export {' '.join(words)}\n".encode("utf-8", "surrogateescape")
