#!/usr/bin/env bash
# Runs what pack.sh has packed, on a machine that has a driver and Python. README.md lists the sections.
#
#   OUT=FOLDER benches/box.sh [demo] SECTION...
#
# demo      the network that ships with the repository instead of the released sizes
#
# OUT takes results.tar.gz, the logs, and receipt.json, the numbers. TESTS names the library's tests to
# run instead of all, LOGS a folder that several calls share.
set -u
export PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."
OUT=${OUT:-out/box}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"
export NO_COLOR=1
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$(mktemp -d)}"
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$(mktemp -d)}"
# Drivers that lie beside the system's folders, and a loader where there is none.
if ! ldconfig -p | grep -q libvulkan.so.1 && [ "$(id -u)" = 0 ]; then
    for file in .box/deb/*.deb; do dpkg -x "$file" /; done
    ldconfig
fi
nvidia=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
if [ -f $nvidia ] && ! ls /usr/share/vulkan/icd.d/*nvidia* /etc/vulkan/icd.d/*nvidia* >/dev/null 2>&1; then
    export VK_DRIVER_FILES=$nvidia
fi
bin=$(mktemp -d)
for file in .box/bin/*.xz; do
    name=$(basename "$file" .xz)
    xz -dc "$file" > "$bin/$name"
    chmod +x "$bin/$name"
done
{ read -r built; read -r target; } < .box/built
[ -e "$built" ] || { mkdir -p "$(dirname "$built")" && ln -s "$PWD" "$built"; }
mkdir -p "$target/tmp"

sizes=(--full) network=()
[ "${1:-}" = demo ] && { sizes=() network=(--demo); shift; }

# Runs a command for so many seconds at most, and shows the end of its output.
step() {
    local limit=$1 name=$2 began=$SECONDS status
    shift 2
    timeout "$limit" "$@" > "$logs/$name.txt" 2>&1
    status=$?
    printf '== %s: status %s, %s s\n' "$name" $status $((SECONDS - began))
    tail -n "${SHOWN:-4}" "$logs/$name.txt" | cut -c1-160
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | tee "$logs/card.txt"
for section in "$@"; do
    case $section in
        check)
            # shellcheck disable=SC2086
            GPAVATAR_MATRICES=on step 100 library "$bin/test-gpavatar" --test-threads 12 ${TESTS:-}
            # shellcheck disable=SC2086
            step 60 behaviour "$bin/test-behaviour" --test-threads 12 ${TESTS:-}
            for case in released_one_source released_three_sources paper_two_sources; do
                step 60 "parity-$case" "$bin/bin-gpavatar" parity "tests/golden/$case.safetensors"
            done ;;
        frame)
            for matrices in off on; do
                export GPAVATAR_MATRICES=$matrices GPAVATAR_TUNING="measure=$logs/variants-$matrices.json"
                for precision in f32 mixed f16; do
                    [ $matrices-$precision = on-f32 ] && continue
                    SHOWN=40 step 60 "frame-$precision-matrices-$matrices" "$bin/bin-gpavatar" profile ${sizes[@]+"${sizes[@]}"} \
                        --precision $precision --repeat 10 --throughput 32 --per-dispatch \
                        --json "$logs/frame-$precision-matrices-$matrices.json"
                done
            done
            unset GPAVATAR_MATRICES GPAVATAR_TUNING ;;
        kernels)
            # shellcheck disable=SC2086
            SHOWN=60 step 90 kernels "$bin/bench-kernels" ${network[@]+"${network[@]}"} --repeat 5 ${PEAKS:-} \
                --json "$logs/kernels.json" ;;
        torch)
            "$bin/bin-peers" ${network[@]+"${network[@]}"} export "$logs/../case" > "$logs/export.txt" 2>&1
            step 120 torch python3 benches/peers/pytorch.py "$logs/../case" --repeat 10 --device cuda \
                --json "$logs/torch.json"
            step 180 torch-tf32-compiled python3 benches/peers/pytorch.py "$logs/../case" --repeat 10 --device cuda \
                --tf32 --compile --json "$logs/torch-tf32-compiled.json" ;;
        burn)
            SHOWN=20 step 300 burn "$bin/bin-peers" ${network[@]+"${network[@]}"} compare --repeat 5 --json "$logs/burn.json" ;;
        *) printf '%s: unknown section %s\n' "$0" "$section" >&2 ;;
    esac
    # After every section: a machine may be taken away.
    python3 benches/receipt.py "$logs" "$OUT/receipt.json"
    tar -czf "$OUT/results.tar.gz" -C "$logs" .
done
