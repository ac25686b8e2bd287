"""Initial weights of the autoencoder that make its latents the mean colours of image patches.

From random weights, most of the training is spent on learning to encode a patch's mean colour,
since the normalization layers remove the colour of a uniform image. From these initial weights,
training only has to learn the edges.
"""

from math import exp
from typing import Any, Final

import torch
from torch import Tensor, nn

# Two channels carry a constant of both signs, so that the last norm divides all images by nearly
# the same; the colours pass its activation where that is nearly linear.
_CONSTANT: Final = 6.0
_LIFT: Final = 4.0
_COLOURS: Final = 3
_LOG_VARIANCE: Final = -6.0  # logarithm of the latents' variance at the start


@torch.no_grad()
def initialize_with_mean_colours(model: Any) -> None:
    """Set the weights of `model` in place, so that its latents are the mean colours of patches.

    `model` is an AutoencoderKL with one norm group. Weights that do not affect the mean colours
    stay random.
    """
    for module in model.modules():
        if hasattr(module, "conv2"):  # a residual block: at first it adds nothing
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
        for name in ("conv_shortcut", "conv"):
            if isinstance(conv := getattr(module, name, None), nn.Conv2d):
                _copy_channels(conv)
    for block in model.decoder.up_blocks:
        for upsampler in block.upsamplers or ():
            _blur_channels(upsampler.conv)
    for half in (model.encoder, model.decoder):
        _initialize_input(half.conv_in)
        _initialize_output(half)
    _copy_channels(model.post_quant_conv)
    _copy_channels(model.quant_conv)
    half_of_moments = model.config.latent_channels
    model.quant_conv.weight[half_of_moments:] = 0
    model.quant_conv.bias[half_of_moments:] = _LOG_VARIANCE


def _copy_channels(conv: nn.Conv2d) -> None:
    """Set `conv` to copy each channel; with stride 2, to average each 2 × 2 block of pixels."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    middle = conv.kernel_size[0] // 2
    for channel in range(min(conv.in_channels, conv.out_channels)):
        if conv.stride[0] == 2:
            conv.weight[channel, channel, :2, :2] = 0.25
        else:
            conv.weight[channel, channel, middle, middle] = 1


def _blur_channels(conv: nn.Conv2d) -> None:
    """Set `conv` to copy each channel with a 3 × 3 blur, to soften edges of upsampled patches."""
    soft = torch.tensor([0.25, 0.5, 0.25])
    for channel in range(min(conv.in_channels, conv.out_channels)):
        conv.weight[channel, channel] = soft[:, None] * soft


def _initialize_input(conv: nn.Conv2d) -> None:
    fresh = conv.weight.clone()
    _copy_channels(conv)
    conv.weight[_COLOURS + 2 :] = fresh[_COLOURS + 2 :]
    conv.weight[_COLOURS : _COLOURS + 2] = 0
    if conv.bias is not None:
        conv.bias[_COLOURS] = _CONSTANT
        conv.bias[_COLOURS + 1] = -_CONSTANT


def _initialize_output(half: Any) -> None:
    """Set the last norm and convolution of `half` to reproduce the colours in channels 0 to 2.

    `half` is the autoencoder's encoder or decoder.
    """
    norm, conv = half.conv_norm_out, half.conv_out
    norm.bias[:_COLOURS] = _LIFT
    # The constants dominate the norm's input, so it divides by about this.
    divisor = (2 * _CONSTANT**2 / norm.num_channels) ** 0.5
    low = _silu(_LIFT)
    slope = (_silu(_LIFT + 0.1) - _silu(_LIFT - 0.1)) / 0.2
    for channel in range(_COLOURS):
        conv.weight[channel] = 0
        conv.weight[channel, channel, 1, 1] = divisor / slope
        conv.bias[channel] = -low * divisor / slope


def _silu(value: float) -> float:
    return value / (1 + exp(-value))


def mean_colours(images: Tensor, factor: int) -> Tensor:
    """Return the mean colour of each `factor` × `factor` patch.

    `images` is count × 3 × height × width; the result is smaller by `factor` along each side.
    """
    return nn.functional.avg_pool2d(images, factor)
