"""Command line: `python -m avatar_training VERB`."""

from __future__ import annotations

import argparse
import importlib
import os

# Threads that wait for work must not burn the time of those that have it. Read when OpenMP starts,
# hence before PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Verb: module with `add_arguments(parser)` and `main(args)`, and what it does.
VERBS = {
    "train": ("train", "train a model"),
    "export": ("export", "write a weights file from a training's checkpoint"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="avatar_training", description="Trains head avatars.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (_, summary) in VERBS.items():
        verbs.add_parser(verb, help=summary, add_help=False)
    chosen, rest = parser.parse_known_args()
    module, summary = VERBS[chosen.verb]
    module = importlib.import_module(f".{module}", __package__)
    own = argparse.ArgumentParser(prog=f"avatar_training {chosen.verb}", description=summary)
    module.add_arguments(own)
    module.main(own.parse_args(rest))


if __name__ == "__main__":
    main()
