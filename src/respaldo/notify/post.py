"""One HTTP request, its every failure told as a NotificationError. No redirect is followed: it could carry a key to
another host. Certificates are checked against the system's, or ``SSL_CERT_FILE``."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message as Headers
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from respaldo import __version__
from respaldo.errors import NotificationError
from respaldo.language import _

_LONGEST_ANSWER = 64 * 1024


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Headers, newurl: str
    ) -> Request | None:
        return None


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> bytes:
    """Send ``body`` and return the answer, of which 64 KiB are read. Raise NotificationError for anything but a 2xx.

    Temporary: no connection, no answer in time, 408, 425, 429 and 5xx (RFC 9110, section 15).
    """
    host = urlsplit(url).hostname or ""
    request = Request(url, data=body, headers={"User-Agent": f"respaldo/{__version__}", **headers}, method="POST")
    try:
        with build_opener(_NoRedirects).open(request, timeout=timeout_s) as answer:
            data: bytes = answer.read(_LONGEST_ANSWER)
            return data
    except HTTPError as error:
        said = _read_refusal(error)
        is_temporary = error.code in {408, 425, 429} or error.code >= 500
        raise NotificationError(
            _("{host} answered {status}: {text}").format(host=host, status=error.code, text=said or error.reason),
            is_temporary=is_temporary,
        ) from None
    except URLError as error:
        raise connection_error(host, error.reason if isinstance(error.reason, OSError) else error) from None
    except (OSError, http.client.HTTPException) as error:
        raise connection_error(host, error) from None
    except ValueError as error:
        # Also what http.client says of an address with a control character.
        raise NotificationError(_("the address of {host} cannot be used").format(host=host)) from error


def _read_refusal(error: HTTPError) -> str:
    """Return what a server says beside its status, as far as it comes."""
    with error, suppress(OSError, http.client.HTTPException):
        return error.read(_LONGEST_ANSWER).decode(errors="replace").strip()
    return ""


def connection_error(host: str, error: BaseException) -> NotificationError:
    """Return what went wrong on the way to a server: its certificate, which stays so, or something that may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotificationError(
            _("the certificate of {host} is not valid: {reason}").format(host=host, reason=error.verify_message),
            hint=_("SSL_CERT_FILE names a file with the authority's certificate"),
        )
    if isinstance(error, TimeoutError):
        return NotificationError(_("{host} did not answer in time").format(host=host), is_temporary=True)
    if isinstance(error, socket.gaierror):
        return NotificationError(_("{host} is not known").format(host=host), is_temporary=True)
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return NotificationError(_("{host}: {reason}").format(host=host, reason=reason), is_temporary=True)
