"""A manifest that was lost: what is left of its backup stays while an incremental needs it, and everybody is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from respaldo.errors import DamagedError, UsageError
from respaldo.repository.records import BackupType
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.contracts import CONTRACT
from tests.unit.repositories import TARGET, fill
from tests.unit.test_cli_versions import run


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A full and its incremental; the full's manifest lies beside the repository."""
    repository = fill(DirectoryStorage(tmp_path / "repository"))
    shutil.move(tmp_path / "repository/i/d/full/manifest.json", tmp_path / "copy.json")
    return repository


def leave_dead(directory: Path) -> Path:
    """Leave what a run that died leaves."""
    dead = directory / "i/d/dead/data-00-000.sql.zst"
    dead.parent.mkdir()
    dead.write_bytes(b"x")
    return dead


def sweep(repository: Repository) -> int:
    with repository.acquire(TARGET) as lease:
        return repository.sweep(TARGET, lease)


def test_base_whose_manifest_is_missing_survives_a_sweep_and_is_whole_with_it(
    repository: Repository, tmp_path: Path
) -> None:
    dead = leave_dead(tmp_path / "repository")
    assert sweep(repository) == 1
    assert not dead.exists()
    shutil.move(tmp_path / "copy.json", tmp_path / "repository/i/d/full/manifest.json")
    assert run(tmp_path / "repository", "check")[0] == 0


def test_nothing_without_a_manifest_is_swept_beside_one_that_cannot_be_believed(
    repository: Repository, tmp_path: Path
) -> None:
    """Nobody knows what that one needs."""
    leave_dead(tmp_path / "repository")
    (tmp_path / "repository/i/d/inc/manifest.json").write_bytes(b"{}")
    assert sweep(repository) == 0
    assert list((tmp_path / "repository/i/d/full").glob("data-*"))


def test_what_nothing_needs_any_more_is_swept(repository: Repository, tmp_path: Path) -> None:
    repository.remove(TARGET, "inc")
    assert sweep(repository) > 0
    assert not list((tmp_path / "repository/i/d").rglob("data-*"))


@pytest.mark.parametrize("replace", [False, True])
def test_backup_of_that_name_is_refused_as_it_would_write_over_the_packs(
    replace: bool, repository: Repository, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "repository/i/d/full").iterdir()}
    with repository.acquire(TARGET) as lease, pytest.raises(UsageError, match="inc") as caught:
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease, replace=replace)
    assert caught.value.hint
    assert {path: path.read_bytes() for path in (tmp_path / "repository/i/d/full").iterdir()} == before


@pytest.mark.parametrize("is_left", [True, False], ids=["its packs are there", "nothing is there"])
@pytest.mark.parametrize("command", ["list", "status --rpo-objective 1000000", "summary", "check"])
def test_missing_base_is_named_by_every_command_that_shows_backups(
    command: str, is_left: bool, repository: Repository, tmp_path: Path
) -> None:
    if not is_left:
        shutil.rmtree(tmp_path / "repository/i/d/full")
    status, out, err = run(tmp_path / "repository", *command.split(), "--json")
    assert status == 13, err
    shown = json.loads(out)
    CONTRACT.check(f"respaldo {command.partition(' --')[0]}", shown)
    if command == "list":
        assert [one["name"] for one in shown] == ["inc"]
    elif command == "check":
        assert {one["backup"] for one in shown["findings"]} == {"full", "inc"}
    else:
        assert shown[0]["damaged"] == ["full"]
    if command != "check":
        assert "i/d/full" in err
        assert "inc" in err
    _status, text, said = run(tmp_path / "repository", *command.split())
    assert "full" in text + said


def test_missing_base_that_is_asked_for_is_said_to_be_missing(repository: Repository, tmp_path: Path) -> None:
    status, _out, err = run(tmp_path / "repository", "export", "full", "-o", str(tmp_path / "x"))
    assert status == 13
    assert "inc" in err
    with pytest.raises(DamagedError, match="full"):
        list(repository.reader(TARGET, "inc").base.segments)
