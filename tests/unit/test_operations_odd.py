"""Texts, requests and runs at the edges of what operations take."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from respaldo.cli.version_show import open_targets
from respaldo.clock import SystemClock
from respaldo.config.settings import Settings
from respaldo.errors import DamagedError, RepositoryError, UsageError
from respaldo.operations.export import _without_restrict
from respaldo.operations.health import Health, HealthServer
from respaldo.operations.schedules import DECLARED, read_declared
from respaldo.operations.segments import SegmentStore
from respaldo.operations.versions import LabelRequest, check_request
from respaldo.repository.labels import MAX_TAGS
from respaldo.repository.records import BackupType, Series
from respaldo.repository.repository import Repository
from respaldo.schedule.crontab import add_block, restore_block, write_block
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.memory import MemoryStorage
from tests.rig.receivers import free_port
from tests.unit.repositories import FACTS, TARGET
from tests.unit.test_operations_schedule_replaced import LAUNCH, SCHEDULE, THEIRS

pytestmark = pytest.mark.usefixtures("in_english")


@pytest.mark.parametrize("texts", [[], [b"1\ta\n" * 1000, b"2\tb\n"]])
def test_text_that_is_cut_by_its_content_is_whole_again_and_an_empty_one_is_there(texts: list[bytes]) -> None:
    repository = Repository.open_or_create(MemoryStorage(), SystemClock())
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer,
    ):
        store, series = SegmentStore(writer, None), writer.add_series(Series(key="t"))
        assert sum(one.rows for one in store.store_cut(series, "t", iter(texts))) == b"".join(texts).count(b"\n")
        writer.commit(FACTS)
    reader = repository.reader(TARGET, "full")
    assert b"".join(map(reader.read_text, reader.segments)) == b"".join(texts)
    assert reader.segments


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (LabelRequest(tags=tuple(f"t{number}" for number in range(MAX_TAGS + 1))), f"at most {MAX_TAGS} tags"),
        (LabelRequest(version="1.0.0"), "a version needs a branch"),
    ],
)
def test_labels_that_cannot_be_given_are_said_before_the_backup(request_: LabelRequest, expected: str) -> None:
    repository = Repository.open_or_create(MemoryStorage(), SystemClock())
    with pytest.raises(UsageError, match=expected):
        check_request(repository, TARGET, request_)


def test_metrics_that_cannot_be_read_are_an_answer_of_their_own() -> None:
    def fail() -> str:
        raise RepositoryError("the repository is gone")

    address = ("127.0.0.1", free_port())
    server = HealthServer(address, lambda: Health(live=True, ready=True, running=(), next={}, problem=None), fail)
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/metrics", timeout=10)
        with caught.value as answer:
            assert (answer.code, answer.read()) == (503, b"the repository is gone\n")
    finally:
        server.close()


def test_schedules_that_were_declared_are_none_where_they_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / DECLARED).parent.mkdir(parents=True)
    (tmp_path / DECLARED).write_text("{")
    assert read_declared(tmp_path) == []


def test_crontab_without_the_lines_before_has_none_of_them_after(tmp_path: Path) -> None:
    block = write_block(SCHEDULE, LAUNCH, tmp_path)
    now = add_block(THEIRS.encode(), SCHEDULE.name, tmp_path, block)
    assert restore_block(now, THEIRS.encode(), SCHEDULE.name, tmp_path) == THEIRS.encode()


def test_script_of_an_old_pg_dump_is_exported_as_it_is() -> None:
    assert _without_restrict(b"SELECT 1;\n") == b"SELECT 1;\n"


def test_damaged_repository_is_no_missing_one(tmp_path: Path) -> None:
    Repository.open_or_create(DirectoryStorage(tmp_path), SystemClock())
    (tmp_path / "respaldo.json").write_text("{")
    with pytest.raises(DamagedError):
        open_targets(Settings(repository=str(tmp_path)))
    assert open_targets(Settings(repository=str(tmp_path / "none"))) == (None, [])
