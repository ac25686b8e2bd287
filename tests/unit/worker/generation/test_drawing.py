"""Steps, schedulers, stopping, and what happens when the model fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.domain.errors import GenerationError, GenerationStoppedError
from common.domain.generation import Endpoint
from tests.unit.worker.generation.conftest import an_entry
from tests.unit.worker.generation.drawings import Stopping, drawn, generated, pixels_for
from tests.unit.worker.generation.pictures import a_request, same
from worker.generation.diffusion import DiffusersEngine
from worker.generation.drawing import LEAST_STRENGTH, draw, schedule
from worker.generation.engine import UNWATCHED
from worker.generation.models.loader import load_model

# diffusers' schedulers hand torch tensors to NumPy 2 in the way of NumPy 1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@given(st.integers(1, 51), st.floats(0, 1, exclude_min=True))
def test_at_least_one_step_is_run(steps: int, strength: float) -> None:
    laid_out, kept = schedule(steps, strength)
    assert int(laid_out * kept) >= 1
    assert kept == max(strength, LEAST_STRENGTH)
    if int(steps * strength) >= 1:
        assert laid_out == steps
    else:
        assert int(laid_out * kept) == 1


@pytest.mark.parametrize("endpoint", [Endpoint.INPAINT, Endpoint.IMG2IMG])
@pytest.mark.parametrize("steps", [1, 2, 51])
@pytest.mark.parametrize("strength", [1e-9, 0.02, 0.7, 1.0])
def test_any_steps_with_any_strength(
    engine: DiffusersEngine, endpoint: Endpoint, steps: int, strength: float
) -> None:
    steps = min(steps, 51 if strength < 0.1 else 3)
    assert drawn(engine, a_request(endpoint, inference_steps=steps, strength=strength))


SCHEDULERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 3])
def test_every_scheduler_draws_the_same_twice(
    engine: DiffusersEngine, scheduler: str, steps: int
) -> None:
    for endpoint in (Endpoint.TEXT2IMG, Endpoint.INPAINT):
        request = a_request(endpoint, scheduler=scheduler, inference_steps=steps)
        assert same(drawn(engine, request), drawn(engine, request))


def stopping_after(
    calls: int, error: Exception | None = None
) -> tuple[Callable[[], bool], list[int]]:
    """Something that says no `calls` times, then yes or raises; and what it was asked."""
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(len(asked))
        if error is not None and len(asked) > calls:
            raise error
        return len(asked) > calls

    return should_stop, asked


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize("after", [0, 3])
def test_stops_before_the_next_step_and_draws_on_as_before(
    engine: DiffusersEngine, endpoint: Endpoint, after: int
) -> None:
    request = a_request(endpoint, inference_steps=10, strength=1.0)
    undisturbed = drawn(engine, request)
    should_stop, asked = stopping_after(after)
    with pytest.raises(GenerationStoppedError):
        generated(engine, request, Stopping(should_stop))
    assert len(asked) == after + 1
    assert same(drawn(engine, request), undisturbed)


def test_stops_between_two_images(engine: DiffusersEngine) -> None:
    should_stop, asked = stopping_after(1 + 2)
    with pytest.raises(GenerationStoppedError):
        generated(engine, a_request(Endpoint.TEXT2IMG, samples=4), Stopping(should_stop))
    assert len(asked) == 4


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full of secrets"), MemoryError()])
def test_no_memory_is_said(engine: DiffusersEngine, error: Exception) -> None:
    should_stop, _ = stopping_after(1, error)
    with pytest.raises(GenerationError, match="ran out of memory, a smaller image") as raised:
        generated(engine, a_request(Endpoint.TEXT2IMG), Stopping(should_stop))
    assert "secrets" not in raised.value.message


def test_any_other_failure_is_told_to_the_operator_alone(engine: DiffusersEngine) -> None:
    with pytest.raises(GenerationError, match=r"^the model failed$") as raised:
        generated(engine, a_request(Endpoint.TEXT2IMG, width=63))
    assert "divisible by 8" in raised.value.detail
    assert drawn(engine, a_request(Endpoint.TEXT2IMG))


def test_pixels_that_are_no_numbers(models_directory: Path) -> None:
    entry = an_entry("broken", "random:base", Endpoint.TEXT2IMG)
    model = load_model(entry, models_directory, torch.device("cpu"))
    request = a_request(Endpoint.TEXT2IMG)
    vae = model.pipelines[Endpoint.TEXT2IMG].vae
    torch.nn.init.constant_(vae.decoder.conv_out.bias, float("nan"))
    with pytest.raises(GenerationError, match="not numbers"):
        draw(model, request, pixels_for(request), 1, UNWATCHED.should_stop)
