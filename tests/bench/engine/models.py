"""Models to race with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from worker.generation.models.vocabulary import (
    END,
    MAX_TOKENS,
    START,
    byte_tokenizer,
    byte_vocabulary,
)

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Raced:
    """An inpainting model, and how long its races are.

    `ready_in` gives the folder it lies in, or writes it to the one that is given.
    """

    name: str
    side: int  # pixels of a picture
    steps: tuple[int, int]  # the fewest and the most that a request asks for
    dtype: str
    ready_in: Callable[[Path], Path]


def shipped(_: Path) -> Path:
    """Give the model that ships with the project."""
    return ROOT / "deploy/models/shapes-inpainting"


def full_sized(folder: Path) -> Path:
    """Write one of Stable Diffusion 1.5's sizes, from its configuration files, to `folder`.

    Its weights are random: speed does not depend on their values.
    """
    torch.manual_seed(0)
    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL(
            sample_size=512,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        ),
        text_encoder=_text_encoder(),
        tokenizer=byte_tokenizer(),
        unet=UNet2DConditionModel(
            sample_size=64,
            in_channels=9,
            out_channels=4,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=2,
            cross_attention_dim=768,
            attention_head_dim=8,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


SMALL = Raced("the small model, 256×256", 256, (8, 20), "float32", shipped)
FULL = Raced(
    "Stable Diffusion 1.5 inpainting, random weights, 512×512",
    512,
    (14, 26),
    "float16",
    full_sized,
)


def _text_encoder() -> CLIPTextModel:
    vocabulary = byte_vocabulary()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=768,
            intermediate_size=3072,
            projection_dim=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=vocabulary[START],
            eos_token_id=vocabulary[END],
            pad_token_id=vocabulary[END],
        )
    )
