"""What a test needs of the machine: it skips where that is missing, unless this run was told that it must be there.

``RESPALDO_REQUIRE=docker,postgres:15`` makes a missing engine or image a failure. Names in use: docker,
postgres:13, postgres:15, postgres:17, postgres:18, postgres-nozstd:15, postgres-bare:15, embedded, root, cron, systemd,
compose, promtool, kubernetes, pgbouncer.
"""

from __future__ import annotations

import os

import pytest

VARIABLE = "RESPALDO_REQUIRE"


def required() -> frozenset[str]:
    """The names that this run must not do without."""
    return frozenset(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip())


def require(name: str, missing: str | None) -> None:
    """Go on where ``missing`` is None; otherwise skip with that reason, or fail where the run requires ``name``."""
    if missing is None:
        return
    if name in required():
        pytest.fail(f"{VARIABLE} names {name}, which is missing: {missing}", pytrace=False)
    pytest.skip(f"needs {name}: {missing}")
