"""The flat flags: which go together, what they call, ``.env``, and the original project's class."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import backup_orchestrator
from backup_orchestrator import UnifiedBackupOrchestrator
from respaldo.catalog.versions import Step
from respaldo.cli.choosing import choose_backup
from respaldo.cli.flat import build_parser
from respaldo.cli.flat_schedule import backup_words
from respaldo.cli.flat_sense import ACTIONS, action_of, flag_of, require_sense
from respaldo.cli.labelling import label_request
from respaldo.cli.printing import Output
from respaldo.cli.schedule_command import check_command
from respaldo.config.dotenv import load_dotenv, parse_dotenv, read_dotenv, with_dotenv
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from respaldo.operations.versions import LabelRequest
from tests.unit.manifests import START, write_backups


def test_every_flag_is_known_to_the_sense_of_flags() -> None:
    known = vars(build_parser().parse_args([]))
    assert set(ACTIONS) <= set(known)
    flags = {name for action in build_parser()._actions for name in action.option_strings}
    assert {flag_of(action) for action in ACTIONS} <= flags
    arguments = build_parser().parse_args([])
    require_sense(arguments)
    assert action_of(arguments) == "backup"


@pytest.mark.parametrize("words", [["--retention-dry-run"], ["--apply-retention", "--retention-dry-run"]])
def test_retention_dry_run_alone_and_with_its_action_is_retention(words: list[str]) -> None:
    arguments = build_parser().parse_args(words)
    require_sense(arguments)
    assert action_of(arguments) == "apply_retention"
    assert arguments.retention_dry_run


def test_label_flags_mean_the_branch_main_unless_one_is_named() -> None:
    assert label_request() == LabelRequest()
    assert label_request(is_versioned=True).branch == "main"
    assert label_request(version="2.0.0") == LabelRequest(branch="main", version="2.0.0")
    assert label_request(step="minor", branch="develop") == LabelRequest(branch="develop", step=Step.MINOR)
    assert label_request(tags=["a"], description="d").branch is None
    with pytest.raises(UsageError):
        label_request(version="2.0.0", step="minor")


def test_dotenv_of_any_form_is_read_as_compose_reads_it(tmp_path: Path) -> None:
    text = (
        '\ufeffA=1\r\nexport B = two words # c\r\nC=\'a # b\'\nD="x\\ny\\"z" # c\nE=\nF=#x\nG=a#b\n'
        'H="multi\nline"\nbad line\nI=$HOME ${X}\nJ=it\'s\nK=postgres://u:p#x@h/d\nL= # c\nA=2\nM="un\nN=ok'
    )
    assert parse_dotenv(text) == {
        "A": "2", "B": "two words", "C": "a # b", "D": 'x\ny"z', "E": "", "F": "#x", "G": "a#b", "H": "multi\nline",
        "I": "$HOME ${X}", "J": "it's", "K": "postgres://u:p#x@h/d", "L": "", "N": "ok",
    }  # fmt: skip
    path = tmp_path / "variables"
    assert read_dotenv(path) == {}
    path.write_text("A=1\nB=2\n")
    environment = {"A": "mine"}
    assert with_dotenv(environment, path) == {"A": "mine", "B": "2"}
    load_dotenv(environment, path)
    assert environment == {"A": "mine", "B": "2"}


@given(st.text())
def test_dotenv_of_any_text_gives_names_and_values(text: str) -> None:
    assert all(name.isidentifier() and name.isascii() for name in parse_dotenv(text))


def test_class_takes_a_namespace_of_another_program_and_keywords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_backups(tmp_path / "one", 2)
    monkeypatch.chdir(tmp_path)
    namespace = argparse.Namespace(dir="one", list=True, somebody_elses="x", verbose=False)
    [first, second] = UnifiedBackupOrchestrator(namespace).list_backups()
    assert first == {"name": "b1", "size": 100, "modified": START + timedelta(days=1, minutes=1)}
    assert second["name"] == "b2"
    assert UnifiedBackupOrchestrator(namespace, dir="none").list_backups() == []
    assert UnifiedBackupOrchestrator(repository="one").list_backups()[0]["size"] == 100
    with pytest.raises(TypeError, match="colour"):
        UnifiedBackupOrchestrator(colour=True)
    (tmp_path / ".env").write_text("BACKUP_DIR=one\n")
    assert len(UnifiedBackupOrchestrator().list_backups()) == 2


def test_class_says_no_where_there_is_nothing_to_restore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orchestrator = UnifiedBackupOrchestrator(dir=str(tmp_path / "none"), list=True, retention_dry_run=True)
    assert orchestrator.restore_database("nope") is False
    assert capsys.readouterr().err


def test_module_runs_with_words_and_gives_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backup_orchestrator.main(["--dir", str(tmp_path / "none"), "--list"]) == 0
    assert str(tmp_path / "none") in capsys.readouterr().out


@pytest.mark.parametrize("name", ["latest", "b2"])
@pytest.mark.parametrize(("other", "way"), [("pc_db/other", "--database"), ("other/pc_db", "respaldo list")])
def test_backup_of_several_targets_is_not_guessed_and_the_hint_gets_further(
    tmp_path: Path, name: str, other: str, way: str
) -> None:
    instance, database = other.split("/")
    write_backups(tmp_path, 2)
    write_backups(tmp_path, 2, instance=instance, database=database)
    settings = Settings(repository=str(tmp_path))
    with pytest.raises(UsageError, match=f"{name}: .*{other}") as caught:
        choose_backup(settings, name, output=Output())
    assert caught.value.hint is not None
    assert way in caught.value.hint
    is_enough = way == "--database"
    chosen = choose_backup(
        replace(settings, database=database) if is_enough else settings, name if is_enough else "4", output=Output()
    )
    assert chosen is not None
    assert chosen.name == "b2"
    assert not is_enough or str(chosen.target) == other


@pytest.mark.parametrize(
    ("words", "scheduled"),
    [
        ([], "backup"),
        (["--container", "pc_db", "--database", "tienda"], "backup --container pc_db --database tienda"),
        (["--force-docker", "--force-full"], "backup --environment docker --type full"),
        (["--pod", "postgres-0", "--namespace", "shop"], "backup --pod postgres-0 --namespace shop"),
        (["--retention-daily", "3", "--backup-type", "auto"], "backup --retention-daily 3 --type auto"),
    ],
)
def test_scheduled_backup_has_the_flags_that_were_given(words: list[str], scheduled: str) -> None:
    arguments = build_parser().parse_args(["--schedule", "daily", *words])
    require_sense(arguments)
    assert " ".join(check_command(backup_words(arguments))) == scheduled


@pytest.mark.parametrize(
    "words",
    [
        ["--schedule", "daily", "--name", "x"],
        ["--schedule-prefix", "p"],
        ["--list-schedules", "--schedule-prefix", "p"],
        ["--schedule", "daily", "--branch", "main"],
    ],
)
def test_flags_that_say_nothing_about_a_schedule_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        require_sense(build_parser().parse_args(words))
