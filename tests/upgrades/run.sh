#!/bin/sh
# Lets an older version work beside this one, over a schema that this one has expanded. OLD: any commit; without it, the one
# before the newest migration.
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
old=${OLD:-$(git log -1 --format=%H --diff-filter=A -- 'migrations/*.sql')^}
commit=$(git rev-parse --quiet --verify "$old^{commit}") || { echo "no commit $old here: give OLD, or fetch the history" >&2; exit 1; }
older=$PWD/target/older
tree=$older/$commit
trap 'git worktree remove --force "$tree"' EXIT
trap 'exit 130' INT TERM
rm -rf "$tree"
git worktree prune
git worktree add --detach "$tree" "$commit" >/dev/null
echo "== the older version: $(git log -1 --format='%h %s' "$commit")"
(cd "$tree" && CARGO_TARGET_DIR="$older/build" $cargo build --bin koresync)
echo "== beside this one, ${CONTACTS:-10000} contacts"
# shellcheck disable=SC2086
KORESYNC_TEST_OLDER_PROGRAM=$older/build/debug/koresync KORESYNC_TEST_CONTACTS=${CONTACTS:-10000} \
    $cargo nextest run ${FOR_TESTS:---features faults} --profile full -E 'test(upgrades::)'
