#!/bin/sh
# Seeds the corpora with the fixtures and with the pickles inside of the archives among them.
cd "$(dirname "$0")" || exit
fixtures=../fixtures
for target in checkpoint contents head_model motion sources; do
    mkdir -p corpus/$target
done
cp $fixtures/checkpoint_* $fixtures/*.pt $fixtures/legacy.ckpt corpus/checkpoint
cp $fixtures/*.pt $fixtures/*.pkl $fixtures/*.npz $fixtures/face.csv $fixtures/sources.pth corpus/contents
cp $fixtures/head* corpus/head_model
cp $fixtures/motion_* $fixtures/face.csv corpus/motion
cp $fixtures/sources.pth corpus/sources
for archive in $fixtures/*.pt $fixtures/sources.pth $fixtures/checkpoint_*; do
    name=$(basename "$archive")
    for target in checkpoint contents sources; do
        unzip -p "$archive" '*/data.pkl' > "corpus/$target/$name.pkl"
    done
    { printf Z; cat "corpus/sources/$name.pkl"; } > "corpus/motion/$name.pkl"
done
