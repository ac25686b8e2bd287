"""Small random models of other kinds than the stand-ins, in diffusers' layout."""

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)


def saved_xl(standin: Path, folder: Path) -> Path:
    """Save a Stable Diffusion XL made of the stand-in's components; return its folder."""
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


def saved_with_prompt_beside_time(standin: Path, folder: Path) -> Path:
    """Save the inpainting stand-in with the prompt embeddings as an additional UNet condition."""
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(standin, safety_checker=None)
    added = {"addition_embed_type": "text", "addition_embed_type_num_heads": 2}
    pipeline.unet = UNet2DConditionModel.from_config({**pipeline.unet.config, **added})
    pipeline.save_pretrained(folder)
    return folder


def saved_with_checker(standin: Path, folder: Path, *, flags: bool) -> Path:
    """Save the stand-in with a safety checker that flags every image, or none."""
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


def saved_sd3(standin: Path, folder: Path) -> Path:
    """Save a Stable Diffusion 3, which has no UNet, without its optional third text encoder."""
    text_config = CLIPTextConfig.from_pretrained(standin / "text_encoder")
    tokenizer = StableDiffusionPipeline.from_pretrained(standin, safety_checker=None).tokenizer
    width = text_config.projection_dim
    channels = 16
    pipeline = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=1,
            in_channels=channels,
            out_channels=channels,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * width,
            caption_projection_dim=16,
            pooled_projection_dim=2 * width,
        ),
        vae=_autoencoder(channels),
        text_encoder=CLIPTextModelWithProjection(text_config),
        text_encoder_2=CLIPTextModelWithProjection(text_config),
        text_encoder_3=None,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=None,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    pipeline.save_pretrained(folder)
    return folder


def saved_pixart(folder: Path) -> Path:
    """Save a PixArt-Σ, which has text2img only and the older step callback."""
    letters = [(letter, -1.0) for letter in ("▁", *ascii_lowercase)]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0)]
    tokenizer = T5Tokenizer(vocab=[*special, *letters], extra_ids=0)
    width = 16
    pipeline = PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2
            )
        ),
        vae=_autoencoder(4),
        transformer=PixArtTransformer2DModel(
            sample_size=8,
            patch_size=1,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            in_channels=4,
            out_channels=8,
            cross_attention_dim=16,
            caption_channels=width,
            use_additional_conditions=False,
        ),
        scheduler=DPMSolverMultistepScheduler(),
    )
    pipeline.save_pretrained(folder)
    return folder


def _autoencoder(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=64,
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        shift_factor=0.0,
    )
