"""The diffusers pipeline class for each endpoint that a model supports.

The classes of Stable Diffusion are listed here. For other models diffusers' automatic choice is
used, which takes seconds because it imports every pipeline of diffusers.
"""

import json
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from diffusers.utils import logging as diffusers_logging
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import disable_progress_bars
from transformers.utils import logging as transformers_logging

# Before the pipelines are imported: some of their imports warn of image processors that are not
# used here. From here on, these libraries log errors only.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()
disable_progress_bars()
# diffusers passes an argument that the hub's client has deprecated, without effect.
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

# The file at the top of weights in diffusers' layout, and its key for the pipeline's class.
INDEX: Final = "model_index.json"
CLASS: Final = "_class_name"

Pipelines = Mapping[Endpoint, Any]

STABLE_DIFFUSION: Final[Pipelines] = {
    Endpoint.INPAINT: StableDiffusionInpaintPipeline,
    Endpoint.IMG2IMG: StableDiffusionImg2ImgPipeline,
    Endpoint.TEXT2IMG: StableDiffusionPipeline,
}
STABLE_DIFFUSION_XL: Final[Pipelines] = {
    Endpoint.INPAINT: StableDiffusionXLInpaintPipeline,
    Endpoint.IMG2IMG: StableDiffusionXLImg2ImgPipeline,
    Endpoint.TEXT2IMG: StableDiffusionXLPipeline,
}


def index_of(source: str, revision: str | None) -> dict[str, Any]:
    """Read the model_index.json of the weights in `source`, a folder or a Hugging Face hub id.

    Raises:
        OSError: there are no weights in diffusers' layout, or the hub cannot be reached.
    """
    path = Path(source, INDEX)
    if not Path(source).is_absolute():
        path = Path(hf_hub_download(source, INDEX, revision=revision))
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return index


def pipelines_of(class_name: str) -> Pipelines:
    """Return the diffusers pipeline class for each endpoint that a model supports.

    `class_name` is the pipeline class the model was saved as. The mapping is empty if the model
    generates no images, or if diffusers' automatic pipelines do not know the class.
    """
    for pipelines in (STABLE_DIFFUSION, STABLE_DIFFUSION_XL):
        if class_name in {pipeline.__name__ for pipeline in pipelines.values()}:
            return pipelines
    return _chosen_by_diffusers(class_name)


def _chosen_by_diffusers(class_name: str) -> Pipelines:
    auto_pipeline = import_module("diffusers.pipelines.auto_pipeline")
    names = {
        name
        for mapping in auto_pipeline.SUPPORTED_TASKS_MAPPINGS
        for name, pipeline in mapping.items()
        if pipeline.__name__ == class_name
    }
    by_endpoint = {
        Endpoint.INPAINT: auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
        Endpoint.IMG2IMG: auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        Endpoint.TEXT2IMG: auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    }
    return {
        endpoint: mapping[name]
        for endpoint, mapping in by_endpoint.items()
        for name in sorted(names)
        if name in mapping
    }
