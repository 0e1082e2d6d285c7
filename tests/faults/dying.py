"""Runs the program and kills it as kill -9 would at the Nth change to its repository, just before it happens; a
restore, which changes nothing there, at the Nth read.

``python -m tests.faults.dying N REPORT …``: with N 0 it lives, and REPORT receives the number of changes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}


def main() -> None:
    number, report, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    repository = os.path.abspath(arguments[arguments.index("--repository") + 1])
    reads = "restore" in arguments
    lock = threading.Lock()
    seen = 0

    def hear(event: str, details: tuple[Any, ...]) -> None:
        nonlocal seen
        is_change = event in CHANGES or (event == "open" and (reads or bool(details[2] & os.O_CREAT)))
        if is_change and str(details[0]).startswith(repository):
            with lock:
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

    # From Python's own audit events, so that nothing of the program is replaced.
    sys.addaudithook(hear)
    from respaldo.cli.main import main as run

    try:
        run(arguments)
    finally:
        if number == 0:
            with open(report, "w", encoding="ascii") as file:
                file.write(str(seen))


if __name__ == "__main__":
    main()
