"""A server that goes on working: what is stored is one moment of it, and it is left as it was."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import ContainerFactory
from tests.integration.conftest import RoundTrips
from tests.rig.containers import PostgresContainer
from tests.rig.waiting import wait_for

Shared = Callable[[int], PostgresContainer]

ACCOUNTS = (
    "CREATE TABLE accounts AS SELECT i AS id, 1000 AS balance, repeat('x', 300) AS filler"
    " FROM generate_series(1, 30000) i;"
    "ALTER TABLE accounts ADD PRIMARY KEY (id); CREATE TABLE small AS SELECT 1 AS id, 0 AS balance;"
    "CREATE TABLE history (id bigserial PRIMARY KEY, delta int)"
)
# Each transaction moves money from a large table to a small one, and notes it in a third.
TRANSFER = (
    "BEGIN; UPDATE accounts SET balance = balance - 1 WHERE id = (SELECT 1 + (random() * 29999)::int);"
    " UPDATE small SET balance = balance + 1; INSERT INTO history (delta) VALUES (1); COMMIT;\n"
)


@contextmanager
def busy(server: PostgresContainer, database: str, statement: str) -> Iterator[Callable[[], None]]:
    """Run a statement again and again in a session of its own, from before the block until after it; what the block
    is given waits until the statement has ended once more."""
    argv = ["docker", "exec", "-i", server.id, "psql", "-XqAt", "-U", server.user, "-d", database]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stop = threading.Event()
    ended = 0
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def work() -> None:
        nonlocal ended
        while not stop.is_set():
            stdin.write(f"{statement}\n\\echo done\n".encode())
            stdin.flush()
            if not stdout.readline():
                return
            ended += 1

    def once_more() -> None:
        before = ended
        wait_for(lambda: ended > before, lambda: f"ended {before} times and no more: {statement}", 60)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        once_more()
        yield once_more
    finally:
        stop.set()
        thread.join()
        process.communicate()


@contextmanager
def holding(server: PostgresContainer, database: str, statement: str) -> Iterator[None]:
    """Hold a transaction open that has run a statement."""
    argv = ["docker", "exec", "-i", server.id, "psql", "-XqAt", "-U", server.user, "-d", database]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"SET application_name = 'the holder';\nBEGIN;\n{statement};\n\\echo held\n".encode())
    process.stdin.flush()
    assert process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.communicate(b"ROLLBACK;\n")


@pytest.mark.parametrize("major", [13, 17])
def test_backup_while_rows_are_written_stores_one_moment(
    major: int, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(major))
    trip.load(ACCOUNTS)
    names, moved = [], []
    with busy(trip.server, trip.source.name, TRANSFER * 10) as once_more:
        for _number in range(2):
            names.append(trip.respaldo.backup(trip.source.name)["name"])
            once_more()
    for name in names:
        restored = trip.restored(name)
        total, small, noted = trip.server.psql(
            "SELECT (SELECT sum(balance) FROM accounts) + (SELECT balance FROM small), (SELECT balance FROM small),"
            " (SELECT count(*) FROM history)",
            restored,
        ).split("|")
        assert (int(total), int(small)) == (30_000_000, int(noted))
        moved.append(int(noted))
    assert 0 < moved[0] < moved[1]


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN; TRUNCATE accounts; INSERT INTO accounts SELECT i, 1000, '' FROM generate_series(1, 30000) i; COMMIT;",
        "BEGIN; DROP TABLE small; CREATE TABLE small AS SELECT 1 AS id, 0 AS balance; COMMIT;",
        "ALTER TABLE small ADD more int DEFAULT 5; ALTER TABLE small DROP more;",
        "CREATE TABLE passing AS SELECT 1 AS a; DROP TABLE passing;",
    ],
    ids=["truncate", "drop", "alter", "create"],
)
def test_backup_while_tables_are_changed_is_whole_or_a_clear_error(
    statement: str, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(17))
    trip.load(ACCOUNTS)
    trip.load("TRUNCATE accounts; INSERT INTO accounts SELECT i, 1000, '' FROM generate_series(1, 30000) i")
    words = ("--container", trip.server.name, "--database", trip.source.name, "--lock-timeout", "3")
    with busy(trip.server, trip.source.name, statement):
        ended = trip.respaldo.run("backup", *words)
    if ended.status != 0:
        assert ended.status == 30, ended.err
        assert "error" in ended.err
        assert trip.respaldo.list() == []
        return
    restored = trip.restored("latest")
    assert trip.server.psql("SELECT sum(balance) FROM accounts", restored) == "30000000"
    assert trip.server.psql("SELECT count(*) FROM small", restored) == "1"


def test_backup_behind_a_lock_gives_up_in_time_and_names_table_and_holder(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load('CREATE TABLE "Held %s {}" (a int)')
    words = ("backup", "--container", trip.server.name, "--database", trip.source.name, "--lock-timeout", "2")
    with holding(trip.server, trip.source.name, 'LOCK TABLE "Held %s {}" IN ACCESS EXCLUSIVE MODE'):
        begun = time.monotonic()
        ended = trip.respaldo.run_apart(*words)
        took = time.monotonic() - begun
    assert ended.status == 30, ended.err
    assert 'public."Held %s {}"' in ended.err
    assert "the holder" in ended.err
    assert took < 30
    assert trip.respaldo.list() == []
    assert trip.respaldo.run_apart(*words).status == 0


def test_backup_and_restore_leave_the_server_undisturbed(
    postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    server = postgres_container(15)
    trip = round_trip(server)
    trip.load(ACCOUNTS)
    started = server.psql("SELECT pg_postmaster_start_time()")
    words = ("--container", server.name, "--database", trip.source.name)
    for _number in range(2):
        assert trip.respaldo.run_apart("backup", *words).status == 0
    trip.restored("latest")
    with holding(server, trip.source.name, "LOCK TABLE small IN ACCESS EXCLUSIVE MODE"):
        assert trip.respaldo.run_apart("backup", *words, "--lock-timeout", "1").status == 30
    assert trip.respaldo.run_apart("restore", "latest", "--to", trip.source.name, *words).status == 30
    assert server.psql("SELECT pg_postmaster_start_time()") == started
    log = server.logs()
    assert "terminated by signal" not in log
    assert "crash" not in log
    left = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'respaldo%' OR application_name LIKE 'pg_%'"
    )
    wait_for(lambda: server.psql(left) == "0", lambda: "a session was left behind", 20, pause_s=0.1)
    # No process is left that nobody waits for.
    assert b" Z" not in server.exec(["sh", "-c", "cat /proc/[0-9]*/stat | sed 's/.*) / /' | cut -c1-2"]).stdout
