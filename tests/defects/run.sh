#!/bin/sh
# Plants each defect of list.txt in turn, and proves that the tests named beside it catch it. ONLY=name: that one.
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
list=tests/defects/list.txt
only=${ONLY:-.}

# The same sequences each time; the shortest one that fails is of no interest here.
export KORESYNC_MODEL_SEED=1 KORESYNC_MODEL_SEEDS=12 KORESYNC_MODEL_SHRINKS=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
rows() { sed -e '/^#/d' -e '/^ *$/d' "$list" | grep -E "^($only) |$only" ; }
tests() {
    # A defect may stop the load for good: what hangs is ended by the profile's time limit, and counts as caught.
    # shellcheck disable=SC2086
    $cargo nextest run ${FOR_TESTS:---features faults} --color never --final-status-level fail --status-level fail \
        "$@" >"$logs/told" 2>&1
}

echo "== without a defect every one of these tests passes"
filter=$(rows | sed 's/^[a-z_]* *//' | sort -u | tr '\n' '|' | sed 's/|$//')
if ! tests --no-fail-fast -E "$filter"; then
    cat "$logs/told"
    exit 1
fi

missed=0
echo "== each defect is caught"
rows >"$logs/rows"
while read -r defect filter <&3; do
    if KORESYNC_DEFECT=$defect tests --fail-fast -E "$filter"; then
        echo "MISSED  $defect by $filter"
        missed=$((missed + 1))
    else
        by=$(sed -n 's/^ *\(FAIL\|TIMEOUT\|SIGABRT\|SIGTERM\) \[[^]]*\] *\(([^)]*)\)* *koresync[^ ]* //p' "$logs/told" | sort -u | head -2 | paste -sd ',' -)
        if [ -z "$by" ]; then
            echo "NO VERDICT on $defect:"
            cat "$logs/told"
            missed=$((missed + 1))
        else
            printf 'caught  %-24s by %s\n' "$defect" "$by"
        fi
    fi
done 3<"$logs/rows"
echo "== $(wc -l <"$logs/rows" | tr -d ' ') defects, $missed missed"
[ "$missed" -eq 0 ]
