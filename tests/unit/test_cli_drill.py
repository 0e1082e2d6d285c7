"""``respaldo drill`` without a server: which targets are due, the report as a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from respaldo.cli.drill import find_due
from respaldo.cli.drill_report import render_report
from respaldo.clock import SystemClock
from respaldo.config.settings import Settings
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.records import Manifest, TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.unit.manifests import write_backups

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def prove(repository: Repository, manifest: Manifest, days_ago: float, **changes: object) -> None:
    proof = Proof(
        uid=manifest.uid,
        kind=ProofKind.DRILL,
        verdict=Verdict.PROVEN,
        made=SystemClock().now() - timedelta(days=days_ago),
        tool_version="0.1.0",
    )
    repository.add_proof(manifest.target, manifest.name, dataclasses.replace(proof, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("proofs", "is_due"),
    [
        ([], True),
        ([(1, {})], False),
        ([(8, {})], True),
        ([(8, {}), (1, {})], False),
        ([(1, {"verdict": Verdict.FAILED})], True),
        ([(1, {"verdict": Verdict.INCONCLUSIVE})], True),
        ([(1, {"kind": ProofKind.CHECK})], True),
        ([(2, {}), (1, {"verdict": Verdict.INCONCLUSIVE})], False),
        ([(1, {"uid": "f" * 32})], True),
    ],
)
def test_target_is_due_unless_a_drill_of_it_was_proven_of_late(
    proofs: list[tuple[float, Mapping[str, object]]], is_due: bool, tmp_path: Path
) -> None:
    first, newest = write_backups(tmp_path, 2)
    repository = Repository.open(DirectoryStorage(tmp_path), SystemClock())
    for days_ago, changes in proofs:
        prove(repository, first, days_ago, **changes)
    due = find_due(Settings(repository=str(tmp_path)), 7)
    assert due == ([newest] if is_due else [])


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _value in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_takes_hostile_names_and_findings_for_text(tmp_path: Path) -> None:
    (manifest,) = write_backups(tmp_path, 1)
    manifest = dataclasses.replace(
        manifest, target=TargetPath(instance=HOSTILE, database=HOSTILE), name=HOSTILE, environment=HOSTILE
    )
    proof = Proof(
        uid=manifest.uid,
        kind=ProofKind.DRILL,
        verdict=Verdict.FAILED,
        made=SystemClock().now(),
        tool_version=HOSTILE,
        disaster=HOSTILE,
        seconds={HOSTILE: 1.0, "restore": 2.0},
        findings=(f'"{HOSTILE}": 9 rows, the backup has 8', "</li></ul><iframe>"),
    )
    page = Page(render_report([(manifest, proof)], verdicts={"failed": HOSTILE}, phases={}))
    assert not page.elements & {"script", "img", "iframe"}
    assert not {name for name in page.attributes if name.startswith("on")}
    # Target twice, backup, environment, disaster, verdict, phase, finding.
    assert page.text.count(HOSTILE) == 8
    assert "</li></ul><iframe>" in page.text
