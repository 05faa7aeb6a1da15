#!/usr/bin/env bash
# Applies the edits of kernels.tsv to the shaders, one at a time, in a copy of the last commit, and runs the
# library's tests of the stage. Prints what became of each; fails if a test noticed one that is listed as
# survivor, or none noticed another.
#
#   tests/mutations/run.sh             all of them: an hour or two
#   tests/mutations/run.sh rays/       those whose lines match the pattern
set -euo pipefail
cd "$(dirname "$0")/../.."
pattern="${1:-.}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/mutations"
tree="$CARGO_TARGET_DIR/tree"
mkdir -p "$CARGO_TARGET_DIR"
git worktree remove --force "$tree" 2> /dev/null || true
git worktree add --quiet --force --detach "$tree" HEAD
trap 'git worktree remove --force "$tree"' EXIT
# One failure is enough, however complicated.
export PROPTEST_MAX_SHRINK_ITERS=0
wrong=0
while IFS=$'\t' read -r file old new tests expected; do
    path="$tree/shaders/$file"
    text=$(< "$path")
    without="${text/"$old"/}"
    if [ "$without" = "$text" ] || [ "${without/"$old"/}" != "$without" ]; then
        echo "TABLE     $file: expected once: $old"
        wrong=1
        continue
    fi
    printf '%s\n' "${text/"$old"/"$new"}" > "$path"
    # Words of `tests` are filters.
    run=(cargo test --locked --quiet --all-features --lib --manifest-path "$tree/Cargo.toml")
    run+=(--config profile.dev.package.gpavatar.opt-level=1)
    if ! "${run[@]}" --no-run > "$CARGO_TARGET_DIR/log" 2>&1; then
        found=unviable
    elif timeout 900 "${run[@]}" -- $tests < /dev/null > "$CARGO_TARGET_DIR/log" 2>&1; then
        found=survives
    else
        found=noticed
    fi
    git -C "$tree" checkout --quiet -- .
    [ "$found" = "${expected:-noticed}" ] || wrong=1
    printf '%-9s %s: %s -> %s\n' "$found" "$file" "$old" "$new"
done < <(grep -v "^#" tests/mutations/kernels.tsv | grep -e "$pattern")
exit $wrong
