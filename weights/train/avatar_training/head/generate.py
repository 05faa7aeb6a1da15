"""Pictures of random people with everything known about them: training data, and evaluation sets.

Everything derives from a seed and an identity's number, so a folder can be made anew and two
folders with different seeds share nobody.
"""

import json
import math
import multiprocessing
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..camera import FOCAL, orbit, project
from . import identity as people
from . import mesh as m
from .channels import EXPRESSIONS, SHAPES, expression
from .raster import render
from .rig import POSE, rig, save_head_model

DISTANCE = 10.6
SURFACE_POINTS = 1024
EVALUATED = (
    "jawOpen",
    "mouthSmile",
    "mouthFrown",
    "mouthPucker",
    "browInnerUp",
    "browDown",
    "eyeBlink",
    "eyeLook",
)


def weights(**values):
    """Channel weights (52,) from names, see `channels.expression`."""
    return np.array(list(expression(**values).values()), np.float32)


class Person:
    """One identity, ready to be drawn."""

    def __init__(self, identity, points):
        self.identity = identity
        self.mesh = m.mesh()
        self.rig = rig(points)
        self.hair, faces, canonical = people.hair_mesh(identity.hair, identity.shape)
        self.faces = np.concatenate([self.mesh.faces, faces + len(self.mesh.template)]).astype(
            np.int32
        )
        self.material = np.concatenate(
            [self.mesh.material, np.full(len(self.hair), m.HAIR, np.int32)]
        )
        self.canonical = np.concatenate([self.mesh.canonical, canonical]).astype(np.float32)

    def posed(self, channels, pose):
        vertices, hair = self.rig.pose(
            self.mesh.vertices(self.identity.shape, channels), self.hair, pose
        )
        return np.concatenate([vertices, hair])

    def draw(self, channels, pose, transform, size, supersample):
        """Straight-alpha RGBA u8 (size, size, 4) and the input of `surface_points`."""
        vertices = self.posed(channels, pose)
        i = self.identity
        picture, place, fine = render(
            vertices,
            self.faces,
            self.material,
            self.canonical,
            transform,
            i.colours,
            i.paint,
            size,
            supersample,
        )
        straight = picture.copy()
        straight[..., :3] /= np.maximum(picture[..., 3:], 1e-6)
        return np.round(straight * 255).astype(np.uint8), (place, fine), vertices

    def regions(self, vertices, transform, size):
        """Ellipses (3, 4) of left eye, right eye and mouth: centre and radii in pixels."""
        ranges = self.mesh.ranges
        eyes = [
            vertices[ranges[name]].mean(0) + [0, 0.02, 0.10] for name in ("eyeLeft", "eyeRight")
        ]
        start = ranges["skin"].start
        mouth = vertices[start + m._skin().rim].mean(0)
        pixel = project(np.stack([*eyes, mouth]), transform, size)
        scale = size / 2 * FOCAL / pixel[:, 2]
        radii = np.array([[0.140, 0.135], [0.140, 0.135], [0.190, 0.150]]) * scale[:, None]
        return np.concatenate([pixel[:, :2], radii], 1).astype(np.float32)

    def face_box(self, vertices, transform, size):
        """Half-open pixel box [x0, y0, x1, y1] around the front of the face."""
        skin = self.mesh.ranges["skin"]
        front = vertices[skin][self.mesh.canonical[skin][:, 2] > 0.35]
        pixel = project(front, transform, size)[:, :2]
        low, high = np.floor(pixel.min(0)).clip(0, size - 1), np.ceil(pixel.max(0)).clip(1, size)
        return [int(v) for v in (*low, *high)]


