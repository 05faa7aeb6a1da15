"""Command line: `python -m avatar_training VERB`."""

import argparse
import os

# Waiting threads must not take time from working ones. OpenMP reads this when it starts, so it is
# set before PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from . import commands  # noqa: E402
from .head import commands as head_commands  # noqa: E402


def main() -> None:
    """Runs the verb on the command line."""
    parser = argparse.ArgumentParser(prog="avatar_training", description="Trains head avatars.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    commands.add(verbs)
    head_commands.add(verbs)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
