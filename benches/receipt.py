"""One JSON of what box.sh has measured, bound to the files that it was measured with.

    python3 benches/receipt.py FOLDER RECEIPT

FOLDER has the logs of box.sh. Run it from the root of the files that were measured.
"""

import datetime
import hashlib
import json
import sys
from pathlib import Path


def digest(*patterns: str) -> str:
    """A hash of files' names and contents."""
    found = hashlib.sha256()
    paths = (path for pattern in patterns for path in Path().glob(pattern))
    for file in sorted(path for path in paths if path.is_file()):
        found.update(f"{file}\0".encode() + file.read_bytes())
    return found.hexdigest()[:16]


def profile(file: Path) -> dict:
    report = json.loads(file.read_text())
    stages = lambda part: {
        stage["stage"]: round(stage["median_milliseconds"], 4) for stage in report[part]["stages"]
    }
    medians = {
        what: round(times["median_milliseconds"], 4) for what, times in report["whole"].items()
    }
    return {
        "header": report["header"],
        "wall_milliseconds": medians,
        "avatar_stages": stages("avatar"),
        "frame_stages": stages("frame"),
        "start_up": report["start_up"],
        "pictures_per_second": report["throughput"],
    }


def parity(file: Path) -> dict:
    """Tensors past their tolerance, or why there is no table."""
    lines = file.read_text().splitlines()
    failures = [line.split()[0] for line in lines if "FAIL" in line]
    tensors = sum(" ok " in line or "FAIL" in line for line in lines)
    return {"tensors": tensors, "past_tolerance": failures, "last_line": lines[-1] if lines else ""}


def tests(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.startswith("test result")]


def main() -> None:
    folder, receipt = Path(sys.argv[1]), Path(sys.argv[2])
    card = folder / "card.txt"
    report = {
        "date": datetime.date.today().isoformat(),
        "card": card.read_text().strip() if card.exists() else None,
        "kernels": digest("shaders/**/*.wgsl"),
        "inputs": digest("tests/golden/*", "weights/**/*.safetensors", "weights/**/*.png"),
        "tests": {file.stem: tests(file) for file in folder.glob("library*.txt")}
        | {file.stem: tests(file) for file in folder.glob("behaviour*.txt")},
        "parity": {file.stem: parity(file) for file in sorted(folder.glob("parity-*.txt"))},
        "profiles": {file.stem: profile(file) for file in sorted(folder.glob("frame-*.json"))},
    }
    receipt.write_text(json.dumps(report, indent=1) + "\n")


main()
