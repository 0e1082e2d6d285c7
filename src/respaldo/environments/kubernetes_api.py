"""Requests to an API server: documents by HTTP, and the upgraded connections that exec runs over.

Written on sockets of our own because of what exec needs (websocket.py); the official client brings 30 MB and reads a
stream in quadratic time.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import socket
import ssl
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from respaldo import __version__
from respaldo.environments.kubernetes_config import Cluster
from respaldo.environments.kubernetes_errors import read_message, refused, unreachable
from respaldo.environments.kubernetes_login import Proof, basic
from respaldo.environments.wire import PlainWire, TlsWire, Wire
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _

CONNECT_S: Final = 10.0
ANSWER_S: Final = 60.0
MAX_ANSWER_BYTES: Final = 256 << 20
MAX_HEAD_BYTES: Final = 1 << 16
PAGE: Final = 500
#: Before the next attempt. Only what has no effect yet is repeated: a question, or a connection not yet upgraded.
PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
LONGEST_PAUSE_S: Final = 30.0
_PASSING: Final = frozenset({429, 500, 502, 503, 504})

Query = Sequence[tuple[str, str]]


class ApiRefusedError(EnvironmentFailedError):
    """The API server answered with an error; ``status`` is its HTTP status, ``reason`` what it said."""

    def __init__(self, error: EnvironmentFailedError, status: int, reason: str) -> None:
        super().__init__(error.message, hint=error.hint)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """A connection that speaks websocket now, the protocol agreed on, and the bytes that came with the headers."""

    wire: Wire
    protocol: str
    first: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Api:
    """One cluster's API. Thread-safe: each request has a connection of its own."""

    def __init__(self, cluster: Cluster, pause: Callable[[float], object] = time.sleep) -> None:
        self.cluster = cluster
        self._pause = pause
        self._lock = threading.Lock()
        self._context: tuple[Proof, ssl.SSLContext] | None = None
        self._has_answered = False

    def probe(self, timeout_s: float) -> None:
        """Ask once, without repeating, whether the server answers and accepts the login."""
        answer = self._attempt("/version", timeout_s)
        if isinstance(answer, Exception):
            raise unreachable(self.cluster, answer) from answer
        if answer.status == 401:
            raise self._refused(answer)

    def get(self, path: str, query: Query = ()) -> dict[str, Any]:
        """Return a document; raise ApiRefusedError, or EnvironmentFailedError where nobody answers."""
        answer = self._repeat(lambda: self._attempt(f"{path}?{urlencode(query)}" if query else path, ANSWER_S))
        if answer.status != 200:
            raise self._refused(answer)
        try:
            document: dict[str, Any] = json.loads(answer.body)
        except ValueError as error:
            raise unreachable(self.cluster, error) from error
        return document

    def list(self, path: str, query: Query = ()) -> list[dict[str, Any]]:
        """Return every item of a collection, fetched in pages."""
        items: list[dict[str, Any]] = []
        follow = ""
        while True:
            page = [*query, ("limit", str(PAGE)), *([("continue", follow)] if follow else [])]
            document = self.get(path, page)
            items += document.get("items") or []
            follow = (document.get("metadata") or {}).get("continue") or ""
            if not follow:
                return items

    def text(self, path: str, query: Query = ()) -> str:
        """Return what is no document, a pod's log for instance; raise as ``get`` does."""
        answer = self._repeat(lambda: self._attempt(f"{path}?{urlencode(query)}" if query else path, ANSWER_S))
        if answer.status != 200:
            raise self._refused(answer)
        return answer.body.decode("utf-8", "replace")

    def send(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        query: Query = (),
    ) -> None:
        """Create (POST), change (PATCH: operations of RFC 6902) or delete an object; raise as ``get`` does.

        Sent once: it may have had its effect where no answer came."""
        kind = "application/json-patch+json" if method == "PATCH" else "application/json"
        body = None if document is None else json.dumps(document).encode()
        target = f"{path}?{urlencode(query)}" if query else path
        answer = self._attempt(target, ANSWER_S, method=method, body=body, kind=kind)
        if isinstance(answer, _Answer) and answer.status == 401:
            self.cluster.login.forget()
            answer = self._attempt(target, ANSWER_S, method=method, body=body, kind=kind)
        if isinstance(answer, Exception):
            raise unreachable(self.cluster, answer) from answer
        if answer.status not in {200, 201, 202}:
            raise self._refused(answer)

    def upgrade(self, path: str, query: Query, protocols: Sequence[str]) -> Upgraded:
        """Open a websocket that speaks one of these protocols; raise as ``get`` does."""
        upgraded: list[Upgraded] = []

        def attempt() -> _Answer | OSError:
            result = self._attempt_upgrade(f"{path}?{urlencode(query)}", protocols)
            if isinstance(result, Upgraded):
                upgraded.append(result)
                return _Answer(status=101, headers={}, body=b"")
            return result

        answer = self._repeat(attempt)
        if not upgraded:
            raise self._refused(answer)
        return upgraded[0]

    def _repeat(self, attempt: Callable[[], _Answer | OSError]) -> _Answer:
        """Attempt until it is answered; an expired login is made anew once."""
        pauses, is_renewed = list(PAUSES_S), False
        while True:
            answer = attempt()
            if isinstance(answer, _Answer):
                self._has_answered = True
                if answer.status == 401 and not is_renewed:
                    is_renewed = True
                    self.cluster.login.forget()
                    continue
                if answer.status not in _PASSING or not pauses:
                    return answer
            elif not pauses or not self._has_answered:
                # Where nobody ever answered, waiting helps nobody: the address is wrong, or the cluster is down.
                raise unreachable(self.cluster, answer) from answer
            pause_s = pauses.pop(0)
            if isinstance(answer, _Answer):
                pause_s = max(pause_s, _retry_after(answer.headers))
            self._pause(pause_s)

    def _attempt(
        self, target: str, timeout_s: float, *, method: str = "GET", body: bytes | None = None, kind: str = ""
    ) -> _Answer | OSError:
        proof = self.cluster.login.proof()
        connection = http.client.HTTPConnection(self.cluster.host, self.cluster.port, timeout=timeout_s)
        try:
            connection.sock = self._connect(min(timeout_s, CONNECT_S))
            if self.cluster.is_tls:
                context = self._tls_context(proof)
                connection.sock = context.wrap_socket(connection.sock, server_hostname=self._server_name())
            connection.sock.settimeout(timeout_s)
            headers = self._headers(proof) | ({} if body is None else {"Content-Type": kind})
            connection.request(method, self.cluster.path + target, body=body, headers=headers)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES)
            return _Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=answer,
            )
        except OSError as error:
            return error
        except http.client.HTTPException as error:
            return ConnectionError(repr(error))
        finally:
            connection.close()

    def _attempt_upgrade(self, target: str, protocols: Sequence[str]) -> Upgraded | _Answer | OSError:
        proof = self.cluster.login.proof()
        wire: Wire | None = None
        try:
            wire = self._open_wire(proof)
            lines = [f"GET {self.cluster.path}{target} HTTP/1.1", f"Host: {self.cluster.host}:{self.cluster.port}"]
            lines += [f"{name}: {value}" for name, value in self._headers(proof).items()]
            lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
            lines += [f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}"]
            lines += [f"Sec-WebSocket-Protocol: {', '.join(protocols)}"]
            wire.send("\r\n".join([*lines, "", ""]).encode("ascii"))
            status, headers, rest = _read_head(wire)
            if status == 101:
                return Upgraded(wire=wire, protocol=headers.get("sec-websocket-protocol", ""), first=rest)
            body = _read_body(wire, rest, headers)
        except OSError as error:
            if wire is not None:
                wire.close()
            return error
        wire.close()
        return _Answer(status=status, headers=headers, body=body)

    def _headers(self, proof: Proof) -> dict[str, str]:
        # A kubelet that answers exec itself, as for the older protocol, refuses `Accept: application/json`.
        headers = {"User-Agent": f"respaldo/{__version__}", "Accept": "*/*"}
        if proof.authorization:
            headers["Authorization"] = proof.authorization
        return headers

    def _open_wire(self, proof: Proof) -> Wire:
        connection = self._connect(CONNECT_S)
        if not self.cluster.is_tls:
            return PlainWire(connection)
        try:
            wire = TlsWire(connection, self._tls_context(proof), self._server_name())
        except BaseException:
            connection.close()
            raise
        try:
            wire.shake_hands(CONNECT_S)
        except OSError:
            wire.close()
            raise
        return wire

    def _connect(self, timeout_s: float) -> socket.socket:
        proxy = self._proxy()
        target = (str(proxy.hostname), proxy.port or 80) if proxy else (self.cluster.host, self.cluster.port)
        connection = socket.create_connection(target, timeout_s)
        # Hours may pass between two bytes of a dump; a NAT on the way forgets sooner.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
        if proxy:
            try:
                self._tunnel(connection, proxy)
            except OSError:
                connection.close()
                raise
        return connection

    def _proxy(self) -> SplitResult | None:
        url = self.cluster.proxy
        if not url:
            proxies = urllib.request.getproxies_environment()
            url = proxies.get("https" if self.cluster.is_tls else "http")
            if url and urllib.request.proxy_bypass(f"{self.cluster.host}:{self.cluster.port}"):
                url = None
        if not url:
            return None
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            is_usable = parts.scheme == "http" and parts.hostname and parts.port != 0
        except ValueError:  # a port, or an address in brackets, that is none
            is_usable = False
        if not is_usable:
            scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
            raise EnvironmentFailedError(
                _("the proxy {url} cannot be used").format(url=f"{scheme}{mark}{rest.rpartition('@')[2]}"),
                hint=_("http:// proxies are supported; for others forward the port first"),
            )
        return parts

    def _tunnel(self, connection: socket.socket, proxy: SplitResult) -> None:
        host = f"[{self.cluster.host}]" if ":" in self.cluster.host else self.cluster.host
        lines = [f"CONNECT {host}:{self.cluster.port} HTTP/1.1", f"Host: {host}:{self.cluster.port}"]
        if proxy.username:
            credentials = basic(unquote(proxy.username), unquote(proxy.password or ""))
            lines += [f"Proxy-Authorization: {credentials}"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            data = connection.recv(1)  # nothing beyond the headers may be taken: TLS follows on the same stream
            if not data or len(head) > MAX_HEAD_BYTES:
                raise ConnectionError(_("the proxy closed the connection"))
            head += data
        if not re.match(rb"HTTP/1\.[01] 2\d\d", head):
            raise ConnectionError(_("the proxy answered: {line}").format(line=head.decode("latin-1").splitlines()[0]))

    def _server_name(self) -> str:
        return self.cluster.server_name or self.cluster.host

    def _tls_context(self, proof: Proof) -> ssl.SSLContext:
        with self._lock:
            if self._context is None or self._context[0] != proof:
                self._context = (proof, self._make_tls_context(proof))
            return self._context[1]

    def _make_tls_context(self, proof: Proof) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cadata=self.cluster.authority)
            # Python 3.13 asks of an authority what many clusters' own lack (key usage, identifiers); kubectl does not.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if not self.cluster.is_verified:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if proof.certificate and proof.key:
                _load_certificate(context, proof.certificate, proof.key)
        except (OSError, ValueError) as error:
            raise EnvironmentFailedError(
                _("the certificates of {origin} cannot be used: {error}").format(
                    origin=self.cluster.origin, error=error
                )
            ) from error
        return context

    def _refused(self, answer: _Answer) -> ApiRefusedError:
        message = read_message(answer.body)
        return ApiRefusedError(refused(self.cluster, answer.status, message), answer.status, message)


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL through Python takes files only; this one is readable by nobody else and gone at once.
    descriptor, path = tempfile.mkstemp(prefix="respaldo-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


def _retry_after(headers: Mapping[str, str]) -> float:
    with suppress(ValueError):
        return min(float(headers.get("retry-after", "0")), LONGEST_PAUSE_S)
    return 0.0


def _read_head(wire: Wire) -> tuple[int, dict[str, str], bytes]:
    data, view = bytearray(), memoryview(bytearray(1 << 14))
    while b"\r\n\r\n" not in data:
        count = wire.receive_into(view, ANSWER_S)
        if not count or len(data) > MAX_HEAD_BYTES:
            raise ConnectionError(_("the API server closed the connection before it answered"))
        data += view[:count]
    head, _separator, rest = bytes(data).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        status = int(first.split(" ", 2)[1])
    except (ValueError, IndexError) as error:
        raise ConnectionError(_("not an answer of an API server")) from error
    pairs = (line.partition(":") for line in lines)
    return status, {name.strip().lower(): value.strip() for name, _colon, value in pairs}, rest


def _read_body(wire: Wire, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return what came of an error's text: enough to be shown."""
    length = headers.get("content-length", "")
    wanted = min(int(length), MAX_HEAD_BYTES) if length.isdigit() else MAX_HEAD_BYTES
    view = memoryview(bytearray(1 << 14))
    with suppress(OSError):
        while len(body) < wanted and (count := wire.receive_into(view, 2.0)):
            body += bytes(view[:count])
    return body
