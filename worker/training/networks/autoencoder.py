"""The autoencoder: pictures to latents an eighth of their size, and back."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from worker.training.learning.course import Course, learn
from worker.training.learning.scale import FULL, Scale
from worker.training.networks.mean_colour_start import mean_colours, pass_colours_straight
from worker.training.scenes.holes import ROOMY, anywhere, hole_around
from worker.training.scenes.world import Pixels, Random, imagine, paint

Bytes = npt.NDArray[np.uint8]  # as Pixels, rounded down

SIZE: Final = 256
# Both halves learn what a latent is. Then that is settled, and the decoder alone learns to draw
# sharp edges, at a rate the whole would not bear. Pieces of pictures are cheap and show them all.
TOGETHER: Final = Course("autoencoder", steps=1200, rate=2.5e-4, folder=Path(), averaging=0.99)
SHARPER: Final = Course("decoder", steps=2000, rate=5e-4, folder=Path(), averaging=0.995)

_PIECE: Final = 64
_AT_ONCE: Final = 16
_GRADIENT_WEIGHT: Final = 0.5
_COLOUR_WEIGHT: Final = 0.3
_DETAIL_WEIGHT: Final = 0.01
_NOISE: Final = 0.04


def new_autoencoder() -> AutoencoderKL:
    """Build one that passes mean colours on; four levels halve the picture three times."""
    model = AutoencoderKL(
        sample_size=SIZE,
        block_out_channels=(8, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        mid_block_add_attention=False,
        norm_num_groups=1,
    )
    pass_colours_straight(model)
    return model


def train_autoencoder(seed: int, folder: Path, scale: Scale = FULL) -> AutoencoderKL:
    """Train one, and set its scaling factor so that latents have a standard deviation of 1."""
    torch.manual_seed(seed)
    model = new_autoencoder()
    pictures = _pictures(seed, scale.autoencoder_images)

    def loss_of(step: int) -> Tensor:
        signal = _pieces(seed, step, pictures)
        posterior = model.encode(signal).latent_dist
        return _off(model, posterior.mean, signal) + _held(posterior.mean, signal)

    learn(model, loss_of, scale.course(TOGETHER, folder))
    _set_scale(model, to_signal(pictures[:64]))
    sharpen(model, seed, folder, scale)
    return model


def sharpen(model: AutoencoderKL, seed: int, folder: Path, scale: Scale = FULL) -> None:
    """Train the decoder of `model` alone; latents mean what they did before."""
    pictures = _pictures(seed, scale.autoencoder_images)

    def loss_of(step: int) -> Tensor:
        signal = _pieces(seed + 1, step, pictures)
        with torch.no_grad():
            latents = model.encode(signal).latent_dist.mean
        return _off(model, latents, signal)

    half = nn.ModuleList([model.post_quant_conv, model.decoder])
    learn(half, loss_of, scale.course(SHARPER, folder))
    model.eval()


def to_signal(pictures: Pixels | Bytes) -> Tensor:
    """Turn pictures (count × height × width × 3, 0 to 255) into what the model takes, -1 to 1."""
    return torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1


def to_pictures(signal: Tensor) -> Pixels:
    """Undo `to_signal`."""
    return ((signal.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()


def _pictures(seed: int, count: int) -> Bytes:
    draw = np.random.default_rng(seed)
    return np.stack([_with_hole(draw, paint(imagine(draw), SIZE)) for _ in range(count)])


def _with_hole(draw: Random, picture: Pixels) -> Bytes:
    """Cut a grey hole into one in three: inpainting encodes such pictures too."""
    if draw.random() < 1 / 3:
        picture[hole_around(draw, anywhere(draw), len(picture), ROOMY)] = 127.5
    return picture.astype(np.uint8)


def _pieces(seed: int, step: int, pictures: Bytes) -> Tensor:
    """Cut the pieces of a step, and seed the noise that comes with them."""
    draw = np.random.default_rng((seed, step))
    torch.manual_seed(step)
    cut = []
    for index in draw.integers(len(pictures), size=_AT_ONCE):
        y, x = draw.integers(SIZE - _PIECE + 1, size=2)
        piece = pictures[index, y : y + _PIECE, x : x + _PIECE]
        cut.append(np.rot90(piece, int(draw.integers(4))))
    return to_signal(np.stack(cut))


def _off(model: AutoencoderKL, latents: Tensor, signal: Tensor) -> Tensor:
    """Give the mean difference of pixels and of their gradients.

    There is noise in the latents: those the denoiser makes are never quite right either.
    """
    off = model.decode(latents + _NOISE * torch.randn_like(latents)).sample - signal
    gradients = off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean()
    loss: Tensor = off.abs().mean() + _GRADIENT_WEIGHT * gradients
    return loss


def _held(latents: Tensor, signal: Tensor) -> Tensor:
    """Hold latents near the mean colours, which are easy to denoise, and the rest small."""
    stray = (latents[:, :3] - mean_colours(signal, 8)).abs().mean()
    return _COLOUR_WEIGHT * stray + _DETAIL_WEIGHT * latents[:, 3].square().mean()


@torch.no_grad()
def _set_scale(model: AutoencoderKL, signal: Tensor) -> None:
    parts = torch.split(signal, 8)
    spread = torch.cat([model.encode(part).latent_dist.mean for part in parts]).std()
    model.register_to_config(scaling_factor=round(1 / float(spread), 5))
