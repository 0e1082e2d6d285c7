"""``respaldo rto`` on proofs as drills leave them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path

import pytest

from respaldo.clock import SystemClock
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.commands.command import respaldo
from tests.unit.manifests import write_backups


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four backups, each drilled: three proven, the last of them after a lost volume, and one that failed."""
    directory = tmp_path_factory.mktemp("drilled")
    manifests = write_backups(directory / "backups", 4)
    repository = Repository.open(DirectoryStorage(directory / "backups"), SystemClock())
    for number, manifest in enumerate(manifests):
        proof = Proof(
            uid=manifest.uid,
            kind=ProofKind.DRILL,
            verdict=Verdict.FAILED if number == 3 else Verdict.PROVEN,
            made=manifest.finished + timedelta(hours=1),
            tool_version="0.1.0",
            disaster="volume" if number == 2 else "",
            target=str(manifest.target),
            seconds={"start": 99.0, "restore": 100.0 * (number + 1)},
        )
        repository.add_proof(manifest.target, manifest.name, proof)
    return directory


def test_recoveries_are_counted_by_target_and_disaster(drilled: Path) -> None:
    ended = respaldo(drilled, "--repository", "backups", "rto", "--json")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert [(one["target"], one["disaster"], one["count"]) for one in document["groups"]] == [
        ("pc_db/pc_db", None, 2),
        ("pc_db/pc_db", "volume", 1),
    ]
    both = document["all"]
    assert (both["count"], both["mean_s"], both["median_s"], both["p95_s"]) == (3, 200, 200, 300)
    assert (both["best_s"], both["worst_s"], both["compliance"], both["grade"]) == (100, 300, 1, "bueno")
    (trend,) = document["trends"]
    assert trend["limit_bytes"] == 3000
    assert document["missed_on"] == trend["missed_on"] is not None


def test_page_has_every_column_the_plot_and_the_forecast(drilled: Path) -> None:
    picture = drilled / "rto.svg"
    ended = respaldo(drilled, "--repository", "backups", "rto", "--rto-objective", "150", "--svg", str(picture))
    assert ended.returncode == 0, ended.stderr
    head, *rows = ended.stdout.splitlines()
    assert head.split() == ["target", "disaster", "n", "mean", "median", "p95", "best", "worst", "kept", "grade"]
    assert rows[0].split()[:3] == ["pc_db/pc_db", "2", "2"]
    assert "33 %" in rows[2]
    assert ended.stdout.count("█") > 3
    assert "the objective allows 1.5 KiB; if it goes on so, it is missed on 20" in ended.stdout
    ET.parse(picture)


def test_plot_that_cannot_be_written_is_one_clear_error(drilled: Path) -> None:
    ended = respaldo(drilled, "--repository", "backups", "rto", "--svg", "none/rto.svg")
    assert ended.returncode == 20
    assert "none/rto.svg" in ended.stderr
    assert "Traceback" not in ended.stderr
