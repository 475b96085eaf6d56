#!/bin/sh
# Installs PgBouncer for the tests that go through it, when it is missing, and says so. Without it they say SKIPPED.
set -u

say() { echo "setup: $*" >&2; }

for program in pgbouncer /usr/sbin/pgbouncer /opt/homebrew/bin/pgbouncer; do
    command -v "$program" >/dev/null && exit 0
done

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# The package would start a pooler of its own; nobody's answer to that is overwritten.
deny=/usr/sbin/policy-rc.d
install_by_apt() {
    say "PgBouncer is missing; installing it: apt-get install pgbouncer"
    if [ ! -e "$deny" ]; then
        say "$deny keeps the package from starting a pooler; it goes again at once"
        trap 'as_root rm -f "$deny"' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$deny" >/dev/null && as_root chmod 755 "$deny"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends pgbouncer
}

if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }; then
    install_by_apt || { as_root apt-get update && install_by_apt; } || say "PgBouncer could not be installed; going on without it"
elif command -v brew >/dev/null; then
    say "PgBouncer is missing; installing it: brew install pgbouncer"
    brew install pgbouncer || say "PgBouncer could not be installed; going on without it"
else
    say "PgBouncer is missing, and there is neither apt-get nor brew here; going on without it"
fi
exit 0
