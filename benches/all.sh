#!/usr/bin/env bash
# Takes all numbers on the adapter at hand: out/bench/*.json and one table, out/bench/REPORT.md.
#
#   benches/all.sh [demo] [--repeat N] [--no-peers] [--cuda]
#
# demo      the network that ships with the repository instead of the released sizes
# --cuda    PyTorch on CUDA, too: eager f32, and TF32 with torch.compile
#
# Give GPAVATAR_BACKEND, GPAVATAR_ADAPTER and PEAKS="--peak-tflops N --peak-gbs N" to pin the adapter
# and its peaks; PYTHON is the interpreter that has benches/peers/requirements.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

size=released repeat=5 peers=yes cuda=no
while [ $# -gt 0 ]; do
    case $1 in
        demo) size=demo ;;
        --repeat) repeat=$2; shift ;;
        --no-peers) peers=no ;;
        --cuda) cuda=yes ;;
        *) echo "$0: unknown argument $1" >&2; exit 2 ;;
    esac
    shift
done
out=out/bench
rm -rf "$out"
mkdir -p "$out"
report=$out/REPORT.md
python=${PYTHON:-python3}
# A runner without a session has no place for the GL driver's sockets.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$(mktemp -d)}"

# Runs a command, whose output becomes a section of the report.
section() {
    local title=$1
    shift
    printf '== %s\n' "$title" >&2
    printf '\n## %s\n\n' "$title" >> "$report"
    "$@" | tee -a "$report"
}

# Keeps the lines of a table that is no Markdown as they are.
verbatim() {
    printf '```text\n'
    "$@"
    printf '```\n'
}

profile=() kernels=() compare=()
if [ "$size" = released ]; then
    profile=(--full)
else
    kernels=(--demo)
    compare=(--demo)
fi
{
    printf '# Benchmarks: %s sizes\n\n' "$size"
    printf '%s, %s\n' "$(git describe --always --dirty)" "$(uname -srm), $(nproc) cores"
} > "$report"

# All that follows runs the variants that this machine finds fastest.
export GPAVATAR_TUNING=measure="$PWD/$out/variants.json"
# Start-up with measuring, memory; avatar and frame as a whole and by stage; pictures per second; each
# layer's variants.
throughput=()
# At the released sizes a CPU takes minutes for these pictures.
[ "$size" = released ] || throughput=(--throughput 32)
section "Start-up, avatar, frame" verbatim cargo run --quiet --release -p gpavatar-cli -- profile \
    ${profile[@]+"${profile[@]}"} ${throughput[@]+"${throughput[@]}"} --repeat "$repeat" \
    --json "$out/profile.json"
# Every kernel and shape against the roofline, the largest convolutions, counted distances.
# shellcheck disable=SC2086
section "Kernels" cargo bench --quiet -p gpavatar-benches --bench kernels -- \
    ${kernels[@]+"${kernels[@]}"} --repeat "$repeat" --count-tests ${PEAKS:-} --json "$out/kernels.json"

if [ "$peers" = yes ]; then
    peers=(cargo run --quiet --release --manifest-path benches/peers/Cargo.toml --)
    section "burn on the same adapter" "${peers[@]}" ${compare[@]+"${compare[@]}"} \
        compare --repeat "$repeat" --json "$out/burn.json"
    "${peers[@]}" ${compare[@]+"${compare[@]}"} export "$out/case"
    torch=("$python" benches/peers/pytorch.py "$out/case" --repeat "$repeat")
    section "PyTorch and ONNX Runtime on the CPU" verbatim "${torch[@]}" --onnx \
        --json "$out/torch_cpu.json"
    section "PyTorch on the CPU, its own operations alone" verbatim "${torch[@]}" --plain \
        --json "$out/torch_cpu_plain.json"
    if [ "$cuda" = yes ]; then
        section "PyTorch on CUDA, f32" verbatim "${torch[@]}" --device cuda \
            --json "$out/torch_cuda.json"
        section "PyTorch on CUDA, TF32, compiled" verbatim "${torch[@]}" --device cuda --tf32 \
            --compile --json "$out/torch_cuda_tf32.json"
    fi
fi
printf '%s\n' "$report" >&2
