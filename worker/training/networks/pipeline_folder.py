"""Save the trained networks as a diffusers pipeline folder, and load such a folder."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from common.domain.generation import Endpoint
from worker.engine.models.pipelines import STABLE_DIFFUSION
from worker.training.networks.denoiser import Denoiser, new_scheduler
from worker.training.networks.safety_checker import new_extractor


def save_model(
    autoencoder: AutoencoderKL,
    denoiser: Denoiser,
    checker: StableDiffusionSafetyChecker,
    folder: Path,
) -> None:
    """Write the networks to `folder` as a diffusers inpainting pipeline, in half precision.

    The networks are converted in place.
    """
    denoiser.unet.to(memory_format=torch.contiguous_format)  # safetensors requires it
    # Otherwise the configuration contains the path it was loaded from.
    autoencoder.register_to_config(_name_or_path=folder.name)
    pipeline = STABLE_DIFFUSION[Endpoint.INPAINT](
        vae=autoencoder,
        text_encoder=denoiser.text_encoder,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet,
        scheduler=new_scheduler(),
        safety_checker=checker,
        feature_extractor=new_extractor(),
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)


def open_model(folder: Path) -> Any:
    """Load the inpainting pipeline in `folder`: float32, on the CPU, without safety checker."""
    pipeline = STABLE_DIFFUSION[Endpoint.INPAINT].from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def weight_bytes(folder: Path) -> int:
    """Return the total size in bytes of the safetensors files in `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
