"""The U-Net with a style-based decoder that is both the encoder and the super-resolver."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2.0)


def up2(x: Tensor) -> Tensor:
    """Bilinear resize to twice the size."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def down2(x: Tensor) -> Tensor:
    """Bilinear resize to half the size, which averages 2x2 pixels."""
    return F.avg_pool2d(x, 2)


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class _ChannelsLastConv(torch.autograd.Function):
    """Convolution with everything channels-last, gradients too.

    On CPUs that is several times faster; PyTorch alone falls back to the other layout wherever one
    of the three tensors happens to have it.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, dtype):
        kept = x.dtype, weight.dtype, None if bias is None else bias.dtype
        x = x.to(dtype, memory_format=torch.channels_last)
        weight = weight.to(dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.kept = kept
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight, None if bias is None else bias.to(dtype), padding=padding)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        gradient = gradient.to(x.dtype, memory_format=torch.channels_last)
        padding, outputs = weight.shape[-1] // 2, weight.shape[0]
        needed = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        dx, dw, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, needed
        )
        db = None
        if ctx.needs_input_grad[2]:
            db = gradient.sum((0, 2, 3), dtype=torch.float32).reshape(outputs).to(ctx.kept[2])
        return (
            None if dx is None else dx.to(ctx.kept[0]),
            None if dw is None else dw.to(ctx.kept[1]),
            db,
            None,
        )


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution that keeps the size, in the precision of autocast."""
    if x.is_cuda or not torch.is_grad_enabled():
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return _ChannelsLastConv.apply(x, weight, bias, dtype)


class Conv(nn.Conv2d):
    """Convolution with an odd kernel that keeps the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias)


class ResBlock(nn.Module):
    """Residual block that halves or doubles the size."""

    def __init__(self, inputs: int, outputs: int, up: bool):
        super().__init__()
        self.conv1 = Conv(inputs, inputs, 3)
        self.conv2 = Conv(inputs, outputs, 3)
        self.skip = Conv(inputs, outputs, 1, bias=False)
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        resize = up2 if self.up else down2
        h = lrelu(self.conv1(x))
        h = lrelu(self.conv2(resize(h)))
        # A 1x1 convolution commutes with the resize; it runs at the smaller size.
        skip = resize(self.skip(x)) if self.up else self.skip(resize(x))
        return h + skip


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a linear function of the style.

    Inputs are scaled and outputs demodulated instead of weights, which is the same.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, demodulate: bool):
        super().__init__()
        deviation = 1 / math.sqrt(inputs * kernel * kernel)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel) * deviation)
        self.modulation = nn.Linear(style, inputs)
        nn.init.normal_(self.modulation.weight, 0, 0.3 / math.sqrt(style))
        nn.init.ones_(self.modulation.bias)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weight = self.weight[0]
        scale = self.modulation(style)
        y = conv2d(x * scale[:, :, None, None], weight)
        if self.demodulate:
            energy = weight.float().square().sum((2, 3))
            demodulation = torch.rsqrt(scale.float().square() @ energy.T + 1e-8)
            y = y * demodulation[:, :, None, None].to(y.dtype)
        return y


class StyleConv(nn.Module):
    """Modulated 3x3 convolution with noise, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style: int, up: bool):
        super().__init__()
        self.modulated_conv = ModulatedConv(inputs, outputs, 3, style, True)
        self.weight = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))
        self.up = up

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        y = self.modulated_conv(up2(x) if self.up else x, style) * SQRT2
        return lrelu(y + (self.weight * noise + self.bias).to(y.dtype))


class ToRgb(nn.Module):
    """Modulated 1x1 convolution that adds to the output."""

    def __init__(self, inputs: int, outputs: int, style: int):
        super().__init__()
        self.modulated_conv = ModulatedConv(inputs, outputs, 1, style, False)
        self.modulated_conv.weight.data.mul_(0.5)
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(self, x: Tensor, style: Tensor, skip: Tensor | None) -> Tensor:
        y = self.modulated_conv(x, style) + self.bias
        return y if skip is None else y + up2(skip)


class Normalise(nn.Module):
    """Scales a style vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Constant(nn.Module):
    """The learned 4x4 input of a style decoder."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels, 4, 4))


class StyleDecoder(nn.Module):
    """Synthesis network; the U-Net scales and shifts every level of it."""

    def __init__(
        self, levels: int, outputs: int, channels: dict[int, int], style: int, layers: int
    ):
        super().__init__()
        mlp: list[nn.Module] = [Normalise()]
        for _ in range(layers):
            mlp += [nn.Linear(style, style), nn.LeakyReLU(0.2)]
        self.style_mlp = nn.Sequential(*mlp)
        width = channels[4]
        self.constant_input = Constant(width)
        self.style_conv1 = StyleConv(width, width, style, False)
        self.to_rgb1 = ToRgb(width, outputs, style)
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        self.noises = nn.Module()
        self.noises.register_buffer("noise0", torch.randn(1, 1, 4, 4))
        for level in range(levels):
            size = 8 << level
            self.style_convs.append(StyleConv(width, channels[size], style, True))
            self.style_convs.append(StyleConv(channels[size], channels[size], style, False))
            self.to_rgbs.append(ToRgb(channels[size], outputs, style))
            for i in (2 * level + 1, 2 * level + 2):
                self.noises.register_buffer(f"noise{i}", torch.randn(1, 1, size, size))
            width = channels[size]

    def forward(
        self, style: Tensor, scales: list[Tensor], shifts: list[Tensor], fresh_noise: bool
    ) -> Tensor:
        style = self.style_mlp(style)
        batch = len(style)

        def noise(i: int) -> Tensor:
            stored = getattr(self.noises, f"noise{i}")
            if fresh_noise:
                return torch.randn((batch, *stored.shape[1:]), device=stored.device)
            return stored

        x = self.constant_input.weight.expand(batch, -1, -1, -1)
        x = self.style_conv1(x, style, noise(0))
        skip = self.to_rgb1(x, style, None)
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.style_convs[2 * i](x, style, noise(2 * i + 1))
            x = x * scales[i] + shifts[i]
            x = self.style_convs[2 * i + 1](x, style, noise(2 * i + 2))
            skip = to_rgb(x, style, skip)
        return skip


