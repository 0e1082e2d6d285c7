"""The JSON that commands print is what docs/…/contracts.md says: no key more, none less, of that type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from respaldo.catalog import retention, strategy, versions
from respaldo.cli import documents, reports
from respaldo.cli.main import cli
from respaldo.clock import SystemClock
from respaldo.environments.base import Instance
from respaldo.errors import NotificationError, StorageError
from respaldo.metrics.recovery import Grade, Trend
from respaldo.notify.delivery import Delivery
from respaldo.notify.notice import Kind, Message
from respaldo.operations.anomalies import Anomaly
from respaldo.operations.compare import Comparison, SchemaChanges, TableComparison
from respaldo.operations.doctor import State, Symptom
from respaldo.operations.fleet import FleetBackup, FleetResult, JobBackup
from respaldo.operations.preflight import Problem
from respaldo.operations.restore import Restored, RestorePlan, RestoreRequest
from respaldo.operations.rowchanges import RowChanges
from respaldo.operations.runs import Outcome, RunBackup, RunRecord, record_run
from respaldo.operations.schedule_cluster import ClusterSchedule
from respaldo.operations.tables import RestoredTable
from respaldo.operations.versions import LabelledBackup, list_labelled, record_rollback
from respaldo.postgres.definitions import SchemaObject
from respaldo.postgres.surroundings import LiveDatabase
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.records import BackupType
from respaldo.repository.repository import Repository
from respaldo.schedule.plan import Trigger
from respaldo.storage.directory import DirectoryStorage
from tests.contracts import CONTRACT, Contract
from tests.unit.test_cli_versions import run, write_versions
from tests.unit.test_docs import commands_of

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
# What needs no server; the rest is looked at record by record below, and by the integration tests that run it.
COMMANDS = (
    ("list", ""),
    ("check", ""),
    ("rto", ""),
    ("retain", "--dry-run --retention-daily 1"),
    ("pin", "third"),
    ("unpin", "third"),
    ("version list", ""),
    ("version info", "latest"),
    ("version branches", ""),
    ("version tags", ""),
    ("version compare", "before_migration fourth"),
    ("version tag", "third checked"),
    ("version history", ""),
    ("version prune", "1 --dry-run"),
    ("status", ""),
    ("schedule add", "nightly --with serve"),
    ("schedule list", "--environment docker"),
    ("schedule history", ""),
    ("summary", ""),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that has something of everything: versions, proofs, a rollback, a run, a damaged pack."""
    directory = write_versions(tmp_path_factory.mktemp("contracts"))
    repository = Repository.open(DirectoryStorage(directory), SystemClock())
    (target,) = repository.targets()
    manifests = repository.backups(target).manifests
    for number, manifest in enumerate(manifests):
        proof = Proof(
            uid=manifest.uid,
            kind=ProofKind.DRILL,
            verdict=Verdict.PROVEN,
            made=manifest.finished + timedelta(days=number),
            tool_version="0.1.0",
            target=str(target),
            seconds={"restore": 100.0 * (number + 1)},
        )
        repository.add_proof(target, manifest.name, proof)
    record_rollback(repository, manifests[0], made=START, database="shop", safety="before_restore")
    backups = (RunBackup(target=str(target), name="third", type="full", stored_bytes=5, rows=7),)
    ended = RunRecord(
        schedule="nightly",
        command=("backup",),
        slot=START,
        started=START,
        ended=START,
        exit_code=0,
        targets=(str(target),),
        backups=backups,
    )
    record_run(directory, ended)
    (pack,) = (directory / "pc_db/shop/third").glob("data-*")
    pack.write_bytes(pack.read_bytes()[:-1] + b"?")
    return directory


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_command_that_has_json_has_its_row(language: str) -> None:
    with_json = [
        path for path, command in commands_of(cli, "respaldo") if any("--json" in p.opts for p in command.params)
    ]
    assert sorted(Contract(language).commands) == sorted(with_json)
    assert isinstance(cli, click.Group)


def test_both_languages_write_down_the_same_contract() -> None:
    english, spanish = Contract("en"), Contract("es")
    assert spanish.commands == english.commands
    assert {name: [key for key in rows if key[0][0] == "`"] for name, rows in spanish.rows.items()} == {
        name: [key for key in rows if key[0][0] == "`"] for name, rows in english.rows.items()
    }


def labelled(directory: Path) -> list[LabelledBackup]:
    repository = Repository.open(DirectoryStorage(directory), SystemClock())
    return list_labelled(repository, repository.targets())


def fleet(one: LabelledBackup) -> Iterator[FleetResult]:
    odd = FleetBackup(manifest=one.manifest, anomalies=(Anomaly(code="size", text="less"),))
    made = json.dumps(documents.made_document(one, []))
    job = JobBackup(name="b", type="full", stored_bytes=1, document=made)
    for outcome in ({"backup": odd}, {"error": StorageError("full", hint="free space")}):
        yield FleetResult(instance="pc_db", database="shop", **outcome)
    CONTRACT.check_record("made", documents.fleet_document(FleetResult(instance="a", database="b", job=job))["backup"])


def comparison(one: LabelledBackup) -> dict[str, Any]:
    objects = (SchemaObject(type="TABLE", schema="public", name="t"),)
    schema = SchemaChanges(added=objects, removed=objects, altered=objects)
    known: dict[str, Any] = {"table": "public.t", "old_bytes": 1, "new_bytes": 2}
    tables = (
        TableComparison(**known, old_rows=1, new_rows=2, changes=RowChanges(added=1)),
        TableComparison(**known, old_rows=None, new_rows=2),
    )
    return documents.comparison_document([one, one], Comparison(schema=schema, tables=tables, statements_differ=True))


