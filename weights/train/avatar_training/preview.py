"""Contact sheets of a network's renderings beside the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


@torch.no_grad()
def contact_sheet(network, data, identities: np.ndarray, path: Path, size: int) -> float:
    """Writes rows of canonical source, truth, coarse, fine, output; returns the mean PSNR in dB.

    `size` is the side of the volume rendering in pixels.
    """
    device = next(network.parameters()).device
    side = network.config.output_size
    rows, quality = [], []
    for row, identity in enumerate(identities):
        view = np.array([row % data.view_count(int(identity))])
        batch = data.batch(np.array([identity]), view, [np.array([0])]).to(device)
        planes = network.encode(batch.sources[:, 0])
        rendering = network.render(planes, batch.points, batch.transform, size)
        output = network.upsample(rendering.low_res).clamp(0, 1)
        quality.append(-10 * torch.log10((output - batch.target).square().mean()).item())
        cells = [
            batch.sources[:, 0],
            batch.target,
            rendering.coarse,
            rendering.low_res[:, :3],
            output,
        ]
        cells = [F.interpolate(cell, size=(side, side), mode="bilinear") for cell in cells]
        rows.append(torch.cat(cells, 3)[0])
    sheet = torch.cat(rows, 1).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(sheet * 255).astype(np.uint8)).save(path)
    return float(np.mean(quality))
