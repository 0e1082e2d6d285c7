"""Waiting for what happens elsewhere, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.rig.engine import RigError


def wait_for(
    condition: Callable[[], object], what: Callable[[], str], within_s: float, *, pause_s: float = 0.05
) -> None:
    """Return once the condition holds; raise RigError with what there is instead when the time is up.

    ``pause_s``: how often it is looked for. More seldom where a look is dear, more often where the moment counts.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise RigError(what())
        time.sleep(pause_s)  # nobody tells when it happens; the deadline ends it
