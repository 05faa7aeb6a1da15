"""The training recipe: phases, rates and weights of the loss."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of the loss."""

    coarse: float
    fine: float
    output: float
    perceptual: float
    face_box: float
    """Perceptual + L1 over the face's box, halved, of coarse, fine and output."""
    gradients: float = 0.0
    ssim: float = 0.0
    chroma: float = 0.0
    """Colour of eyes and mouth apart from its brightness."""
    opacity: float = 0.0
    direct: float = 0.0
    """Colour and opacity where they are known in space."""
    read_outs: float = 0.0
    alpha_norm: float = 0.0
    """Norm of all coarse opacities."""
    density: float = 0.0
    density_excess: float = 0.0
    """Mean density beyond 3."""


@dataclass(frozen=True)
class Recipe:
    """A way to train. Times are fractions of the whole training."""

    weights: Weights
    identities: int
    """Identities, with one target each, of a step."""
    unet_rate: float
    field_rate: float
    style_factor: float
    """Factor of the rate of style_mlp and final_linear."""
    schedule: str
    """`cosine` to zero, or `steps`: a fifth at 65 % and again at 80 %."""
    betas: tuple[float, float]
    """Decays of Adam's two moments."""
    warm_up: int
    """Steps in which the rates rise, at the beginning and when rendering begins."""
    clip: float
    """Largest gradient norm, of the U-Nets and of the field apart; 0 for any."""
    several: float
    """Probability that an identity has more than one source."""
    most_sources: int
    pretrain: float = 0.0
    """Encoder and field alone, from positions in space."""
    pretrain_identities: int = 0
    half_resolution: float = 0.0
    """End of the part rendered at two thirds of the low resolution."""
    region: tuple[float, float] = (0.0, 0.0)
    """Extra weight of eyes and mouth, at the beginning and the end."""
    surface_points: int = 0
    empty_points: int = 0
    direct_fades: float = 0.0
    direct_least: float = 1.0
    read_outs_fade: float = 0.0
    select_rays: bool = True
    """Whether rays far from the head are left out."""
    fresh_noise: bool = False
    average: float = 0.998
    """Decay of the moving average of the weights, which is what is evaluated and exported."""

    def rate(self, step: int, progress: float) -> float:
        """Factor of all learning rates; `step` counts from the beginning of the phase."""
        warm = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        if self.schedule == "cosine":
            return warm * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        return warm * 0.2 ** ((progress >= 0.65) + (progress >= 0.8))

    def region_weight(self, progress: float) -> float:
        """Extra weight of eyes and mouth."""
        return self.region[0] + (self.region[1] - self.region[0]) * progress

    def direct_weight(self, progress: float) -> float:
        """Weight of the direct term, whole while the field is trained alone."""
        if not self.direct_fades or progress < self.pretrain:
            return self.weights.direct
        rest = 1 - (progress - self.pretrain) / (self.direct_fades - self.pretrain)
        return self.weights.direct * max(self.direct_least, min(1.0, rest))

    def read_outs_weight(self, progress: float) -> float:
        """Weight of the read-outs."""
        if not self.read_outs_fade:
            return self.weights.read_outs
        return self.weights.read_outs * max(0.05, 1 - progress / self.read_outs_fade)

    def low_res(self, size: int, progress: float) -> int:
        """Pixels of a side of the volume rendering."""
        return max(8, round(size * 2 / 3)) if progress < self.half_resolution else size

    def changed(self, **values) -> Recipe:
        """The recipe with other values."""
        return dataclasses.replace(self, **values)


# For generated heads, whose surfaces are known: converges in hours on two CPU cores.
PROCEDURAL = Recipe(
    weights=Weights(
        coarse=0.5,
        fine=1.0,
        output=2.0,
        perceptual=0.0,
        face_box=0.0,
        gradients=0.7,
        ssim=0.15,
        opacity=0.3,
        direct=1.0,
        read_outs=1.0,
        density=1e-3,
        density_excess=0.02,
    ),
    identities=4,
    unet_rate=1.2e-3,
    field_rate=1.9e-3,
    style_factor=1.0,
    schedule="cosine",
    # Without a first moment these rates drive the super-resolver into saturation within
    # thirty steps.
    betas=(0.9, 0.98),
    warm_up=100,
    clip=0.5,
    several=0.5,
    most_sources=3,
    pretrain=0.18,
    pretrain_identities=8,
    half_resolution=0.45,
    region=(2.0, 6.0),
    surface_points=400,
    empty_points=128,
    direct_fades=0.7,
    direct_least=0.1,
    read_outs_fade=0.6,
)

RECIPES = {
    "procedural": PROCEDURAL,
    # Goes on from a network of the former (`--start`), at full resolution and with an eye on eyes
    # and mouth.
    "refine": PROCEDURAL.changed(
        weights=dataclasses.replace(PROCEDURAL.weights, coarse=0.3, chroma=1.0, read_outs=0.5),
        unet_rate=9e-4,
        field_rate=1.3e-3,
        several=0.6,
        pretrain=0.0,
        half_resolution=0.0,
        region=(9.0, 14.0),
        direct_least=0.25,
        read_outs_fade=0.0,
    ),
    # As the authors' released code, with one target for each identity.
    "released": Recipe(
        weights=Weights(
            coarse=1.0, fine=1.0, output=1.0, perceptual=1e-2, face_box=1.0, alpha_norm=1e-5
        ),
        identities=2,
        unet_rate=1e-4,
        field_rate=1e-4,
        style_factor=0.1,
        schedule="steps",
        betas=(0.0, 0.99),
        warm_up=0,
        clip=0.0,
        several=0.7,
        most_sources=2,
        select_rays=False,
        fresh_noise=True,
    ),
}
