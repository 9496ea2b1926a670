#!/bin/bash
# Makes the database cluster that POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and PGDATA ask for, then is the server.
# Anything but server options or `postgres` is run as it is.
set -euo pipefail

secret() { # VARIABLE: its value, or what the file named in VARIABLE_FILE holds
    local file="${1}_FILE"
    if [ -n "${!file:-}" ]; then cat "${!file}"; else printf '%s' "${!1:-}"; fi
}

make_cluster() {
    local method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" user database password
    user="$(secret POSTGRES_USER)"; user="${user:-postgres}"
    database="$(secret POSTGRES_DB)"; database="${database:-$user}"
    password="$(secret POSTGRES_PASSWORD)"
    if [ -z "$password" ] && [ "$method" != trust ]; then
        echo "POSTGRES_PASSWORD is not set: set it, or POSTGRES_HOST_AUTH_METHOD=trust" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # several arguments in one variable, as in the official image
    initdb --username="$user" --pwfile=<(printf '%s\n' "${password:-unused}") ${POSTGRES_INITDB_ARGS:-} >/dev/null
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
    if [ "$database" != postgres ]; then
        # A database is made in single-user mode: no second server start.
        printf 'CREATE DATABASE "%s";\n' "${database//\"/\"\"}" | postgres --single -D "$PGDATA" postgres >/dev/null
    fi
    if [ -n "$(ls -A /docker-entrypoint-initdb.d)" ]; then run_init_files "$user" "$database" "$password"; fi
}

run_init_files() { # USER DATABASE PASSWORD
    local file
    export PGUSER="$1" PGDATABASE="$2" PGPASSWORD="$3" PGHOST=/var/run/postgresql
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start >/dev/null
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else bash "$file"; fi ;;
            *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc -q -f "$file" ;;
            *.sql.gz) gunzip -c "$file" | psql -v ON_ERROR_STOP=1 --no-psqlrc -q ;;
            *) echo "ignored: $file" >&2 ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
    unset PGUSER PGDATABASE PGPASSWORD PGHOST
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    find "$PGDATA" \! -user postgres -exec chown postgres:postgres '{}' +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then make_cluster; fi
exec "$@"