def _condition(inputs: int, outputs: int, rest: float) -> nn.Sequential:
    layers = nn.Sequential(
        Conv(inputs, inputs, 3),
        nn.LeakyReLU(0.2),
        Conv(inputs, outputs, 3),
    )
    # An untrained condition barely changes the decoder.
    layers[2].weight.data.mul_(0.3)
    nn.init.constant_(layers[2].bias, rest)
    return layers


class StyleUnet(nn.Module):
    """U-Net from `source` to `output` pixels; its up-going half conditions a style decoder.

    A smaller input is resized to `output` first. Shapes: (B, inputs, S, S) to
    (B, outputs, output, output).
    """

    def __init__(
        self,
        source: int,
        output: int,
        inputs: int,
        outputs: int,
        channels: dict[int, int],
        decoder_channels: dict[int, int],
        style: int,
        style_layers: int,
    ):
        super().__init__()
        self.output = output
        levels = output.bit_length() - 3
        width = channels[output]
        if source > output:
            first = Conv(inputs, channels[source], 1)
            block = ResBlock(channels[source], width, up=False)
            self.conv_body_first = nn.ModuleList([first, block])
        else:
            self.conv_body_first = Conv(inputs, width, 1)
        self.conv_body_down = nn.ModuleList()
        for i in range(levels):
            narrow = channels[output >> (i + 1)]
            self.conv_body_down.append(ResBlock(width, narrow, up=False))
            width = narrow
        self.final_conv = Conv(width, width, 3)
        self.final_linear = nn.Linear(width * 16, style)
        self.conv_body_up = nn.ModuleList()
        self.condition_scale = nn.ModuleList()
        self.condition_shift = nn.ModuleList()
        for level in range(levels):
            wide, decoder = channels[8 << level], decoder_channels[8 << level]
            self.conv_body_up.append(ResBlock(width, wide, up=True))
            self.condition_scale.append(_condition(wide, decoder, 1.0))
            self.condition_shift.append(_condition(wide, decoder, 0.0))
            width = wide
        self.stylegan_decoder = StyleDecoder(levels, outputs, decoder_channels, style, style_layers)

    @torch.no_grad()
    def start_from_input(self, gain: float = 6.0) -> None:
        """Makes an untrained net of matching sizes return its first channels, colours in 0..1.

        They pass through the last level of the U-Net and of the decoder, and come out times `gain`
        about 0, which a sigmoid turns into roughly the same colours. Training then starts from a
        blurred picture with the right colours instead of having to find out how to copy them.
        """
        colours = self.stylegan_decoder.to_rgbs[-1].bias.shape[1]

        def only(layer: nn.Module, passing: bool) -> None:
            """The first channels are nothing, or those of the input."""
            weight = layer.weight[0] if layer.weight.dim() == 5 else layer.weight
            weight[:colours] = 0
            if passing:
                middle = weight.shape[-1] // 2
                channel = torch.arange(colours)
                weight[channel, channel, middle, middle] = 1
            if getattr(layer, "bias", None) is not None:
                layer.bias[:colours] = 0

        only(self.conv_body_first, True)
        for block, passing in (
            (self.conv_body_down[0], True),
            (self.conv_body_up[-1], True),
            *((block, False) for block in self.conv_body_up[-2:-1]),
        ):
            only(block.conv2, False)
            only(block.skip, passing)
        only(self.condition_scale[-1][2], False)
        only(self.condition_shift[-1][0], True)
        only(self.condition_shift[-1][2], True)
        only(self.stylegan_decoder.style_convs[-1].modulated_conv, True)
        # All else begins faintly.
        for to_rgb in (self.stylegan_decoder.to_rgb1, *self.stylegan_decoder.to_rgbs):
            to_rgb.modulated_conv.weight.mul_(0.1)
        last = self.stylegan_decoder.to_rgbs[-1]
        last.modulated_conv.modulation.weight[:colours] = 0
        only(last.modulated_conv, True)
        channel = torch.arange(colours)
        last.modulated_conv.weight[0, channel, channel] *= gain / SQRT2
        last.bias[:] = -gain / 2

    def forward(self, x: Tensor, fresh_noise: bool = False) -> Tensor:
        """`fresh_noise` draws the decoder's noise anew instead of using the stored maps."""
        if isinstance(self.conv_body_first, nn.ModuleList):
            first, block = self.conv_body_first
            f = block(lrelu(first(x)))
        else:
            f = self.conv_body_first(x)
            if f.shape[-1] < self.output:
                # The 1x1 convolution commutes with the resize.
                size = (self.output, self.output)
                f = F.interpolate(f, size=size, mode="bilinear", align_corners=False)
            f = lrelu(f)
        skips = []
        for block in self.conv_body_down:
            f = block(f)
            skips.append(f)
        f = lrelu(self.final_conv(f))
        style = self.final_linear(f.flatten(1))
        scales, shifts = [], []
        for i, block in enumerate(self.conv_body_up):
            f = block(f + skips[-1 - i])
            scales.append(self.condition_scale[i](f))
            shifts.append(self.condition_shift[i](f))
        return self.stylegan_decoder(style, scales, shifts, fresh_noise)
