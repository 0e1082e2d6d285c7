"""A real proxy before the real API server, over plain HTTP: passes all on, and does what clusters are known for."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.rig.listening import listening

STATUS_CHANNEL, OUTPUT_CHANNEL = 3, 1


@dataclass(slots=True, kw_only=True)
class FaultyApi:
    """What the proxy does besides passing on. ``answers``: the next requests get these, in this order, by status.
    ``cut_after``: bytes of a command's output after which the stream ends with the status "Success". ``idle_s``: a
    connection that is silent for so long is ended. ``asked`` counts requests."""

    kubeconfig: Path
    answers: list[int] = field(default_factory=list)
    cut_after: int | None = None
    idle_s: float | None = None
    asked: int = 0


@contextmanager
def faulty_api(kubeconfig: Path, folder: Path) -> Iterator[FaultyApi]:
    """Run a proxy, its own kubeconfig in ``folder``."""
    document = yaml.safe_load(kubeconfig.read_text())
    server = urlsplit(document["clusters"][0]["cluster"]["server"])
    user = document["users"][0]["user"]
    context = ssl.create_default_context(cafile=document["clusters"][0]["cluster"]["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    path = folder / "faulty.kubeconfig"
    api = FaultyApi(kubeconfig=path)

    def connect() -> ssl.SSLSocket:
        plain = socket.create_connection((server.hostname, server.port))
        return context.wrap_socket(plain, server_hostname=server.hostname)

    with listening(lambda client: _serve(api, client, connect)) as port:
        cluster = {"server": f"http://127.0.0.1:{port}"}
        path.write_text(
            yaml.safe_dump(
                {
                    **document,
                    "clusters": [{"name": "respaldo-test", "cluster": cluster}],
                    "users": [{"name": "admin", "user": {"token": "x"}}],
                }
            )
        )
        yield api


def _serve(api: FaultyApi, client: socket.socket, connect: Any) -> None:
    with client, suppress(OSError):
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(1 << 16)
            if not data:
                return
            head += data
        api.asked += 1
        if api.answers:
            status = api.answers.pop(0)
            body = json.dumps({"kind": "Status", "message": f"injected {status}", "code": status}).encode()
            retry = "Retry-After: 1\r\n" if status == 429 else ""
            client.sendall(
                f"HTTP/1.1 {status} Injected\r\n{retry}Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            return
        # The administrator's certificate logs in; the client's own proof goes no further.
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"authorization:")]
        with connect() as upstream:
            upstream.sendall(b"\r\n".join(lines))
            _pass_on(api, client, upstream, is_upgrade=b"upgrade: websocket" in head.lower())


def _pass_on(api: FaultyApi, client: socket.socket, upstream: ssl.SSLSocket, *, is_upgrade: bool) -> None:
    def up() -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                upstream.sendall(data)
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_RDWR)

    upstream.settimeout(api.idle_s)
    threading.Thread(target=up, daemon=True).start()
    try:
        if is_upgrade and api.cut_after is not None:
            _cut(client, upstream, api.cut_after)
        else:
            while data := upstream.recv(1 << 16):
                client.sendall(data)
    finally:
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _cut(client: socket.socket, upstream: ssl.SSLSocket, after: int) -> None:
    """Pass whole frames on until so much output went by; then say that all is well, and end."""
    stream = upstream.makefile("rb")
    while (line := stream.readline()) != b"\r\n":
        client.sendall(line)
    client.sendall(b"\r\n")
    passed = 0
    while passed < after:
        header = stream.read(2)
        if len(header) < 2:
            return
        size = header[1] & 0x7F
        extended = stream.read({126: 2, 127: 8}.get(size, 0))
        size = int.from_bytes(extended, "big") if extended else size
        payload = stream.read(size)
        client.sendall(header + extended + payload)
        passed += size - 1 if payload[:1] == bytes((OUTPUT_CHANNEL,)) else 0
    status = bytes((STATUS_CHANNEL,)) + json.dumps({"metadata": {}, "status": "Success"}).encode()
    client.sendall(bytes((0x82, len(status))) + status + bytes((0x88, 2)) + (1000).to_bytes(2, "big"))
