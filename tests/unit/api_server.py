"""A small API server that answers by a script: overload, expired logins, streams that lie."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from respaldo.environments.kubernetes_api import Api
from respaldo.environments.kubernetes_config import Cluster
from respaldo.environments.kubernetes_login import FixedLogin, Login, Proof
from tests.rig.listening import listening


def answer(status: int, document: dict[str, Any] | None = None, *headers: str) -> bytes:
    body = json.dumps(document or {"kind": "Status", "message": f"said {status}"}).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Script:
    """What the server answers to each request in turn, and what it was asked."""

    answers: list[bytes | Callable[[socket.socket, str], None]]
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(script: Script, login: Login | None = None, **known: Any) -> Iterator[tuple[Api, list[float]]]:
    """An API that answers by the script, and the pauses that were made; ``known``: more fields of the cluster."""
    pauses: list[float] = []
    with listening(partial(_answer, script)) as port:
        fields: dict[str, Any] = {"server": f"http://127.0.0.1:{port}", "namespace": "default"}
        login = login or FixedLogin(Proof(authorization="Bearer secret-token"))
        cluster = Cluster(origin="a test", login=login, **(fields | known))
        yield Api(cluster, pause=pauses.append), pauses


def _answer(script: Script, connection: socket.socket) -> None:
    with connection, suppress(ConnectionError):  # a client that has seen enough
        request = _read_request(connection)
        if not request:
            return
        script.asked.append(request)
        said = script.answers.pop(0) if script.answers else answer(418)
        if callable(said):
            said(connection, request)
        else:
            connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def _read_request(connection: socket.socket) -> str:
    """Return a request with its body; ``""`` where the client goes without one."""
    request = bytearray()
    while not _is_whole(request):
        data = connection.recv(1 << 16)
        if not data:
            break
        request += data
    return request.decode()


def _is_whole(request: bytearray) -> bool:
    head, separator, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    return bool(separator) and len(body) >= (int(length[1]) if length else 0)
