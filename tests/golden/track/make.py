"""Makes the golden files of the tracker's networks smaller: of each network the cases 0 (a photograph, NASA's picture of Eileen
Collins, public domain) and 1 (a drawn face); the inputs as PNG, `caseK.picture`; of each inner map every fourth value.

    python3 make.py FOLDER

FOLDER holds net_{detector,landmarks,segmentation,blendshapes}.safetensors, computed by LiteRT 2.3.0 in f32. `tapN` is tensor N of
the network's file, elements 0, s, 2s, … of the flattened map; the metadata `taps` has the shapes and s.
"""
import json
import struct
import sys
import zlib
from pathlib import Path

NETS = "detector", "landmarks", "segmentation", "blendshapes"
HERE = Path(__file__).parent
EVERY = 4


def png(pixels, width, height):
    """RGB as PNG; each row as differences from its left and upper neighbours' mean."""
    lines, above = [], bytes(3 * width)
    for row in range(height):
        line = pixels[3 * width * row : 3 * width * (row + 1)]
        mean = bytes((v - ((line[i - 3] if i >= 3 else 0) + above[i]) // 2) & 255 for i, v in enumerate(line))
        lines.append(b"\3" + mean)
        above = line
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(lines), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def main(folder):
    for net in NETS:
        file = (Path(folder) / f"net_{net}.safetensors").read_bytes()
        (length,) = struct.unpack_from("<Q", file)
        header = json.loads(file[8 : 8 + length])
        metadata = header.pop("__metadata__")
        taps = json.loads(metadata["taps"])
        tensors = {}
        for name, about in header.items():
            case, part = name.split(".")
            start, end = about["data_offsets"]
            data, shape = file[8 + length + start : 8 + length + end], about["shape"]
            if case == "case2":
                continue
            if about["dtype"] == "U8":
                height, width, _ = shape
                data = png(data, width, height)
                tensors[f"{case}.picture"] = ("U8", [len(data)], data)
                continue
            if part.startswith("tap"):
                data = b"".join(data[at : at + 4] for at in range(0, len(data), 4 * EVERY))
                shape = [len(data) // 4]
            elif part == "mask":
                # [::4, ::4] of the net's.
                height, width, _ = shape
                data = b"".join(data[4 * at : 4 * at + 4] for y in range(0, height, 2)
                                for at in range(y * width, (y + 1) * width, 2))
                shape = [height // 2, width // 2, 1]
            tensors[name] = ("F32", shape, data)
        for about in taps.values():
            about["step"] *= EVERY
        metadata |= {"taps": json.dumps(taps), "by": "LiteRT 2.3.0, f32"}
        entries, position, parts = {"__metadata__": metadata}, 0, []
        for name, (kind, shape, data) in sorted(tensors.items(), key=lambda entry: (entry[1][0], entry[0])):
            entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [position, position + len(data)]}
            position += len(data)
            parts.append(data)
        text = json.dumps(entries).encode()
        text += b" " * (-len(text) % 8)
        content = struct.pack("<Q", len(text)) + text + b"".join(parts)
        (HERE / f"{net}.safetensors").write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
