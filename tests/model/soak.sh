#!/bin/sh
# Runs many random sequences against the model: SEEDS of them (1000) from SEED on (a random one), in JOBS processes at
# once (4: a process mostly waits). A process takes 25: what it kills stays in its memory. Tells each failing seed and its shortest sequence.
set -eu
cargo=${CARGO:-cargo}
seeds=${SEEDS:-1000}
jobs=${JOBS:-4}
first=${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
at_once=25

# shellcheck disable=SC2086
program=$($cargo test ${FOR_TESTS:---features faults} --test model --no-run 2>&1 | tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
[ -x "$program" ] || exit 1
logs=$(mktemp -d)
began=$(date +%s)
PROGRAM=$logs/model
cp "$program" "$PROGRAM"
export PROGRAM
echo "soak: $seeds sequences from KORESYNC_MODEL_SEED=$first on, $jobs at once; what fails is told at the end"
i=0
while [ "$i" -lt "$seeds" ]; do
    count=$at_once
    [ $((seeds - i)) -ge "$count" ] || count=$((seeds - i))
    echo "$((first + i)) $count"
    i=$((i + count))
done | xargs -n 2 -P "$jobs" sh -c '
    set -- "$PROGRAM" "$@"
    # Each failing seed costs its own process the seeds after it: they are taken up again behind it.
    seed=$2 left=$3
    while [ "$left" -gt 0 ]; do
        log=$0/$seed.log
        if KORESYNC_MODEL_SEED=$seed KORESYNC_MODEL_SEEDS=$left RUST_BACKTRACE=0 \
            "$1" random_sequences --nocapture >"$log" 2>&1; then
            mv "$log" "$0/$seed.$left.passed"
            break
        fi
        failed=$(sed -n "s/^KORESYNC_MODEL_SEED=\([0-9]*\) fails.*/\1/p" "$log" | head -1)
        [ -n "$failed" ] || { echo "soak: no verdict from seed $seed on, see $log" >&2; exit 0; }
        left=$((left - (failed - seed) - 1)) seed=$((failed + 1))
    done' "$logs"
failures=$(find "$logs" -name "*.log" | wc -l)
echo "soak: $seeds sequences in $(($(date +%s) - began)) s, $failures failed"
if [ "$failures" -gt 0 ]; then
    for log in "$logs"/*.log; do sed -n "/^KORESYNC_MODEL_SEED=.* fails/,/^test random/p" "$log"; done
    exit 1
fi
rm -r "$logs"
