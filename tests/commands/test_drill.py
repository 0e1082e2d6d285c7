"""``respaldo drill`` without a server: what one error tells of several targets."""

from __future__ import annotations

from pathlib import Path

from tests.commands.command import respaldo
from tests.unit.manifests import write_backups


def test_engine_that_does_not_answer_is_told_for_every_target(tmp_path: Path) -> None:
    for database in ("one", "two"):
        write_backups(tmp_path / "backups", 1, database=database)
    page = tmp_path / "page.html"
    ended = respaldo(
        tmp_path, *("drill", "--due", "7", "--environment", "docker", "--html", str(page)), DOCKER_HOST="unix:///none"
    )
    assert ended.returncode == 40, ended.stderr
    assert "pc_db/one: " in ended.stderr
    assert "pc_db/two: " in ended.stderr
    assert "no drill is due" not in ended.stdout
    assert "Traceback" not in ended.stderr
