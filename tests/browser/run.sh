#!/bin/sh
# The status page in a browser: in every state that it can show, narrow and wide, light and dark. Pictures of it go to target/browser.
# It needs node with npm, and Chromium (CHROMIUM names another one than is found).
set -eu
cd "$(dirname "$0")/../.."
for tool in node npm "${CHROMIUM:-chromium}"; do
    command -v "$tool" >/dev/null 2>&1 || { echo "NOT RUN: $tool is not there (apt-get install nodejs npm chromium)"; exit 0; }
done
work=$PWD/target/browser
rm -rf "$work/pictures"
mkdir -p "$work/pictures"
cp tests/browser/package.json tests/browser/*.mjs "$work"
(cd "$work" && npm install --silent --no-audit --no-fund)
if [ -z "${PROGRAM:-}" ]; then
    ${CARGO:-cargo} build
    PROGRAM=$PWD/target/debug/koresync
fi
export PROGRAM
CHROMIUM=$(command -v "${CHROMIUM:-chromium}")
export CHROMIUM
BINDIR=$(pg_config --bindir)
export BINDIR
cd "$work"
exec node check.mjs "$@"
