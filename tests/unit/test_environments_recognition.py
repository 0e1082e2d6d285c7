"""What looks like PostgreSQL, and what only stands beside it."""

from __future__ import annotations

import pytest

from respaldo.environments.recognition import image_name, looks_like_postgres


@pytest.mark.parametrize(
    "image",
    [
        "postgres",
        "postgres:17-alpine",
        "docker.io/library/postgres:15@sha256:abc",
        "localhost:5000/team/postgres",
        "postgis/postgis:16-3.4",
        "timescale/timescaledb-ha:pg16",
        "pgvector/pgvector:pg17",
        "bitnami/postgresql:16",
        "bitnami/postgresql-repmgr:16",
        "ghcr.io/cloudnative-pg/postgresql:17.2",
        "ghcr.io/zalando/spilo-15:3.0",
        "registry.developers.crunchydata.com/crunchydata/crunchy-postgres:ubi8-15",
        "supabase/postgres:15.1",
        "citusdata/citus",
        "paradedb/paradedb",
        "me/pg:16",
        "me/app_pg17",
    ],
)
def test_server_image_looks_like_postgres(image: str) -> None:
    assert looks_like_postgres(image=image)


@pytest.mark.parametrize(
    "image",
    [
        "dpage/pgadmin4",
        "quay.io/prometheuscommunity/postgres-exporter:v0.15",
        "edoburu/pgbouncer",
        "bitnami/pgbouncer",
        "bitnami/pgpool:4",
        "postgrest/postgrest",
        "supabase/postgres-meta:v0.80",
        "prodrigestivill/postgres-backup-local:16",
        "ghcr.io/cloudnative-pg/cloudnative-pg:1.24",
        "ghcr.io/zalando/postgres-operator",
        "sosedoff/pgweb",
        "graphile/postgraphile",
        "woblerr/pgbackrest",
    ],
)
def test_image_beside_postgres_does_not(image: str) -> None:
    assert not looks_like_postgres(image=image, variables=["POSTGRES_PASSWORD", "PGDATA"], ports=[5432])


@pytest.mark.parametrize("image", ["nginx", "redis:7", "mysql:8", "my/app", "sha256:1234", ""])
def test_other_image_does_not(image: str) -> None:
    # An application that is told where its database is.
    assert not looks_like_postgres(
        image=image, variables=["POSTGRES_HOST", "POSTGRES_PASSWORD", "PGHOST"], ports=[8080]
    )


def test_own_image_is_known_by_what_is_in_it() -> None:
    assert looks_like_postgres(image="my/db", variables=["PGDATA", "PG_MAJOR"])
    assert looks_like_postgres(image="my/db", variables=["POSTGRESQL_VOLUME_DIR"])
    assert looks_like_postgres(image="sha256:1234", ports=[5432])
    assert looks_like_postgres(image="my/db", labels={"cnpg.io/cluster": "main"})
    assert looks_like_postgres(image="my/db", labels={"com.docker.compose.service": "postgres"})
    assert not looks_like_postgres(
        image="my/db", labels={"com.docker.compose.service": "postgres-exporter"}, ports=[5432]
    )


def test_label_overrides_every_guess() -> None:
    assert not looks_like_postgres(image="postgres:17", labels={"respaldo.enable": "false"})
    assert looks_like_postgres(image="my/app", labels={"respaldo.enable": "True"})


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("postgres:17", "postgres"),
        ("localhost:5000/a/B:1@sha256:ff", "a/b"),
        ("docker.io/library/postgres", "library/postgres"),
        ("org/name", "org/name"),
        ("sha256:ff", ""),
    ],
)
def test_image_name_has_no_registry_tag_or_digest(image: str, name: str) -> None:
    assert image_name(image) == name
