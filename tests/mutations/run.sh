#!/usr/bin/env bash
# Applies the edits of kernels.tsv to the shaders, one at a time, in a copy, and runs the library's tests of
# the stage, which compose their kernels from it. Prints what became of each; fails if a test noticed one that
# is listed as survivor, or none noticed another.
#
#   tests/mutations/run.sh             all of them: half an hour
#   tests/mutations/run.sh rays/       those whose lines match the pattern
set -euo pipefail
cd "$(dirname "$0")/../.."
pattern="${1:-.}"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
export GPAVATAR_SHADER_FILES="$work/shaders"
# One failure is enough, however complicated.
export PROPTEST_MAX_SHRINK_ITERS=0
run=(cargo test --locked --workspace --all-features --lib)
cp -r shaders "$GPAVATAR_SHADER_FILES"
# They have to pass without an edit.
table() {
    grep -v "^#" tests/mutations/kernels.tsv | grep -e "$pattern"
}
"${run[@]}" -- $(table | cut -f 4 | tr ' ' '\n' | sort -u)
wrong=0
while IFS=$'\t' read -r file old new tests expected; do
    rm -rf "$GPAVATAR_SHADER_FILES"
    cp -r shaders "$GPAVATAR_SHADER_FILES"
    path="$GPAVATAR_SHADER_FILES/$file"
    text=$(< "$path")
    without="${text/"$old"/}"
    if [ "$without" = "$text" ] || [ "${without/"$old"/}" != "$without" ]; then
        echo "TABLE     $file: expected once: $old"
        wrong=1
        continue
    fi
    printf '%s\n' "${text/"$old"/"$new"}" > "$path"
    # Words of `tests` are filters. The first failure ends the run.
    run_tests() { timeout 900 "${run[@]}" -- $tests < /dev/null 2>&1 | tee "$work/log"; }
    failed=$(run_tests | grep -m 1 FAILED || true)
    if [ -z "$failed" ] && grep -q "test result: ok" "$work/log"; then
        found=survives
    elif grep -qE "does not compose|Shader '|shader module" "$work/log"; then
        found=unviable
    else
        found=noticed
    fi
    [ "$found" = "${expected:-noticed}" ] || wrong=1
    printf '%-9s %s: %s -> %s\n' "$found" "$file" "$old" "$new"
done < <(table)
exit $wrong
