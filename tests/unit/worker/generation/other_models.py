"""Models beside the stand-ins, small and random too, saved as a hub would hold them."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
)


def saved_xl(standin: Path, folder: Path) -> Path:
    """A Stable Diffusion XL of the parts of the stand-in `standin`."""
    parts = StableDiffusionPipeline.from_pretrained(standin, safety_checker=None).components
    text_config = CLIPTextConfig.from_pretrained(standin / "text_encoder")
    width = text_config.projection_dim
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=2 * width,
        attention_head_dim=2,
        norm_num_groups=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + width,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=parts["vae"],
        text_encoder=parts["text_encoder"],
        text_encoder_2=CLIPTextModelWithProjection(text_config),
        tokenizer=parts["tokenizer"],
        tokenizer_2=parts["tokenizer"],
        unet=unet,
        scheduler=parts["scheduler"],
    )
    pipeline.save_pretrained(folder)
    return folder


def saved_with_checker(standin: Path, folder: Path, *, flags: bool) -> Path:
    """The stand-in `standin` with a safety checker that flags every picture, or none."""
    small: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(
            text_config=small,
            vision_config={**small, "image_size": 32, "patch_size": 16},
            projection_dim=16,
        )
    )
    # A concept counts as seen when its cosine exceeds the threshold stored here.
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0 if flags else 2.0)
    torch.nn.init.constant_(checker.special_care_embeds_weights, 2.0)
    pipeline = StableDiffusionPipeline.from_pretrained(
        standin,
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    )
    pipeline.save_pretrained(folder)
    return folder
