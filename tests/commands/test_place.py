"""Where the repository is said to be, and what a person hears who says it in the wrong place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.command import respaldo
from tests.unit.manifests import write_backups


@pytest.mark.parametrize("option", ["-d", "--repository", "--quiet"])
def test_option_of_the_program_after_its_command_is_said_to_go_before(option: str, tmp_path: Path) -> None:
    done = respaldo(tmp_path, "list", option, "backups")
    assert done.returncode == 2
    assert f"{option} goes before the command" in done.stderr
    assert "goes before" not in respaldo(tmp_path, "list", "--nothing").stderr


def test_directory_inside_a_repository_names_the_repository(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 1)
    (target,) = (path.parent.parent for path in tmp_path.glob("backups/*/*/*/manifest.json"))
    for inside in (target, target.parent):
        done = respaldo(tmp_path, "-d", str(inside), "list")
        assert done.returncode == 0
        assert f"is inside a repository: -d {tmp_path / 'backups'}" in done.stderr
    assert "b1" in respaldo(tmp_path, "-d", str(tmp_path / "backups"), "list").stdout
