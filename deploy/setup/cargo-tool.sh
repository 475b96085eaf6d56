#!/bin/sh
# Installs a cargo subcommand when it is missing, and says so: cargo-tool.sh nextest. Without nextest `cargo test` runs the
# same tests; without deny `make deny` checks nothing, and says that too.
set -u
cargo=${CARGO:-cargo}
tool=$1

"$cargo" "$tool" --version >/dev/null 2>&1 && exit 0
echo "setup: cargo-$tool is missing; installing it: cargo install --locked cargo-$tool" >&2
"$cargo" install --locked "cargo-$tool" || echo "setup: cargo-$tool could not be installed; going on without it" >&2
exit 0
