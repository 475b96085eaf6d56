#!/bin/sh
# Installs cargo-deny when it is missing, and says so. Without it `make deny` checks nothing, and says that too.
set -u
cargo=${CARGO:-cargo}

"$cargo" deny --version >/dev/null 2>&1 && exit 0
echo "setup: cargo-deny is missing; installing it: cargo install --locked cargo-deny" >&2
"$cargo" install --locked cargo-deny || echo "setup: cargo-deny could not be installed; going on without it" >&2
exit 0
