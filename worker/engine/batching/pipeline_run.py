"""Requests that are alike, run together and whole by diffusers' own pipeline.

For the models our own loop cannot step: whatever diffusers' automatic choice knows.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from common.domain.errors import GenerationError, GenerationStoppedError
from common.domain.generation import Endpoint, GenerationRequest
from worker.engine.batching.timesteps import steps_and_strength
from worker.engine.errors import translated_errors
from worker.engine.models.loaded_model import LoadedModel

# Under these names pipelines take what is called after each step; the older one takes no tensors.
_AFTER_STEP: Final = "callback_on_step_end"
_AFTER_STEP_BEFORE: Final = "callback"


@dataclass(frozen=True, slots=True)
class PipelineSample:
    """One image of a request: its seed, and its pictures, each of the request's size."""

    request: GenerationRequest
    init: Image.Image | None
    mask: Image.Image | None
    seed: int


def batch_key(request: GenerationRequest) -> Hashable:
    """Tell which requests may be run together: those whose keys are equal.

    Prompts, seeds and pictures are each image's own.
    """
    return (
        request.model,
        request.endpoint,
        request.width,
        request.height,
        request.inference_steps,
        request.guidance_scale,
        request.strength,
        request.scheduler,
    )


def run_pipeline(
    model: LoadedModel,
    endpoint: Endpoint,
    orders: Sequence[PipelineSample],
    should_stop: Callable[[], bool],
) -> list[Image.Image]:
    """Draw an image for each of `orders`, whose requests have equal keys; RGB, of their size.

    A pipeline is given what it takes of a request: there are families that know no negative
    prompt, or no strength, and such a field is then without effect. One that draws in coarser
    sizes than asked for has its image brought to the size. `should_stop` is asked before the
    first step and after each, where the pipeline tells of its steps.

    Raises:
        UnsupportedRequestError: no scheduler of the wanted name fits the model.
        GenerationError: the model failed; another try may succeed.
        GenerationStoppedError: `should_stop` said yes.
    """

    def stop_if_told(*_step: Any) -> dict[str, Any]:
        if should_stop():
            raise GenerationStoppedError("the generation was stopped")
        return {}

    request = orders[0].request
    pipeline = model.pipelines[endpoint]
    pipeline.scheduler = model.scheduler_for(request)
    known = signature(type(pipeline).__call__).parameters
    after_step = _AFTER_STEP if _AFTER_STEP in known else _AFTER_STEP_BEFORE
    offered = {**_arguments(endpoint, orders), after_step: stop_if_told}
    stop_if_told()
    with translated_errors():
        output = pipeline(**{name: value for name, value in offered.items() if name in known})
        images = [_to_image(levels) for levels in output.images]
    size = (request.width, request.height)
    return [
        image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
        for image in images
    ]


def _arguments(endpoint: Endpoint, orders: Sequence[PipelineSample]) -> dict[str, Any]:
    request = orders[0].request
    steps, strength = request.inference_steps, request.strength
    arguments: dict[str, Any] = {
        "prompt": [order.request.prompt for order in orders],
        "negative_prompt": [order.request.negative_prompt for order in orders],
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        # The same noise on every device.
        "generator": [torch.Generator("cpu").manual_seed(order.seed) for order in orders],
        # Of sizes to choose from, rather than the one asked for.
        "use_resolution_binning": False,
        "output_type": "np",
    }
    if endpoint is not Endpoint.TEXT2IMG:
        steps, strength = steps_and_strength(steps, strength)
        arguments |= {"image": [order.init for order in orders], "strength": strength}
    if endpoint is Endpoint.INPAINT:
        arguments["mask_image"] = [order.mask for order in orders]
    return {**arguments, "num_inference_steps": steps}


def _to_image(levels: npt.NDArray[np.floating[Any]]) -> Image.Image:
    """Turn levels in 0 … 1, height × width × 3, into an image."""
    if not np.isfinite(levels).all():
        raise GenerationError("the model drew pixels that are not numbers")
    return Image.fromarray((levels * 255).round().astype(np.uint8), "RGB")
