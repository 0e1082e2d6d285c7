#!/bin/bash
# The contract of the official postgres image, as far as tests and the demo lean on it: POSTGRES_USER, POSTGRES_PASSWORD,
# POSTGRES_DB (and their _FILE forms), POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD, PGDATA; *.sql, *.sql.gz and *.sh
# in /docker-entrypoint-initdb.d, run once, by a temporary server that listens on its socket alone; every argument
# belongs to postgres. https://github.com/docker-library/docs/blob/master/postgres/README.md
set -euo pipefail

case "${1:-}" in '' | -*) set -- postgres "$@" ;; esac

for name in POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB POSTGRES_INITDB_ARGS; do
  file="${name}_FILE"
  if [ -n "${!file:-}" ]; then
    if [ -n "${!name:-}" ]; then echo "error: both $name and $file are set" >&2; exit 1; fi
    printf -v "$name" '%s' "$(cat "${!file}")"
  fi
done
: "${POSTGRES_USER:=postgres}" "${PGDATA:=/var/lib/postgresql/data}"
: "${POSTGRES_DB:=$POSTGRES_USER}" "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}" "${POSTGRES_INITDB_ARGS:=}"

if [ "$1" != postgres ]; then exec "$@"; fi

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres:postgres {} +
  chmod 700 "$PGDATA"
  # Below root, a secret's file may not be readable: what came from files goes on as values.
  export POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS POSTGRES_HOST_AUTH_METHOD PGDATA
  if [ -n "${POSTGRES_PASSWORD:-}" ]; then export POSTGRES_PASSWORD; fi
  unset POSTGRES_USER_FILE POSTGRES_PASSWORD_FILE POSTGRES_DB_FILE POSTGRES_INITDB_ARGS_FILE
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    echo "error: the database is empty and POSTGRES_PASSWORD is not set" >&2
    exit 1
  fi
  # shellcheck disable=SC2086 # several options in one variable: that is its contract
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-unused}") \
    --auth-local=trust --auth-host=scram-sha-256 -E UTF8 --locale=C.UTF-8 $POSTGRES_INITDB_ARGS >/dev/null
  printf 'host all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"
  printf "listen_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start >/dev/null
  run() { psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc -U "$POSTGRES_USER" "$@"; }
  if [ "$POSTGRES_DB" != postgres ]; then
    run -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"' >/dev/null
  fi
  for script in /docker-entrypoint-initdb.d/*; do
    case "$script" in
      *.sql) run -d "$POSTGRES_DB" -f "$script" ;;
      *.sql.gz) gzip -dc "$script" | run -d "$POSTGRES_DB" ;;
      *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
fi
exec "$@"
