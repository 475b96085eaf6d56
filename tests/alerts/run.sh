#!/bin/sh
# Whether alerts fire when they should and not otherwise: their unit tests, changes of them that these must notice, and then each of
# them driven by a real fault of a real daemon under a real Prometheus (drive.py). PROGRAM is the koresync to drive, else it is built
# here. KEEP=1 leaves logs and data. A quarter of an hour; ends with 1 when anything fails.
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
program=${PROGRAM:-}
for needed in prometheus promtool python3 pg_config psql; do
    command -v "$needed" >/dev/null 2>&1 || { echo "NOT RUN: $needed is not there (on Debian: apt-get install prometheus python3 postgresql libpq-dev)"; exit 1; }
done
if [ -z "$program" ]; then
    $cargo build
    program=$PWD/target/debug/koresync
fi
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE

echo "== the rules, and where they must fire and must not"
promtool check rules deploy/prometheus/koresync.rules.yaml
promtool test rules deploy/prometheus/tests/*.yaml
echo "== changes of the rules that their tests must notice"
python3 tests/alerts/mutants.py
echo "== each alert, driven by a fault"
python3 tests/alerts/drive.py "$program"
