"""How a client inside the environment reaches its server: user, database, password, host, port.

Read from the container's own variables by the rules of the images that people use; what the person says wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from respaldo.environments.base import Runner
from respaldo.errors import PostgresError
from respaldo.language import _

# The official image; Bitnami's; Red Hat's; libpq's own, which CloudNativePG's containers set.
_USERS = ("POSTGRES_USER", "POSTGRESQL_USERNAME", "POSTGRESQL_USER", "PGUSER")
_DATABASES = ("POSTGRES_DB", "POSTGRES_DATABASE", "POSTGRESQL_DATABASE", "PGDATABASE")
_PASSWORDS = ("POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD", "PGPASSWORD")
_SUPERUSER_PASSWORDS = ("POSTGRES_POSTGRES_PASSWORD", "POSTGRESQL_POSTGRES_PASSWORD", "POSTGRESQL_ADMIN_PASSWORD")
_DEFAULT_USER = "postgres"
_OPTIONS = (
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
    " -c default_transaction_read_only=off -c bytea_output=hex -c standard_conforming_strings=on"
)
# A server refuses a parameter that it does not know: these came with versions 14 and 17.
_NEWER_OPTIONS = ((140000, " -c idle_session_timeout=0"), (170000, " -c transaction_timeout=0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOverrides:
    """What the person said; None says nothing."""

    user: str | None = None
    database: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Enough for psql and pg_dump to connect. The password travels in the environment and is never shown."""

    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    port: str | None = None
    # A database in SQL_ASCII holds bytes that are no text: they are sent as they are, or not at all.
    client_encoding: str = "UTF8"
    options: str = _OPTIONS

    def to_version(self, version_num: int) -> Connection:
        """Return the connection to a server whose version is known by now."""
        newer = "".join(option for since, option in _NEWER_OPTIONS if version_num >= since)
        return replace(self, options=_OPTIONS + newer)

    def environment(self, *, database: str | None = None) -> dict[str, str]:
        """Return libpq's variables for this connection, or for another database of the same server.

        What a role or a database sets must neither cut a long read, nor keep a restore from writing, nor change how
        bytes are written where pg_dump itself leaves that to the settings, nor how a literal is read: it holds from the
        first statement.
        """
        variables = {
            "PGUSER": self.user,
            "PGDATABASE": database or self.database,
            "PGAPPNAME": "respaldo",
            "PGCONNECT_TIMEOUT": "20",
            "PGOPTIONS": self.options,
            # The tools' messages are read by us: in one language.
            "LC_ALL": "C",
            "LANGUAGE": "C",
            "PGCLIENTENCODING": self.client_encoding,
            # A timestamptz is written the same by every server, so that it can be compared.
            "PGTZ": "UTC",
        }
        optional = {"PGPASSWORD": self.password, "PGHOST": self.host, "PGPORT": self.port}
        variables.update({name: value for name, value in optional.items() if value})
        return variables


def resolve_connection(runner: Runner, overrides: ConnectionOverrides) -> Connection:
    """Work out how to connect, from what the person said and the instance's own variables.

    Raise PostgresError where a ``…_FILE`` variable names a file that cannot be read.
    """
    variables = runner.variables()
    user = overrides.user or _lookup(runner, variables, _USERS) or _DEFAULT_USER
    database = overrides.database or _lookup(runner, variables, _DATABASES) or user
    names = _SUPERUSER_PASSWORDS + _PASSWORDS if user == _DEFAULT_USER else _PASSWORDS
    return Connection(
        user=user,
        database=database,
        password=overrides.password or _lookup(runner, variables, names),
        host=variables.get("PGHOST"),
        port=variables.get("PGPORT") or variables.get("POSTGRESQL_PORT_NUMBER"),
    )


def _lookup(runner: Runner, variables: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    for name in names:
        if variables.get(name):
            return variables[name]
        path = variables.get(f"{name}_FILE")
        if path:
            read = runner.run(["cat", path])
            if read.status != 0:
                raise PostgresError(
                    _("the file that {variable} names cannot be read in {instance}: {path}").format(
                        variable=f"{name}_FILE", instance=runner.instance.name, path=path
                    ),
                    hint=_("give the user and the password with --user and RESPALDO_PASSWORD"),
                )
            # As the image's own "$(< file)" reads it.
            return read.stdout.decode(errors="replace").rstrip("\n")
    return None
