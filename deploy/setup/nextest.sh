#!/bin/sh
# Installs cargo-nextest when it is missing, and says so. Without it `cargo test` runs the same tests.
set -u
cargo=${CARGO:-cargo}

"$cargo" nextest --version >/dev/null 2>&1 && exit 0
echo "setup: cargo-nextest is missing; installing it: cargo install --locked cargo-nextest" >&2
"$cargo" install --locked cargo-nextest || echo "setup: cargo-nextest could not be installed; going on without it" >&2
exit 0
