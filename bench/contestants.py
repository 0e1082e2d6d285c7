"""What is measured: each contestant as lines of shell, the one for a full and, where it can, for an incremental."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.database import DATABASE
from bench.server import INSIDE, Bench

ROOT = Path(__file__).resolve().parents[1]
RESTIC = "v0.18.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "respaldo-bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One tool, used one way. It writes to the directory ``key`` of the bench's shared directory, and nowhere else.

    ``prepare`` is run before each full, unmeasured, with the directory empty; ``enter`` and ``leave`` around each
    measured run.
    """

    key: str
    title: str
    version: str
    full: str
    incremental: str | None = None
    prepare: str = "true"
    enter: str = ""
    leave: str = ""
    counted: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted_directory(self) -> str:
        """What of its directory counts as stored."""
        return f"{self.key}/{self.counted}" if self.counted else self.key


def list_contestants(bench: Bench, jobs: int, chosen: set[str]) -> list[Contestant]:
    """Return those that can run here (of ``chosen``, where that names any), and say which cannot."""
    dump = f"docker exec {bench.container.id} pg_dump -U postgres -d {DATABASE}"
    pg_dump = bench.version("pg_dump", "--version")
    found = [
        _ours(bench, jobs),
        Contestant(
            key="pg_dump_fd",
            title=f"pg_dump -Fd -j{jobs} -Z zstd:3, inside",
            version=pg_dump,
            full=f"{dump} -Fd -j{jobs} -Z zstd:3 -f {INSIDE}/pg_dump_fd/dump",
        ),
        Contestant(
            key="pg_dump_fc",
            title="docker exec pg_dump -Fc",
            version=pg_dump,
            full=f"{dump} -Fc > {bench.work}/pg_dump_fc/database.dump",
        ),
        Contestant(
            key="pg_dump_gzip",
            title="docker exec pg_dump | gzip",
            version=pg_dump,
            full=f"{dump} | gzip > {bench.work}/pg_dump_gzip/database.sql.gz",
        ),
    ]
    wanted = [one for one in found if not chosen or one.key in chosen]
    if (not chosen or "restic" in chosen) and (program := _find_restic()):
        wanted.append(_restic(bench, dump, program))
    if not chosen or "pgbackrest" in chosen:
        if bench.has("pgbackrest"):
            wanted.append(_pgbackrest(bench, jobs))
        else:
            print("pgBackRest is left out: this image does not have it")
    return wanted


def respaldo_command(bench: Bench, jobs: int, repository: Path) -> str:
    """Return the start of a ``respaldo backup``; what follows are its own options."""
    return (
        f"exec {sys.executable} -m respaldo --quiet --repository {repository} backup --environment docker "
        f"--container {bench.container.name} --database {DATABASE} --jobs {jobs}"
    )


def respaldo_variables() -> dict[str, str]:
    """Return what the product's process sees beside this one's own variables."""
    return {"PYTHONPATH": str(ROOT / "src"), "LANG": "C.UTF-8"}


def _ours(bench: Bench, jobs: int) -> Contestant:
    command = respaldo_command(bench, jobs, bench.work / "respaldo")
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return Contestant(
        key="respaldo",
        title="respaldo backup",
        version=f"respaldo {commit.stdout.strip()}".strip(),
        full=f"{command} --type full --name full",
        incremental=f"{command} --type incremental --name incremental",
        variables=respaldo_variables(),
    )


def _restic(bench: Bench, dump: str, program: Path) -> Contestant:
    command = f"{dump} | {program} backup --quiet --stdin --stdin-filename database.sql"
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    return Contestant(
        key="restic",
        title="docker exec pg_dump | restic",
        version=" ".join(version.split()[:2]),
        prepare=f"{program} init --quiet",
        full=command,
        incremental=command,
        variables={
            "RESTIC_REPOSITORY": f"{bench.work}/restic/repository",
            "RESTIC_CACHE_DIR": f"{bench.work}/restic_cache",
            "RESTIC_PASSWORD": "bench",
        },
        counted="repository",
    )


def _pgbackrest(bench: Bench, jobs: int) -> Contestant:
    inside = f"docker exec --user postgres {bench.container.id}"
    command = (
        f"pgbackrest --stanza=main --pg1-path={_PGDATA} --repo1-path={INSIDE}/pgbackrest"
        " --log-level-file=off --log-level-console=off --log-level-stderr=error"
    )
    options = f"--process-max={jobs} --compress-type=zst --compress-level=3 --start-fast --repo1-bundle --repo1-block"

    def run(what: str) -> str:
        return f'{inside} sh -c "exec {command} {what}"'

    def archive(with_what: str) -> str:
        return (
            f'docker exec {bench.container.id} psql -XAtq -U postgres -c "ALTER SYSTEM SET archive_command = '
            f"'{with_what}'\" -c 'SELECT pg_reload_conf(), pg_sleep(0.5)'"
        )

    return Contestant(
        key="pgbackrest",
        title="pgBackRest, block incremental, inside",
        version=bench.version("pgbackrest", "version"),
        prepare=run("stanza-create"),
        # Only the log of a backup's own time is kept: what it needs to be consistent, not what led to it.
        enter=archive(f"{command} archive-push %p"),
        full=run(f"--type=full {options} backup"),
        incremental=run(f"--type=incr {options} backup"),
        leave=archive("/bin/true"),
        counted="backup",
    )


_PGDATA = "/var/lib/postgresql/data"


def _find_restic() -> Path | None:
    """Return restic from PATH or the cache, built there by Go where it is not yet."""
    known = shutil.which("restic")
    built = CACHE / "bin" / "restic"
    if known or built.exists():
        return Path(known) if known else built
    if shutil.which("go") is None:
        print("restic is left out: it is not on PATH, and there is no Go to build it")
        return None
    print(f"building restic {RESTIC}")
    target = f"github.com/restic/restic/cmd/restic@{RESTIC}"
    done = subprocess.run(["go", "install", target], env={**os.environ, "GOBIN": str(built.parent)}, check=False)
    return built if done.returncode == 0 else None
