"""RESTORE.txt: how to restore one backup without this program, in both languages at once."""

from __future__ import annotations

from respaldo.postgres.database import Creation

_FULL = """\
{name}: {database} ({instance}), PostgreSQL {version}

ESPAÑOL. Cómo restaurar este backup sin respaldo, con zstd, psql y pg_restore. En este directorio:
ENGLISH. How to restore this backup without respaldo, with zstd, psql and pg_restore. In this directory:

  zstd -dc {prefix}globals.sql.zst | psql --dbname=postgres
  psql --dbname=postgres --command={create}
  pg_restore --section=pre-data --dbname=NEW {prefix}schema.dump
  cat {prefix}data-*.sql.zst | zstd -dc | psql --set=ON_ERROR_STOP=1 --quiet --output=/dev/null --dbname=NEW
  pg_restore --section=post-data --dbname=NEW {prefix}schema.dump
  psql --set=database=NEW --dbname=NEW --file={prefix}database.sql

ESPAÑOL. La primera orden crea los roles: que alguno ya exista no es un error. NEW es el nombre de la base nueva.
ENGLISH. The first command creates the roles: that one exists already is no error. NEW is the new database's name.
"""

_INCREMENTAL = """\
{name}: {database} ({instance}), PostgreSQL {version}

ESPAÑOL. Este backup es incremental: guarda lo que cambió desde {base}, que está al lado y hace falta.
  respaldo restore {name} --to NEW
Sin respaldo: {base}/RESTORE.txt restaura la base completa; docs/repository-format.md explica cómo aplicar
a cada segmento su diferencia con zstd --patch-from.

ENGLISH. This backup is incremental: it holds what changed since {base}, which lies beside it and is needed.
  respaldo restore {name} --to NEW
Without respaldo: {base}/RESTORE.txt restores the full; docs/repository-format.md explains how to apply
each segment's difference with zstd --patch-from.
"""


def write_instructions(
    *, name: str, database: str, instance: str, version: str, prefix: str, base: str | None, creation: Creation
) -> bytes:
    """Return the text of RESTORE.txt. ``prefix`` stands before the names of the backup's objects."""
    create = _shell_quote(creation.statement("NEW", owner=None).removesuffix(";"))
    text = (_INCREMENTAL if base else _FULL).format(
        name=name, database=database, instance=instance, version=version, prefix=prefix, base=base, create=create
    )
    return text.encode(errors="backslashreplace")


def _shell_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
