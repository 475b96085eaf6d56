#!/bin/sh
# Installs PostgreSQL's server programs when this machine has none, and says so.
set -eu

say() { echo "setup: $*" >&2; }

holds_server() { [ -n "$1" ] && [ -x "$1/initdb" ] && [ -x "$1/postgres" ]; }

# Looks where the daemon's private server looks.
found() {
    if [ -n "${KORESYNC_PG_BINDIR:-}" ]; then
        holds_server "$KORESYNC_PG_BINDIR" && return 0
        say "KORESYNC_PG_BINDIR is $KORESYNC_PG_BINDIR, which does not hold both initdb and postgres"
        exit 1
    fi
    for folder in \
        "$(pg_config --bindir 2>/dev/null || true)" \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql*/bin; do
        holds_server "$folder" && return 0
    done
    # Programs in two folders of PATH would not do.
    initdb=$(command -v initdb) || return 1
    holds_server "$(dirname "$initdb")"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs root, and there is no sudo: $*"
        exit 1
    fi
}

install_by_apt() {
    say "PostgreSQL's server programs are missing; installing them: apt-get install postgresql"
    # The package would otherwise make a cluster of its own and start it.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
        say "wrote /etc/postgresql-common/createcluster.conf, so that no server is started by the package"
    fi
    # A fresh machine has no lists yet; one whose lists are only partly out of date may still install.
    as_root apt-get update || say "apt-get update failed; trying with the lists at hand"
    # The file written above is ours, so the package must not ask whose version to keep.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold postgresql
}

install_by_brew() {
    say "PostgreSQL's server programs are missing; installing them: brew install postgresql@17"
    brew install postgresql@17
}

found && exit 0
if command -v apt-get >/dev/null; then
    install_by_apt
elif command -v brew >/dev/null; then
    install_by_brew
else
    say "PostgreSQL's server programs (initdb, postgres) are missing, and there is neither apt-get nor brew here."
    say "Install PostgreSQL 14 or newer, or name its folder of programs in KORESYNC_PG_BINDIR."
    exit 1
fi
found || { say "PostgreSQL was installed, but initdb and postgres are still not to be found"; exit 1; }
say "PostgreSQL's server programs are in place"
