"""The parts of a Stable Diffusion pipeline (1, 2 or XL) that the stepwise engine uses."""

from typing import Any, Final

import torch
from diffusers.image_processor import VaeImageProcessor

from worker.engine.prompts.encoder import PromptEncoder

# A UNet for inpainting takes the mask and the masked image's latents beside the 4 latent channels.
INPAINTING_CHANNELS: Final = 9
LATENT_CHANNELS: Final = 4


class PipelineComponents:
    """The networks of one model and its image preprocessing.

    `vae_scale_factor` is the number of pixels along one latent's side. `dtype` is the type of
    latents between steps, `vae_dtype` the autoencoder's, which may be wider. `threads` is the
    number of CPU threads to compute with.
    """

    def __init__(self, pipeline: Any, *, threads: int) -> None:
        """Take the components of a pipeline of any endpoint.

        An autoencoder known to overflow in half precision (`force_upcast`) is converted to single
        precision for good. diffusers' pipelines convert it back and forth for every image, which
        costs more than the memory is worth.
        """
        self.threads = threads
        self.unet = pipeline.unet
        self.vae = pipeline.vae
        self.prompt_encoder = PromptEncoder(pipeline)
        self.vae_scale_factor: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.scaling_factor: float = self.vae.config.scaling_factor
        self.takes_mask = self.unet.config.in_channels == INPAINTING_CHANNELS
        self.has_size_condition = self.unet.config.addition_embed_type == "text_time"
        self.dtype: torch.dtype = self.unet.dtype
        if self.vae.dtype == torch.float16 and self.vae.config.get("force_upcast"):
            self.vae.to(torch.float32)
        self.vae_dtype: torch.dtype = self.vae.dtype
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor)
        self.mask_processor = VaeImageProcessor(
            vae_scale_factor=self.vae_scale_factor,
            do_normalize=False,
            do_binarize=True,
            do_convert_grayscale=True,
        )
