"""Keeps of pictures.safetensors (computed by LiteRT 2.3.0 in f32, two passes over each face) what tests compare with.

    python3 make_pictures.py FOLDER

FOLDER holds pictures.safetensors. The pictures: astronaut.png is NASA's of Eileen Collins, public domain; two.png and rot20.png are made
of it; none.png is of waves. `matte` and `alpha` are stored
in half precision. fit.safetensors and filter.safetensors, of our own head model, are as they were made.
"""
import json
import struct
import sys
from pathlib import Path

FACES = "astronaut.0", "two.0", "two.1", "rot20.0"
FIELDS = "roi", "next_roi", "xyz", "presence", "upright", "source_crop", "source_transform"
OTHERS = "clip.searched", "clip.presence", "clip.roi", "clip.xyz", "astronaut.matte", "astronaut.alpha"
HALVES = "astronaut.matte", "astronaut.alpha"
PICTURES = "astronaut", "two", "rot20", "none"


def main(folder):
    file = (Path(folder) / "pictures.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", file)
    header = json.loads(file[8 : 8 + length])
    names = [f"{picture}.detections" for picture in PICTURES] + [f"{face}.{field}" for face in FACES for field in FIELDS]
    kept = []
    for name in [*names, *OTHERS]:
        if name not in header:
            continue
        entry = header[name]
        start, end = entry.pop("data_offsets")
        data = file[8 + length + start : 8 + length + end]
        if name in HALVES:
            entry["dtype"] = "F16"
            data = struct.pack(f"<{len(data) // 4}e", *struct.unpack(f"<{len(data) // 4}f", data))
        kept.append((name, entry, data))
    kept.sort(key=lambda tensor: ("F32", "F16", "U8").index(tensor[1]["dtype"]))
    out, position = {"__metadata__": header["__metadata__"]}, 0
    for name, entry, data in kept:
        out[name] = {**entry, "data_offsets": [position, position + len(data)]}
        position += len(data)
    text = json.dumps(out).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(data for _, _, data in kept)
    Path(__file__).with_name("pictures.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


main(sys.argv[1])
