"""What a Docker engine says when it refuses, in our errors: one clear line, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from respaldo.environments.address import EngineAddress
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _


@contextmanager
def translating(address: EngineAddress) -> Iterator[None]:
    """Turn the SDK's errors, and those of the HTTP library under it, into EnvironmentFailedError."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise refused(address, error.status_code, str(error.explanation or error)) from error
    except (DockerException, RequestException, OSError) as error:
        raise EnvironmentFailedError(
            _("the Docker engine at {url} failed: {error}").format(url=address.url, error=error),
            hint=_("see whether it answers: docker version"),
        ) from error


def refused(address: EngineAddress, status: int | None, message: str) -> EnvironmentFailedError:
    """Return the error for an HTTP status of the engine's API."""
    reason = " ".join(message.split())
    if status == 403:
        hint = _("a proxy before the engine must allow: containers (list, inspect), exec (create, start, inspect)")
    elif status == 404:
        hint = _("list the containers: docker ps -a")
    elif status == 409:
        hint = _("see the container's state: docker ps -a")
    else:
        hint = _("see whether the engine is well: docker info")
    return EnvironmentFailedError(
        _("the Docker engine at {url} refused ({status}): {reason}").format(
            url=address.url, status=status, reason=reason
        ),
        hint=hint,
    )


def stopped(name: str, state: str) -> EnvironmentFailedError:
    """Return the error for a container that is there and does not run."""
    if state == "paused":
        hint = f"docker unpause {name}"
    elif state == "restarting":
        hint = _("it keeps ending by itself: docker logs {name}").format(name=name)
    else:
        hint = f"docker start {name}"
    return EnvironmentFailedError(
        _("the container {name} is not running ({state})").format(name=name, state=state or "?"), hint=hint
    )
