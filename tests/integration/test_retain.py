"""Removal by policy on a real repository: target by target, as the dry run said, and whole wherever it is stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from respaldo.clock import SystemClock
from respaldo.repository.codec import compress
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import BackupFacts, BackupType, Decision, Series, TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.integration.conftest import ROOT
from tests.rig.program import run_program
from tests.rig.variables import shell_variables

TARGETS = [
    TargetPath(instance=one, database=name) for one in ("pc", "pc_2") for name in ("app", "app_prod", "app-prod")
]
POLICY = ("--retention-daily", "2", "--retention-weekly", "0", "--retention-monthly", "0", "--retention-full", "1")
# Of fulls on Monday to Saturday, 2 to 7 March 2026, each with an incremental an hour later, stay: the newest two days'
# last backups, and what they need.
KEPT = ["f4", "i4", "f5", "i5"]
FOREIGN = ("old.sql", "pc/app/notes.txt", "pc/app/f0.sql.gz")


def write(repository: Repository, target: TargetPath, name: str, started: datetime, base: BackupReader | None) -> None:
    kind = BackupType.INCREMENTAL if base else BackupType.FULL
    with (
        repository.acquire(target) as lease,
        repository.begin(target, name, type=kind, base=base, lease=lease) as writer,
    ):
        series = writer.add_series(Series(key='"public"."t"', head='COPY "public"."t" FROM stdin;\n', tail="\\.\n"))
        text = name.encode() + b"\n"
        digest = blake3(text).hexdigest()
        writer.new_pack().add_frame(series, "0", compress(text), raw_size=len(text), rows=1, digest=digest)
        decision = Decision(code="asked", text="asked for")
        writer.commit(
            BackupFacts(
                started=started,
                environment="docker",
                tool_version="0",
                decision=decision,
                tables=1,
                server={},
                warnings=(),
            )
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with six targets whose names are alike, and files of other programs in it."""
    root = tmp_path_factory.mktemp("retain") / "backups"
    repository = Repository.open_or_create(DirectoryStorage(root), SystemClock())
    for target in TARGETS:
        for day in range(6):
            started = datetime(2026, 3, 2 + day, 2, tzinfo=UTC)
            write(repository, target, f"f{day}", started, None)
            base = repository.reader(target, f"f{day}")
            write(repository, target, f"i{day}", started + timedelta(hours=1), base)
    for name in FOREIGN:
        (root / name).write_text("SELECT 1;\n")
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "backups"))


def run(
    root: Path, *words: str, flat: bool = False, module: Sequence[str] = ("respaldo",)
) -> subprocess.CompletedProcess[str]:
    program = ["-m", *module, "--repository", str(root), "retain"]
    if flat:
        program = ["backup_orchestrator.py", "--dir", str(root)]
    environment = shell_variables(RESPALDO_LANG="en", PYTHONPATH=f"{ROOT / 'src'}:{ROOT}")
    return run_program([*program, *words], cwd=ROOT, env=environment, timeout_s=100)


def listed(root: Path) -> dict[TargetPath, list[str]]:
    repository = Repository.open(DirectoryStorage(root), SystemClock())
    return {target: [one.name for one in repository.backups(target).manifests] for target in repository.targets()}


def files(root: Path) -> set[str]:
    """Every file but those that runs are remembered by."""
    found = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    return {str(path) for path in found if path.parts[0] != ".metadata"}


def removals(document: list[dict[str, Any]]) -> dict[TargetPath, set[str]]:
    return {
        TargetPath(instance=plan["instance"], database=plan["database"]): {
            verdict["name"] for verdict in plan["verdicts"] if not verdict["keep"]
        }
        for plan in document
    }


@pytest.mark.parametrize("flat", [False, True])
def test_retain_removes_of_every_target_what_the_dry_run_said_and_nothing_else(flat: bool, root: Path) -> None:
    before, was = files(root), listed(root)
    dry, wet = (("--retention-dry-run",), ("--apply-retention",)) if flat else (("--dry-run",), ("--yes",))
    said = run(root, *dry, "--json", *POLICY, flat=flat)
    assert said.returncode == 0, said.stderr
    assert files(root) == before
    assert removals(json.loads(said.stdout)) == {target: set(was[target]) - set(KEPT) for target in TARGETS}
    done = run(root, *wet, *POLICY, flat=flat)
    assert done.returncode == 0, done.stderr
    assert listed(root) == dict.fromkeys(sorted(TARGETS, key=str), KEPT) or {*listed(root)} == {*TARGETS}
    assert all(names == KEPT for names in listed(root).values())
    # Of what is gone no file is left, and no other file is gone.
    kept = {name for name in before if name in FOREIGN or name == "respaldo.json" or set(name.split("/")) & set(KEPT)}
    assert files(root) == kept
    again = run(root, *dry, "--json", *POLICY, flat=flat)
    assert all(names == set() for names in removals(json.loads(again.stdout)).values())


def test_retain_that_nobody_can_confirm_removes_nothing(root: Path) -> None:
    before = files(root)
    done = run(root, *POLICY)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert files(root) == before


def test_retain_while_another_run_holds_a_target_is_told_so(root: Path) -> None:
    repository = Repository.open(DirectoryStorage(root), SystemClock())
    with repository.acquire(TARGETS[0]):
        done = run(root, "--yes", *POLICY)
    assert done.returncode == 11
    assert len(listed(root)[TARGETS[0]]) == 12


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 13, 21, 40, 77])
def test_retain_killed_at_a_change_leaves_whole_backups_and_the_next_run_finishes(
    number: int, root: Path, tmp_path: Path
) -> None:
    killed = run(root, "--yes", *POLICY, module=("tests.faults.dying", str(number), str(tmp_path / "report")))
    assert killed.returncode == -9, killed.stderr
    repository = Repository.open(DirectoryStorage(root), SystemClock())
    for target in repository.targets():
        listing = repository.backups(target)
        assert listing.damaged == ()
        names = {one.name for one in listing.manifests}
        assert set(KEPT) <= names
        for manifest in listing.manifests:
            assert manifest.base is None or manifest.base in names
            reader = repository.reader(target, manifest.name)
            for entry in manifest.objects:
                reader.verify_object(entry.name)
            for segment in reader.segments:
                assert reader.read_text(segment) == manifest.name.encode() + b"\n"
    done = run(root, "--yes", *POLICY)
    # A lease of the dead run on this host is seen to be one.
    assert done.returncode == 0, done.stderr
    assert all(names == KEPT for names in listed(root).values())


def test_retain_leaves_damaged_backups_alone(root: Path) -> None:
    manifest = root / "pc" / "app" / "f0" / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes()[:-20])
    before = {name for name in files(root) if name.startswith("pc/app/f0/")}
    assert run(root, "--yes", *POLICY).returncode == 0
    assert {name for name in files(root) if name.startswith("pc/app/f0/")} == before
