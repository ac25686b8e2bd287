"""The model families we run, and the diffusers pipeline of each for each endpoint.

Named one by one: diffusers' automatic choice imports every pipeline it has, which costs each
worker seconds at start.
"""

import json
import warnings
from pathlib import Path
from typing import Any, Final

from diffusers.utils import logging as diffusers_logging
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import disable_progress_bars
from transformers.utils import logging as transformers_logging

# Before the pipelines are imported: some of what they import warns of image processors that
# nothing here uses. From here on, only errors of these libraries reach the log.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()
disable_progress_bars()
# diffusers passes an argument that the hub's client has retired; it changes nothing.
warnings.filterwarnings("ignore", message="The `local_dir_use_symlinks` argument")

from diffusers import (  # noqa: E402 - must follow the lines above
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)

from common.domain.generation import Endpoint  # noqa: E402 - the same

Family = dict[Endpoint, Any]

STABLE_DIFFUSION: Final[Family] = {
    Endpoint.INPAINT: StableDiffusionInpaintPipeline,
    Endpoint.IMG2IMG: StableDiffusionImg2ImgPipeline,
    Endpoint.TEXT2IMG: StableDiffusionPipeline,
}
STABLE_DIFFUSION_XL: Final[Family] = {
    Endpoint.INPAINT: StableDiffusionXLInpaintPipeline,
    Endpoint.IMG2IMG: StableDiffusionXLImg2ImgPipeline,
    Endpoint.TEXT2IMG: StableDiffusionXLPipeline,
}


def pipeline_named_in(source: str, revision: str | None) -> str:
    """Give the class name that the weights in `source`, a folder or hub id, were saved under.

    Raises:
        OSError: there is nothing there that diffusers has saved, or the hub cannot be reached.
    """
    index = Path(source, "model_index.json")
    if not Path(source).is_absolute():
        index = Path(hf_hub_download(source, index.name, revision=revision))
    return str(json.loads(index.read_text(encoding="utf-8"))["_class_name"])


def family_of(class_name: str) -> Family | None:
    """Give the family whose pipelines include `class_name`, None if we run none such."""
    for family in (STABLE_DIFFUSION, STABLE_DIFFUSION_XL):
        if class_name in {pipeline.__name__ for pipeline in family.values()}:
            return family
    return None
