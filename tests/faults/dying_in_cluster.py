"""Runs the program and kills it as kill -9 would just before it sends a request to the cluster.

``python -m tests.faults.dying_in_cluster PATTERN …``: the first request whose line matches; ``+N``: the Nth connection
after the first pod was created.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any


def main() -> None:
    step, arguments = sys.argv[1], sys.argv[2:]
    left = int(step) if step.startswith("+") else 0
    has_created = False

    def hear(event: str, details: tuple[Any, ...]) -> None:
        nonlocal left, has_created
        if event == "http.client.send" and isinstance(details[1], bytes):
            line = details[1].partition(b"\r\n")[0].decode(errors="replace")
            has_created |= re.match(r"POST \S+/pods ", line) is not None
            if not left and re.match(step, line):
                os.kill(os.getpid(), signal.SIGKILL)
        elif event == "socket.connect" and has_created and left:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    # From Python's own audit events, so that nothing of the program is replaced.
    sys.addaudithook(hear)
    from respaldo.cli.main import main as run

    run(arguments)


if __name__ == "__main__":
    main()
