"""Command line verbs of the procedural head."""

import json
from pathlib import Path

import numpy as np

from ..camera import orbit
from . import generate, sheet
from .identity import random_identity
from .rig import POSE, save_head_model

# Seed and number of the people whose pictures ship with the crate; no training data has this seed.
SAMPLE_SEED = 99
SAMPLES = {
    "indigo": 38,
    "ginger": 1,
    "curly": 40,
    "ash": 19,
    "bun": 50,
    "beard": 63,
    "pink": 62,
    "copper": 46,
}
THREE_VIEWS = "indigo"


def samples(folder, points, size=256):
    """Writes the source pictures that ship with the crate and samples.json."""
    folder = Path(folder)
    entries = []
    for name, number in SAMPLES.items():
        person = generate.Person(
            random_identity(np.random.default_rng([SAMPLE_SEED, number])), points
        )
        views = [(8, 2), (42, 0), (-42, 0)] if name == THREE_VIEWS else [(8, 2)]
        sources = []
        for i, (azimuth, elevation) in enumerate(views):
            camera = orbit(generate.DISTANCE, elevation, azimuth)
            picture = person.draw(
                generate.weights(mouthSmile=0.3), np.zeros(POSE), camera, size, 3
            )[0]
            path = f"{name}/source_{i}.png"
            generate.save_png(folder / path, picture)
            sources.append(
                {
                    "picture": path,
                    "transform": [[round(float(v), 6) for v in row] for row in camera],
                }
            )
        shape = [round(float(v), 4) for v in person.identity.shape]
        entries.append({"name": name, "shape": shape, "sources": sources})
    text = {"version": 1, "licence": "MIT OR Apache-2.0", "samples": entries}
    (folder / "samples.json").write_text(json.dumps(text, indent=1) + "\n")


def add(verbs):
    """Adds the verbs to an `argparse` collection of subcommands."""

    def verb(name, help, run):
        parser = verbs.add_parser(name, help=help, description=help)
        parser.add_argument("output", type=Path, help="folder or file to write")
        parser.add_argument(
            "--points", type=int, default=1536, help="points that the network follows [1536]"
        )
        parser.set_defaults(run=run)
        return parser

    data = verb(
        "heads",
        "Draw training data: pictures of random people with everything known about them.",
        lambda a: generate.training_data(
            a.output, a.identities, a.seed, a.points, a.views, a.size, a.source_size, a.workers
        ),
    )
    held = verb(
        "heads-evaluation",
        "Draw an evaluation set of people that no training has seen.",
        lambda a: generate.evaluation_set(
            a.output,
            a.identities,
            a.seed,
            a.points,
            a.size,
            a.source_size,
            a.targets,
            a.workers,
            a.tracker,
        ),
    )
    for parser, people, seed in ((data, 2000, 20261122), (held, 60, 4711)):
        parser.add_argument("--identities", type=int, default=people, help=f"people [{people}]")
        parser.add_argument(
            "--seed", type=int, default=seed, help=f"[{seed}]; different seeds share nobody"
        )
        parser.add_argument("--size", type=int, default=128, help="pixels of a target's side [128]")
        parser.add_argument(
            "--source-size", type=int, default=256, help="pixels of a source's side [256]"
        )
        parser.add_argument("--workers", type=int, default=2, help="processes [2]")
    data.add_argument("--views", type=int, default=8, help="targets of each person [8]")
    held.add_argument("--targets", type=int, default=6, help="random targets of each person [6]")
    held.add_argument(
        "--tracker", action="store_true", help="only what measures the tracker, at --size 512"
    )
    verb(
        "head-model",
        "Write the head model of the network's points alone.",
        lambda a: save_head_model(a.output, a.points),
    )
    verb(
        "samples",
        "Draw the source pictures that ship with the crate.",
        lambda a: samples(a.output, a.points),
    )
    look = verb(
        "head-sheet", "Draw contact sheets of the head: people, or all channels of one.", _sheet
    )
    look.add_argument("--channels", action="store_true", help="all 52 channels of one person")
    look.add_argument("--seed", type=int, default=SAMPLE_SEED)
    look.add_argument("--identities", type=int, default=8, help="people [8]")


def _sheet(a):
    picture = (
        sheet.channels_sheet(a.seed, 0, a.points)
        if a.channels
        else sheet.people_sheet(a.seed, a.identities, a.points)
    )
    picture.save(a.output)
