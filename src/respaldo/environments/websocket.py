"""The websocket of an exec: frames both ways, and the channels that the API server puts into them.

RFC 6455, section 5, for the frames. Kubernetes (apimachinery, `remotecommand`) for the channels: the first byte of a
message is 0 input, 1 output, 2 errors, 3 the status as JSON, and, from v5 on, 255 with a channel's number: that
channel ends. Knows nothing of pods.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Final

from respaldo.environments.tail import ErrorTail
from respaldo.environments.wire import Wire
from respaldo.errors import StreamCutError
from respaldo.language import _

BUFFER_BYTES: Final = 1 << 18
#: What one message carries at most. The server takes 32 MiB; small ones keep both sides' memory small.
MESSAGE_BYTES: Final = 1 << 17
MAX_STATUS_BYTES: Final = 1 << 20
#: Proxies on the way end what is silent for a minute (nginx) or 350 seconds (a load balancer of AWS).
PING_S: Final = 20.0
INPUT, OUTPUT, ERRORS, STATUS, END = 0, 1, 2, 3, 255
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10


class MessageWriter:
    """Sends messages, and a ping where nothing was sent for a while. Thread-safe."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self._sent_at = time.monotonic()
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def start_pings(self, every_s: float = PING_S) -> None:
        """Ping from a thread of its own until ``stop``."""
        self._beating = threading.Thread(target=self._beat, args=(every_s,), name="websocket pings", daemon=True)
        self._beating.start()

    def stop(self) -> None:
        """Send no more pings."""
        self._ended.set()

    def send(self, channel: int, data: bytes | memoryview) -> None:
        """Send all of ``data`` to a channel; raise OSError where the connection broke."""
        view = memoryview(data)
        for begin in range(0, len(view), MESSAGE_BYTES):
            self._send(_BINARY, b"".join((bytes((channel,)), view[begin : begin + MESSAGE_BYTES])))

    def end(self, channel: int) -> None:
        """End one channel; from v5 on."""
        self._send(_BINARY, bytes((END, channel)))

    def pong(self, data: bytes) -> None:
        """Answer a ping."""
        self._send(_PONG, data)

    def _send(self, code: int, payload: bytes) -> None:
        frame = _frame(code, payload)
        with self._lock:
            self._wire.send(frame)
            self._sent_at = time.monotonic()

    def _beat(self, every_s: float) -> None:
        while not self._ended.wait(every_s):
            # A sender that holds the lock is sending: no ping is needed.
            if time.monotonic() - self._sent_at < every_s or not self._lock.acquire(blocking=False):
                continue
            try:
                self._wire.send(_frame(_PING, b""))
            except OSError:  # broken: whoever reads or writes hears of it
                return
            finally:
                self._lock.release()


def _frame(code: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | code, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((0x80 | code, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | code, 0x80 | 127)) + length.to_bytes(8, "big")
    key = os.urandom(4)
    stretched = (key * (length // 4 + 1))[:length]
    # As one large number: a hundred times faster than byte by byte.
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(stretched, "little")
    return b"".join((head, key, masked.to_bytes(length, "little")))


class ChannelReader:
    """Separates output from errors; holds at most 256 KiB of output. One thread reads at a time."""

    def __init__(self, wire: Wire, first: bytes, errors: ErrorTail, writer: MessageWriter, program: str) -> None:
        self._wire = wire
        self._errors = errors
        self._writer = writer
        self._program = program
        self._view = memoryview(bytearray(max(BUFFER_BYTES, len(first))))
        self._view[: len(first)] = first
        self._begin, self._end = 0, len(first)
        self._channel, self._left = OUTPUT, 0
        self._needs_channel = False
        self._status = bytearray()
        self._is_final = True
        self._is_ended = False

    @property
    def status(self) -> bytes:
        """The status document, once ``read`` has returned ``b""``."""
        return bytes(self._status)

    def read(self, size: int, deadline_s: float | None = None) -> bytes:
        """Return output, between 1 and ``size`` bytes, as soon as there is any; ``b""`` once the status has come.

        Raise StreamCutError where the connection breaks or ends before the status: output that ends without one is
        not whole, whatever else says so. Raise TimeoutError at the deadline (by ``time.monotonic``).
        """
        parts: list[memoryview] = []
        missing = size
        while missing and not self._is_ended:
            if not self._left:
                if not self._next_frame(deadline_s, is_waiting=not parts):
                    break
                continue  # a frame may be empty
            if self._begin == self._end and (parts or not self._fill(deadline_s)):
                break
            count = min(self._left, self._end - self._begin)
            if self._needs_channel:
                self._channel, self._needs_channel = self._view[self._begin], False
                self._begin += 1
                self._left -= 1
                continue
            if self._channel == OUTPUT:
                count = min(count, missing)
            part = self._view[self._begin : self._begin + count]
            if self._channel == OUTPUT:
                parts.append(part)
                missing -= count
            else:
                self._take(part)
            self._begin += count
            self._left -= count
        return b"".join(parts)

    def _take(self, part: memoryview) -> None:
        if self._channel == ERRORS:
            self._errors.append(part)
        elif self._channel == STATUS:
            self._status += part
            if len(self._status) > MAX_STATUS_BYTES:
                raise self._cut(_("it is not in the API server's format"))

    def _next_frame(self, deadline_s: float | None, *, is_waiting: bool) -> bool:
        if self._status and self._is_final:
            self._is_ended = True  # the status is one message, and the last one
            return False
        while True:
            size = self._header_size()
            available = self._end - self._begin
            if size and available >= size:
                break
            # Parts already taken lie in the buffer: it must not be filled again before they are returned.
            if not is_waiting or not self._fill(deadline_s):
                return False
        header = bytes(self._view[self._begin : self._begin + size])
        code, length = header[0] & 0x0F, header[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(header[2:], "big")
        if header[0] & 0x70 or header[1] & 0x80 or code not in {_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG}:
            raise self._cut(_("it is not in the API server's format"))
        if code >= _CLOSE:
            return self._take_control(code, size, length, deadline_s, is_waiting=is_waiting)
        self._begin += size
        self._left = length
        self._is_final = bool(header[0] & 0x80)
        if code != _CONTINUATION:
            self._needs_channel = length > 0
        return True

    def _header_size(self) -> int:
        """Return the size of the frame's header, 0 where not enough of it is there to tell."""
        if self._end - self._begin < 2:
            return 0
        return 2 + {126: 2, 127: 8}.get(self._view[self._begin + 1] & 0x7F, 0)

    def _take_control(self, code: int, size: int, length: int, deadline_s: float | None, *, is_waiting: bool) -> bool:
        if length > 125:
            raise self._cut(_("it is not in the API server's format"))
        while self._end - self._begin < size + length:
            if not is_waiting or not self._fill(deadline_s):
                return False
        payload = bytes(self._view[self._begin + size : self._begin + size + length])
        self._begin += size + length
        if code == _PING:
            with suppress(OSError):  # the next read tells
                self._writer.pong(payload)
        elif code == _CLOSE:
            reason = payload[2:].decode("utf-8", "replace").strip()
            raise self._cut(reason or _("it ended without a status"))
        return True

    def _fill(self, deadline_s: float | None) -> bool:
        """Receive more behind what is left; raise StreamCutError where the connection ends."""
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
            raise self._cut(str(error)) from error
        if not count:
            raise self._cut(_("it ended without a status"))
        self._end += count
        return True

    def _cut(self, reason: str) -> StreamCutError:
        return StreamCutError(
            _("the stream of {program} was cut: {reason}").format(program=self._program, reason=reason)
        )
