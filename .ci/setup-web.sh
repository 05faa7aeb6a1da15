#!/usr/bin/env bash
# Installs what the browser needs on a Debian machine: a compiler for the web and Chromium; setup.sh brings Node.
set -euo pipefail

packages=(chromium)
# Machines that have these in another way do not need Debian's.
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown ]]; then
    packages+=(rustc-web rust-web-src)
fi

exec bash "$(dirname "$0")/setup.sh" "${packages[@]}"
