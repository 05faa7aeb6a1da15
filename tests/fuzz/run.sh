#!/usr/bin/env bash
# Fuzzes the readers of files: run.sh [SECONDS [TARGET...]], 60 seconds in all by default.
#
# A finding ends the script and leaves the input in tests/fuzz/artifacts. The targets are libFuzzer's
# and are built for coverage by flags that the stable compiler has; with a nightly compiler they can
# be run by cargo-fuzz, too, with a sanitizer:
#   cargo +nightly fuzz run --fuzz-dir tests/fuzz objects
set -euo pipefail
cd "$(dirname "$0")"

all=(arrays checkpoint contents head_model motion networks objects own_files pictures recordings sources)
seconds=${1:-$((60 / ${#all[@]}))}
shift || true
targets=("$@")
[ $# -gt 0 ] || targets=("${all[@]}")

pass=-Cllvm-args=-sanitizer-coverage
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module $pass-level=4 $pass-inline-8bit-counters \
$pass-pc-table $pass-trace-compares -Ccodegen-units=1"
# With a target of its own, build scripts and macros are built without the flags.
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --target "$host" --bins
binaries=$(cargo metadata --no-deps --format-version 1 |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$host/release

# The fixtures, and the pickles within the archives among them.
seeds=$(mktemp -d)
trap 'rm -rf "$seeds" "$seeds.log"' EXIT
python3 - "$seeds" ../fixtures/* ../fixtures/*/* ../../weights/samples/*/source_0.png \
    ../../weights/track/*.t* <<'PYTHON'
import os, shutil, sys, zipfile
seeds, *files = sys.argv[1:]
for file in filter(os.path.isfile, files):
    name = os.path.join(seeds, os.path.basename(file))
    if os.path.getsize(file) < 100_000:
        shutil.copy(file, name)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.namelist():
                # Networks of the tracker are long, but their tables are at the beginning.
                if entry.endswith((".pkl", ".npy", ".tflite")):
                    with open(f"{name}.{os.path.basename(entry)}", "wb") as copy:
                        copy.write(archive.read(entry)[:65536])
PYTHON

mkdir -p artifacts
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    printf '\n== fuzzing %s for %s seconds\n' "$target" "$seconds"
    # What a file of this length may take is tested elsewhere; this is what no file may.
    log=$seeds.log
    "$binaries/$target" "corpus/$target" "$seeds" -artifact_prefix="artifacts/$target-" \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=20 \
        -print_final_stats=1 >"$log" 2>&1 || { tail -n 60 "$log" && exit 1; }
    # How deep it got: edges, executions, memory.
    grep -E '^#[0-9]+.*DONE|executed_units|peak_rss' "$log"
done
