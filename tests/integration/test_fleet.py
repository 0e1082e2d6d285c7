"""Every database of every container that is found: one that fails stops no other, and new ones are taken up."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from tests.commands.command import respaldo
from tests.conftest import ContainerFactory
from tests.contracts import CONTRACT
from tests.integration.conftest import Respaldo
from tests.rig import embedded
from tests.rig.engine import docker
from tests.rig.requirements import require

TABLE = "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 1000) n"


def left_out_of(said: str, instance: str) -> list[str]:
    """Return the databases of an instance that the program named before it counted its targets."""
    return re.findall(rf"^ *{instance}/(\S+) ", said.partition("\ndocker ")[0], re.MULTILINE)


def test_all_backs_up_what_it_can_and_says_what_failed(postgres_container: ContainerFactory, tmp_path: Path) -> None:
    label = f"respaldo.test.fleet={tmp_path.name}"
    good, bad = (postgres_container(15, run_args=("--label", label)) for _number in range(2))
    words = ["backup", "--environment", "docker", "--all", "--labels", label]
    program = Respaldo(repository=tmp_path, container=good)
    good.psql("CREATE DATABASE una", "postgres")
    good.psql("CREATE DATABASE otra", "postgres")
    for database in ("una", "otra"):
        good.psql(TABLE, database)
    # What a restore keeps or fills is nobody's to back up, and what takes no connections cannot be.
    left_out = ["una__old_20260102_030405", "una__restoring_20260102_030405", "sin_conexiones"]
    for database in left_out:
        good.psql(f"CREATE DATABASE {database}", "postgres")
    good.psql("ALTER DATABASE sin_conexiones ALLOW_CONNECTIONS false", "postgres")
    bad.psql("CREATE DATABASE sana", "postgres")
    bad.psql("CREATE DATABASE cerrada", "postgres")
    bad.psql("CREATE TABLE t (n int); CHECKPOINT", "cerrada")
    bad.exec(["sh", "-c", "rm $PGDATA/$(psql -XAtU postgres -d cerrada -c \"SELECT pg_relation_filepath('t')\")"])
    ended = program.run(*words, "--json", "--at-once", "3")
    assert ended.status == 1
    CONTRACT.check("respaldo backup", json.loads(ended.out))
    told = {(one["instance"], one["database"]): one for one in json.loads(ended.out)}
    failed = (bad.name, "cerrada")
    assert set(told) == {(good.name, "una"), (good.name, "otra"), (bad.name, "sana"), failed}
    assert left_out == sorted(left_out_of(ended.err, good.name), key=left_out.index)
    assert [one for one, result in told.items() if result["error"]] == [failed]
    assert told[good.name, "una"]["backup"]["rows"] == 1000
    assert f"{bad.name}/cerrada" in ended.err
    # A database that is new, and a container with backups that does not run: the one is taken up, the other told. One
    # that never ran is nothing to back up.
    good.psql("CREATE DATABASE nueva", "postgres")
    good.psql(TABLE, "nueva")
    bad.stop()
    idle = docker("create", "--label", label, bad.image).decode().strip()
    try:
        ended = program.run(*words)
    finally:
        docker("rm", idle)
    assert ended.status == 1
    assert "(created)" in ended.err
    table = {line.split()[0]: line for line in ended.out.splitlines()}
    assert "backup_" in table[f"{good.name}/nueva"]
    assert [target for target in table if target.startswith(f"{bad.name}/")] == [f"{bad.name}/*"]
    assert "backup_" not in table[f"{bad.name}/*"]
    assert {one["database"] for one in program.list()} >= {"una", "otra", "nueva"}


def test_all_warns_of_a_database_that_was_dropped_until_it_is_retired(tmp_path: Path) -> None:
    require("embedded", embedded.why_unavailable())
    with embedded.embedded_postgres() as server:
        for database in ("queda", "vieja"):
            server.psql(f"CREATE DATABASE {database}")
        place = {"PGHOST": str(server.socket_directory), "PGPORT": str(server.port)}
        variables = {**place, "PGUSER": "postgres", "PATH": f"{server.bin_directory}:{os.environ['PATH']}"}

        def back_up(**more: str) -> tuple[int, list[str]]:
            ended = respaldo(tmp_path, "backup", "--environment", "local", "--all", **variables, **more)
            return ended.returncode, re.findall(r"^warning: (\S+) has backups here", ended.stderr, re.MULTILINE)

        assert back_up() == (0, [])
        server.psql("DROP DATABASE vieja")
        gone = f"local_{server.port}/vieja"
        assert back_up() == (3, [gone])
        assert back_up(RESPALDO_RETIRED=gone) == (0, [])
