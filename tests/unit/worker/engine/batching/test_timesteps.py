"""Number and choice of timesteps."""

import pytest
from diffusers import PNDMScheduler
from hypothesis import given
from hypothesis import strategies as st

from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.timesteps import LEAST_STRENGTH, Timesteps, steps_and_strength
from worker.engine.models.schedulers import scheduler_named

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

TEMPLATE = PNDMScheduler(skip_prk_steps=True, steps_offset=1)


def timesteps_of(request: GenerationRequest) -> Timesteps:
    return Timesteps.of(request, scheduler_named(str(request.scheduler), TEMPLATE))


@given(st.integers(1, 51), st.floats(0, 1, exclude_min=True))
def test_at_least_one_step_is_run(steps: int, strength: float) -> None:
    laid_out, kept = steps_and_strength(steps, strength)
    assert int(laid_out * kept) >= 1
    assert kept == max(strength, LEAST_STRENGTH)
    if int(steps * strength) >= 1:
        assert laid_out == steps
    else:
        assert int(laid_out * kept) == 1


@pytest.mark.parametrize("endpoint", [Endpoint.INPAINT, Endpoint.IMG2IMG])
@pytest.mark.parametrize("steps", [1, 2, 51])
@pytest.mark.parametrize("strength", [1e-9, 0.02, 0.7, 1.0])
def test_the_number_of_timesteps_is_steps_times_strength(
    endpoint: Endpoint, steps: int, strength: float
) -> None:
    request = a_request(
        endpoint, inference_steps=steps, strength=strength, scheduler="DDIMScheduler"
    )
    values = timesteps_of(request).values
    assert len(values) == max(1, int(steps * strength))
    assert sorted(values, reverse=True) == list(values)


def test_text2img_runs_all_steps() -> None:
    request = a_request(Endpoint.TEXT2IMG, inference_steps=9, strength=0.2, scheduler="Euler")
    assert len(timesteps_of(request).values) == 9


def test_an_unsupported_number_of_steps_is_rejected() -> None:
    request = a_request(Endpoint.TEXT2IMG, inference_steps=51, scheduler="LCM")
    with pytest.raises(UnsupportedRequestError) as rejected:
        timesteps_of(request)
    assert rejected.value.message.startswith(
        "num_inference_steps: LCMScheduler does not support 51 steps"
    )
