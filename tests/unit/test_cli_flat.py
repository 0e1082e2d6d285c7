"""The flat flags: which go together, what they call, ``.env``, and the original project's class."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
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
from tests.rig.variables import shell_variables
from tests.unit.manifests import START, write_backups

ROOT = Path(__file__).parents[2]


def run(directory: Path, *words: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the flat command as a person does, in a directory of its own."""
    environment = shell_variables(**{"HOME": str(directory), "RESPALDO_LANG": "en", **(variables or {})})
    command = [sys.executable, str(ROOT / "backup_orchestrator.py"), *words]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "x"], "--to says nothing about a backup"),
        (["--restore-file", "x"], "add --restore, or leave it out"),
        (["--list", "--name", "x"], "--name says nothing about --list"),
        (["--list", "--force-full"], "--force-full says nothing about --list"),
        (["--restore", "--branch", "main"], "--branch says nothing about --restore"),
        (["--limit", "3"], "add --list-versions, or leave it out"),
        (["--list-tags", "--filter-tag", "x"], "--filter-tag says nothing about --list-tags"),
        (["--cleanup-dry-run"], "add --cleanup-versions, or leave it out"),
        (["--list", "--retention-dry-run"], "--retention-dry-run says nothing about --list"),
        (["--rollback-to", "x", "--to", "y"], "--to says nothing about --rollback-to"),
        (["--version", "1.0.0", "--version-increment", "minor"], "--version and --version-increment contradict"),
        (["--container", "a", "--pod", "b"], "--container and --pod contradict"),
        (["--force-docker", "--namespace", "b"], "--force-docker and --namespace contradict"),
        (["--force-kubernetes", "--container", "a"], "--force-kubernetes and --container contradict"),
        (["--list", "--backup-summary"], "not allowed with argument"),
        (["--create-tag", "1.0.0"], "expected 2 arguments"),
        (["--list-versions", "--limit", "0"], "--limit: 0 is not a valid value"),
        (["--cleanup-versions", "many"], "--cleanup-versions: many is not a valid value"),
        (["--cleanup-versions", "-1"], "--cleanup-versions"),
    ],
)
def test_flags_that_contradict_each_other_are_refused_in_a_line(words: list[str], said: str, tmp_path: Path) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


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


def test_commands_of_versions_answer_from_the_repository_alone(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 3)
    listed = run(tmp_path, "--list-versions", "--filter-branch", "main", "--limit", "2")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["version", "1.0.2-main.3", "1.0.1-main.2"]
    assert [
        one["version"]
        for one in json.loads(run(tmp_path, "--list-versions", "--filter-tag", "stable", "--json").stdout)
    ] == ["1.0.0-main.1"]
    assert "1.0.0-main.1" in run(tmp_path, "--version-info", "stable").stdout
    assert run(tmp_path, "--version-info", "9.9.9-main.9").returncode == 10
    assert "main" in run(tmp_path, "--list-branches").stdout
    tagged = run(tmp_path, "--create-tag", "1.0.1-main.2", "before_migration", "--description", "schema 41")
    assert tagged.returncode == 0, tagged.stderr
    tags = json.loads(run(tmp_path, "--list-tags", "--json").stdout)
    assert [(one["tag"], [backup["name"] for backup in one["backups"]]) for one in tags] == [
        ("before_migration", ["b2"]),
        ("stable", ["b1"]),
    ]
    assert tags[0]["backups"][0]["description"] == "schema 41"
    assert "No rollbacks" in run(tmp_path, "--rollback-history").stdout


