"""What a test may ask of a PostgreSQL server, wherever it runs, and a database of its own on one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

_numbers = itertools.count(1)


class Server(Protocol):
    """A running server that takes SQL as its superuser."""

    def psql(self, sql: str, database: str | None = None) -> str: ...

    def pg_dump(self, *options: str, database: str | None = None) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database that a test made, on a server that it may share with others."""

    server: Server
    name: str

    def psql(self, sql: str) -> str:
        """Run statements one by one and return what they print, unaligned, without headers."""
        return self.server.psql(sql, self.name)

    def pg_dump(self, *options: str) -> bytes:
        """Return what ``pg_dump`` of this database writes."""
        return self.server.pg_dump(*options, database=self.name)


def new_name() -> str:
    """Return a name that no other test's database has."""
    return f"test_{os.getpid()}_{next(_numbers)}"


@contextmanager
def database_on(server: Server, *, options: str = "") -> Iterator[Database]:
    """Make a database with a name that no other test has; drop it at the end, whoever is still connected.

    ``options`` follow ``CREATE DATABASE name``: an encoding, a template.
    """
    name = new_name()
    server.psql(f'CREATE DATABASE "{name}" {options}', "postgres")
    try:
        yield Database(server=server, name=name)
    finally:
        server.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', "postgres")
