#!/usr/bin/env python3
"""The picture of a real run that the READMEs show: `make picture`.

A shop in a throwaway container; the real commands, one after another, on a pseudo-terminal; what a terminal shows at
the end, drawn as ``docs/images/run.<language>.svg``. Needs a Docker engine and a postgres image.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyte
from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.demo import CHANGES, ORDERS, SCHEMA, clean_environment, image_to_use
from tests.rig.containers import PostgresContainer, start_postgres

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, LINES = 100, 60
USERS, PRODUCTS, ADDED = ORDERS // 10, ORDERS // 100, ORDERS // 400
COMMANDS = (
    ("backup",),
    ("backup",),
    ("restore", "latest", "--yes"),
    ("drill", "latest", "--disaster", "volume"),
    ("list",),
)


def type_command(screen: pyte.HistoryScreen, words: tuple[str, ...], directory: str, variables: dict[str, str]) -> None:
    """Show a command's prompt, run it on a pseudo-terminal of the screen's size, and show all that it prints."""
    stream = pyte.ByteStream(screen)
    stream.feed(f"\x1b[32m$\x1b[0m \x1b[1mrespaldo {' '.join(words)}\x1b[0m\r\n".encode())
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execve(sys.executable, [sys.executable, "-m", "respaldo", *words], variables)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    while data := _read(master):
        stream.feed(data)
    _pid, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("\n".join(screen.display))
    stream.feed(b"\r\n")


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the other side is closed: Linux says so with EIO
        return b""


def styled_lines(screen: pyte.HistoryScreen) -> Iterator[Text]:
    """Yield each line that the terminal shows, with its colours."""
    shown = [line.rstrip() for line in screen.display]
    while shown and not shown[-1]:
        shown.pop()
    for number, line in enumerate(shown):
        text = Text(line)
        for column in range(len(line)):
            character = screen.buffer[number][column]
            style = [
                word for word, is_so in (("bold", character.bold), (character.fg, character.fg != "default")) if is_so
            ]
            text.stylize(" ".join(style).replace("brown", "yellow"), column, column + 1)
        yield text


def draw(container: PostgresContainer, language: str) -> None:
    """Run everything on one server and write the picture of one language."""
    screen = pyte.HistoryScreen(COLUMNS, LINES)
    variables = {
        **clean_environment(),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "LINES": str(LINES),
        "RESPALDO_LANG": language,
        "CONTAINER_NAME": container.name,
    }
    with TemporaryDirectory(prefix="respaldo-picture-") as directory:
        container.psql(SCHEMA.format(users=USERS, products=PRODUCTS, orders=ORDERS))
        for number, words in enumerate(COMMANDS):
            if number == 1:
                container.psql(CHANGES.format(users=USERS, products=PRODUCTS, added=ADDED))
            type_command(screen, words, directory, variables)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in styled_lines(screen):
        console.print(line, soft_wrap=True)
    # No font is fetched from anywhere: the reader's own is as good.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="respaldo", unique_id="run"), flags=re.DOTALL)
    target = ROOT / "docs" / "images" / f"run.{language}.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(svg)
    print(target.relative_to(ROOT))


def main() -> None:
    image = image_to_use()
    if image is None:
        raise SystemExit("no Docker engine with a postgres image: docker pull postgres:17")
    for language in ("es", "en"):
        container = start_postgres(image, name="tienda-db" if language == "es" else "shop-db", database="tienda")
        try:
            draw(container, language)
        finally:
            container.remove()


if __name__ == "__main__":
    main()