def test_clean_up_says_first_and_removes_then(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 4)
    dry = run(tmp_path, "--cleanup-versions", "1", "--cleanup-dry-run")
    assert dry.returncode == 0, dry.stderr
    assert len(list((tmp_path / "backups").rglob("manifest.json"))) == 4
    done = run(tmp_path, "--cleanup-versions", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == dry.stdout
    # The first has a tag, the last is the newest.
    assert sorted(path.parent.name for path in (tmp_path / "backups").rglob("manifest.json")) == ["b1", "b4"]


def test_summary_is_one_screen_and_json(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 3)
    shown = run(tmp_path, "--backup-summary")
    assert shown.returncode == 0, shown.stderr
    for text in (
        "pc_db/pc_db",
        "b3",
        "MISSED",
        "1.0 KiB ▁▅█ 2.9 KiB",
        "main: 3 versions, newest 1.0.2-main.3",
        "full:",
    ):
        assert text in shown.stdout, shown.stdout
    [document] = json.loads(run(tmp_path, "--backup-summary", "--json").stdout)
    assert document["backups"] == 3
    assert document["next"]["code"] == "full-too-old"


def test_dotenv_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    write_backups(tmp_path / "from_file", 1)
    write_backups(tmp_path / "from_environment", 2)
    (tmp_path / ".env").write_text(
        '# a comment\nexport BACKUP_DIR = "from_file"\nRESPALDO_LANG=es\nSLACK_BOT_TOKEN=xoxb-1\nnonsense\n'
    )
    assert len(json.loads(run(tmp_path, "--list", "--json").stdout)) == 1
    variables = {"BACKUP_DIR": "from_environment"}
    assert len(json.loads(run(tmp_path, "--list", "--json", variables=variables).stdout)) == 2
    assert len(json.loads(run(tmp_path, "--list", "--json", "--dir", "none").stdout)) == 0


@pytest.mark.parametrize(
    ("words", "is_there"),
    [(["--list"], False), (["--backup-summary"], True), (["--list-versions"], False), (["--list", "--json"], True)],
)
def test_directory_without_a_repository_is_said_to_be_one(words: list[str], is_there: bool, tmp_path: Path) -> None:
    """No failure: before the first backup it is so. But a mistyped path must not look like backups that are gone."""
    place = tmp_path / "bakcups"
    if is_there:
        place.mkdir()
    done = run(tmp_path, *words, "--dir", str(place))
    assert done.returncode == 0, done.stderr
    assert f"there is no repository in {place}: respaldo backup begins one" in done.stderr
    assert "-d" in done.stderr
    assert place.exists() is is_there
    assert run(tmp_path, "--restore", "--restore-file", "latest", "--dir", str(place)).returncode == 10
    write_backups(place, 1)
    assert run(tmp_path, *words, "--dir", str(place)).stderr == ""


@pytest.mark.parametrize("command", [[str(ROOT / "backup_orchestrator.py"), "--list"], ["-m", "respaldo", "list"]])
def test_dotenv_names_the_language_before_the_first_word(command: list[str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RESPALDO_LANG=en\nBACKUP_DIR=elsewhere\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "LANG": "es_AR.UTF-8"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "No backups found in elsewhere\n"


def test_dotenv_that_is_no_text_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\0B")
    done = run(tmp_path, "--list")
    assert done.returncode == 2
    assert ".env cannot be read as a list of variables" in done.stderr
    assert "Traceback" not in done.stderr


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_of_each_shell_names_the_program(shell: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "RESPALDO_LANG": "en"}
    command = [sys.executable, "-m", "respaldo"]
    done = subprocess.run(
        [*command, "completion", shell], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert "_RESPALDO_COMPLETE" in done.stdout
    asked = {"_RESPALDO_COMPLETE": f"{shell}_complete", "COMP_WORDS": "respaldo ver", "COMP_CWORD": "1"}
    if shell == "fish":
        asked["COMP_CWORD"] = "ver"
    completed = subprocess.run(
        command, env={**environment, **asked}, capture_output=True, text=True, check=False, timeout=60
    )
    assert "version" in completed.stdout
    # And the shell itself, where it is here, takes the script and completes by it.
    program = tmp_path / "respaldo"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(done.stdout)
    uses = {
        "bash": "source script; COMP_WORDS=(respaldo ver) COMP_CWORD=1; _respaldo_completion respaldo; echo $COMPREPLY",
        "zsh": "autoload -U compinit; compinit -u -D; source ./script; [ ${_comps[respaldo]} ] && echo version",
        "fish": "source script; complete -C 'respaldo ver'",
    }
    if shutil.which(shell):
        environment |= {"PATH": f"{tmp_path}{os.pathsep}{environment['PATH']}", "HOME": str(tmp_path)}
        argv = [shell, *(["--norc"] if shell == "bash" else ["-f"] if shell == "zsh" else []), "-c", uses[shell]]
        used = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "version" in used.stdout, used.stderr


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
