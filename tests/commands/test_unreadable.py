"""One backup that this user may not read hides no other: all are shown, it is named, and the exit code says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts import CONTRACT
from tests.rig.requirements import require
from tests.rig.variables import shell_variables
from tests.unit.manifests import write_backups
from tests.unit.test_cli_versions import write_versions

NAMES = ["before_migration", "antes_de_migrar", "third"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four backups; the newest lies in a directory that nobody may enter, as one that root has made."""
    directory = write_versions(tmp_path_factory.mktemp("unreadable"))
    newest = directory / "pc_db/shop/fourth"
    newest.chmod(0)
    yield directory
    newest.chmod(0o700)


def respaldo(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run without root's right to ignore modes."""
    argv = [sys.executable, "-m", "respaldo", "--repository", str(directory), *words]
    if os.geteuid() == 0:
        require("root", None if shutil.which("setpriv") else "no setpriv")
        dropped = "-dac_override,-dac_read_search"
        argv = ["setpriv", "--inh-caps", dropped, "--bounding-set", dropped, *argv]
    environment = shell_variables(RESPALDO_LANG="en")
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)


# The names of the other three, in what each command prints.
SHOWN: dict[str, Callable[[str], list[str]]] = {
    "list": lambda out: [one["name"] for one in json.loads(out)],
    "version list": lambda out: [one["name"] for one in json.loads(out)][::-1],
    "version tags": lambda out: sorted(one["name"] for tag in json.loads(out) for one in tag["backups"])[::-1],
    "summary": lambda out: NAMES * (json.loads(out)[0]["backups"] == 3 and json.loads(out)[0]["damaged"] == ["fourth"]),
    "status --rpo-objective 1000000": lambda out: (
        NAMES * (json.loads(out)[0]["newest"] == "third" and json.loads(out)[0]["damaged"] == ["fourth"])
    ),
    "check": lambda out: (
        NAMES
        * (json.loads(out)["backups"] == 3 and [one["backup"] for one in json.loads(out)["findings"]] == ["fourth"])
    ),
}


@pytest.mark.parametrize("command", SHOWN)
def test_a_backup_that_cannot_be_read_hides_no_other(command: str, directory: Path) -> None:
    done = respaldo(directory, *command.split(), "--json")
    assert done.returncode == 20, done.stderr
    assert sorted(SHOWN[command](done.stdout)) == sorted(NAMES)
    CONTRACT.check(f"respaldo {command.partition(' --')[0]}", json.loads(done.stdout))
    assert "fourth" in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_status_of_a_target_that_is_late_names_what_it_could_not_read(directory: Path) -> None:
    done = respaldo(directory, "status")
    assert done.returncode == 51
    assert "fourth" in done.stderr


@pytest.mark.parametrize("words", [["retain", "--yes", "--retention-daily", "0"], ["version", "prune", "1", "--yes"]])
def test_nothing_is_removed_beside_a_backup_that_cannot_be_read(words: list[str], directory: Path) -> None:
    """It may be an incremental of what would go."""
    done = respaldo(directory, *words)
    assert done.returncode == 20, done.stderr
    assert "fourth" in done.stderr
    assert sorted(path.name for path in directory.glob("pc_db/shop/*/")) == sorted([*NAMES, "fourth"])


def test_backup_that_cannot_be_read_is_said_to_be_where_it_is_asked_for(directory: Path, tmp_path: Path) -> None:
    named = respaldo(directory, "export", "fourth", "-o", str(tmp_path / "x"))
    assert named.returncode == 20
    assert "Permission denied" in named.stderr
    newest = respaldo(directory, "export", "latest", "-o", str(tmp_path / "y"))
    assert "warning: " in newest.stderr
    assert "fourth" in newest.stderr


def test_check_goes_on_where_one_file_cannot_be_read_and_keeps_no_verdict(tmp_path: Path) -> None:
    directory = write_versions(tmp_path)
    (pack,) = (directory / "pc_db/shop/third").glob("data-*")
    pack.chmod(0)
    done = respaldo(directory, "check", "--json")
    assert done.returncode == 20, done.stderr
    assert {one["backup"] for one in json.loads(done.stdout)["findings"]} == {"third"}
    assert [path.parent.name for path in sorted(directory.glob("pc_db/shop/*/proof-*"))] == sorted(
        {*NAMES, "fourth"} - {"third"}
    )


def test_list_shows_the_other_targets_beside_one_that_cannot_be_read(tmp_path: Path) -> None:
    directory = write_versions(tmp_path)
    write_backups(directory, 1, database="other")
    (directory / "pc_db/other").chmod(0)
    done = respaldo(directory, "list", "--json")
    assert done.returncode == 20, done.stderr
    assert sorted(one["name"] for one in json.loads(done.stdout)) == sorted([*NAMES, "fourth"])
    assert "pc_db/other" in done.stderr
