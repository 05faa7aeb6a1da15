#!/usr/bin/env bash
# Builds the package into pkg/ and the page into dist/.
#
#   build.sh                 for people
#   build.sh --testing       the package only, with what tests ask for, into pkg-testing/
#
# WEIGHTS names another weights file than the one that ships.
set -euo pipefail
cd "$(dirname "$0")"

package=pkg
features=()
if [[ ${1:-} == --testing ]]; then
    package=pkg-testing
    features=(--features testing)
fi
weights=${WEIGHTS:-../../weights/demo.safetensors}
target=${CARGO_TARGET_DIR:-$PWD/target}
# bindgen is built for this machine, the package for the browser's.
tools=$target/tools

CARGO_TARGET_DIR=$tools cargo build --locked --manifest-path tools/Cargo.toml

# With rustup: `rustup target add wasm32-unknown-unknown`. Else Debian's compiler for the web
# (packages rustc-web and rust-web-src), which builds the standard library, too.
if [[ -d $(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown ]]; then
    cargo=(cargo build)
else
    sysroot=$(rustc --print sysroot)
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=${CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER:-$(
        find "$sysroot" -name rust-lld -type f | head -n 1
    )}
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    cargo=(cargo build -Zbuild-std=std,panic_abort)
fi
CARGO_TARGET_DIR=$target "${cargo[@]}" --locked --release --lib --target wasm32-unknown-unknown \
    "${features[@]}"

rm -rf "$package"
mkdir "$package"
"$tools/debug/bindgen" "$target/wasm32-unknown-unknown/release/gpavatar_web.wasm" "$package"
cp package/* README.md "$package"

if [[ $package == pkg ]]; then
    rm -rf dist
    mkdir -p dist/weights
    cp page/* dist
    # The links to the code lead to where the crate says that it is, else to what the page has of it.
    repository=$(sed -n 's/^repository = "\(.*\)"/\1/p' ../../Cargo.toml)
    sed "s|href=\"docs.html#code\"|href=\"${repository:-docs.html#code}\"|" page/index.html >dist/index.html
    # As npm packs and installs it.
    cp -r pkg dist/package
    tar -czf dist/gpavatar.tgz -C dist package
    mv dist/package dist/gpavatar
    cp -r ../../weights/motions ../../weights/samples dist/weights
    rm -f dist/weights/motions/*.py
    nets=(../../weights/track/{face_landmarker.task,selfie_segmentation.tflite})
    if [[ -f ${nets[0]} && -f ${nets[1]} ]]; then
        mkdir dist/weights/track
        cp "${nets[@]}" dist/weights/track
    else
        echo "the page will have no camera and find no faces without: bash weights/track/get.sh" >&2
    fi
    if [[ -f $weights ]]; then
        cp "$weights" dist/weights/demo.safetensors
    else
        echo "no weights at $weights: the page will miss them" >&2
    fi
fi
