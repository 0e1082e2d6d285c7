"""The programs beside a server: PostgreSQL's own clients, and a compressor where the image has one."""

from __future__ import annotations

from dataclasses import dataclass

from respaldo.environments.base import Runner
from respaldo.errors import PostgresError
from respaldo.language import _

# Debian's /usr/bin/psql is a Perl wrapper that picks a version by itself; the real programs are taken instead.
_FIND = r"""
IFS=:
for program in psql pg_dump pg_dumpall pg_restore zstd gzip sha256sum; do
  found=$(command -v "$program" 2>/dev/null)
  case "$(readlink "$found" 2>/dev/null)" in *pg_wrapper) found= ;; esac
  if [ -z "$found" ]; then
    for place in "/usr/lib/postgresql/$PG_MAJOR/bin" /opt/bitnami/postgresql/bin /usr/local/pgsql/bin \
      /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
      if [ -x "$place/$program" ]; then found=$place/$program; fi
      if [ "$place" = "/usr/lib/postgresql/$PG_MAJOR/bin" ] && [ -n "$found" ]; then break; fi
    done
  fi
  echo "$program=$found"
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Paths of programs inside the instance. ``compressor`` is ``zstd``, ``gzip`` or, where it has neither, ``cat``."""

    psql: str
    pg_dump: str
    pg_dumpall: str
    pg_restore: str
    compressor: str
    has_sha256sum: bool = False

    def compress_command(self, *, is_kept: bool = True) -> str:
        """Return the shell command that compresses standard input as a frame of its own.

        ``is_kept`` False: the frame is only a way to send the text, and is most likely thrown away.
        """
        zstd = "zstd -q -3" if is_kept else "zstd -q -1"
        return {"zstd": zstd, "gzip": "gzip -1"}.get(self.compressor, "cat")


def find_tools(runner: Runner) -> Tools:
    """Find the programs in one call. Raise PostgresError where this is no PostgreSQL image."""
    completed = runner.run(["sh", "-c", _FIND])
    found = dict(line.split("=", 1) for line in completed.stdout.decode().splitlines() if "=" in line)
    missing = [name for name in ("psql", "pg_dump") if not found.get(name)]
    if missing:
        raise PostgresError(
            _("{instance} is not a PostgreSQL image: it has no {programs} (image {image})").format(
                instance=runner.instance.name, programs=", ".join(missing), image=runner.instance.image or "?"
            ),
            hint=_("name the container that runs PostgreSQL with {flag}").format(
                flag="--k8s-container" if runner.instance.environment == "kubernetes" else "--container"
            ),
        )
    compressor = "zstd" if found.get("zstd") else "gzip" if found.get("gzip") else "cat"
    return Tools(
        psql=found["psql"],
        pg_dump=found["pg_dump"],
        pg_dumpall=found.get("pg_dumpall") or "pg_dumpall",
        pg_restore=found.get("pg_restore") or "pg_restore",
        compressor=compressor,
        has_sha256sum=bool(found.get("sha256sum")),
    )
