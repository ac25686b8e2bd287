"""Small stand-in models of Stable Diffusion's architecture, with random weights.

They generate coloured noise within a short time. Tests use them to check everything around the
model, with the same pipelines, files and loader as real weights, but without a model hub or a GPU.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from worker.engine.models.byte_tokenizer import (
    END,
    MAX_TOKENS,
    START,
    byte_tokenizer,
    byte_vocabulary,
)
from worker.engine.models.pipelines import STABLE_DIFFUSION

# Input channels of the UNet: 4 of latents; for inpainting also 4 of the masked image, 1 of the
# mask.
KINDS: Final = {"base": 4, "inpainting": 9}
SEED: Final = 20_240_229
# Part of the folder's name: raise it when the architecture below changes, else old folders are
# used.
EDITION: Final = 1

_TEXT_WIDTH: Final = 32
_GROUPS: Final = 4


def stand_in_folder(kind: str, directory: Path) -> Path:
    """Return the folder of the stand-in model `kind` (base or inpainting); build it if missing.

    The folder is built under a temporary name in `directory` and then renamed, so that several
    workers can start at the same time.

    Raises:
        ConfigurationError: `kind` is unknown, or the folder cannot be written.
    """
    if kind not in KINDS:
        raise ConfigurationError(
            f"there is no stand-in model random:{kind}, only "
            + " and ".join(f"random:{known}" for known in KINDS)
        )
    folder = directory / f"random-{kind}-{EDITION}"
    if not folder.is_dir():
        try:
            _build(kind, folder)
        except OSError as error:
            raise ConfigurationError(
                f"the stand-in model cannot be stored in {directory}: {error}; "
                "point INFILL_MODELS_DIRECTORY to a folder that can be written"
            ) from error
    return folder


def _build(kind: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".building-") as scratch:
        built = Path(scratch) / folder.name
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            _pipeline(kind).save_pretrained(built)
        try:
            built.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another worker was first, with the same weights
                raise


def _pipeline(kind: str) -> Any:
    endpoint = Endpoint.INPAINT if kind == "inpainting" else Endpoint.TEXT2IMG
    return STABLE_DIFFUSION[endpoint](
        vae=_autoencoder(),
        text_encoder=_text_encoder(),
        tokenizer=byte_tokenizer(),
        unet=_unet(KINDS[kind]),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _unet(in_channels: int) -> UNet2DConditionModel:
    # Attention costs the square of the pixels, so only the smaller of the two levels has it.
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=2,
        norm_num_groups=_GROUPS,
    )


def _autoencoder() -> AutoencoderKL:
    # Four levels halve the image three times: the factor of 8 of Stable Diffusion.
    return AutoencoderKL(
        sample_size=512,
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        mid_block_add_attention=False,
        norm_num_groups=_GROUPS,
    )


def _text_encoder() -> CLIPTextModel:
    vocabulary = byte_vocabulary()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=_TEXT_WIDTH,
            intermediate_size=2 * _TEXT_WIDTH,
            projection_dim=_TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=vocabulary[START],
            eos_token_id=vocabulary[END],
            pad_token_id=vocabulary[END],
        )
    )


def _scheduler() -> PNDMScheduler:
    # The configuration of Stable Diffusion 1.5.
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    )
