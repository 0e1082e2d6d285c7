"""One bit flipped anywhere in a repository that real backups, a drill, a check and a schedule have filled."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from respaldo.clock import SystemClock
from respaldo.errors import DamagedError
from respaldo.events import ignore
from respaldo.operations.alert_state import ALERTS, AlertState, AlertStore
from respaldo.operations.check import CheckReport, CheckRequest, Depth, run_check
from respaldo.operations.runs import LAST_STATUS, LOG, read_last_runs, read_runs
from respaldo.operations.schedules import DOCUMENT
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.integration.test_drill_local import Local
from tests.rig.database import database_on
from tests.rig.embedded import EmbeddedPostgres

PLACES = 1000
CLOCK = SystemClock()
CONTENT = """
CREATE TABLE large AS SELECT i, md5(i::text) AS a, repeat(chr(97 + i % 26), 50) AS b FROM generate_series(1, 3000) i;
ALTER TABLE large ADD PRIMARY KEY (i);
CREATE TABLE small AS SELECT i, 'ñandú ' || i AS a FROM generate_series(1, 20) i;
CREATE SEQUENCE counting;
SELECT lo_from_bytea(77, 'large object');
"""
# What tells of runs that are over. No backup, restore, check, retention or decision reads any of it.
TOLD = {ALERTS, LAST_STATUS, LOG}


@pytest.fixture(scope="module")
def repository(embedded_postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("damage") / "repository"
    with database_on(embedded_postgres, options="") as source:
        local = Local(server=embedded_postgres, repository=directory, database=source.name)
        source.psql(CONTENT)
        place = [*local.place, "--database", source.name]
        source.psql("COMMENT ON DATABASE :name IS 'gives database.sql bytes'".replace(":name", f'"{source.name}"'))
        for words in (
            ["backup", *place, "--branch", "main", "--tag", "stable"],
            ["drill", *local.place],
            ["schedule", "add", "nightly", "--at", "daily", "--with", "serve", "--", "check", "--quick"],
            ["schedule", "run", "nightly"],
        ):
            ended = local.run(*words)
            assert ended.returncode == 0, ended.stderr
        source.psql("UPDATE large SET a = 'other' WHERE i % 100 = 0")
        assert local.backup()["type"] == "incremental"
    return directory


def check(directory: Path, request: CheckRequest) -> CheckReport:
    return run_check(Repository.open(DirectoryStorage(directory), CLOCK), request, clock=CLOCK, listen=ignore)


def is_named(directory: Path, name: str) -> bool:
    """Tell whether ``check``, of no more than the file may concern, names what was damaged."""
    if name == "respaldo.json":
        with pytest.raises(DamagedError, match=name):
            Repository.open(DirectoryStorage(directory), CLOCK)
        return True
    place = name.split("/")
    is_object = len(place) == 4 and not place[3].startswith(("manifest", "proof"))
    request = CheckRequest(backup=place[2], jobs=1) if is_object else CheckRequest(depth=Depth.QUICK)
    findings = check(directory, request).findings
    wanted = DOCUMENT if name == DOCUMENT else "labels.json" if place[-1] == "labels.json" else place[2]
    return any(wanted == finding.backup for finding in findings)


def test_bit_flipped_anywhere_is_named_or_cannot_matter(repository: Path) -> None:
    good = {str(path.relative_to(repository)): path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    names = sorted(name for name, data in good.items() if data)
    kinds = ("RESTORE.txt", "globals.sql.zst", "database.sql", ".pack", "labels.json", "proof-", DOCUMENT, *TOLD)
    assert all(any(kind in name for name in names) for kind in kinds), names
    # Every fifth place in any file at all, the others where most bytes are.
    weights = [len(good[name]) for name in names]
    dice = random.Random(20261125)
    unnamed = []
    for number in range(PLACES):
        name = names[number // 5 % len(names)] if number % 5 else dice.choices(names, weights)[0]
        place, bit = dice.randrange(len(good[name])), dice.randrange(8)
        flipped = bytearray(good[name])
        flipped[place] ^= 1 << bit
        path = repository / name
        path.write_bytes(flipped)
        is_found = True if name in TOLD else is_named(repository, name)
        unnamed += [] if is_found else [(name, place, bit)]
        if name in TOLD:
            # The first two are begun anew; a line of the log is left out, or tells other words, and stops nobody.
            assert AlertStore(DirectoryStorage(repository), CLOCK).read() == AlertState() or name != ALERTS
            assert read_last_runs(repository) == {} or name != LAST_STATUS
            list(read_runs(repository))
        path.write_bytes(good[name])
        for proof in repository.rglob("proof-*.json"):
            if str(proof.relative_to(repository)) not in good:
                proof.unlink()
    assert unnamed == []
    assert check(repository, CheckRequest()).findings == ()
