#!/usr/bin/env bash
# Installs what a bare Debian machine lacks: a software Vulkan driver, and GL for the second adapter;
# and the packages that it is given.
set -euo pipefail

packages=(mesa-vulkan-drivers libegl1 libgl1-mesa-dri "$@")
if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
