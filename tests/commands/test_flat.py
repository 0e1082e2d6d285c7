"""The flat command as a person runs it: which flags go together, what they answer, ``.env``, completion."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.command import ROOT, orchestrator
from tests.rig.variables import shell_variables
from tests.unit.manifests import write_backups


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
    done = orchestrator(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_of_versions_answer_from_the_repository_alone(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 3)
    listed = orchestrator(tmp_path, "--list-versions", "--filter-branch", "main", "--limit", "2")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["version", "1.0.2-main.3", "1.0.1-main.2"]
    assert [
        one["version"]
        for one in json.loads(orchestrator(tmp_path, "--list-versions", "--filter-tag", "stable", "--json").stdout)
    ] == ["1.0.0-main.1"]
    assert "1.0.0-main.1" in orchestrator(tmp_path, "--version-info", "stable").stdout
    assert orchestrator(tmp_path, "--version-info", "9.9.9-main.9").returncode == 10
    assert "main" in orchestrator(tmp_path, "--list-branches").stdout
    tagged = orchestrator(tmp_path, "--create-tag", "1.0.1-main.2", "before_migration", "--description", "schema 41")
    assert tagged.returncode == 0, tagged.stderr
    tags = json.loads(orchestrator(tmp_path, "--list-tags", "--json").stdout)
    assert [(one["tag"], [backup["name"] for backup in one["backups"]]) for one in tags] == [
        ("before_migration", ["b2"]),
        ("stable", ["b1"]),
    ]
    assert tags[0]["backups"][0]["description"] == "schema 41"
    assert "No rollbacks" in orchestrator(tmp_path, "--rollback-history").stdout


def test_clean_up_says_first_and_removes_then(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 4)
    dry = orchestrator(tmp_path, "--cleanup-versions", "1", "--cleanup-dry-run")
    assert dry.returncode == 0, dry.stderr
    assert len(list((tmp_path / "backups").rglob("manifest.json"))) == 4
    done = orchestrator(tmp_path, "--cleanup-versions", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == dry.stdout
    # The first has a tag, the last is the newest.
    assert sorted(path.parent.name for path in (tmp_path / "backups").rglob("manifest.json")) == ["b1", "b4"]


def test_summary_is_one_screen_and_json(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 3)
    shown = orchestrator(tmp_path, "--backup-summary")
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
    [document] = json.loads(orchestrator(tmp_path, "--backup-summary", "--json").stdout)
    assert document["backups"] == 3
    assert document["next"]["code"] == "full-too-old"


def test_dotenv_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    write_backups(tmp_path / "from_file", 1)
    write_backups(tmp_path / "from_environment", 2)
    (tmp_path / ".env").write_text(
        '# a comment\nexport BACKUP_DIR = "from_file"\nRESPALDO_LANG=es\nSLACK_BOT_TOKEN=xoxb-1\nnonsense\n'
    )
    assert len(json.loads(orchestrator(tmp_path, "--list", "--json").stdout)) == 1
    variables = {"BACKUP_DIR": "from_environment"}
    assert len(json.loads(orchestrator(tmp_path, "--list", "--json", **variables).stdout)) == 2
    assert len(json.loads(orchestrator(tmp_path, "--list", "--json", "--dir", "none").stdout)) == 0


@pytest.mark.parametrize(
    ("words", "is_there"),
    [(["--list"], False), (["--backup-summary"], True), (["--list-versions"], False), (["--list", "--json"], True)],
)
def test_directory_without_a_repository_is_said_to_be_one(words: list[str], is_there: bool, tmp_path: Path) -> None:
    """No failure: before the first backup it is so. But a mistyped path must not look like backups that are gone."""
    place = tmp_path / "bakcups"
    if is_there:
        place.mkdir()
    done = orchestrator(tmp_path, *words, "--dir", str(place))
    assert done.returncode == 0, done.stderr
    assert f"there is no repository in {place}: respaldo backup begins one" in done.stderr
    assert "-d" in done.stderr
    assert place.exists() is is_there
    assert orchestrator(tmp_path, "--restore", "--restore-file", "latest", "--dir", str(place)).returncode == 10
    write_backups(place, 1)
    assert orchestrator(tmp_path, *words, "--dir", str(place)).stderr == ""


@pytest.mark.parametrize("command", [[str(ROOT / "backup_orchestrator.py"), "--list"], ["-m", "respaldo", "list"]])
def test_dotenv_names_the_language_before_the_first_word(command: list[str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RESPALDO_LANG=en\nBACKUP_DIR=elsewhere\n")
    environment = shell_variables(LANG="es_AR.UTF-8")
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
    done = orchestrator(tmp_path, "--list")
    assert done.returncode == 2
    assert ".env cannot be read as a list of variables" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_of_each_shell_names_the_program(shell: str, tmp_path: Path) -> None:
    environment = shell_variables(RESPALDO_LANG="en")
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
