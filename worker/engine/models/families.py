"""Model families: which models the device loop runs step by step, and which run as pipelines."""

from enum import StrEnum
from typing import Any, Final

# Of latents; or of latents, masked image latents and mask.
_CHANNELS: Final = (4, 9)
# Configuration keys of UNets with conditions that the stepwise engine does not supply.
_FOREIGN: Final = (
    "time_cond_proj_dim",
    "class_embed_type",
    "num_class_embeds",
    "encoder_hid_dim_type",
)
_ADDED: Final = "addition_embed_type"
# None, or computed from the prompt embeddings, which needs no further input.
_PLAIN_ADDED: Final = (None, "text")
_XL_ADDED: Final = "text_time"


class Family(StrEnum):
    """Model family, which decides how a model is run.

    Stable Diffusion and Stable Diffusion XL are run step by step by the device loop, which knows
    the inputs of their UNets. All other models are run by calls of their own diffusers pipelines.
    """

    STABLE_DIFFUSION = "Stable Diffusion"
    STABLE_DIFFUSION_XL = "Stable Diffusion XL"
    OTHER = "other"


def family_of(pipeline: Any) -> Family:
    """Return the model family of `pipeline`, determined by its components, not by its class name.

    Consistency models and image-conditioned models are saved under the class names of Stable
    Diffusion, but step differently. The refiner of Stable Diffusion XL has only one text encoder
    and takes aesthetic scores; it counts as `OTHER`.
    """
    components = pipeline.components
    unet = components.get("unet")
    if unet is None or components.get("vae") is None or not _is_steppable(unet.config):
        return Family.OTHER
    condition = unet.config.get(_ADDED)
    if condition in _PLAIN_ADDED and "text_encoder_2" not in components:
        return Family.STABLE_DIFFUSION
    if (
        condition == _XL_ADDED
        and components.get("text_encoder")
        and components.get("text_encoder_2")
    ):
        return Family.STABLE_DIFFUSION_XL
    return Family.OTHER


def _is_steppable(config: Any) -> bool:
    return (
        config.get("in_channels") in _CHANNELS
        and config.get("out_channels") == _CHANNELS[0]
        and all(config.get(key) is None for key in _FOREIGN)
    )
