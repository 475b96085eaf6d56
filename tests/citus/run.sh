#!/bin/sh
# Runs tests (TESTS: a filter of nextest) on a Citus cluster of a coordinator and two workers, made for them on this machine.
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
tests=${TESTS:-test(/^(mirror|vendor_page|history|rereading|retention|loading|references|rebuilding|erasing|privacy|quarantine|verifying)::/)}
port=${PORT:-5501}

if ! [ -e "$(pg_config --pkglibdir 2>/dev/null)/citus.so" ]; then
    echo "NOT RUN: Citus is not installed for the PostgreSQL of pg_config"
    exit 0
fi
programs=$(pg_config --bindir)
# In memory where there is room for three nodes.
room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ "${room:-0}" -ge 2097152 ]; then folder=$(mktemp -d /dev/shm/koresync-citus.XXXXXX); else folder=$(mktemp -d); fi
# Whose folder this is, the server need not be able to enter it.
as_server() (cd / && if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi)
[ "$(id -u)" -ne 0 ] || chown postgres "$folder"
nodes="$port $((port + 1)) $((port + 2))"
stop() {
    for node in $nodes; do
        as_server "$programs/pg_ctl" -D "$folder/$node" -m immediate stop >/dev/null 2>&1 || true
    done
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

for node in $nodes; do
    as_server "$programs/initdb" -D "$folder/$node" -U postgres --auth=trust --no-sync >/dev/null
    # Four parts of each table a worker are as good a proof as sixteen, and there are fewer to make for each test.
    # Without TLS: the certificate that Citus would make for itself is of a kind that the daemon's library does not read.
    cat >>"$folder/$node/postgresql.conf" <<SETTINGS
shared_preload_libraries = 'citus'
listen_addresses = '127.0.0.1'
port = $node
unix_socket_directories = ''
max_connections = 300
max_prepared_transactions = 300
wal_level = logical
fsync = off
full_page_writes = off
synchronous_commit = off
citus.node_conninfo = 'sslmode=disable'
citus.shard_count = 8
SETTINGS
    as_server "$programs/pg_ctl" -D "$folder/$node" -l "$folder/$node.log" -w start >/dev/null || { tail "$folder/$node.log" >&2; exit 1; }
done
connect() { psql -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -U postgres -d postgres -c "$2" >/dev/null; }
for node in $nodes; do
    connect "$node" 'create extension citus'
done
connect "$port" "select citus_set_coordinator_host('127.0.0.1', $port)"
for node in $((port + 1)) $((port + 2)); do
    connect "$port" "select citus_add_node('127.0.0.1', $node)"
done
echo "== on Citus $(psql -At -h 127.0.0.1 -p "$port" -U postgres -d postgres -c "select extversion from pg_extension where extname = 'citus'"), a coordinator and two workers"
# shellcheck disable=SC2086
KORESYNC_TEST_DATABASE_URL="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable" \
    $cargo nextest run ${FOR_TESTS:---features faults} --profile full -E "$tests"
