"""Components of a Stable Diffusion pipeline (1, 2 or XL) that the step-by-step engine uses."""

from typing import Any, Final

import torch
from diffusers.image_processor import VaeImageProcessor

from worker.engine.prompts.encoder import PromptEncoder

# A UNet for inpainting takes the mask and the masked image's latents beside the 4 latent channels.
INPAINTING_CHANNELS: Final = 9
LATENT_CHANNELS: Final = 4


class PipelineComponents:
    """The networks of one model, its prompt encoder and its image preprocessing.

    `vae_scale_factor` is the number of image pixels along the side of one latent pixel. `dtype` is
    the type of latents between steps; `vae_dtype` is the autoencoder's type, which may be wider.
    `threads` is the number of CPU threads to compute with. `takes_mask` is true if the UNet is made
    for inpainting and takes the mask as input; `has_size_condition` is true if it takes Stable
    Diffusion XL's size conditions.
    """

    def __init__(self, pipeline: Any, *, threads: int) -> None:
        """Extract the components of `pipeline`, the model's pipeline for any endpoint.

        An autoencoder known to overflow in half precision (`force_upcast`) is converted to single
        precision permanently. diffusers' pipelines save memory by converting it back and forth for
        every image, but that takes too much time.
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
