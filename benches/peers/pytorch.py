"""The same network in PyTorch, and its super-resolver in ONNX Runtime, timed.

    cargo run --release --manifest-path benches/peers/Cargo.toml -- export out/bench/case
    python benches/peers/pytorch.py out/bench/case [--device cuda] [--tf32] [--compile] [--onnx]

Needs requirements.txt beside this file. The network is the one that training uses. On a CPU its
nearest points, point features and plane samples are compiled loops, which are faster than what
PyTorch has; `--plain` runs PyTorch's operations instead, with brute-force search.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "weights/train"))

from avatar_training.export import read_config, read_weights  # noqa: E402
from avatar_training.network import GPAvatar, points  # noqa: E402

# Outputs that differ by more than this share of their range are not the same network's.
TOLERANCE = {False: 1e-3, True: 5e-2}


class Remembered:
    """A search for the nearest points that was done before."""

    def __init__(self, search: Callable):
        self.search, self.found, self.turn = search, [], None

    def __call__(self, *args) -> tuple[Tensor, Tensor]:
        if self.turn is None:
            self.found.append(self.search(*args))
            return self.found[-1]
        self.turn += 1
        return self.found[(self.turn - 1) % len(self.found)]


class PlainFunctions:
    """PyTorch's own operations where training has compiled loops for CPUs."""

    class PointFeatures:
        @staticmethod
        def apply(x, head, index, share, table, weight):
            batch = torch.arange(len(x))[:, None, None]
            direction = F.normalize(x[:, :, None] - head[batch, index], dim=-1, eps=1e-12)
            h = F.relu(F.embedding(index, table) + points.harmonic(direction) @ weight)
            return (h * share[..., None]).sum(2)

    class SamplePlanes:
        @staticmethod
        def apply(planes, x):
            batch, _, size, _, channels = planes.shape
            uv = torch.stack([x[..., [0, 1]], x[..., [0, 2]], x[..., [2, 1]]], 1).flatten(0, 1)
            flat = planes.reshape(batch * 3, size, size, channels).permute(0, 3, 1, 2)
            samples = F.grid_sample(flat, uv[:, None], align_corners=False)
            return samples.reshape(batch, 3, channels, -1).mean(1).transpose(1, 2)


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference of nearly all values (99.9 %) in shares of the expected range."""
    gaps = (found.cpu() - expected).abs().flatten().sort().values
    return float(gaps[int(len(gaps) * 0.999)] / (expected.max() - expected.min()))


def timed(device: str, repeat: int, work: Callable) -> tuple[dict[str, float], Tensor]:
    """Best and median milliseconds after a turn that does not count, and the result."""
    times = []
    for _ in range(repeat + 1):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    times = times[1:]
    return {"best_ms": min(times), "median_ms": statistics.median(times)}, result


def onnx_runtime(network: GPAvatar, low_res: Tensor, folder: Path, repeat: int):
    """Times the super-resolver in ONNX Runtime on the CPU."""
    import onnxruntime

    path = folder / "super_resolver.onnx"
    if not path.exists():
        module = network.up_renderer.cpu()
        torch.onnx.export(module, (low_res.cpu(),), str(path), dynamo=True, external_data=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: low_res.cpu().numpy()}
    times, result = timed("cpu", repeat, lambda: session.run(None, feed)[0])
    return times, torch.sigmoid(torch.from_numpy(result)) * 1.002 - 0.001


def main() -> None:
    """Times what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what the peers' verb `export` wrote")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="[cpu]")
    parser.add_argument("--tf32", action="store_true", help="TF32 in convolutions and products")
    parser.add_argument("--compile", action="store_true", help="torch.compile both U-Nets")
    parser.add_argument("--plain", action="store_true", help="no compiled loops on a CPU")
    parser.add_argument("--onnx", action="store_true", help="ONNX Runtime's super-resolver, too")
    parser.add_argument("--repeat", type=int, default=3, help="best and median of so many [3]")
    parser.add_argument("--json", type=Path, help="file to write all numbers to")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    points.set_threads(torch.get_num_threads())
    if args.plain:
        points._PointFeatures = PlainFunctions.PointFeatures
        points._SamplePlanes = PlainFunctions.SamplePlanes

    path = args.folder / "weights.safetensors"
    config = read_config(path)
    network = GPAvatar(config)
    network.load_state_dict(read_weights(path, config))
    network.eval().to(args.device)
    case = load_file(args.folder / "case.safetensors")
    source, low_res, expected = (
        case[name].permute(2, 0, 1)[None].contiguous() for name in ("source", "low_res", "image")
    )
    source, low_res = source.to(args.device), low_res.to(args.device)
    head, transform = (case[name][None].to(args.device) for name in ("points", "transform"))
    querier = network.nerf_mlp.points_querier
    if args.plain:
        querier.search = points.Search._by_distances
    querier.search = Remembered(querier.search)
    super_resolver = network.up_renderer
    if args.compile:
        network.style_tplane = torch.compile(network.style_tplane)
        network.up_renderer = torch.compile(network.up_renderer)

    work: dict[str, dict] = {}
    differences = {}

    def measure(name: str, function: Callable) -> Tensor:
        work[name], result = timed(args.device, args.repeat, function)
        numbers = work[name]
        print(f"{name:32} {numbers['best_ms']:10.1f} {numbers['median_ms']:10.1f} ms", flush=True)
        return result

    def check(name: str, image: Tensor) -> None:
        differences[name] = difference(image, expected)
        if differences[name] > TOLERANCE[args.tf32]:
            sys.exit(f"{name}: the picture differs by {differences[name]:.1e} of its range")

    planes = measure("avatar", lambda: network.encode(source))
    render = lambda: network.render(planes, head, transform).low_res  # noqa: E731
    frame = lambda: network.upsample(render())  # noqa: E731
    querier.search.found = []
    check("frame", measure("frame", frame))
    # Two passes a frame, of which the last frame's are kept.
    querier.search.found = querier.search.found[-2:]
    querier.search.turn = 0
    measure("frame, nearest points given", frame)
    measure("volume rendering, points given", render)
    check("super-resolver", measure("super-resolver", lambda: network.upsample(low_res)))
    if args.onnx:
        network.up_renderer = super_resolver
        times, image = onnx_runtime(network, low_res, args.folder, args.repeat)
        work["super-resolver, ONNX Runtime"] = times
        print(f"{'super-resolver, ONNX Runtime':32} {times['best_ms']:10.1f} {times['median_ms']:10.1f} ms")
        check("ONNX Runtime", image)
    print("differences:", {name: f"{value:.1e}" for name, value in differences.items()})

    cuda = args.device == "cuda"
    report = {
        "device": torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "tf32": args.tf32,
        "compile": args.compile,
        "plain": args.plain,
        "repeat": args.repeat,
        "work": work,
        "differences": differences,
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
