"""The public API: its names stay, each is documented and typed, and the command line is written with them."""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from respaldo import api
from respaldo.clock import FixedClock
from respaldo.events import Event
from tests.unit.manifests import write_backups

ROOT = Path(__file__).parents[2]

# What a released version offered. A name may be added here, none is removed.
_PROMISED = """
App BackupListing BackupReader BackupRequest BackupType CheckReport CheckRequest Clock Comparison DamagedError Decision
EnvironmentFailedError Event FixedClock InterruptedRunError LabelRequest LabelledBackup Listener LockedError Manifest
PostgresError Proof ProofFailedError Repository RepositoryError RespaldoError RestorePlan RestoreRequest Restored
RetentionPlan RetentionPolicy Settings Step StorageError StrategyPolicy SummaryPolicy SystemClock TargetPath
TargetSummary UsageError Version __version__ apply_retention apply_version_prune compare_backups
execute_restore find_labelled ignore label_backup list_branches list_labelled list_tags plan_restore plan_target
plan_version_prune run_backup run_check select_versions summarize with_dotenv
"""
STABLE = _PROMISED.split()


def test_names_are_those_that_were_promised() -> None:
    assert sorted(api.__all__) == sorted(STABLE)
    assert all(hasattr(api, name) for name in api.__all__)


@pytest.mark.parametrize("name", [name for name in STABLE if name not in {"Event", "Listener", "__version__"}])
def test_each_name_is_documented_and_typed(name: str) -> None:
    thing = getattr(api, name)
    assert inspect.getdoc(thing), f"{name} says nothing"
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
    elif is_dataclass(thing):
        assert thing.__dataclass_params__.frozen or name == "FixedClock"  # type: ignore[union-attr]


def test_command_line_calls_the_operations_that_the_api_offers() -> None:
    source = "\n".join(file.read_text() for file in (ROOT / "src/respaldo/cli").glob("*.py"))
    unused = [
        name for name in STABLE if inspect.isfunction(getattr(api, name)) and not re.search(rf"\b{name}\b", source)
    ]
    assert unused == []


@pytest.mark.parametrize("page", ["docs/en/python-api.md", "docs/es/python-api.md"])
def test_page_names_every_name_and_its_example_compiles(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [name for name in STABLE if f"`{name}`" not in text] == []
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, page, "exec")


def test_program_reads_a_repository_through_the_api(tmp_path: Path) -> None:
    manifests = write_backups(tmp_path, 3)
    app = api.App(api.Settings(repository=str(tmp_path)), clock=FixedClock(datetime(2025, 6, 6, tzinfo=UTC)))
    repository = app.open_repository()
    [target] = repository.targets()
    assert repository.backups(target).manifests == tuple(manifests)
    labelled = api.list_labelled(repository, [target])
    assert [str(one.version) for one in api.select_versions(labelled)] == [
        "1.0.2-main.3",
        "1.0.1-main.2",
        "1.0.0-main.1",
    ]
    [summary] = api.summarize(repository, app.summary_policy(), now=app.clock.now())
    assert summary.total.count == 3
    assert summary.age == timedelta(hours=22)
    assert summary.meets_rpo
    heard: list[Event] = []
    first, last = (repository.reader(target, name) for name in ("b1", "b3"))
    with pytest.raises(api.RespaldoError) as caught:
        api.compare_backups(first, last, listen=heard.append)
    assert caught.value.exit_code == 10
