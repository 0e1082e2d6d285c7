"""The repository's disk is full, not writable, or has lost or changed what was written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.program import ENVIRONMENT, ROOT, Program
from tests.rig.requirements import require


@pytest.fixture
def small_disk(as_root: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB: room for one full of 6 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "respaldo-test", str(mounted)], capture_output=True, check=False
    )
    require("root", f"mount: {done.stderr.decode().strip()}" if done.returncode else None)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def _check_storage_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 20, done.stderr
    assert done.stdout == ""
    for word in ("error: ", "hint: ", *words):
        assert word in done.stderr, done.stderr


def test_backup_on_a_full_disk_says_so_and_leaves_earlier_backups_whole(with_full: Program, small_disk: Path) -> None:
    program = replace(with_full, repository=small_disk / "backups")
    shutil.copytree(with_full.repository, program.repository)
    done = program.run("backup", "--type", "full", "--name", "second")
    _check_storage_error(done, "no space left", "Free space")
    program.check_listed(["first"])
    program.check_no_strays()
    program.check_server_is_left_alone()

    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    done = program.run("backup", "--name", "second")
    _check_storage_error(done, "no space left")
    program.check_listed(["first"])

    ballast.unlink()
    assert program.back_up("--name", "second") == "second"
    program.check_listed(["first", "second"])
    program.check_no_strays()


def test_backup_on_a_mount_that_is_read_only_says_so(with_full: Program, small_disk: Path) -> None:
    program = replace(with_full, repository=small_disk / "backups")
    shutil.copytree(with_full.repository, program.repository)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    _check_storage_error(program.run("backup"), "Read-only file system")
    program.check_listed(["first"])


def test_backup_into_a_directory_that_is_not_writable_says_so(as_root: None, program: Program, tmp_path: Path) -> None:
    require("root", None if shutil.which("setpriv") else "no setpriv")
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o555)
    # Root without its right to ignore modes: it may still use the engine's socket and the interpreter.
    dropped = "-dac_override,-dac_read_search"
    argv = ["setpriv", "--inh-caps", dropped, "--bounding-set", dropped, sys.executable, "-m", "respaldo"]
    argv += replace(program, repository=theirs).argv("backup")
    done = subprocess.run(argv, cwd=ROOT, env=ENVIRONMENT, text=True, capture_output=True, check=False)
    _check_storage_error(done, "Permission denied", str(theirs))
    assert list(theirs.iterdir()) == []


def _pack(program: Program) -> Path:
    return max(program.repository.rglob("data-*.sql.zst"), key=lambda path: path.stat().st_size)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_cut, Path.unlink])
def test_incremental_on_a_base_that_is_not_whole_warns_and_is_made_full(with_full: Program, damage: object) -> None:
    pack = _pack(with_full)
    damage(pack)  # type: ignore[operator]
    done = with_full.run("backup", "--name", "second")
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert pack.name in done.stderr
    assert "full: " in done.stderr
    second = next(reader for reader in with_full.readers() if reader.manifest.name == "second")
    assert second.manifest.base is None
    for segment in second.segments:
        for _text in second.open_text(segment):
            pass


@pytest.mark.parametrize("what", ["data-*.sql.zst", "segments.json.zst"])
def test_incremental_whose_base_has_a_flipped_bit_warns_and_is_made_full(with_full: Program, what: str) -> None:
    # A bit changes no size: it is noticed where the base's text is read, which a changed table needs.
    with_full.container.psql("CREATE DATABASE changed TEMPLATE shop")
    changed = replace(with_full, database="changed")
    try:
        changed.back_up("--name", "base")
        changed.container.psql("UPDATE big SET t = 'x' WHERE id % 1000 = 0", "changed")
        changed.container.psql("UPDATE big2 SET t = 'x' WHERE id % 1000 = 0", "changed")
        directory = changed.repository / changed.container.name / "changed" / "base"
        for path in directory.glob(what):
            _flip(path)
        done = changed.run("backup", "--name", "second")
        assert done.returncode == 0, done.stderr
        assert "warning: " in done.stderr
        assert "base is damaged" in done.stderr
        second = next(reader for reader in changed.readers() if reader.manifest.name == "second")
        assert second.manifest.base is None
        for segment in second.segments:
            for _text in second.open_text(segment):
                pass
    finally:
        changed.container.psql("DROP DATABASE changed")


@pytest.mark.parametrize("what", ["data", "schema.dump", "segments.json.zst", "database.sql"])
@pytest.mark.parametrize("damage", [_flip, _cut, Path.unlink])
def test_restore_of_a_damaged_backup_names_the_object_and_leaves_no_database(
    with_full: Program, what: str, damage: object
) -> None:
    path = _pack(with_full) if what == "data" else next(with_full.repository.rglob(what))
    with_full.container.psql("DROP DATABASE IF EXISTS broken")
    damage(path)  # type: ignore[operator]
    done = with_full.run("restore", "first", "--to", "broken")
    assert done.returncode == 13, done.stderr
    assert "hint: " in done.stderr
    assert path.name in done.stderr
    if what == "data" and damage is _flip:
        assert '"public"."big' in done.stderr
    assert with_full.container.psql("SELECT datname FROM pg_database WHERE datname LIKE 'broken%'") == ""
    with_full.check_server_is_left_alone()
