"""The autoencoder (images to latents of an eighth of their side, and back) and its training."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from worker.training.learning.course import Course, train
from worker.training.learning.scale import FULL, Scale
from worker.training.networks.mean_colour_start import initialize_with_mean_colours, mean_colours
from worker.training.scenes.holes import ROOMY, anywhere, hole_around
from worker.training.scenes.world import Pixels, Random, paint, random_scene

Bytes = npt.NDArray[np.uint8]  # like Pixels, rounded down

SIZE: Final = 256
# First both halves are trained. Then the latents are settled, and the decoder alone learns sharp
# edges, at a learning rate that the whole would not tolerate. Crops are cheap and show every edge.
TOGETHER: Final = Course("autoencoder", steps=1200, rate=2.5e-4, folder=Path(), averaging=0.99)
SHARPER: Final = Course("decoder", steps=2000, rate=5e-4, folder=Path(), averaging=0.995)

_CROP: Final = 64
_BATCH_SIZE: Final = 16
_GRADIENT_WEIGHT: Final = 0.5
_COLOUR_WEIGHT: Final = 0.3
_DETAIL_WEIGHT: Final = 0.01
_NOISE: Final = 0.04


def new_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder whose latents are the mean colours of 8 × 8 pixel patches."""
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
    initialize_with_mean_colours(model)
    return model


def train_autoencoder(seed: int, folder: Path, scale: Scale = FULL) -> AutoencoderKL:
    """Train an autoencoder on scenes, first as a whole, then its decoder alone, and return it.

    Its scaling factor is set so that scaled latents have a standard deviation of 1. Checkpoints and
    losses are written to `folder`.
    """
    torch.manual_seed(seed)
    model = new_autoencoder()
    images = _images(seed, scale.autoencoder_images)

    def compute_loss(step: int) -> Tensor:
        tensor = _crops(seed, step, images)
        posterior = model.encode(tensor).latent_dist
        return _reconstruction_loss(model, posterior.mean, tensor) + _latent_loss(
            posterior.mean, tensor
        )

    train(model, compute_loss, scale.scale_course(TOGETHER, folder))
    _set_scale(model, to_tensor(images[:64]))
    sharpen(model, seed, folder, scale)
    return model


def sharpen(model: AutoencoderKL, seed: int, folder: Path, scale: Scale = FULL) -> None:
    """Train only the decoder of `model`, in place; the encoder and the latents do not change."""
    images = _images(seed, scale.autoencoder_images)

    def compute_loss(step: int) -> Tensor:
        tensor = _crops(seed + 1, step, images)
        with torch.no_grad():
            latents = model.encode(tensor).latent_dist.mean
        return _reconstruction_loss(model, latents, tensor)

    decoder = nn.ModuleList([model.post_quant_conv, model.decoder])
    train(decoder, compute_loss, scale.scale_course(SHARPER, folder))
    model.eval()


def to_tensor(images: Pixels | Bytes) -> Tensor:
    """Convert images (count × height × width × 3, 0 to 255) to the autoencoder's input.

    The result is count × 3 × height × width, -1 to 1, float32.
    """
    return torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1


def to_images(tensor: Tensor) -> Pixels:
    """Convert the autoencoder's output (count × 3 × height × width) to images; inverts `to_tensor`.

    Values are clipped to -1 to 1. The result is count × height × width × 3, 0 to 255, float32.
    """
    return ((tensor.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()


def _images(seed: int, count: int) -> Bytes:
    rng = np.random.default_rng(seed)
    return np.stack([_with_hole(rng, paint(random_scene(rng), SIZE)) for _ in range(count)])


def _with_hole(rng: Random, image: Pixels) -> Bytes:
    """Return `image` as uint8; with probability 1/3, a random hole in it is filled with grey.

    Inpainting encodes images with such holes too, so the autoencoder must reproduce them. `image`
    may be changed in place.
    """
    if rng.random() < 1 / 3:
        image[hole_around(rng, anywhere(rng), len(image), ROOMY)] = 127.5
    return image.astype(np.uint8)


def _crops(seed: int, step: int, images: Bytes) -> Tensor:
    """Return the training batch of a step: random, rotated crops of `images` as a tensor.

    Equal seeds and steps give equal crops. The function also seeds torch's global generator, from
    which `_reconstruction_loss` draws the noise it adds to the latents.
    """
    rng = np.random.default_rng((seed, step))
    torch.manual_seed(step)
    crops = []
    for index in rng.integers(len(images), size=_BATCH_SIZE):
        y, x = rng.integers(SIZE - _CROP + 1, size=2)
        crop = images[index, y : y + _CROP, x : x + _CROP]
        crops.append(np.rot90(crop, int(rng.integers(4))))
    return to_tensor(np.stack(crops))


def _reconstruction_loss(model: AutoencoderKL, latents: Tensor, tensor: Tensor) -> Tensor:
    """Return the mean absolute error of the decoded pixels and of their gradients along both axes.

    Noise is added to the latents before decoding, because the latents that the denoiser generates
    are not exact either.
    """
    error = model.decode(latents + _NOISE * torch.randn_like(latents)).sample - tensor
    gradients = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    loss: Tensor = error.abs().mean() + _GRADIENT_WEIGHT * gradients
    return loss


def _latent_loss(latents: Tensor, tensor: Tensor) -> Tensor:
    """Return the penalty on latents: channels 0 to 2 should be mean colours, channel 3 small.

    The penalty is the mean absolute deviation of the first three channels from the mean colours of
    8 × 8 pixel patches, which are easy to denoise, plus the mean square of the fourth, each
    weighted.
    """
    deviation = (latents[:, :3] - mean_colours(tensor, 8)).abs().mean()
    return _COLOUR_WEIGHT * deviation + _DETAIL_WEIGHT * latents[:, 3].square().mean()


@torch.no_grad()
def _set_scale(model: AutoencoderKL, tensor: Tensor) -> None:
    parts = torch.split(tensor, 8)
    spread = torch.cat([model.encode(part).latent_dist.mean for part in parts]).std()
    model.register_to_config(scaling_factor=round(1 / float(spread), 5))
