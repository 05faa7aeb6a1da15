#!/usr/bin/env bash
# Installs what a bare Debian machine lacks: a software Vulkan driver, GL for the second adapter, and
# for the browser a compiler for the web, Chromium and Node.
set -euo pipefail

packages=(mesa-vulkan-drivers libegl1 libgl1-mesa-dri chromium)
# Whoever has these in another way need not have Debian's.
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown ]]; then
    packages+=(rustc-web rust-web-src)
fi
if ! command -v npm >/dev/null; then
    packages+=(nodejs npm)
fi

if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
