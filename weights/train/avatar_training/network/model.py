"""The whole network: pictures to tri-planes, tri-planes and points to pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import IMAGE_CHANNELS, PLANES, ModelConfig
from .field import RadianceField, widened_sigmoid
from .fusion import Fusion
from .rays import camera_rays, coarse_depths, cube_range, fine_depths, sample_weights
from .style_unet import StyleUnet


@dataclass
class Rendering:
    """Volume rendering of B pictures of S x S pixels. Rays that were not computed are zero."""

    low_res: Tensor
    """(B, low_res_channels, S, S), the first three channels RGB."""
    coarse: Tensor
    """(B, 3, S, S): the coarse pass alone."""
    opacity: Tensor
    """(B, 1, S, S): accumulated opacity."""
    coarse_alpha: Tensor
    """(B, R, samples): opacity of the coarse samples."""
    density: Tensor
    """(B): mean density of all samples."""
    depth: Tensor | None
    """(B, S, S) normalised to 0..1 over each picture; only when all rays are computed."""
    extra_alpha: Tensor | None = None
    """(B, M): opacity at the extra points that were asked for."""
    extra_rgb: Tensor | None = None
    """(B, M, 3): colour there."""


class GPAvatar(nn.Module):
    """GPAvatar of any size. Names and shapes of the parameters are the checkpoint's."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        config.validate()
        self.config = config
        channels, size = config.plane_channels, config.plane_size
        self.query_style_tplane = nn.Parameter(
            torch.randn(1, 1, PLANES, channels, size, size) * 0.1
        )
        self.style_tplane = StyleUnet(
            config.source_size,
            size,
            IMAGE_CHANNELS,
            PLANES * channels,
            config.encoder_channels,
            config.encoder_decoder_channels,
            config.style_size,
            config.style_layers,
        )
        self.nerf_mlp = RadianceField(config)
        self.up_renderer = StyleUnet(
            config.output_size,
            config.output_size,
            config.low_res_channels,
            IMAGE_CHANNELS,
            config.super_resolver_channels,
            config.super_resolver_decoder_channels,
            config.style_size,
            config.style_layers,
        )
        self.up_renderer.start_from_input()
        self.attn_module = Fusion(channels, config.attention)

    def encode(self, sources: Tensor, fresh_noise: bool = False) -> Tensor:
        """Tri-planes (N, 3, C, P, P) of canonical upright pictures (N, 3, S, S), RGB in 0..1."""
        planes = self.style_tplane(sources.flip(-2), fresh_noise)
        return planes.unflatten(1, (PLANES, -1))

    def fuse(self, planes: Tensor, present: Tensor | None = None) -> Tensor:
        """One tri-plane (B, 3, C, P, P) from those (B, V, 3, C, P, P) of V sources."""
        return self.attn_module(self.query_style_tplane, planes, present)

    def render(
        self,
        planes: Tensor,
        points: Tensor,
        transforms: Tensor,
        size: int | None = None,
        rays: Tensor | None = None,
        jitter: bool = False,
        extra: tuple[Tensor, Tensor] | None = None,
    ) -> Rendering:
        """Renders planes (B, 3, C, P, P) with points (B, points, 3) from cameras (B, 3, 4).

        `rays` (B, R) are indices of the pixels to compute, all by default. `jitter` moves samples
        at random within their strata, for training. `extra`: positions (B, M, 3) and unit
        directions (B, M, 3) at which the field is evaluated besides.
        """
        config = self.config
        size = size or config.low_res_size
        batch = len(planes)
        planes = planes.permute(0, 1, 3, 4, 2).contiguous()
        origin, directions = camera_rays(transforms, size, config.focal)
        if rays is not None:
            directions = directions.gather(1, rays[..., None].expand(-1, -1, 3))
        count = directions.shape[1]
        origins = origin[:, None].expand_as(directions).reshape(-1, 3)
        flat = directions.reshape(-1, 3)
        halves = self.nerf_mlp.direction_half(directions)[:, :, None]

        def query(depths: Tensor, more: Tensor | None = None):
            x = origins[:, None] + depths[..., None] * flat[:, None]
            x = x.reshape(batch, -1, 3)
            samples = x.shape[1]
            if more is not None:
                x = torch.cat([x, more], 1)
            density, first = self.nerf_mlp(x, planes, points)
            first, rest = first[:, :samples], first[:, samples:]
            first = first.unflatten(1, (count, -1))
            rgb, others = self.nerf_mlp.colour(first, halves)
            density, beyond = density[:, :samples], density[:, samples:]
            alpha = (1 - torch.exp(-density)).reshape(batch * count, -1)
            return density, alpha, rgb.flatten(0, 1), others.flatten(0, 1), beyond, rest

        near, far = cube_range(origins, flat)
        coarse_t = coarse_depths(near, far, config.coarse_samples, jitter)
        position, towards = extra if extra is not None else (None, None)
        coarse_density, coarse_alpha, coarse_rgb, coarse_others, beyond, rest = query(
            coarse_t, position
        )
        weights = sample_weights(coarse_alpha)
        coarse = (weights[:, None] @ coarse_rgb)[:, 0]
        fine_t = fine_depths(coarse_t, weights.detach(), config.fine_samples, jitter)
        fine_density, fine_alpha, fine_rgb, fine_others, _, _ = query(fine_t)

        depths, order = torch.sort(torch.cat([coarse_t, fine_t], 1), dim=1, stable=True)
        alpha = torch.cat([coarse_alpha, fine_alpha], 1).gather(1, order)
        merged = sample_weights(alpha)
        # Weights go back to the order of the passes, which moves less than sorting the colours.
        unsorted = torch.zeros_like(merged).scatter(1, order, merged)
        split = [config.coarse_samples, config.fine_samples]
        first, second = (w[:, None] for w in unsorted.split(split, 1))
        rgb = (first @ coarse_rgb + second @ fine_rgb)[:, 0]
        others = (first @ coarse_others + second @ fine_others)[:, 0]
        opacity = merged.sum(1, keepdim=True)

        def picture(values: Tensor) -> Tensor:
            values = values.reshape(batch, count, -1)
            if rays is not None:
                index = rays[..., None].expand_as(values)
                blank = values.new_zeros(batch, size * size, values.shape[-1])
                values = blank.scatter(1, index, values)
            return values.transpose(1, 2).unflatten(2, (size, size))

        depth = None
        if rays is None:
            # Rays that hit nothing end at the largest depth of the picture.
            furthest = depths.reshape(batch, -1).amax(1)[:, None]
            rest_weight = 1 - opacity.clamp(0, 1).reshape(batch, -1)
            depth = (merged * depths).sum(1).reshape(batch, -1) + rest_weight * furthest
            least, most = depth.amin(1, keepdim=True), depth.amax(1, keepdim=True)
            depth = ((depth - least) / (most - least)).unflatten(1, (size, size))
        rendering = Rendering(
            low_res=picture(torch.cat([rgb, others], -1)),
            coarse=picture(coarse),
            opacity=picture(opacity),
            coarse_alpha=coarse_alpha.reshape(batch, count, -1),
            density=(coarse_density.mean(1) + fine_density.mean(1)) / 2,
            depth=depth,
        )
        if extra is not None:
            rendering.extra_alpha = 1 - torch.exp(-beyond)
            half = self.nerf_mlp.direction_half(towards)
            rendering.extra_rgb = self.nerf_mlp.colour(rest, half)[0]
        return rendering

    def query(self, planes: Tensor, points: Tensor, x: Tensor, directions: Tensor):
        """Opacity (B, M) and RGB (B, M, 3) of the field at positions x seen along directions."""
        planes = planes.permute(0, 1, 3, 4, 2).contiguous()
        density, first = self.nerf_mlp(x, planes, points)
        half = self.nerf_mlp.direction_half(directions)
        return 1 - torch.exp(-density), self.nerf_mlp.colour(first, half)[0]

    def upsample(self, low_res: Tensor, fresh_noise: bool = False) -> Tensor:
        """Pictures (B, 3, output, output) from volume renderings (B, low_res_channels, S, S)."""
        return widened_sigmoid(self.up_renderer(low_res, fresh_noise).float())

    def forward(self, sources: Tensor, points: Tensor, transforms: Tensor):
        """Renders (B) avatars from canonical sources (B, V, 3, S, S): rendering and pictures."""
        planes = self.fuse(self.encode(sources.flatten(0, 1)).unflatten(0, sources.shape[:2]))
        rendering = self.render(planes, points, transforms)
        return rendering, self.upsample(rendering.low_res)
