"""Dump files of other programs: what they are, read to their end before anything is touched."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from backports import zstd

from respaldo.errors import DamagedError, UsageError
from respaldo.language import _
from respaldo.postgres.safescript import SafeScript
from respaldo.units import MIB

_PIECE_BYTES = MIB
# pg_dump's custom archive; a tar's magic stands at byte 257 (POSIX, ustar); gzip (RFC 1952); zstd (RFC 8878).
_CUSTOM, _USTAR, _GZIP, _ZSTD = b"PGDMP", b"ustar", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Rows of one table in a directory of pg_dump's, by its suffix compressed; large objects beside them.
_ROWS_FILE = re.compile(r"\d+\.dat(?:\.gz|\.zst|\.lz4)?")
_PACKED = {".gz", ".zst", ".lz4"}
_TAIL_BYTES = 64
_BLOCK_BYTES = 512
_SHOWN = 200


class DumpKind(Enum):
    """How a dump file is read back: by psql, or by pg_restore."""

    SCRIPT = "script"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpFile:
    """A dump of another program. ``major``: of the server it came from, where it says so."""

    path: Path
    kind: DumpKind
    major: int | None = None

    @property
    def made(self) -> datetime:
        """When it was written, as its file system tells."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def open_script(self) -> SafeScript:
        """Return what psql may be sent of a script."""
        return SafeScript(_text(self.path))

    def statement_at(self, number: int) -> str:
        """Return the first line of the statement of a script that ends at this line, as far as semicolons tell."""
        first, is_new, current, rest = b"", True, 0, b""
        for piece in self.open_script():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                current += 1
                if is_new and line.strip() and not line.startswith(b"--"):
                    first, is_new = line, False
                if current == number:
                    return first.decode(errors="replace").strip()[:_SHOWN]
                is_new = is_new or line.rstrip().endswith(b";")
        return (first or rest).decode(errors="replace").strip()[:_SHOWN]

    def open_archive(self) -> Iterator[bytes]:
        """Yield an archive's bytes; a directory packed as a tar, to be unpacked where it is restored."""
        if not self.path.is_dir():
            with self.path.open("rb") as file:
                yield from _pieces(file)
            return
        with TemporaryFile() as spooled:
            with tarfile.open(fileobj=spooled, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for entry in sorted(self.path.iterdir()):
                    archive.add(entry, arcname=entry.name)
            spooled.seek(0)
            yield from _pieces(spooled)

    @property
    def is_directory(self) -> bool:
        return self.path.is_dir()


def open_dump(path: Path) -> DumpFile:
    """Tell what a file is and, for a script, read it to its end.

    Raise UsageError for what is empty, no dump at all, or holds commands of psql's; DamagedError for what ends early.
    """
    if path.is_dir():
        if not (path / "toc.dat").is_file():
            raise UsageError(
                _("{path} is no dump: the directory has no toc.dat").format(path=path),
                hint=_("name a file, or a directory that pg_dump --format=directory wrote"),
            )
        _check_directory(path)
        return DumpFile(path=path, kind=DumpKind.ARCHIVE)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UsageError(_("{path} cannot be read: {error}").format(path=path, error=error.strerror)) from error
    if not head:
        raise UsageError(_("{path} is empty").format(path=path), hint=_("choose another file"))
    if head[257:262] == _USTAR:
        _check_tar(path)
    if head.startswith(_CUSTOM) or head[257:262] == _USTAR:
        return DumpFile(path=path, kind=DumpKind.ARCHIVE)
    return _checked_script(path)


def _checked_script(path: Path) -> DumpFile:
    script = SafeScript(_text(path))
    for _piece in script:
        pass
    if script.statements == 0:
        raise UsageError(_("{path} holds no SQL statement").format(path=path), hint=_("choose another file"))
    if not script.is_whole or (script.is_of_pg_dump and not script.has_trailer):
        raise _ends_early(path)
    return DumpFile(path=path, kind=DumpKind.SCRIPT, major=script.major)


def _ends_early(path: Path) -> DamagedError:
    return DamagedError(
        _("{path} ends early: its last line is not the end of a dump").format(path=path),
        hint=_("copy the file again, or choose another one"),
    )


def _check_tar(path: Path) -> None:
    """Walk a tar's headers to the block of zeros after its last member (POSIX, ustar). Raise DamagedError where it
    ends early: pg_restore 17 reads on for ever at such an end."""
    size_bytes = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while (header := file.read(_BLOCK_BYTES)) != bytes(_BLOCK_BYTES):
            field = header[124:136]
            # A size past 8 GiB stands there in base 256 (GNU).
            is_octal = re.fullmatch(rb"[ 0-7]*[0-7][ \0]*", field) is not None
            if len(header) < _BLOCK_BYTES or not (is_octal or field[0] & 0x80):
                raise _ends_early(path)
            member_bytes = int(field.strip(b" \0"), 8) if is_octal else int.from_bytes(field[1:], "big")
            offset += _BLOCK_BYTES + -(-member_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
            if offset > size_bytes:
                raise _ends_early(path)
            file.seek(offset)


def _check_directory(directory: Path) -> None:
    """Read what pg_restore takes without a look at its end: rows that end at some row, a list of large objects that
    ends at some line. Raise DamagedError for those that were cut."""
    for path in sorted(directory.iterdir()):
        if _ROWS_FILE.fullmatch(path.name) and path.suffix != ".lz4":
            tail = b""
            for piece in _text(path):
                tail = (tail + piece)[-_TAIL_BYTES:]
            # COPY's end mark, or with --inserts the end of a statement.
            if not tail.rstrip(b"\n").endswith((b"\n\\.", b";")) and tail.strip() != b"\\.":
                raise _ends_early(path)
        elif path.name.startswith("blob_") and path.suffix in {".gz", ".zst"}:
            if path.stat().st_size == 0:
                raise _ends_early(path)
            for _piece in _text(path):
                pass
    listed = {
        line.split()[-1].decode(errors="replace")
        for toc in directory.glob("blobs*.toc")
        for line in toc.read_bytes().splitlines()
        if line.strip()
    }
    there = {
        path.name.removesuffix(path.suffix) if path.suffix in _PACKED else path.name
        for path in directory.glob("blob_*")
    }
    for name in sorted(listed ^ there):
        raise _ends_early(directory / name)


def _text(path: Path) -> Iterator[bytes]:
    """Yield a script's text, decompressed by what its first bytes are."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        try:
            if head.startswith(_GZIP):
                yield from _gunzip(file)
            elif head == _ZSTD:
                yield from _unzstd(file)
            else:
                yield from _pieces(file)
        except (zlib.error, gzip.BadGzipFile, zstd.ZstdError, EOFError) as error:
            raise DamagedError(
                _("{path} is damaged: {error}").format(path=path, error=error),
                hint=_("copy the file again, or choose another one"),
            ) from error


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(_PIECE_BYTES):
        yield data


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the text of every member: pigz and ``cat`` make files of several."""
    with gzip.GzipFile(fileobj=file, mode="rb") as members:
        while data := members.read(_PIECE_BYTES):
            yield data


def _unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the text of every frame."""
    with zstd.ZstdFile(file, mode="rb") as frames:
        while data := frames.read(_PIECE_BYTES):
            yield data
