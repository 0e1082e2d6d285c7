"""An archive on its way to pg_restore that cannot be read on ends in its own error, and nobody waits for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from respaldo.environments.base import Instance
from respaldo.environments.local_process import LocalRunner
from respaldo.errors import UsageError
from respaldo.postgres.archive import restore_archive
from respaldo.postgres.connection import Connection
from respaldo.postgres.server import Server


@pytest.mark.parametrize("before", [0, 3])
def test_archive_that_cannot_be_read_on_is_its_own_error(before: int, tmp_path: Path) -> None:
    program = tmp_path / "reader"
    program.write_text("#!/bin/sh\nexec cat >/dev/null\n")
    program.chmod(0o755)

    def pieces() -> Iterator[bytes]:
        for _number in range(before):
            yield bytes(1 << 20)
        raise UsageError("damaged")

    runner = LocalRunner(cast("Instance", None), {"PATH": "/usr/bin:/bin"})
    tools = SimpleNamespace(pg_restore=str(program))
    server = SimpleNamespace(runner=runner, tools=tools, connection=Connection(user="u", database="d"))
    with pytest.raises(UsageError, match="damaged"):
        restore_archive(cast("Server", server), "d", pieces(), is_directory=False, jobs=1)
