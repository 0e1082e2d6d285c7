"""What a PostgreSQL server looks like from outside: its image, its variables, its port, its labels.

Pure. A guess in both directions: a wrong "no" is cured by naming the instance, a wrong "yes" by an error that lists it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

PORT: Final = 5432
#: ``respaldo.enable=true|false`` on a container or pod overrides every guess.
ENABLE_LABEL: Final = "respaldo.enable"
#: Marks throw-away instances of drills, which are never backed up by themselves.
DRILL_LABEL: Final = "respaldo.drill"

# In the image's repository path, tag and digest left out.
_SERVERS: Final = re.compile(
    r"postgres|postgis|timescale|pgvector|pgvecto|vchord|citus|spilo|paradedb|pgrouting|pg_?duckdb|edb-|apache/age"
    r"|(^|[/_-])(pg|psql)([/_-]?\d+)?$"
)
# Beside PostgreSQL, not PostgreSQL: clients, poolers, proxies, exporters, operators, backup tools.
_OTHERS: Final = re.compile(
    r"pg-?admin|exporter|bouncer|pgpool|pgcat|pgdog|odyssey|supavisor|postgrest|postgraphile|graphql|pgweb|pghero|adminer"
    r"|backup|backrest|barman|wal-g|operator|cloudnative-pg/cloudnative-pg|proxy|envoy|nginx|traefik|socat|-client|-meta"
    r"|-mcp|mcp-|pg_?tileserv|pg_?featureserv|pgwatch|pganalyze|pgbadger|respaldo|dashboard|migrat|debezium|datasette"
)
_NAME_LABELS: Final = ("org.opencontainers.image.title", "app.kubernetes.io/name", "com.docker.compose.service", "app")
_OWNER_LABELS: Final = ("cnpg.io/cluster", "postgres-operator.crunchydata.com/cluster", "spilo-role")
# Variables that only an image with a server in it sets. POSTGRES_* alone also stands in every client application.
_SERVER_VARIABLES: Final = ("PGDATA", "PG_MAJOR", "POSTGRESQL_DATA_DIR", "POSTGRESQL_VOLUME_DIR")


def looks_like_postgres(
    *,
    image: str,
    variables: Collection[str] = (),
    ports: Collection[int] = (),
    labels: Mapping[str, str] | None = None,
) -> bool:
    """Tell whether a container with this image, these variables' names, exposed ports and labels holds a server."""
    labels = labels or {}
    if (enabled := labels.get(ENABLE_LABEL, "").lower()) in {"true", "false"}:
        return enabled == "true"
    name = image_name(image)
    names = [labels[key].lower() for key in _NAME_LABELS if key in labels]
    if _OTHERS.search(name):
        return False
    if _SERVERS.search(name) or any(label in labels for label in _OWNER_LABELS):
        return True
    # An image that says nothing (built by the person, or a bare id): the label may say what it is not.
    if any(_OTHERS.search(other) for other in names):
        return False
    if any(variable in variables for variable in _SERVER_VARIABLES):
        return True
    if PORT in ports:
        return True
    return any(other in {"postgres", "postgresql"} for other in names)


def image_name(image: str) -> str:
    """Return an image's repository path in lower case: no registry host, no tag, no digest; ``""`` for a bare id."""
    name = image.lower().partition("@")[0]
    if name.startswith("sha256:"):
        return ""
    head, slash, rest = name.partition("/")
    if slash and (head == "localhost" or "." in head or ":" in head):
        name = rest
    return re.sub(r":[^/]*$", "", name)
