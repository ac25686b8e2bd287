"""A request alone in the engine has the same result as the pipeline of diffusers."""

from typing import Any

import numpy as np
import pytest
import torch

from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.batching.harness import StepperHarness
from tests.unit.worker.engine.generating import inputs_for
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.models.families import Family
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.schedulers import fresh_scheduler, scheduler_named

# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

# One level of 255: the engine rounds once more where it stacks.
TOLERANCE = 1

SCHEDULERS = [
    "DDIM",
    "PNDM",
    "Euler",
    "Euler a",
    "DPM++ 2M",
    "DPM++ 2M Karras",
    "UniPC",
    "LCM",
]


def by_pipeline(model: LoadedModel, request: GenerationRequest) -> np.ndarray[Any, Any]:
    """Return what diffusers generates for the same request, height × width × 3."""
    pixels = inputs_for(request)
    pipeline = model.pipelines[request.endpoint]
    named = request.scheduler and scheduler_named(request.scheduler, model.scheduler)
    pipeline.scheduler = named or fresh_scheduler(model.scheduler)
    arguments: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "guidance_scale": request.guidance_scale,
        "num_inference_steps": request.inference_steps,
    }
    if pixels.init is not None:
        arguments |= {"image": pixels.init, "strength": request.strength}
    if pixels.mask is not None:
        arguments |= {"mask_image": pixels.mask}
    if request.endpoint is not Endpoint.IMG2IMG:
        arguments |= {"width": request.width, "height": request.height}
    generator = torch.Generator("cpu").manual_seed(request.seed)
    generated = pipeline(**arguments, generator=generator, output_type="np").images[0]
    expected: np.ndarray[Any, Any] = np.rint(generated * 255).astype(int)
    return expected


def assert_equal(
    stepping: StepperHarness, models: dict[str, LoadedModel], request: GenerationRequest
) -> None:
    (generated,) = stepping.alone(request)
    expected = by_pipeline(models[request.model], request)
    assert expected.std() > 5, "a uniform image would show nothing"
    assert np.abs(np.asarray(generated, dtype=int) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("endpoint", Endpoint)
def test_every_scheduler_and_endpoint_equals_the_pipeline(
    stepping: StepperHarness, models: dict[str, LoadedModel], scheduler: str, endpoint: Endpoint
) -> None:
    request = a_request(endpoint, scheduler=scheduler, inference_steps=5)
    assert_equal(stepping, models, request)


@pytest.mark.parametrize("scheduler", ["DDIM", "Euler a", "DPM++ 2M Karras"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_inpainting_by_a_unet_without_mask_input_equals_the_pipeline(
    stepping: StepperHarness, models: dict[str, LoadedModel], scheduler: str, strength: float
) -> None:
    request = a_request(
        Endpoint.INPAINT, model="standin", scheduler=scheduler, strength=strength, inference_steps=4
    )
    assert_equal(stepping, models, request)


@pytest.mark.parametrize("scheduler", ["Euler", "LCM"])
@pytest.mark.parametrize("endpoint", Endpoint)
def test_stable_diffusion_xl_equals_the_pipeline(
    stepping: StepperHarness, models: dict[str, LoadedModel], scheduler: str, endpoint: Endpoint
) -> None:
    request = a_request(endpoint, model="xl", scheduler=scheduler, inference_steps=3)
    assert_equal(stepping, models, request)


def test_a_unet_with_the_pooled_prompt_as_condition_equals_the_pipeline(
    stepping: StepperHarness, models: dict[str, LoadedModel]
) -> None:
    assert models["pooled"].family is Family.STABLE_DIFFUSION
    assert_equal(stepping, models, a_request(Endpoint.INPAINT, model="pooled", inference_steps=3))


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize("change", [{"strength": 1.0}, {"guidance_scale": 1.0}, {"width": 104}])
def test_corner_cases_equal_the_pipeline(
    stepping: StepperHarness,
    models: dict[str, LoadedModel],
    endpoint: Endpoint,
    change: dict[str, Any],
) -> None:
    assert_equal(stepping, models, a_request(endpoint, inference_steps=3, **change))
