"""The file that node_exporter's textfile collector reads: replaced in one step, so that it is never read half."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_textfile(path: Path, text: str) -> None:
    """Write the file, readable for all: node_exporter runs as a user of its own. Raise OSError; nothing is left then.

    The unfinished one does not end in ``.prom``, which is what the collector looks for.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
