"""RESTORE.txt means what it says: its own commands, in the container, without the program, restore the database."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.comparison import SQL, assert_same_database
from tests.integration.conftest import AFTER_THE_FULL, ENDS, RoundTrips
from tests.rig.containers import PostgresContainer
from tests.rig.engine import docker


def commands_of(text: str) -> list[str]:
    """The lines of a RESTORE.txt that are commands: the indented ones."""
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def copy_into(server: PostgresContainer, directory: Path, place: str) -> None:
    """Copy a directory's files into the container, readable by postgres."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted(directory.iterdir()):
            info = tarfile.TarInfo(path.name)
            info.size, info.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)
    server.exec(["mkdir", "-p", place])
    docker("cp", "-", f"{server.id}:{place}", stdin=archive.getvalue())


@pytest.mark.parametrize(
    ("name", "major"),
    [
        ("shop.sql", 15),
        ("hostile_text.sql", 13),
        ("names.sql", 18),
        *(("structure.sql", major) for major in ENDS),
    ],
)
def test_instructions_of_a_full_followed_to_the_letter_restore_it(
    name: str, major: int, shared_postgres: Callable[[int], PostgresContainer], round_trip: RoundTrips
) -> None:
    trip = round_trip(server := shared_postgres(major))
    trip.load((SQL / name).read_text().partition(AFTER_THE_FULL)[0])
    trip.load(f"COMMENT ON DATABASE {trip.source.name} IS 'ñ'; ALTER DATABASE {trip.source.name} SET work_mem TO '7MB'")
    backup = trip.respaldo.backup(trip.source.name, expect="full")["name"]
    (manifest,) = trip.respaldo.repository.rglob("manifest.json")
    assert manifest.parent.name == backup
    follow(trip.server, manifest.parent, restored := f"{trip.source.name}_by_hand", trip.made)
    assert_same_database(server, trip.source.name, restored)


@pytest.mark.parametrize("server", ENDS, indirect=True)
def test_instructions_of_a_full_in_latin1_restore_its_names_and_comments(
    server: PostgresContainer, round_trip: RoundTrips
) -> None:
    trip = round_trip(server, options="ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    trip.load(
        f'SET client_encoding = UTF8; CREATE TABLE "ñandú" AS SELECT \'ÿ\'::text AS "é"; '
        f"COMMENT ON DATABASE \"{trip.source.name}\" IS 'año'"
    )
    trip.respaldo.backup(trip.source.name, expect="full")
    (manifest,) = trip.respaldo.repository.rglob("manifest.json")
    follow(trip.server, manifest.parent, restored := f"{trip.source.name}_by_hand", trip.made)
    assert_same_database(server, trip.source.name, restored)


def follow(server: PostgresContainer, backup: Path, restored: str, made: list[str]) -> None:
    """Do what RESTORE.txt says, inside the container, as postgres."""
    made.append(restored)
    place = f"/tmp/{restored}"
    copy_into(server, backup, place)
    commands = commands_of((backup / "RESTORE.txt").read_text())
    assert len(commands) == 6
    for number, command in enumerate(commands):
        line = f"set -o pipefail; cd {place} && {command.replace('NEW', restored)}"
        # That roles exist already is no error, the file says of its first command.
        server.exec(["bash", "-c", line], user="postgres", check=number != 0)
