#!/bin/sh
# What BI tools make of a warehouse: dbt, Superset, SQLAlchemy, JDBC. PGHOST, PGPORT, PGUSER and PGDATABASE name it and a login of
# kore_reader that may create schemas in it; without them one is made for it, which CONTACTS=20000 of the simulated vendor fill.
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
work=$PWD/target/bi
port=${PORT:-5511}
mkdir -p "$work"

made() { # a server, the program, the simulated vendor; all of it ends with this script
    programs=$(pg_config --bindir)
    folder=$(mktemp -d)
    as_server() (cd / && if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi)
    [ "$(id -u)" -ne 0 ] || chown postgres "$folder"
    vendor=
    stop() {
        [ -z "$vendor" ] || kill "$vendor" 2>/dev/null || true
        as_server "$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
        rm -rf "$folder"
    }
    trap stop EXIT
    trap 'exit 130' INT TERM
    $cargo build --release
    program=$PWD/target/release/koresync
    as_server "$programs/initdb" -D "$folder/data" -U postgres --auth=trust --no-sync >/dev/null
    as_server "$programs/pg_ctl" -D "$folder/data" -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=''" \
        -l "$folder/data/log" -w start >/dev/null
    export PGHOST=127.0.0.1 PGPORT="$port" PGUSER=postgres PGDATABASE=warehouse
    psql -q -d postgres -c 'create database warehouse'
    "$program" simulate --listen "127.0.0.1:$((port + 1))" --contacts "${CONTACTS:-20000}" --requests-per-minute 0 \
        >"$work/vendor.txt" 2>&1 &
    vendor=$!
    until grep -q '^Then:' "$work/vendor.txt"; do kill -0 "$vendor" && sleep 0.1; done
    {
        printf '[warehouse]\nurl = "postgres://postgres@127.0.0.1:%s/warehouse?sslmode=disable"\ntime_zone = "Europe/Berlin"\n' "$port"
        sed -n '/^\[api\]/,/^start/p' "$work/vendor.txt"
    } >"$work/koresync.toml"
    "$program" --config "$work/koresync.toml" -q migrate
    "$program" --config "$work/koresync.toml" -q run --once
    psql -q -c "create role analyst login in role kore_reader; grant create on database warehouse to analyst; analyze"
    export PGUSER=analyst
}
[ -n "${PGHOST:-}" ] || made

failed=
run() {
    echo "== $1"
    shift
    "$@" || failed=yes
}
run dbt sh tests/bi/dbt.sh
run Superset sh tests/bi/superset.sh
python=${SUPERSET_VENV:-$work/superset-venv}/bin/python
if [ -x "$python" ]; then run SQLAlchemy "$python" -W ignore tests/bi/reflection.py
else echo "NOT RUN: SQLAlchemy, which comes with Superset"; fi
driver=/usr/share/java/postgresql.jar
if [ -e "$driver" ] && command -v javac >/dev/null 2>&1; then
    run JDBC java -cp "$driver" tests/bi/Metadata.java "jdbc:postgresql://$PGHOST:${PGPORT:-5432}/${PGDATABASE:-$PGUSER}" "$PGUSER"
else echo "NOT RUN: JDBC (apt-get install default-jdk-headless libpostgresql-jdbc-java)"; fi
[ -z "$failed" ]
