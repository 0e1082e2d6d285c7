"""One connection that carries bytes both ways and can end its own direction first: plain, or TLS.

Python's SSLSocket cannot do the latter: its ``shutdown`` drops the encryption for reading too, and its ``unwrap``
swallows what still arrives. So TLS runs over memory buffers here: "close notify" goes out while nothing is unread.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from contextlib import suppress

from respaldo.language import _


class Wire(ABC):
    """A connected stream. One thread may receive while another sends; ``close`` wakes both, from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)  # minutes of silence are ordinary: the server may be sorting
        self._connection = connection
        self._receiving = threading.Lock()
        self._sending = threading.Lock()

    @abstractmethod
    def receive_into(self, view: memoryview, timeout_s: float | None = None) -> int:
        """Fill the start of ``view`` with what there is and return how much; 0 at the end, which ends a sender too.

        Raise TimeoutError where nothing came in time, OSError where the connection broke.
        """

    @abstractmethod
    def send(self, data: bytes | memoryview) -> None:
        """Send all of it; raise OSError where the connection broke."""

    @abstractmethod
    def end(self) -> None:
        """Tell the other side that nothing more will be sent; receiving goes on."""

    def close(self) -> None:
        """Cut the connection."""
        with suppress(OSError):  # not connected any more, or closed
            self._connection.shutdown(socket.SHUT_RDWR)
        # Only when nobody is inside a call: a descriptor closed under a call may be another file's by then.
        with self._receiving, self._sending:
            self._connection.close()

    def _end_both(self) -> None:
        # Docker closes its direction at a command's end and leaves the other open until its garbage collector
        # comes by: a sender with its buffers full would wait for it.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _await(self, timeout_s: float | None) -> None:
        if timeout_s is None:
            return
        if self._connection.fileno() < 0:
            raise ConnectionAbortedError(_("the connection was closed here"))
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if not poll.poll(max(0.0, timeout_s) * 1000):
            raise TimeoutError


class PlainWire(Wire):
    """A Unix socket or plain TCP."""

    def receive_into(self, view: memoryview, timeout_s: float | None = None) -> int:
        with self._receiving:
            self._await(timeout_s)
            count = self._connection.recv_into(view)
            if not count:
                self._end_both()
            return count

    def send(self, data: bytes | memoryview) -> None:
        with self._sending:
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[self._connection.send(rest, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    self._await_room()

    def _await_room(self) -> None:
        """Wait until more can be sent; notice by itself the other side's end, for when nobody receives meanwhile."""
        hung_up = getattr(select, "POLLRDHUP", 0)  # Linux only; elsewhere the receiver notices
        poll = select.poll()
        poll.register(self._connection, select.POLLOUT | hung_up)
        if any(event & hung_up for _descriptor, event in poll.poll()):
            raise BrokenPipeError(_("the other side has ended"))

    def end(self) -> None:
        with self._sending:
            self._connection.shutdown(socket.SHUT_WR)


class TlsWire(Wire):
    """TCP with TLS. The lock of the TLS state is never held during network input or output."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> None:
        super().__init__(connection)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._decrypted = bytearray()
        self._state = threading.Lock()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def shake_hands(self, timeout_s: float) -> None:
        """Agree on the encryption; raise OSError (ssl.SSLError among them) where the other side is not trusted."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._await(timeout_s)
                self._take()
            else:
                self._flush()
                return

    def receive_into(self, view: memoryview, timeout_s: float | None = None) -> int:
        with self._receiving:
            while True:
                with self._state, suppress(ssl.SSLWantReadError):
                    if self._decrypted:
                        size = min(len(view), len(self._decrypted))
                        view[:size] = self._decrypted[:size]
                        del self._decrypted[:size]
                        return size
                    if count := self._decrypt_into(view):
                        return count
                    self._end_both()
                    return 0
                self._await(timeout_s)
                self._take()

    def _decrypt_into(self, view: memoryview) -> int:
        """Fill the start of ``view`` with all that has arrived: one call gives a record at most, and many are small.

        Return 0 at the end; raise SSLWantReadError where nothing is there yet.
        """
        count = 0
        try:
            while count < len(view):
                data = self._tls.read(len(view) - count)
                if not data:
                    break
                view[count : count + len(data)] = data
                count += len(data)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError) as error:
            if not count and isinstance(error, ssl.SSLWantReadError):
                raise
        return count

    def send(self, data: bytes | memoryview) -> None:
        with self._sending:
            rest = memoryview(data)
            while rest:
                with self._state:
                    sent = self._tls.write(rest[: 1 << 18])
                self._flush()
                rest = rest[sent:]

    def end(self) -> None:
        with self._sending:
            with self._state:
                # Everything received is decrypted first: the second half of OpenSSL's shutdown would discard it.
                with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                    while data := self._tls.read(1 << 18):
                        self._decrypted += data
                with suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
            self._flush()

    def _take(self) -> None:
        data = self._connection.recv(1 << 18)
        with self._state:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        with self._state:
            data = self._outgoing.read()
        if data:
            self._connection.sendall(data)
