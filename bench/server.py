"""The container that is measured: PostgreSQL, pgBackRest where it can be had, a directory shared with the host."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.database import DATABASE, Size, change_script, creation_script
from bench.measure import ContainerProbe
from tests.rig.containers import PostgresContainer, start_postgres
from tests.rig.engine import RigError, docker, has_image, remove_abandoned

# What the directory of the measurements is called inside the container.
INSIDE = "/bench"
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "16GB",
    "maintenance_work_mem": "512MB",
    "work_mem": "256MB",
    "autovacuum": "off",
    "archive_mode": "on",
}
_INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbackrest >/dev/null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One server with its database. ``work`` is the same directory as ``INSIDE`` in the container, on the same disk."""

    container: PostgresContainer
    probe: ContainerProbe
    work: Path

    def apply(self, script: str) -> None:
        """Run SQL in the measured database."""
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", DATABASE, "-f", "-"]
        self.container.exec(argv, script.encode(), timeout_s=3600)

    def change(self, size: Size) -> None:
        """Make the changes that an incremental will find, and read them once, so that no contestant pays for that."""
        self.apply(change_script(size) + "SELECT count(*) FROM event;")

    def as_root(self, script: str) -> str:
        """Run a shell script as root in the container: what tools wrote as other users is there for it alone."""
        return self.container.exec(["sh", "-ec", script], user="0", timeout_s=1800).stdout.decode()

    def size_of(self, name: str) -> int:
        """Return the bytes of every file under a directory of ``work``."""
        sizes = self.as_root(f"cd {INSIDE}; if [ -d {name} ]; then find {name} -type f -exec stat -c %s {{}} +; fi")
        return sum(map(int, sizes.split()))

    def remove(self, name: str) -> None:
        self.as_root(f"rm -rf {INSIDE}/{name}")

    def copy(self, name: str, to: str) -> None:
        self.as_root(f"cd {INSIDE}; rm -rf {to}; cp -a {name} {to}")

    def has(self, program: str) -> bool:
        return self.container.exec(["sh", "-c", f"command -v {program}"], check=False).returncode == 0

    def version(self, *argv: str) -> str:
        return self.container.exec(list(argv)).stdout.decode().strip().splitlines()[0]


def image_with_pgbackrest(image: str) -> str:
    """Return ``image`` with pgBackRest from its own distribution, built once; ``image`` itself where that fails."""
    name = f"respaldo-bench/{image.rsplit('/', 1)[-1]}"
    if not has_image(name):
        container = docker("create", "--user", "0", "--entrypoint", "sh", image, "-c", _INSTALL).decode().strip()
        try:
            docker("start", "--attach", container, timeout_s=600)
            inspected = docker("inspect", "--format", "{{json .Config.Entrypoint}}\n{{json .Config.Cmd}}", image)
            entrypoint, command = inspected.decode().splitlines()
            changes = ["--change", f"ENTRYPOINT {entrypoint}", "--change", f"CMD {command}"]
            docker("commit", *changes, container, name, timeout_s=300)
        except RigError as error:
            print(f"no pgBackRest: {error}")
            return image
        finally:
            docker("rm", "--force", "--volumes", container)
    return name


@contextlib.contextmanager
def serve(image: str, size: Size) -> Iterator[Bench]:
    """Start a server, make its database, and remove both at the end."""
    remove_abandoned()
    work = Path(tempfile.mkdtemp(prefix="respaldo-bench-"))
    work.chmod(0o777)
    container: PostgresContainer | None = None
    try:
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        container = start_postgres(image, args=settings, run_args=("--volume", f"{work}:{INSIDE}"))
        pid = docker("inspect", "--format", "{{.State.Pid}}", container.id).decode()
        bench = Bench(container=container, probe=ContainerProbe(int(pid)), work=work)
        # Not by the command line, which would win over what pgBackRest's turn sets.
        container.psql("ALTER SYSTEM SET archive_command = '/bin/true'; SELECT pg_reload_conf();")
        container.psql(f"CREATE DATABASE {DATABASE}")
        bench.apply(creation_script(size))
        yield bench
        bench.as_root(f"rm -rf {INSIDE}/*")
    finally:
        if container is not None:
            container.remove()
        shutil.rmtree(work, ignore_errors=True)
