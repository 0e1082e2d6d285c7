"""What commands say of wrong use, of nothing to do, and of what they could not do beside their work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from respaldo.clock import SystemClock
from respaldo.repository.manifest import encode_manifest
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.unit.manifests import write_backups
from tests.unit.repositories import fill
from tests.unit.test_cli_schedule import respaldo

pytestmark = pytest.mark.usefixtures("in_english")

NO_ENGINE = "unix:///nowhere/docker.sock"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["backup", "--all", "--name", "x"], "--all and --name contradict each other"),
        (["backup", "--as-jobs"], "--as-jobs takes --all / --all-databases"),
        (["backup", "--at-once", "3"], "--at-once takes --all / --all-databases"),
        (["check", "--quick", "--sample", "5%"], "--quick and --sample contradict each other"),
        (["check", "--sample", "some"], "--sample: some is not a valid value"),
        (["check", "--sample", "0"], "--sample: 0 is not a valid value"),
        (["schedule", "add", "x", "--", "list"], "'list' cannot be scheduled"),
        (["schedule", "remove", "x", "--dry-run", "--environment", "docker"], "there is no schedule 'x'"),
        (["serve", "--schedule", "nightly: 'daily"], "nightly: 'daily"),
    ],
)
def test_words_that_cannot_be_meant_are_wrong_use(tmp_path: Path, words: list[str], expected: str) -> None:
    code, _out, err = respaldo(tmp_path, *words)
    assert (code, expected in err) == (2, True), err


def test_file_is_restored_whole_or_not_at_all(tmp_path: Path) -> None:
    dump = tmp_path / "shop.sql"
    dump.write_text("CREATE TABLE t ();\n")
    code, _out, err = respaldo(tmp_path / "backups", "restore", str(dump), "--table", "t")
    assert (code, "from a backup only" in err, "--to NEW" in err) == (2, True, True), err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status"], (51, "No backups found in ")),
        (["rto"], (0, "No drill has proven a recovery yet: respaldo drill makes one.")),
        (["schedule", "list", "--environment", "docker"], (0, "Nothing is scheduled in ")),
        (["list"], (0, "No backups found in ")),
        (["restore"], (10, "No backups found in ")),
    ],
)
def test_nothing_is_said_to_be_nothing(tmp_path: Path, words: list[str], expected: tuple[int, str]) -> None:
    Repository.open_or_create(DirectoryStorage(tmp_path), SystemClock())
    code, out, err = respaldo(tmp_path, *words)
    assert (code, expected[1] in out + err) == (expected[0], True), (out, err)


def test_list_shows_dumps_of_other_programs_and_which_backup_failed(tmp_path: Path) -> None:
    (manifest,) = write_backups(tmp_path, 1)
    (tmp_path / "old.sql").write_text("SELECT 1;\n")
    repository = Repository.open(DirectoryStorage(tmp_path), SystemClock())
    proof = Proof(
        uid=manifest.uid, kind=ProofKind.DRILL, verdict=Verdict.FAILED, made=manifest.finished, tool_version="1"
    )
    repository.add_proof(manifest.target, manifest.name, proof)
    code, out, _err = respaldo(tmp_path, "list")
    assert (code, "FAILED 2025-06-03" in out) == (0, True), out
    assert f"Files of other programs in {tmp_path}:\n  old.sql  10 B" in out


def test_summary_names_what_is_damaged_and_says_that_nothing_is_good(tmp_path: Path) -> None:
    for manifest in write_backups(tmp_path, 5):
        (tmp_path / str(manifest.target) / manifest.name / "manifest.json").write_text("{")
    code, out, err = respaldo(tmp_path, "summary")
    assert "there is none" in out, (out, err)
    assert "b1" in out
    assert "…" in out
    assert code != 0


def test_metrics_that_cannot_be_written_are_a_warning(tmp_path: Path) -> None:
    write_backups(tmp_path, 1)
    words = ["status", "--rpo-objective", "1000000", "--metrics-file", str(tmp_path / "absent/x.prom")]
    code, out, err = respaldo(tmp_path, *words)
    assert (code, "pc_db/pc_db" in out) == (3, True), err
    assert f"metrics were not written to {tmp_path / 'absent/x.prom'}: " in err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("docker", "docker run -d --name NEW -e POSTGRES_PASSWORD=… postgres:15.4, then restore with --container NEW"),
        ("kubernetes", "start one of postgres:15.4 by its manifest, then restore with --pod NEW"),
    ],
)
def test_restore_without_a_server_says_how_to_get_an_empty_one(tmp_path: Path, environment: str, expected: str) -> None:
    (manifest,) = write_backups(tmp_path, 1)
    changed = replace(manifest, environment=environment, server={**manifest.server, "image": "postgres:15.4"})
    DirectoryStorage(tmp_path).put(f"{manifest.target}/b1/manifest.json", encode_manifest(changed))
    code, _out, err = respaldo(tmp_path, "restore", "b1", "--to", "new", "--container", "gone")
    assert (code, expected in " ".join(err.split())) == (40, True), err
    local = replace(changed, environment="local")
    DirectoryStorage(tmp_path).put(f"{manifest.target}/b1/manifest.json", encode_manifest(local))
    code, _out, err = respaldo(tmp_path, "restore", "b1", "--to", "new", "--container", "gone")
    assert (code, "NEW" in err) == (40, False), err


def test_schedule_is_left_to_cron_where_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    code, _out, err = respaldo(tmp_path, "schedule", "add", "nightly")
    assert (code, "--with serve" in err) == (40, True), err
    code, out, err = respaldo(tmp_path, "--quiet", "schedule", "add", "weekly", "--with", "serve")
    assert (code, out) == (0, ""), err
    assert respaldo(tmp_path, "schedule", "list", "--environment", "kubernetes")[0] == 40
    code, out, _err = respaldo(tmp_path, "schedule", "list")
    assert (code, "weekly" in out) == (0, True)


def noted(directory: Path) -> dict[str, object]:
    newest: dict[str, object] = json.loads(respaldo(directory, "schedule", "history", "--json")[1])[0]
    return newest


def test_run_that_ends_with_warnings_or_by_wrong_use_is_noted_so(tmp_path: Path) -> None:
    write_backups(tmp_path, 1)
    metrics = ["--metrics-file", str(tmp_path / "absent/x.prom"), "--rpo-objective", "1000000"]
    assert respaldo(tmp_path, "schedule", "run", "x", "--", "status", *metrics)[0] == 3
    assert noted(tmp_path)["exit_code"] == 3
    assert respaldo(tmp_path, "schedule", "run", "x", "--", "backup", "--all", "--name", "y")[0] == 2
    assert "contradict" in str(noted(tmp_path)["error"])


def test_run_that_cannot_be_noted_is_done_with_a_warning(tmp_path: Path) -> None:
    fill(DirectoryStorage(tmp_path))
    assert respaldo(tmp_path, "schedule", "run", "x", "--", "check")[0] == 0
    log = tmp_path / "scheduled_backups.log"
    log.unlink()
    log.mkdir()
    code, _out, err = respaldo(tmp_path, "schedule", "run", "x", "--", "check")
    assert (code, "the run could not be noted" in err) == (3, True), err
    code, _out, err = respaldo(tmp_path, "schedule", "history")
    assert (code, str(log) in err) == (20, True), err
