"""The families of models: which are stepped by our own loop, which run as a whole."""

from enum import StrEnum
from typing import Any, Final

# Of latents; or of latents, masked image and mask.
_CHANNELS: Final = (4, 9)
# Parts of a UNet's configuration that ask for conditions our steps do not give.
_FOREIGN: Final = (
    "time_cond_proj_dim",
    "class_embed_type",
    "num_class_embeds",
    "encoder_hid_dim_type",
)
_ADDED: Final = "addition_embed_type"
# Of nothing, or of what the prompt's own embeddings say as a whole, which asks for no more.
_PLAIN_ADDED: Final = (None, "text")
_XL_ADDED: Final = "text_time"


class Family(StrEnum):
    """How a model is run.

    The first two are stepped by our own loop, which knows what their UNets take; the rest is
    run whole, by diffusers' own pipeline.
    """

    STABLE_DIFFUSION = "Stable Diffusion"
    STABLE_DIFFUSION_XL = "Stable Diffusion XL"
    OTHER = "other"


def family_of(pipeline: Any) -> Family:
    """Tell the family by what the pipeline is made of, not by its name.

    A consistency model, or one conditioned on pictures, is saved under the same class names as
    Stable Diffusion, and steps otherwise; a refiner of Stable Diffusion XL reads one text encoder
    and scores of beauty.
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
