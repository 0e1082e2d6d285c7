"""What pg_dump and pg_dumpall write of a database, as streams that prove themselves whole."""

from __future__ import annotations

from collections.abc import Sequence

from respaldo.postgres.identifiers import relation_pattern
from respaldo.postgres.rowstream import CommandStream
from respaldo.postgres.server import Server
from respaldo.postgres.tables import Table

# Version-neutral text: a word that is free in one version may be reserved in the next.
_PLAIN = ("--quote-all-identifiers",)


def dump_schema(server: Server, snapshot: str | None, *, lock_timeout_s: int) -> CommandStream:
    """Stream the definitions as a custom archive. Before version 17 it holds the large objects' own entries too:
    ``--schema-only`` would drop them, two sections keep them."""
    sections = ("--section=pre-data", "--section=post-data", "--format=custom")
    return _pg_dump(server, snapshot, lock_timeout_s, sections)


def dump_data(server: Server, snapshot: str | None, *, excluded: Sequence[Table], lock_timeout_s: int) -> CommandStream:
    """Stream the rows of every table but the excluded ones, sequences' values and large objects, as plain SQL."""
    patterns = [f"--exclude-table-data={relation_pattern(table.schema, table.name)}" for table in excluded]
    return _pg_dump(server, snapshot, lock_timeout_s, ("--section=data", *patterns))


def dump_globals(server: Server) -> CommandStream:
    """Stream roles, memberships and settings as plain SQL; without passwords where this role may not read them."""
    may_read = () if server.facts.is_superuser else ("--no-role-passwords",)
    argv = [server.tools.pg_dumpall, "--globals-only", "--no-password", *may_read, *_PLAIN]
    # It runs "pg_dump -V" through a shell (find_other_exec in PostgreSQL's exec.c).
    return _stream(server, argv, has_children=True)


# A directory is written inside, where pg_dump can use several workers, and sent as a tar.
_DIRECTORY = r"""
directory=$(mktemp -d "${TMPDIR:-/tmp}/respaldo.XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
"$@" --file="$directory/dump" && tar -cf - -C "$directory/dump" .
"""


def dump_archive(server: Server, database: str, *, form: str, jobs: int) -> CommandStream:
    """Stream a whole database as pg_dump's custom archive (``dump``), or its directory as a tar (``directory``)."""
    argv = [server.tools.pg_dump, "--no-password"]
    if form == "directory":
        argv = ["sh", "-c", _DIRECTORY, "sh", *argv, "--format=directory", f"--jobs={jobs}"]
    else:
        argv = [*argv, "--format=custom"]
    return _stream(server, argv, database=database, has_children=form == "directory")


def _pg_dump(server: Server, snapshot: str | None, lock_timeout_s: int, options: Sequence[str]) -> CommandStream:
    under = [f"--snapshot={snapshot}"] if snapshot else []
    argv = [server.tools.pg_dump, "--no-password", *under, f"--lock-wait-timeout={lock_timeout_s}s"]
    return _stream(server, [*argv, f"--encoding={server.facts.encoding}", *_PLAIN, *options])


def _stream(
    server: Server, argv: list[str], *, database: str | None = None, has_children: bool = False
) -> CommandStream:
    environment = server.connection.environment(database=database)
    del environment["PGCLIENTENCODING"]
    return CommandStream(
        server.runner,
        argv,
        env=environment,
        compressor=server.tools.compressor,
        compress=server.tools.compress_command(),
        has_children=has_children,
    )