def surface_points(rng, place, fine, regions, size):
    """World position and colour (SURFACE_POINTS, 6) of random surface pixels, half near eyes and mouth."""
    scale = fine.shape[0] / size
    r, c = np.nonzero(fine[..., 3] > 0)
    x, y = (c + 0.5) / scale, (r + 0.5) / scale
    near = np.zeros(len(r), bool)
    for cx, cy, rx, ry in regions:
        near |= ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    groups = [np.flatnonzero(near), np.arange(len(r))]
    groups = [g if len(g) else groups[1] for g in groups]
    pick = np.concatenate([rng.choice(g, SURFACE_POINTS // 2) for g in groups])
    return np.concatenate([place[r[pick], c[pick]], fine[r[pick], c[pick], :3]], 1).astype(
        np.float16
    )


def random_expression(rng):
    """Channel weights (52,) of a plausible and often strong expression."""
    e = dict.fromkeys(EXPRESSIONS, 0.0)
    u = rng.uniform

    def both(name, value, spread=0.3):
        for side in ("Left", "Right"):
            e[name + side] = float(np.clip(value + rng.normal(0, spread * value), 0, 1))

    if rng.random() < 0.08:
        return np.array(list(e.values()), np.float32)
    if rng.random() < 0.58:
        e["jawOpen"] = u(0.1, 1.0)
    k = rng.random()
    if k < 0.30:
        both("mouthSmile", u(0.2, 1))
    elif k < 0.44:
        both("mouthFrown", u(0.3, 1))
    elif k < 0.58:
        e["mouthPucker"] = u(0.3, 1)
    elif k < 0.68:
        e["mouthFunnel"] = u(0.3, 1)
    elif k < 0.74:
        both("mouthStretch", u(0.3, 1))
    k = rng.random()
    if k < 0.25:
        both("browDown", u(0.3, 1))
    elif k < 0.60:
        e["browInnerUp"] = u(0.2, 1)
        both("browOuterUp", u(0, 1))
    elif k < 0.68:
        e["browOuterUp" + rng.choice(["Left", "Right"])] = u(0.4, 1)
    k = rng.random()
    if k < 0.16:
        both("eyeBlink", 1.0, 0.0)
    elif k < 0.28:
        both("eyeBlink", u(0.2, 1.0), 0.05)
    elif k < 0.36:
        e["eyeBlink" + rng.choice(["Left", "Right"])] = u(0.6, 1)
    elif k < 0.48:
        both("eyeWide", u(0.3, 1))
    elif k < 0.58:
        both("eyeSquint", u(0.3, 1))
    if rng.random() < 0.6:
        h, v = u(-1, 1), u(-1, 1)
        e["eyeLookOutLeft"] = e["eyeLookInRight"] = max(h, 0)
        e["eyeLookInLeft"] = e["eyeLookOutRight"] = max(-h, 0)
        for side in ("Left", "Right"):
            e["eyeLookUp" + side], e["eyeLookDown" + side] = max(v, 0), max(-v, 0)
    for name in (
        "cheekPuff",
        "jawForward",
        "jawLeft",
        "jawRight",
        "mouthLeft",
        "mouthRight",
        "mouthRollLower",
        "mouthRollUpper",
        "mouthShrugLower",
        "mouthShrugUpper",
    ):
        if rng.random() < 0.06:
            e[name] = u(0.3, 1)
    for name in (
        "noseSneer",
        "mouthDimple",
        "mouthPress",
        "mouthUpperUp",
        "mouthLowerDown",
        "cheekSquint",
    ):
        if rng.random() < 0.09:
            both(name, u(0.3, 1))
    if rng.random() < 0.03:
        e["tongueOut"], e["jawOpen"] = u(0.4, 1), max(e["jawOpen"], 0.4)
    if e["jawOpen"] > 0.2 and rng.random() < 0.08:
        e["mouthClose"] = e["jawOpen"] * u(0.3, 1)
    return np.array(list(e.values()), np.float32)


def random_pose(rng):
    """Axis-angles (6,) of head and jaw in radians, most often none."""
    pose = np.zeros(POSE, np.float32)
    if rng.random() < 0.35:
        pose[:3] = np.clip(rng.normal(0, math.radians(4), 3), -0.17, 0.17)
    if rng.random() < 0.15:
        pose[3] = rng.uniform(0, 0.16)
    return pose


def random_camera(rng):
    """A view within ±45° azimuth and ±20° elevation, and its azimuth."""
    yaw = rng.uniform(-45, 45) if rng.random() < 0.6 else float(np.clip(rng.normal(0, 12), -45, 45))
    shift = rng.normal(0, 0.02, 2)
    elevation, distance = rng.uniform(-20, 20), rng.uniform(10.1, 11.2)
    return orbit(distance, elevation, yaw, rng.normal(0, 3), shift), yaw


def source_view(rng, number):
    """Camera, expression and pose of a source picture: 0 from the front, 1 and 2 half profiles.

    The half profiles have expressions at full strength: closed eyes or a wide open mouth hide
    what another picture shows.
    """
    yaw = (
        float(np.clip(rng.normal(0, 11), -25, 25))
        if number == 0
        else (1 if number == 1 else -1) * rng.uniform(25, 65)
    )
    elevation = float(np.clip(rng.normal(0, 6), -15, 15))
    camera = orbit(rng.uniform(10.2, 11.0), elevation, yaw, rng.normal(0, 2))
    return camera, random_expression(rng) * (0.5 if number == 0 else 1.0), random_pose(rng) * 0.5


def _one(task):
    """Draws identity `i` into the folder's arrays; returns its labels."""
    folder, seed, i, shape = task
    views, sources, size, source_size, points = (
        shape["views"],
        shape["sources"],
        shape["image_size"],
        shape["source_size"],
        shape["points"],
    )
    rng = np.random.default_rng([seed, i])
    person = Person(people.random_identity(rng), points)
    source_pictures = np.lib.format.open_memmap(folder / "sources.npy", "r+")
    targets = np.lib.format.open_memmap(folder / "targets.npy", "r+")
    surface = np.lib.format.open_memmap(folder / "surface_points.npy", "r+")
    labels = {
        k: []
        for k in (
            "source_expression",
            "source_pose",
            "source_transform",
            "expression",
            "pose",
            "transform",
            "regions",
        )
    }
    for s in range(sources):
        camera, e, pose = source_view(rng, s)
        source_pictures[i, s] = person.draw(e, pose, camera, source_size, 2)[0]
        for k, v in zip(
            ("source_expression", "source_pose", "source_transform"), (e, pose, camera)
        ):
            labels[k].append(v)
    for t in range(views):
        camera, _ = random_camera(rng)
        e, pose = random_expression(rng), random_pose(rng)
        targets[i, t], seen, vertices = person.draw(e, pose, camera, size, 2)
        regions = person.regions(vertices, camera, size)
        surface[i, t] = surface_points(rng, *seen, regions, size)
        for k, v in zip(("expression", "pose", "transform", "regions"), (e, pose, camera, regions)):
            labels[k].append(v)
    labels = {k: np.stack(v).astype(np.float32) for k, v in labels.items()}
    return i, {
        **labels,
        "shape": person.identity.shape,
        "colours": person.identity.colours.astype(np.float32),
    }


def training_data(
    folder, identities, seed, points, views=8, image_size=128, source_size=256, workers=2
):
    """Writes a folder of training data (README.md there describes the format)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources = 3
    header = {
        "format": "gpavatar training data",
        "version": 1,
        "seed": seed,
        "image_size": image_size,
        "source_size": source_size,
        "identities": identities,
        "views": views,
        "sources": sources,
        "channels": EXPRESSIONS,
        "pose_size": POSE,
        "shape_size": len(SHAPES),
        "points": points,
    }
    for name, shape, kind in (
        ("sources", (identities, sources, source_size, source_size, 4), np.uint8),
        ("targets", (identities, views, image_size, image_size, 4), np.uint8),
        ("surface_points", (identities, views, SURFACE_POINTS, 6), np.float16),
    ):
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape)
    save_head_model(folder / "head.safetensors", points)
    Person(people.random_identity(np.random.default_rng(0)), points).draw(
        weights(), np.zeros(POSE), orbit(DISTANCE, 0, 0), 32, 1
    )
    tasks = [(folder, seed, i, header) for i in range(identities)]
    labels = [None] * identities
    with multiprocessing.Pool(workers) as pool:
        for i, label in tqdm(pool.imap_unordered(_one, tasks), total=identities, desc="identities"):
            labels[i] = label
    np.savez(
        folder / "labels.npz", **{k: np.stack([label[k] for label in labels]) for k in labels[0]}
    )
    # Last, so that a folder without it is known to be unfinished.
    (folder / "dataset.json").write_text(json.dumps(header))


def save_png(path, rgba):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgba, "RGBA").save(path, optimize=True)


def _evaluate_one(task):
    folder, seed, i, points, size, source_size, random_targets, tracker = task
    rng = np.random.default_rng([seed, i])
    person = Person(people.random_identity(rng), points)
    name = f"{i:03}"
    entry = {"name": name, "shape": person.identity.shape.tolist(), "sources": [], "targets": []}
    for s in range(3):
        camera, e, pose = source_view(rng, s)
        path = f"{name}/source_{s}.png"
        save_png(folder / path, person.draw(e, pose, camera, source_size, 2)[0])
        entry["sources"].append({"picture": path, "transform": camera.tolist()})

    def target(kind, label, e, pose, camera, yaw, channel=None, neutral=False):
        path = f"{name}/{label}.png"
        picture, _, vertices = person.draw(e, pose, camera, size, 2)
        save_png(folder / path, picture)
        still = matte = None
        if neutral:
            still = f"{name}/{label}_neutral.png"
            save_png(folder / still, person.draw(e * 0, pose * 0, camera, size, 2)[0])
            # Edges are judged against 64 levels of opacity.
            matte = f"{name}/{label}_matte.png"
            save_png(folder / matte, person.draw(e, pose, camera, size, 8)[0])
        entry["targets"].append(
            {
                "kind": kind,
                "picture": path,
                "neutral": still,
                "matte": matte,
                "channel": channel,
                "expression": np.asarray(e).tolist(),
                "pose": np.asarray(pose).tolist(),
                "transform": camera.tolist(),
                "yaw": yaw,
                "face_box": person.face_box(vertices, camera, size),
                "regions": person.regions(vertices, camera, size).tolist(),
            }
        )

    still = np.zeros(POSE, np.float32)
    for k in range(random_targets):
        camera, yaw = random_camera(rng)
        target(
            "random",
            f"random_{k}",
            random_expression(rng),
            random_pose(rng),
            camera,
            yaw,
            neutral=not tracker,
        )
    turned = orbit(DISTANCE, 0, 10)
    for channel in ("neutral", *(() if tracker else EVALUATED)):
        e = (
            weights()
            if channel == "neutral"
            else weights(eyeLookOutLeft=1, eyeLookInRight=1)
            if channel == "eyeLook"
            else weights(**{channel: 1})
        )
        target("channel", f"channel_{channel}", e, still, turned, 10.0, channel=channel)
    if tracker:
        return i, entry
    target(
        "identity",
        "identity",
        weights(jawOpen=0.4, mouthSmile=0.5, browInnerUp=0.4),
        still,
        orbit(DISTANCE, 5, -15),
        -15.0,
    )
    for yaw in (-45, 0, 45):
        target(
            "view",
            f"view_{yaw}",
            weights(mouthSmile=0.4, jawOpen=0.2),
            still,
            orbit(DISTANCE, 0, yaw),
            float(yaw),
        )
    return i, entry


def evaluation_set(
    folder,
    identities,
    seed,
    points,
    image_size=128,
    source_size=256,
    random_targets=6,
    workers=2,
    tracker=False,
):
    """Writes an evaluation set: `evaluation.json` and its pictures.

    For the `tracker` alone there are only the random targets and the face at rest.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        (folder, seed, i, points, image_size, source_size, random_targets, tracker)
        for i in range(identities)
    ]
    entries = [None] * identities
    with multiprocessing.Pool(workers) as pool:
        for i, entry in tqdm(
            pool.imap_unordered(_evaluate_one, tasks), total=identities, desc="identities"
        ):
            entries[i] = entry
    header = {
        "format": "gpavatar evaluation",
        "version": 1,
        "seed": seed,
        "image_size": image_size,
        "channels": EXPRESSIONS,
        "identities": entries,
    }
    (folder / "evaluation.json").write_text(json.dumps(header))
