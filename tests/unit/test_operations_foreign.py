"""What a dump file is, and whether it is whole, told from the file alone."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from backports import zstd

from respaldo.errors import DamagedError, UsageError
from respaldo.operations.foreign import DumpKind, open_dump

SCRIPT = (
    b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 16.4\n\nCREATE TABLE t (\n  a int\n);\n"
    b"INSERT INTO t\n  VALUES (1);\nSELECT 1/0;\nCOPY t FROM stdin;\n1\n2\n\\.\n\n--\n"
    b"-- PostgreSQL database dump complete\n--\n"
)


def tar(format_: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as archive:
        for name, size in (("toc.dat", 700), ("1.dat", 0), ("2.dat", 1024), ("restore.sql", 33)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(b"x" * size))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.sql", "a.sql.gz", "a.sql.zst", "named.otherwise"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_script_is_told_by_its_first_bytes_and_not_by_its_name(name: str, pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    path = tmp_path / name
    path.write_bytes(pack(SCRIPT))
    dump = open_dump(path)
    assert (dump.kind, dump.major) == (DumpKind.SCRIPT, 16)
    assert b"".join(dump.open_script()) == SCRIPT


def test_script_of_several_members_or_frames_is_read_through(tmp_path: Path) -> None:
    for pack in (gzip.compress, zstd.compress):
        path = tmp_path / "a"
        path.write_bytes(pack(SCRIPT[:100]) + pack(SCRIPT[100:]))
        assert b"".join(open_dump(path).open_script()) == SCRIPT


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_compressed_script_cut_anywhere_is_refused(pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    path = tmp_path / "a"
    whole = pack(SCRIPT)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises((DamagedError, UsageError)):
            open_dump(path)


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_tar_cut_anywhere_before_its_end_is_refused(format_: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    whole = tar(format_)
    path.write_bytes(whole)
    assert open_dump(path).kind is DumpKind.ARCHIVE
    # Four headers, two, none, two and one block of contents; then zeros.
    end = 512 * (4 + 2 + 0 + 2 + 1)
    assert whole[end : end + 512] == bytes(512)
    for cut in (262, 511, 512, 513, 1024, 1100, 1536, 2048, 2560, 3000, 4000, end - 1, end, end + 511):
        path.write_bytes(whole[:cut])
        with pytest.raises((DamagedError, UsageError)):
            open_dump(path)
    path.write_bytes(whole[: end + 512])
    open_dump(path)


def write_directory(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir()
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


WHOLE = {
    "toc.dat": b"PGDMP",
    "1.dat": b"1\tx\n\\.\n\n\n",
    "2.dat.gz": gzip.compress(b"1\n2\n\\.\n\n\n", mtime=0),
    "3.dat.zst": zstd.compress(b"\\.\n\n\n"),
    "4.dat": b"INSERT INTO t VALUES (1);\n\n\n",
    "5.dat.lz4": b"cannot be read here",
    "blobs.toc": b"7 blob_7.dat\n8 blob_8.dat\n",
    "blob_7.dat.gz": gzip.compress(b"x", mtime=0),
    "blob_8.dat": b"",
}


def test_directory_that_is_whole_is_taken(tmp_path: Path) -> None:
    dump = open_dump(write_directory(tmp_path / "d", WHOLE))
    assert (dump.kind, dump.is_directory) == (DumpKind.ARCHIVE, True)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("1.dat", b"1\tx\n"),
        ("1.dat", b"1\t\\."),
        ("1.dat", b""),
        ("2.dat.gz", WHOLE["2.dat.gz"][:-3]),
        ("2.dat.gz", gzip.compress(b"1\n", mtime=0)),
        ("3.dat.zst", WHOLE["3.dat.zst"][:-1]),
        ("4.dat", b"INSERT INTO t VALUES (1"),
        ("blob_7.dat.gz", gzip.compress(b"x", mtime=0)[:-2]),
        ("blob_7.dat.gz", b""),
        ("blobs.toc", b"7 blob_7.dat\n"),
        ("blobs.toc", b"7 blob_7.dat\n8 blob_8.dat\n9 blob_9.dat\n"),
    ],
)
def test_directory_with_a_file_that_is_cut_is_refused_and_the_file_named(
    name: str, data: bytes, tmp_path: Path
) -> None:
    with pytest.raises(DamagedError, match=r"blob_|" + name):
        open_dump(write_directory(tmp_path / "d", {**WHOLE, name: data}))


def test_directory_without_contents_is_no_dump(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        open_dump(tmp_path)


def test_statement_is_found_by_the_line_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.sql"
    path.write_bytes(SCRIPT)
    dump = open_dump(path)
    lines = SCRIPT.split(b"\n")
    for end, first in (
        (b"  VALUES (1);", "INSERT INTO t"),
        (b"SELECT 1/0;", "SELECT 1/0;"),
        (b");", "CREATE TABLE t ("),
    ):
        assert dump.statement_at(lines.index(end) + 1) == first
    assert dump.statement_at(10**6) != ""
