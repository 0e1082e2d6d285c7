"""A database's definitions as pg_dump writes them, object by object, so that two databases can be compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from respaldo.postgres.archive import section_script
from respaldo.postgres.copytext import Statements, split_script
from respaldo.postgres.dump import dump_data, dump_schema
from respaldo.postgres.server import Server
from respaldo.postgres.tables import list_tables

_SECTIONS = ("pre-data", "post-data")
_ENTRY = re.compile(r"^--\n-- (Name: .*)\n--\n", re.MULTILINE)
# Which objects of one name stand first depends on their oids, which a restore gives anew; so does this remark.
_VOLATILE = re.compile(r"^(?:--.*|\\(?:un)?restrict .*|SET .*;|SELECT pg_catalog\.set_config.*)?\n", re.MULTILINE)


def stored_definitions(server: Server, archive: bytes) -> Counter[tuple[str, str]]:
    """Return an archive's objects: what each is (its entry's comment), and its statements."""
    found: Counter[tuple[str, str]] = Counter()
    for section in _SECTIONS:
        found.update(_entries(section_script(server, archive, section).decode(errors="surrogateescape")))
    return found


def live_definitions(server: Server) -> Counter[tuple[str, str]]:
    """Return the same of the database that the server is seen from."""
    archive = b"".join(piece.text for piece in dump_schema(server, None, lock_timeout_s=30))
    return stored_definitions(server, archive)


def live_statements(server: Server) -> Counter[bytes]:
    """Return what pg_dump's data script holds beside rows: sequences' values, large objects."""
    with server.open_session() as session:
        tables = [table for table in list_tables(session) if table.kind == "r"]
    stream = dump_data(server, None, excluded=tables, lock_timeout_s=30)
    parts = split_script(piece.text for piece in stream)
    return count_statements(part.text for part in parts if isinstance(part, Statements))


def count_statements(texts: Iterator[bytes]) -> Counter[bytes]:
    """Return the lines of data statements with how often each stands there; settings left out."""
    found: Counter[bytes] = Counter()
    rest = b""
    for text in texts:
        *lines, rest = (rest + text).split(b"\n")
        found.update(line for line in lines if line and not line.startswith((b"SET ", b"SELECT pg_catalog.set_config")))
    return found


def _entries(script: str) -> Iterator[tuple[str, str]]:
    pieces = _ENTRY.split(script)
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        yield title, _VOLATILE.sub("", body).strip()
