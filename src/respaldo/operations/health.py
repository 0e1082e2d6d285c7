"""Whether ``respaldo serve`` is well, by HTTP: for probes of containers and clusters, and for Prometheus."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from respaldo.errors import EnvironmentFailedError, RespaldoError
from respaldo.language import _

_PATHS: Final = {"/healthz": None, "/livez": "live", "/readyz": "ready"}
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``live``: the schedules are being looked at; ``ready``: they could be read, and runs are started."""

    live: bool
    ready: bool
    running: tuple[str, ...] = ()
    next: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


class HealthServer:
    """Answers until it is closed, in threads of its own."""

    def __init__(
        self, address: tuple[str, int], health: Callable[[], Health], metrics: Callable[[], str] | None
    ) -> None:
        try:
            self._server = ThreadingHTTPServer(address, _answering(health, metrics))
        except OSError as error:
            raise EnvironmentFailedError(
                _("cannot listen on {host}:{port}: {reason}").format(
                    host=address[0], port=address[1], reason=error.strerror or error
                ),
                hint=_("choose another with --listen HOST:PORT, or none with --listen off"),
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="respaldo-health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answering(health: Callable[[], Health], metrics: Callable[[], str] | None) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        server_version = "respaldo"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in _PATHS:
                now = health()
                is_well = {None: now.live and now.ready, "live": now.live, "ready": now.ready}[_PATHS[path]]
                self._say(200 if is_well else 503, "application/json", json.dumps(_document(now), ensure_ascii=False))
            elif path == "/metrics" and metrics is not None:
                try:
                    self._say(200, METRICS_TYPE, metrics())
                except RespaldoError as error:
                    self._say(503, "text/plain; charset=utf-8", error.message)
            else:
                self._say(404, "text/plain; charset=utf-8", "/healthz /livez /readyz /metrics")

        def _say(self, status: int, kind: str, text: str) -> None:
            data = text.encode() + (b"" if text.endswith("\n") else b"\n")
            with suppress(OSError):  # whoever asked has gone
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: a probe asks every few seconds."""

    return Answering


def _document(health: Health) -> dict[str, Any]:
    return {
        "live": health.live,
        "ready": health.ready,
        "running": list(health.running),
        "next": dict(health.next),
        "problem": health.problem,
    }
