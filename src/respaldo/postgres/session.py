"""A psql session held open inside the environment: statements in, rows out, each answer ended by a trailer."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

from respaldo.environments.base import Process, Runner
from respaldo.errors import StreamCutError
from respaldo.language import _
from respaldo.postgres.complaints import explain
from respaldo.postgres.connection import Connection
from respaldo.postgres.statements import split_statements
from respaldo.postgres.tools import Tools


class Session:
    """One connection. Not thread-safe. Leaving the ``with`` block ends it, and with it whatever transaction is open.

    The first error ends psql, so an answer that arrives whole means that every statement before it succeeded.
    """

    def __init__(self, runner: Runner, tools: Tools, connection: Connection, *, database: str | None = None) -> None:
        argv = [tools.psql, "--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only"]
        self._process: Process = runner.start(
            [*argv, "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose"],
            env=connection.environment(database=database),
            stdin=True,
        )
        self._mark = f"respaldo-{secrets.token_hex(16)}"
        self.tools = tools

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session, and with it whatever it runs. Harmless when repeated."""
        self._process.close()

    def execute(self, statements: str) -> bytes:
        """Run statements, each ended by its semicolon, and return what they print.

        Raise PostgresError, with none of them run, where a quote is not closed: psql would take the mark for a part of
        it, and wait for ever.
        """
        for _statement in split_statements(statements):
            pass
        mark = self.begin(statements).encode()
        answer = bytearray()
        searched = 0
        while True:
            answer += self.read()
            start = answer.find(mark, searched)
            if start >= 0 and answer.endswith(b"\n"):
                return bytes(answer[:start])
            searched = max(0, len(answer) - len(mark))

    def query(self, select: str) -> Iterator[dict[str, Any]]:
        """Run one SELECT (without a semicolon) and yield each row by column name, as JSON carries it."""
        answer = self.execute(f"SELECT pg_catalog.row_to_json(q) FROM (\n{select}\n) q;")
        for line in answer.splitlines():
            yield json.loads(line.decode(errors="surrogateescape"))

    def value(self, select: str) -> Any:
        """Run one SELECT and return the first column of its only row."""
        return next(iter(next(self.query(select)).values()))

    def begin(self, command: str) -> str:
        """Send a command; ``read`` brings its output, then a line of the mark returned here and a row count."""
        self._send(f"{command}\n\\echo {self._mark} :ROW_COUNT\n")
        return self._mark

    def read(self) -> bytes:
        """Return the next bytes of output; raise what psql complained of where it ended."""
        data = self._process.read()
        if not data:
            self._fail()
        return data

    def _send(self, text: str) -> None:
        try:
            self._process.write(text.encode(errors="surrogateescape"))
        except StreamCutError:
            self._fail()

    def _fail(self) -> NoReturn:
        status = self._process.wait(timeout_s=30)
        stderr = self._process.stderr_tail()
        if not stderr.strip() and status == 0:
            raise StreamCutError(_("psql ended before its answer was whole"))
        raise explain("psql", stderr, status)
