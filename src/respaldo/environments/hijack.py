"""The raw stream of one exec: Docker's upgraded HTTP connection, and the frames of output that arrive on it.

Docker Engine API, "Attach to a container": a frame is one byte of kind (1 output, 2 errors), three zeros, a big-endian
length, the bytes. The SDK's own socket is not used: what its buffered reader took beyond the headers would be lost.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Final

from respaldo.environments.address import EngineAddress
from respaldo.environments.tail import ErrorTail
from respaldo.environments.wire import PlainWire, TlsWire, Wire
from respaldo.errors import EnvironmentFailedError, StreamCutError
from respaldo.language import _

CONNECT_S: Final = 10.0
ANSWER_S: Final = 60.0
BUFFER_BYTES: Final = 1 << 18
MAX_HEADERS_BYTES: Final = 1 << 16
OUTPUT, ERRORS = 1, 2
# The engine reports a program that it cannot start as the command's output.
NOT_STARTED: Final = b"OCI runtime exec failed:"


class RefusedError(Exception):
    """The engine answered the upgrade with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def open_wire(address: EngineAddress) -> Wire:
    """Return a new connection to the engine, encrypted where its address asks for it."""
    if not address.is_tls:
        return PlainWire(address.connect(CONNECT_S))
    context = address.tls_context()
    wire = TlsWire(address.connect(CONNECT_S), context, address.host)
    try:
        wire.shake_hands(CONNECT_S)
    except OSError as error:
        wire.close()
        raise EnvironmentFailedError(
            _("the Docker engine at {url} refuses TLS: {error}").format(url=address.url, error=error),
            hint=_("set DOCKER_CERT_PATH to the directory with ca.pem, cert.pem and key.pem"),
        ) from error
    return wire


def start_exec(address: EngineAddress, api_version: str, exec_id: str) -> tuple[Wire, bytes]:
    """Start a created exec; return its stream and the bytes that arrived with the headers.

    Raise RefusedError where the engine says no, OSError where the connection breaks.
    """
    wire = open_wire(address)
    body = b'{"Detach":false,"Tty":false}'
    request = (
        f"POST {address.path}/v{api_version}/exec/{exec_id}/start HTTP/1.1\r\nHost: {address.host or 'docker'}\r\n"
        f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        wire.send(request.encode("ascii") + body)
        head, rest = _read_head(wire)
        status = int(head.split(b" ", 2)[1])
        if status not in {101, 200}:
            raise RefusedError(status, _read_message(wire, rest))
    except (OSError, RefusedError):
        wire.close()
        raise
    except (ValueError, IndexError) as error:
        wire.close()
        raise ConnectionError(_("not an answer of a Docker engine")) from error
    return wire, rest


def _read_head(wire: Wire) -> tuple[bytes, bytes]:
    data, view = bytearray(), memoryview(bytearray(1 << 14))
    while b"\r\n\r\n" not in data:
        count = wire.receive_into(view, ANSWER_S)
        if not count or len(data) > MAX_HEADERS_BYTES:
            raise ConnectionError(_("the engine closed the connection before it answered"))
        data += view[:count]
    head, _separator, rest = bytes(data).partition(b"\r\n\r\n")
    return head, rest


def _read_message(wire: Wire, body: bytes) -> str:
    view = memoryview(bytearray(1 << 14))
    with suppress(OSError):  # what has arrived until then is shown
        while b"}" not in body and len(body) < MAX_HEADERS_BYTES and (count := wire.receive_into(view, 2.0)):
            body += bytes(view[:count])
    text = body[body.find(b"{") : body.rfind(b"}") + 1] or body
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["message"])
    return text.decode("utf-8", "replace").strip()


class FrameReader:
    """Separates output from errors; holds at most 256 KiB of output. One thread reads at a time."""

    def __init__(self, wire: Wire, first: bytes, errors: ErrorTail, program: str) -> None:
        self._wire = wire
        self._errors = errors
        self._program = program
        self._view = memoryview(bytearray(max(BUFFER_BYTES, len(first))))
        self._view[: len(first)] = first
        self._begin, self._end = 0, len(first)
        self._kind, self._left = 0, 0
        self._is_first_frame = True
        self._is_ended = False
        self.was_not_started = False
        self.reset_means_end = False  # set once input was sent: unread input makes the engine's end a reset

    def read(self, size: int, deadline_s: float | None = None) -> bytes:
        """Return output, between 1 and ``size`` bytes, as soon as there is any; ``b""`` at its end.

        Raise StreamCutError where the stream breaks or ends inside a frame, TimeoutError at the deadline (by
        ``time.monotonic``).
        """
        parts: list[memoryview] = []
        missing = size
        while missing:
            if not self._left:
                if not self._next_header(deadline_s, is_waiting=not parts):
                    break
                continue  # a frame may be empty
            if self._begin == self._end and (parts or not self._fill(deadline_s)):
                break
            count = min(self._left, self._end - self._begin)
            if self._kind != ERRORS:
                count = min(count, missing)
            part = self._view[self._begin : self._begin + count]
            if self._kind == ERRORS:
                self._errors.append(part)
            else:
                parts.append(part)
                missing -= count
            self._begin += count
            self._left -= count
        return b"".join(parts)

    def _next_header(self, deadline_s: float | None, *, is_waiting: bool) -> bool:
        while self._end - self._begin < 8:
            # Parts already taken lie in the buffer: it must not be filled again before they are returned.
            if not is_waiting or not self._fill(deadline_s):
                return False
        header = bytes(self._view[self._begin : self._begin + 8])
        self._kind, self._left = header[0], int.from_bytes(header[4:8], "big")
        if self._kind > ERRORS or header[1:4] != b"\0\0\0":
            raise StreamCutError(
                _("the stream of {program} is not in the engine's format").format(program=self._program)
            )
        self._begin += 8
        if self._is_first_frame and self._left:
            self._is_first_frame = False
            start = bytes(self._view[self._begin : self._end][: len(NOT_STARTED)])
            if self._kind == OUTPUT and start == NOT_STARTED:
                self._kind, self.was_not_started = ERRORS, True
        return True

    def _fill(self, deadline_s: float | None) -> bool:
        """Receive more behind what is left; return False at the stream's end."""
        if self._is_ended:
            return False
        kept = self._end - self._begin
        if kept:
            self._view[:kept] = bytes(self._view[self._begin : self._end])
        self._begin, self._end = 0, kept
        timeout_s = None if deadline_s is None else deadline_s - time.monotonic()
        try:
            count = self._wire.receive_into(self._view[kept:], timeout_s)
        except TimeoutError:
            raise
        except OSError as error:
            if kept or self._left or not (self.reset_means_end and isinstance(error, ConnectionResetError)):
                raise self._cut(str(error)) from error
            count = 0
        if count:
            self._end += count
            return True
        self._is_ended = True
        if kept or self._left:
            raise self._cut(_("it ended in the middle of its output"))
        return False

    def _cut(self, reason: str) -> StreamCutError:
        return StreamCutError(
            _("the stream of {program} was cut: {reason}").format(program=self._program, reason=reason)
        )
