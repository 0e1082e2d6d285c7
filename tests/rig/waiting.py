"""Waiting for what happens elsewhere, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.rig.engine import RigError

# Nobody tells when it happens: it is looked for this often.
_PAUSE_S = 0.05


def wait_for(condition: Callable[[], bool], what: Callable[[], str], within_s: float) -> None:
    """Return once the condition holds; raise RigError with what there is instead when the time is up."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise RigError(what())
        time.sleep(_PAUSE_S)
