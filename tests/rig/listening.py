"""A server of a few lines on this machine: whoever connects is handed to a function, in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Give the port; ``answer`` closes the connection. At the end nobody is let in any more."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _peer = server.accept()
                except OSError:
                    return
                # A thread each: one may wait for what another is asked.
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextmanager
def answering_server() -> Iterator[int]:
    """Answer SSLRequest with "no", as a PostgreSQL server does; give the port."""

    def answer(connection: socket.socket) -> None:
        with connection:
            if connection.recv(8) == b"\0\0\0\x08\x04\xd2\x16\x2f":
                connection.sendall(b"N")

    with listening(answer) as port:
        yield port
