"""One image: from a loaded model, a request and a seed."""

from collections.abc import Callable
from itertools import count
from math import floor
from typing import Any, Final

import torch
from PIL import Image

from common.domain.errors import GenerationError, GenerationStoppedError
from common.domain.generation import Endpoint, GenerationRequest
from worker.generation.compose import keep_outside_mask
from worker.generation.failures import told_as_ours
from worker.generation.models.loaded import LoadedModel
from worker.generation.pixels import Pixels

# Less changes nothing one can see, and would need a finer schedule than models are trained on.
LEAST_STRENGTH: Final = 0.01


def draw(
    model: LoadedModel,
    request: GenerationRequest,
    pixels: Pixels,
    seed: int,
    should_stop: Callable[[], bool],
) -> tuple[Image.Image, bool]:
    """Draw one image, and say whether it was found unsafe; an unsafe one is blank: all black.

    Raises:
        UnsupportedRequestError: no scheduler of the wanted name fits the model.
        GenerationError: the model failed; another try may succeed.
        GenerationStoppedError: `should_stop` said yes before a step.
    """
    generated = _run(model, request, pixels, seed, should_stop)
    if request.safety_checker and model.safety and model.safety.finds_unsafe(generated):
        return Image.new("RGB", generated.size), True
    if pixels.init and pixels.mask:
        return keep_outside_mask(generated, pixels.init, pixels.mask), False
    return generated, False


def schedule(steps: int, strength: float) -> tuple[int, float]:
    """Give the steps and strength to ask diffusers for, so that at least one step is run.

    diffusers lays out `steps` and runs the last int(steps × strength) of them, which can be none:
    then the schedule is laid out finer, until one step lies within the strength.
    """
    strength = max(strength, LEAST_STRENGTH)
    finer = count(max(steps, floor(1 / strength)))
    return next(laid_out for laid_out in finer if int(laid_out * strength)), strength


def _run(
    model: LoadedModel,
    request: GenerationRequest,
    pixels: Pixels,
    seed: int,
    should_stop: Callable[[], bool],
) -> Image.Image:
    def after_step(_pipeline: Any, _step: int, _time: Any, _tensors: Any) -> dict[str, Any]:
        _stop_if(should_stop)
        return {}

    _stop_if(should_stop)
    pipeline = model.pipelines[request.endpoint]
    pipeline.scheduler = model.scheduler_for(request)
    with told_as_ours():
        output = pipeline(
            **_arguments(request, pixels),
            generator=torch.Generator("cpu").manual_seed(seed),  # the same noise on every device
            callback_on_step_end=after_step,
            output_type="pt",
        )
        return _to_image(output.images[0])


def _stop_if(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise GenerationStoppedError("the generation was stopped")


def _arguments(request: GenerationRequest, pixels: Pixels) -> dict[str, Any]:
    """Give the pipeline's arguments; each endpoint's pipeline takes others."""
    common = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "guidance_scale": request.guidance_scale,
    }
    size = {"width": request.width, "height": request.height}
    if request.endpoint is Endpoint.TEXT2IMG:
        return {**common, **size, "num_inference_steps": request.inference_steps}
    steps, strength = schedule(request.inference_steps, request.strength)
    changed = {**common, "image": pixels.init, "num_inference_steps": steps, "strength": strength}
    if request.endpoint is Endpoint.IMG2IMG:
        return changed
    return {**changed, **size, "mask_image": pixels.mask}


def _to_image(levels: torch.Tensor) -> Image.Image:
    """Turn levels in 0 … 1, 3 × height × width, into an image."""
    levels = levels.float()
    if not torch.isfinite(levels).all():
        raise GenerationError("the model drew pixels that are not numbers")
    rows = levels.permute(1, 2, 0).mul(255).round().to(torch.uint8)
    return Image.fromarray(rows.cpu().numpy(), "RGB")
