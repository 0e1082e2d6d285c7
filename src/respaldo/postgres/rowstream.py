"""Text that comes out of the environment piece by piece, with the proof that it came whole."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from respaldo.environments.base import Process, Runner
from respaldo.errors import StreamCutError
from respaldo.language import _
from respaldo.postgres.complaints import explain
from respaldo.postgres.session import Session
from respaldo.postgres.unpack import make_unpacker

_TRAILER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a stream. ``stored``: the zstd bytes as they came (the pieces' add up to one frame), or None where
    the instance has no zstd and the reader must compress. ``text``: the same, decompressed."""

    stored: bytes | None
    text: bytes


def read_pieces(read: Callable[[], bytes], compressor: str, mark: str) -> Generator[Piece, None, str]:
    """Yield a stream's pieces up to the end of its frame, and return its trailer line (without the mark).

    ``read`` returns ``b""`` at the stream's end or raises. Raise StreamCutError where no trailer follows the frame.
    """
    unpacker = make_unpacker(compressor, mark)
    is_zstd = compressor == "zstd"
    while not unpacker.is_done:
        data = read()
        if not data:
            raise StreamCutError(_("the stream ended before its trailer"))
        for text in unpacker.feed(data):
            yield Piece(b"" if is_zstd else None, text)
        if is_zstd:
            yield Piece(data[: len(data) - len(unpacker.rest)], b"")
    trailer = unpacker.rest
    while not trailer.endswith(b"\n") or not trailer.strip():
        data = read()
        if not data or len(trailer) > _TRAILER_BYTES:
            raise StreamCutError(_("the stream ended before its trailer"))
        trailer += data
    line = trailer.decode(errors="replace").strip()
    if not line.startswith(mark):
        raise StreamCutError(_("the stream's trailer is not the one that was asked for"))
    return line.removeprefix(mark).strip()


# psql may be gone before its program has ended (the kernel killed it where memory was short). Then this falls to
# process 1 (see _PIPE), and must end by no signal, SIGPIPE among them, and with no status above 1.
_GUARDED = 'trap "" PIPE; {compress} || exit 1'


class RowStream:
    """The rows of one query, in COPY's text format. Iterate once, to the end; then ``rows`` is the server's count, if
    the query is large and of one line.

    ``is_kept``: whether the pieces' frame is likely to be stored as it came.
    """

    def __init__(self, session: Session, query: str, *, is_large: bool = True, is_kept: bool = True) -> None:
        tools = session.tools
        # A program costs a process; and psql reads \copy to the end of its line, which a name may hold. But what goes
        # to its own output psql does not count (common.c, HandleCopyResult): without a compressor it is cat.
        is_plain = not is_large or "\n" in query or "\r" in query
        self._compressor = "cat" if is_plain else tools.compressor
        self._session = session
        self._mark = session.begin(
            f"COPY ({query}) TO STDOUT;"
            if is_plain
            else f"\\copy ({query}) TO PROGRAM '{_GUARDED.format(compress=tools.compress_command(is_kept=is_kept))}'"
        )
        self.rows = -1

    def __iter__(self) -> Iterator[Piece]:
        trailer = yield from read_pieces(self._session.read, self._compressor, self._mark)
        if not trailer.isdecimal():
            raise StreamCutError(_("the stream's trailer is not the one that was asked for"))
        self.rows = int(trailer)


def digest_rows(session: Session, query: str) -> str:
    """Return the SHA-256, in hexadecimal, of a query's rows in COPY's text format. The query is of one line.

    Made inside, where the image has ``sha256sum``: the rows then cross no connection, and need no compressor.
    """
    if session.tools.has_sha256sum:
        guarded = _GUARDED.format(compress="sha256sum")
        return session.execute(f"\\copy ({query}) TO PROGRAM '{guarded}'").decode(errors="replace").split(" ")[0]
    digest = hashlib.sha256()
    for piece in RowStream(session, query, is_kept=False):
        digest.update(piece.text)
    return digest.hexdigest()


# Runs "$@" through a compressor. The trailer holds both exit statuses; a reader that vanishes (its side of stdin
# ends) takes the command with it, which would otherwise run on to its end with its transaction and its locks.
# Every child is waited for. An orphan falls to process 1, which in a container is PostgreSQL's postmaster: it takes a
# child that a signal ended for a crashed backend of its own, and restarts the whole server (seen with 13 to 18).
_PIPE = r"""
mark=$1 compress=$2 ended=$3; shift 3
exec 3<&0 4>&1
statuses=$( {
  {
    "$@" </dev/null 3<&- 4>&- 5>&- &
    command=$!
    ( read -r line <&3; [ -n "$ended" ] && kill -TERM "$command" ) >/dev/null 2>&1 4>&- 5>&- &
    watcher=$!
    wait "$command"; echo "$?" >&5
    kill "$watcher" 2>/dev/null; wait "$watcher" 2>/dev/null
  } | { $compress >&4 5>&-; echo "$?" >&5; }
} 5>&1 )
echo "$mark" $statuses
"""


class CommandStream:
    """The output of one command inside the instance, compressed there. Iterate to the end once.

    ``has_children``: the command starts others, which ending it would orphan; without a reader it runs to its end.
    """

    def __init__(
        self,
        runner: Runner,
        argv: Sequence[str],
        *,
        env: dict[str, str],
        compressor: str,
        compress: str,
        has_children: bool = False,
    ) -> None:
        self._mark = f"respaldo-{secrets.token_hex(16)}"
        self._program = argv[0].rsplit("/", 1)[-1]
        self._compressor = compressor
        self._process: Process = runner.start(
            ["sh", "-c", _PIPE, "sh", self._mark, compress, "" if has_children else "ended", *argv],
            env=env,
            stdin=True,
        )

    def __iter__(self) -> Iterator[Piece]:
        with self._process:
            try:
                trailer = yield from read_pieces(self._process.read, self._compressor, self._mark)
            except StreamCutError:
                status = self._process.wait(timeout_s=30)
                stderr = self._process.stderr_tail()
                if stderr.strip():
                    raise explain(self._program, stderr, status) from None
                raise
            if trailer != "0 0":
                ended = int(trailer.split()[0]) if trailer[:1].isdigit() else None
                raise explain(self._program, self._process.stderr_tail(), ended)

    def close(self) -> None:
        """End the command, if it still runs. Harmless when repeated."""
        self._process.close()