MESSAGE = Message(uid="1", kind=Kind.TEST, subject="s", body="b", at=START)
DELIVERIES = [
    Delivery(channel="ping", message=MESSAGE, attempts=1, seconds=0.5, error=error)
    for error in (None, NotificationError("refused", hint="ask"))
]
CRONJOB = ClusterSchedule(
    name="nightly",
    expression="0 2 * * *",
    time_zone=None,
    command=("backup",),
    is_suspended=False,
    last="2026-11-24T02:00:00Z",
    last_success=None,
)
# What prints by the same function as another command.
SAME = {"respaldo version rollback"}
PROOF = Proof(
    uid="0" * 32, kind=ProofKind.CHECK, verdict=Verdict.FAILED, made=START, tool_version="0.1.0", findings=("x",)
)
TREND = Trend(target="pc_db/shop", seconds_per_day=0.5, bytes_per_day=1.5, limit_bytes=None, missed_on=START)
RESTORED = Restored(database="shop", rows=3, old="shop_old")
PLAN = RestorePlan(
    source="third",
    made=START,
    database="shop",
    filling="shop_new",
    old="shop_old",
    live=LiveDatabase(name="shop", sessions=("psql",), size_bytes=3),
    has_leftovers=False,
    problems=(Problem(message="x"),),
    request=RestoreRequest(),
)
POD = Instance(environment="kubernetes", name="shop.postgres-0", id="shop/postgres-0/postgres")
TABLE = RestoredTable(table="public.t", restored_as="public.t_restored", rows=1)
PRINTED: dict[str, Callable[[LabelledBackup], list[Any]]] = {
    "respaldo backup": lambda one: [
        documents.made_document(one, [Anomaly(code="size", text="less")]),
        [*map(documents.fleet_document, fleet(one))],
    ],
    "respaldo doctor": lambda one: [[reports.symptom_document(Symptom(state=State.BAD, text="a", remedy="b"))]],
    "respaldo drill": lambda one: [[], [documents.drill_document("third", PROOF)]],
    "respaldo restore": lambda one: [
        documents.restored_document("third", RESTORED, 1.23),
        [documents.restored_table_document(TABLE)],
        documents.loaded_document("third", "shop", 3),
        documents.replacement_document(PLAN),
        documents.part_document("third", "shop", ["public.t"]),
    ],
    "respaldo version rollback": lambda one: [documents.replacement_document(replace(PLAN, live=None, old=None))],
    "respaldo move": lambda one: [
        documents.moved_document(one.manifest, RESTORED, 1.23),
        documents.moving_document(POD, "shop", 3, POD, "shop_new", None),
    ],
    "respaldo version compare": lambda one: [comparison(one)],
    "respaldo notify test": lambda one: [[*map(reports.delivery_document, DELIVERIES)]],
    "respaldo list": lambda one: [[documents.labelled_document(one, PROOF)]],
}


@pytest.fixture(scope="module")
def printed(directory: Path) -> list[tuple[str, Any]]:
    """What each command prints, several times where it prints several things."""
    found: list[tuple[str, Any]] = []
    for command, words in COMMANDS:
        _status, out, err = run(directory, *command.split(), *words.split(), "--json")
        assert out, err
        found.append((f"respaldo {command}", json.loads(out)))
    one = labelled(directory)[0]
    return found + [(command, document) for command, make in PRINTED.items() for document in make(one)]


@pytest.mark.parametrize("command", list(CONTRACT.commands))
def test_command_prints_what_its_contract_says(command: str, printed: list[tuple[str, Any]]) -> None:
    documents_of = [document for of, document in printed if of == command]
    assert documents_of or command in SAME, command
    for document in documents_of:
        CONTRACT.check(command, document)


def test_every_key_of_the_page_is_printed_by_something(printed: list[tuple[str, Any]]) -> None:
    contract = Contract()
    for command, document in printed:
        contract.check(command, document)
    contract.check_record("table", documents.restored_table_document(TABLE))
    contract.check_record("cronjob", reports.cronjob_document(CRONJOB))
    contract.check_record("recovery", reports.recovery_document(None))
    contract.check_record("trend", reports.trend_document(TREND))
    assert contract.keys() - contract.seen == set()


@pytest.mark.parametrize("language", ["en", "es"])
def test_words_of_the_page_are_those_that_the_program_knows(language: str) -> None:
    section = Contract(language).text.split("\n## ")[-1]
    rows = [[word.strip() for word in cells.split(",")] for cells in _second_cells(section)]
    known = (
        BackupType,
        ("docker", "kubernetes", "local"),
        strategy.Reason,
        ProofKind,
        Verdict,
        State,
        retention.Category,
        retention.Reason,
        versions.PruneReason,
        Grade,
        Trigger,
        Outcome,
    )
    assert [sorted(row) for row in rows] == [sorted(map(str, kind)) for kind in known]


def _second_cells(section: str) -> Iterator[str]:
    for line in section.splitlines():
        cells = line.split("|")
        if len(cells) == 4 and "`" in cells[2]:
            yield cells[2].replace("`", "")


@pytest.mark.parametrize("change", [{"size": 1}, {"rows": "9"}, {"finished": None}, {"proof": {"kind": "drill"}}])
def test_a_document_that_breaks_the_contract_is_noticed(change: dict[str, Any], directory: Path) -> None:
    document = documents.backup_document(labelled(directory)[0].manifest, PROOF)
    CONTRACT.check_record("backup", document)
    with pytest.raises(AssertionError):
        CONTRACT.check_record("backup", document | change)
