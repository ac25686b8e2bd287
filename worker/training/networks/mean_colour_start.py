"""A start for the autoencoder: weights that average pictures down and spread them out again.

Random weights take most of a training to find that a patch's mean colour is worth passing on,
the more so as the norms inside take the colour away from a plain picture. From this start a
latent is the mean colour of its patch, and training adds what that leaves out: the edges.
"""

from math import exp
from typing import Any, Final

import torch
from torch import Tensor, nn

# Two channels carry a constant of both signs, so that the last norm divides all pictures by
# nearly the same; the colours go through its activation where that is nearly a line.
_CONSTANT: Final = 6.0
_LIFT: Final = 4.0
_COLOURS: Final = 3
_QUIET: Final = -6.0  # logarithm of the latents' variance at the start


@torch.no_grad()
def pass_colours_straight(model: Any) -> None:
    """Give `model`, an AutoencoderKL of one norm group, those weights; the rest stays random."""
    for part in model.modules():
        if hasattr(part, "conv2"):  # a residual block: at first it adds nothing
            nn.init.zeros_(part.conv2.weight)
            nn.init.zeros_(part.conv2.bias)
        for name in ("conv_shortcut", "conv"):
            if isinstance(conv := getattr(part, name, None), nn.Conv2d):
                _pass_on(conv)
    for block in model.decoder.up_blocks:
        for upsampler in block.upsamplers or ():
            _soften(upsampler.conv)
    for half in (model.encoder, model.decoder):
        _take_in(half.conv_in)
        _give_out(half)
    _pass_on(model.post_quant_conv)
    _pass_on(model.quant_conv)
    half_of_moments = model.config.latent_channels
    model.quant_conv.weight[half_of_moments:] = 0
    model.quant_conv.bias[half_of_moments:] = _QUIET


def _pass_on(conv: nn.Conv2d) -> None:
    """Copy each channel; one that halves the picture takes the mean of two by two pixels."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    middle = conv.kernel_size[0] // 2
    for channel in range(min(conv.in_channels, conv.out_channels)):
        if conv.stride[0] == 2:
            conv.weight[channel, channel, :2, :2] = 0.25
        else:
            conv.weight[channel, channel, middle, middle] = 1


def _soften(conv: nn.Conv2d) -> None:
    """Let a copy of each channel be a soft one, so that patches do not end in steps."""
    soft = torch.tensor([0.25, 0.5, 0.25])
    for channel in range(min(conv.in_channels, conv.out_channels)):
        conv.weight[channel, channel] = soft[:, None] * soft


def _take_in(conv: nn.Conv2d) -> None:
    fresh = conv.weight.clone()
    _pass_on(conv)
    conv.weight[_COLOURS + 2 :] = fresh[_COLOURS + 2 :]
    conv.weight[_COLOURS : _COLOURS + 2] = 0
    if conv.bias is not None:
        conv.bias[_COLOURS] = _CONSTANT
        conv.bias[_COLOURS + 1] = -_CONSTANT


def _give_out(half: Any) -> None:
    """Read the colours behind the last norm and activation as they were before them."""
    norm, conv = half.conv_norm_out, half.conv_out
    norm.bias[:_COLOURS] = _LIFT
    # The constants are nearly all that the norm sees: it divides by about this.
    divisor = (2 * _CONSTANT**2 / norm.num_channels) ** 0.5
    low = _silu(_LIFT)
    slope = (_silu(_LIFT + 0.1) - _silu(_LIFT - 0.1)) / 0.2
    for channel in range(_COLOURS):
        conv.weight[channel] = 0
        conv.weight[channel, channel, 1, 1] = divisor / slope
        conv.bias[channel] = -low * divisor / slope


def _silu(value: float) -> float:
    return value / (1 + exp(-value))


def mean_colours(signal: Tensor, factor: int) -> Tensor:
    """Give the mean colour of each `factor` × `factor` patch."""
    return nn.functional.avg_pool2d(signal, factor)
