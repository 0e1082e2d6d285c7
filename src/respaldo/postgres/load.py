"""Rows, definitions and settings into a database: every stream ends in a commit that only its last byte closes."""

from __future__ import annotations

import re
import secrets
from types import TracebackType
from typing import Self

from backports import zstd
from backports.zstd import CompressionParameter

from respaldo.errors import StreamCutError
from respaldo.language import _
from respaldo.postgres.complaints import explain
from respaldo.postgres.server import Server

# Feeds psql through a decompressor. The trailer holds both exit statuses; every child is waited for (rowstream.py).
_PIPE = r"""
mark=$1 decompress=$2; shift 2
exec 3<&0 4>&1
statuses=$( { { $decompress <&3 3<&- 4>&-; echo "$?" >&5; } | { "$@" 3<&- >&4 4>&- 5>&-; echo "$?" >&5; }; } 5>&1 )
echo "$mark" $statuses
"""

# The decompressor inside compares the checksum: what reaches psql is what was sent.
_CHECKED: dict[int, int] = {CompressionParameter.compression_level: 1, CompressionParameter.checksum_flag: 1}
_VERSION = re.compile(rb" (\d+)(?:\.(\d+))?")
_RESTRICTS_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
_PLACE = re.compile(rb"<stdin>:(\d+): (?:ERROR|FATAL|error)")


class LoadStream:
    """One transaction of SQL text into one database. Not thread-safe. Leaving the ``with`` block without ``commit``
    rolls it back, as does every cut of the connection. ``begins`` False: a script that has transactions of its own.
    ``restricts``: psql itself refuses every command of its own that stands in the text; only where ``can_restrict``.
    ``failed_line``: after an error, the line of what was sent where the statement ends that failed."""

    def __init__(
        self, server: Server, database: str, *, preamble: str, begins: bool = True, restricts: bool = False
    ) -> None:
        self.accepts_frames = server.tools.compressor == "zstd"
        self._mark = f"respaldo-{secrets.token_hex(16)}"
        psql = [server.tools.psql, "--no-psqlrc", "--no-password", "--quiet", "--output=/dev/null"]
        # An error's SQLSTATE with its words, which may be in any language.
        psql.append("--set=VERBOSITY=verbose")
        decompress = "zstd -dcq" if self.accepts_frames else "cat"
        self._process = server.runner.start(
            ["sh", "-c", _PIPE, "sh", self._mark, decompress, *psql, "--set=ON_ERROR_STOP=1", "--file=-"],
            env=server.connection.environment(database=database),
            stdin=True,
        )
        key = secrets.token_hex(16)
        self._lines_before = 1 if restricts else 0
        self._end = (f"\\unrestrict {key}\n" if restricts else "") + ("COMMIT;\n" if begins else "")
        self.failed_line: int | None = None
        start = (f"\\restrict {key}\n" if restricts else "") + ("BEGIN;" if begins else "")
        self.send_text(f"{start}{preamble}".encode(errors="surrogateescape"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the stream; what was not committed is rolled back. Harmless when repeated."""
        self._process.close()

    def send_frame(self, frame: bytes) -> None:
        """Send bytes of zstd frames as they are; only where ``accepts_frames``."""
        self._write(frame)

    def send_text(self, text: bytes) -> None:
        """Send SQL text."""
        self._write(zstd.compress(text, options=_CHECKED) if self.accepts_frames else text)

    def commit(self) -> None:
        """Commit, and see that it happened; raise PostgresError with the server's own words where it did not."""
        self.send_text(f"\n{self._end}\\echo {self._mark} committed\n".encode())
        self._process.close_stdin()
        output = bytearray()
        while data := self._process.read():
            output += data
        expected = f"{self._mark} committed\n{self._mark} 0 0\n".encode()
        if output != expected:
            raise self._explain()

    def _write(self, data: bytes) -> None:
        try:
            self._process.write(data)
        except StreamCutError as error:
            raise self._explain() from error

    def _explain(self) -> Exception:
        status = self._process.wait(timeout_s=30)
        stderr = self._process.stderr_tail()
        place = _PLACE.search(stderr)
        self.failed_line = int(place[1]) - self._lines_before if place else None
        return explain("psql", stderr, status) if stderr.strip() else StreamCutError(_("the load was cut short"))


def can_restrict(server: Server) -> bool:
    """Tell whether the instance's psql knows ``\\restrict``, which came with the minor releases of August 2025.

    A script may make psql read quotes otherwise than anybody who reads it before (``standard_conforming_strings``, set
    by a function): only psql itself then knows what is a command.
    """
    completed = server.runner.run([server.tools.psql, "--version"])
    version = _VERSION.search(completed.stdout)
    if version is None:
        return False
    major, minor = int(version[1]), int(version[2] or 0)
    return major >= 18 or minor >= _RESTRICTS_SINCE.get(major, minor + 1)


def apply_settings(server: Server, name: str, script: bytes) -> None:
    """Run a script that knows ``:"database"``, as that of ``read_settings_script``, in it: all of it or nothing."""
    mark = f"respaldo-{secrets.token_hex(16)}"
    psql = [server.tools.psql, "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1"]
    completed = server.runner.run(
        [*psql, f"--set=database={name}", "--file=-"],
        env=server.connection.environment(database=name),
        stdin=b"BEGIN;\n" + script + f"\nCOMMIT;\n\\echo {mark}\n".encode(),
    )
    if completed.status != 0:
        raise explain("psql", completed.stderr, completed.status)
    if not completed.stdout.endswith(f"{mark}\n".encode()):
        raise StreamCutError(_("the load was cut short"))
