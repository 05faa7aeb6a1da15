#!/usr/bin/env bash
# Installs what the browser needs on a Debian machine: a compiler for the web, Chromium and Node.
set -euo pipefail

packages=(chromium)
# Machines that have these in another way do not need Debian's.
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown ]]; then
    packages+=(rustc-web rust-web-src)
fi
if ! command -v npm >/dev/null; then
    packages+=(nodejs npm)
fi

exec bash "$(dirname "$0")/setup.sh" "${packages[@]}"
