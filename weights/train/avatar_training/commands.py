"""Command line verbs of training. PyTorch is imported only when one of them runs."""

import importlib
from pathlib import Path

from .recipe import RECIPES


def add(verbs):
    """Adds the verbs to an `argparse` collection of subcommands."""

    def verb(name, summary):
        def run(args):
            importlib.import_module(f".{name}", __package__).main(args)

        parser = verbs.add_parser(name, help=summary, description=summary)
        parser.set_defaults(run=run)
        return parser

    train = verb("train", "Train a model.")
    train.add_argument("--config", required=True, help="model configuration (JSON)")
    train.add_argument("--dataset", required=True, help="folder of generated data or tracked clips")
    train.add_argument(
        "--out", required=True, type=Path, help="folder for checkpoints and previews"
    )
    train.add_argument("--recipe", choices=RECIPES, default="procedural", help="[procedural]")
    length = train.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="how long to train, in steps")
    length.add_argument("--minutes", type=float, help="how long to train, in minutes")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value for a field of the recipe, such as pretrain=0 or weights.ssim=0.2",
    )
    train.add_argument("--seed", type=int, default=0, help="[0]")
    train.add_argument(
        "--workers", type=int, help="processes that share a step [one a core, at most 2]"
    )
    train.add_argument("--device", help="cpu or cuda [cuda if there is one]")
    train.add_argument(
        "--precision",
        choices=["bf16", "f32"],
        default="bf16",
        help="of the U-Nets, and of the field too on a GPU [bf16]",
    )
    train.add_argument("--held-out", type=int, default=50, help="identities left for previews [50]")
    train.add_argument("--preview-minutes", type=float, default=10, help="[10]")
    train.add_argument("--save-minutes", type=float, default=5, help="[5]")
    train.add_argument("--start", help="weights file to start from")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.add_argument("--perception", help="torchvision's AlexNet weights for the perceptual loss")

    evaluate = verb("evaluate", "Measure a weights file on an evaluation set.")
    evaluate.add_argument("weights", type=Path, help="weights file with a head model inside")
    evaluate.add_argument("folder", type=Path, help="folder made by heads-evaluation")
    evaluate.add_argument("--identities", type=int, help="only the first so many")
    evaluate.add_argument("--json", type=Path, help="file to write the numbers to")
    evaluate.add_argument("--sheet", type=Path, help="picture of some results to write (PNG)")
    evaluate.add_argument("--device", default="cpu", help="cpu or cuda [cpu]")

    export = verb("export", "Write a weights file from a training's checkpoint.")
    export.add_argument("checkpoint", type=Path, help="checkpoint.pt of a training")
    export.add_argument("weights", type=Path, help="weights file to write")
    export.add_argument("--head", help="head model file to put inside")
    export.add_argument("--licence", default="MIT OR Apache-2.0", help="[MIT OR Apache-2.0]")
