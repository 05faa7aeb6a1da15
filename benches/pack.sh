#!/usr/bin/env bash
# Packs what checks and measures the crate into .box, for machines without a toolchain. box.sh runs it there.
#
#   benches/pack.sh [--peers]
#
# --peers   burn's side of the peers, too, which also exports the case that PyTorch is timed on
set -euo pipefail
cd "$(dirname "$0")/.."

peers=no
[ "${1:-}" = --peers ] && peers=yes
rm -rf .box
mkdir -p .box/bin .box/deb
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
# Tests look for the project and for their folder where they were built.
printf '%s\n' "$PWD" "$target" > .box/built

# There is no checkout to ask there.
GPAVATAR_COMMIT=$(git describe --always --dirty --abbrev=40 --exclude='*')
export GPAVATAR_COMMIT

# Builds with Cargo, and packs each executable under its name and kind.
pack() {
    local kind name path
    cargo "$@" --message-format=json | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        target = message["target"]
        kind = "test" if target["kind"] == ["lib"] else target["kind"][0]
        print(kind, target["name"], message["executable"])' |
        while read -r kind name path; do
            strip -o ".box/bin/$kind-$name" "$path"
            xz -T0 -6 ".box/bin/$kind-$name"
        done
}
pack build --release -p gpavatar-cli --bin gpavatar
pack bench --no-run -p gpavatar-benches --bench kernels
pack test --no-run --all-features -p gpavatar --lib --test behaviour
[ $peers = no ] || pack build --release --manifest-path benches/peers/Cargo.toml

# A machine may have a driver and no loader for it.
(
    cd .box/deb
    apt-get download -qq libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2
)
du -sh .box/bin/* .box
