"""Where a Docker engine listens, as the variables of a process say it: a Unix socket, TCP, or TCP with TLS.

The same rules as Docker's own client (DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH), plus the rootless socket.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _

SYSTEM_SOCKET = Path("/var/run/docker.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """One engine. ``socket_path`` or ``host`` and ``port``; ``certificates`` counts where it is TLS."""

    url: str
    socket_path: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    certificates: Path = Path()
    is_tls: bool = False
    is_verified: bool = False

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connected socket (not yet TLS); raise EnvironmentFailedError with a hint where nobody answers."""
        try:
            if not self.socket_path:
                connection = socket.create_connection((self.host, self.port), timeout_s)
                # Hours may pass between two bytes of a dump; a NAT on the way forgets sooner.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if hasattr(socket, "TCP_KEEPIDLE"):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
                return connection
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout_s)
                connection.connect(self.socket_path)
            except OSError:
                connection.close()
                raise
        except OSError as error:
            raise self._explain(error) from error
        return connection

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings that DOCKER_CERT_PATH and DOCKER_TLS_VERIFY ask for."""
        folder = self.certificates
        try:
            authority = folder / "ca.pem"
            context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
            if not self.is_verified:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if (folder / "cert.pem").exists():
                context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        except OSError as error:
            raise EnvironmentFailedError(
                _("the certificates in {folder} cannot be used: {error}").format(folder=folder, error=error),
                hint=_("set DOCKER_CERT_PATH to the directory with ca.pem, cert.pem and key.pem"),
            ) from error
        return context

    def _explain(self, error: OSError) -> EnvironmentFailedError:
        if isinstance(error, PermissionError):
            return EnvironmentFailedError(
                _("no permission to use the Docker engine at {url}").format(url=self.url),
                hint=_("run with sudo, or add yourself to its group: sudo usermod -aG docker $USER, then log in again"),
            )
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            message = _("no Docker engine at {url}: there is no such socket").format(url=self.url)
        elif isinstance(error, ConnectionRefusedError):
            message = _("no Docker engine at {url}: nothing listens there").format(url=self.url)
        elif isinstance(error, TimeoutError):
            message = _("the Docker engine at {url} does not answer").format(url=self.url)
        else:
            message = _("the Docker engine at {url} cannot be reached: {error}").format(url=self.url, error=error)
        return EnvironmentFailedError(message, hint=_("start Docker, or set DOCKER_HOST to where its engine listens"))


def find_engine(variables: Mapping[str, str]) -> EngineAddress:
    """Return the engine's address for a process with these variables; raise UsageError for one we cannot speak to."""
    url = variables.get("DOCKER_HOST", "").strip()
    if not url:
        rootless = Path(variables.get("XDG_RUNTIME_DIR", "/nonexistent")) / "docker.sock"
        chosen = rootless if not SYSTEM_SOCKET.exists() and rootless.exists() else SYSTEM_SOCKET
        return EngineAddress(url=f"unix://{chosen}", socket_path=str(chosen))
    if url.startswith("unix://"):
        path = "/" + url.removeprefix("unix://").lstrip("/") if url != "unix://" else str(SYSTEM_SOCKET)
        return EngineAddress(url=f"unix://{path}", socket_path=path)
    parts = urlsplit(url if "://" in url else f"tcp://{url}")
    if parts.scheme not in {"tcp", "http", "https"} or not parts.hostname:
        raise UsageError(
            _("DOCKER_HOST={url} cannot be used").format(url=url),
            hint=_("use unix:///path or tcp://host:port; for ssh:// forward the socket first: ssh -L /tmp/d.sock:…"),
        )
    verify = bool(variables.get("DOCKER_TLS_VERIFY"))
    folder = variables.get("DOCKER_CERT_PATH")
    is_tls = verify or bool(folder) or parts.scheme == "https"
    try:
        port = parts.port or (2376 if is_tls else 2375)
    except ValueError as error:
        raise UsageError(_("DOCKER_HOST={url} has no usable port").format(url=url)) from error
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return EngineAddress(
        url=f"{'https' if is_tls else 'http'}://{host}:{port}{parts.path.rstrip('/')}",
        host=parts.hostname,
        port=port,
        path=parts.path.rstrip("/"),
        certificates=Path(folder) if folder else Path.home() / ".docker",
        is_tls=is_tls,
        is_verified=verify,
    )
