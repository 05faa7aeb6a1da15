#!/usr/bin/env bash
# Installs what a bare Debian machine lacks: a linker, a C++ compiler for libFuzzer, a software Vulkan
# driver, GL for the second adapter, Python's environments, npm, ffmpeg for films, a screen in memory and
# what windows load; and the packages that it is given. Rust is not among them. Brings the tracker's
# networks, which tests need.
set -euo pipefail

packages=(
    g++ libc6-dev mesa-vulkan-drivers libegl1 libgl1-mesa-dri python3-venv ffmpeg
    xvfb libx11-6 libx11-xcb1 libxcursor1 libxi6 libxkbcommon-x11-0 libxrandr2 "$@"
)
if ! command -v npm >/dev/null; then
    packages+=(nodejs npm)
fi
if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

bash "$(dirname "$0")/../weights/track/get.sh"
