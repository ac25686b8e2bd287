"""Models with random weights to race with: their speed does not depend on the values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from worker.engine.models.byte_tokenizer import (
    END,
    MAX_TOKENS,
    START,
    byte_tokenizer,
    byte_vocabulary,
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """An inpainting model's sizes, and the images and steps its requests ask for."""

    name: str
    side: int  # pixels of an image
    steps: tuple[int, int]  # the fewest and the most that a request asks for
    dtype: str
    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]


SMALL = Architecture(
    name="small model, 256×256",
    side=256,
    steps=(8, 20),
    dtype="float32",
    unet={
        "block_out_channels": (32, 64, 96),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 64,
        "attention_head_dim": (1, 2, 3),
        "norm_num_groups": 8,
    },
    vae={
        "block_out_channels": (8, 16, 32, 64),
        "layers_per_block": 1,
        "mid_block_add_attention": False,
        "norm_num_groups": 4,
    },
    text={"hidden_size": 64, "intermediate_size": 256, "layers": 2, "heads": 4},
)

# The sizes of Stable Diffusion 1.5's inpainting model, from its configuration files.
FULL = Architecture(
    name="Stable Diffusion 1.5 inpainting, 512×512",
    side=512,
    steps=(14, 26),
    dtype="float16",
    unet={
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    text={"hidden_size": 768, "intermediate_size": 3072, "layers": 12, "heads": 12},
)


def save(architecture: Architecture, folder: Path) -> Path:
    """Write a model of that architecture in diffusers' layout and return its folder."""
    torch.manual_seed(0)
    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL(
            sample_size=architecture.side,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            **architecture.vae,
        ),
        text_encoder=_text_encoder(architecture.text),
        tokenizer=byte_tokenizer(),
        unet=UNet2DConditionModel(
            sample_size=architecture.side // 8, in_channels=9, out_channels=4, **architecture.unet
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


def _text_encoder(sizes: dict[str, Any]) -> CLIPTextModel:
    vocabulary = byte_vocabulary()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=sizes["hidden_size"],
            intermediate_size=sizes["intermediate_size"],
            projection_dim=sizes["hidden_size"],
            num_hidden_layers=sizes["layers"],
            num_attention_heads=sizes["heads"],
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=vocabulary[START],
            eos_token_id=vocabulary[END],
            pad_token_id=vocabulary[END],
        )
    )
