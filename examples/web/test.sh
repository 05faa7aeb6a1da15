#!/usr/bin/env bash
# Everything the web part has to pass: builds it, renders the same drives natively, and compares in
# a browser without a window.
#
# CASES=all compares the kernels for graphics processors, too, which take minutes on a software adapter.
set -euo pipefail
cd "$(dirname "$0")"

weights=$(realpath "${WEIGHTS:-../../weights/demo.safetensors}")
export WEIGHTS=$weights

cargo fmt --check
cargo fmt --check --manifest-path tools/Cargo.toml
./build.sh
./build.sh --testing
npm ci --silent

mkdir -p out
cat >out/drives.json <<'JSON'
{
  "version": 1,
  "fps": 1,
  "channels": ["jawOpen"],
  "orbit": [[10.6, 0, 0], [10.6, 0, 0], [10.6, 0, 21]],
  "expression": [[0], [0.8], [0]]
}
JSON
rm -rf out/native
(
    cd ../..
    # With the features of the tests, so that nothing is built anew.
    cargo build --quiet --locked --workspace --all-features --bin gpavatar
    "${CARGO_TARGET_DIR:-$PWD/target}/debug/gpavatar" reenact --model "$weights" \
        --sample indigo --motion examples/web/out/drives.json -o examples/web/out/native
)
# One after the other: a software adapter takes all cores.
for suite in tests/*.test.mjs; do
    node --test --test-reporter=spec "$suite"
done
