"""A request that fails does not affect the others of its batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from common.domain.errors import GenerationError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.batching.harness import (
    RecordingCallback,
    StepperHarness,
    decibels,
    failure_of,
    images_of,
)
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.active_request import ActiveRequest, Sample
from worker.engine.prompts.conditioning import PromptEmbeds

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

REQUEST = a_request(Endpoint.INPAINT, scheduler="Euler a", inference_steps=4, strength=1.0)


def spoil_latents_with_nan(sample: Sample) -> None:
    sample.latents = torch.full_like(sample.latents, float("nan"))


def spoil_scheduler(sample: Sample) -> None:
    def step(*_arguments: Any, **_options: Any) -> None:
        raise IndexError("out of timesteps")

    sample.start.timesteps.scheduler.step = step


def spoil_prompt(sample: Sample) -> None:
    positive = sample.prompt.positive
    sample.prompt = PromptEmbeds(
        replace(positive, hidden=positive.hidden[:, :5]), sample.prompt.negative
    )


def spoil_latents(sample: Sample) -> None:
    sample.latents = sample.latents[..., :5]


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (spoil_latents_with_nan, None),
        (spoil_scheduler, "out of timesteps"),
        (spoil_prompt, "size"),
        (spoil_latents, "size"),
    ],
)
def test_a_failing_request_does_not_fail_two_others(
    stepping: StepperHarness, spoil: Callable[[Sample], None], detail: str | None
) -> None:
    (expected,) = stepping.alone(REQUEST)
    active_requests = [stepping.add(REQUEST) for _ in range(3)]
    stepping.stepper.run_once()
    stepping.stepper.run_once()
    spoil(active_requests[1].samples[0])
    stepping.run_to_end()
    for active in (active_requests[0], active_requests[2]):
        assert decibels(images_of(active)[0], expected) > 45
    if detail is None:  # detected when pixels are decoded
        with pytest.raises(GenerationError, match="invalid pixels"):
            images_of(active_requests[1])
    else:
        error = failure_of(active_requests[1])
        assert isinstance(error, GenerationError)
        assert detail in error.detail


def test_an_encoding_error_fails_only_its_request(stepping: StepperHarness) -> None:
    (expected,) = stepping.alone(REQUEST)
    bad = ActiveRequest(
        replace(stepping.prepare(REQUEST), masked=torch.zeros(1, 3, 60, 60)), RecordingCallback()
    )
    good = [stepping.add(REQUEST), stepping.add(REQUEST)]
    stepping.stepper.add(bad)
    good.append(stepping.add(REQUEST))
    stepping.run_to_end()
    assert isinstance(failure_of(bad), GenerationError)
    for active in good:
        assert decibels(images_of(active)[0], expected) > 45


@pytest.mark.parametrize("method", ["should_stop", "on_start", "on_step"])
def test_a_failing_callback_fails_only_its_request(stepping: StepperHarness, method: str) -> None:
    class Blind(RecordingCallback):
        pass

    def fall(*_arguments: object) -> None:
        raise ZeroDivisionError("blind")

    blind = Blind()
    setattr(blind, method, fall)
    bad, good = stepping.add(REQUEST, blind), stepping.add(REQUEST)
    stepping.run_to_end()
    assert "blind" in failure_of(bad).detail
    assert images_of(good)


def test_several_images_of_a_request_fail_together(stepping: StepperHarness) -> None:
    active = stepping.add(replace(REQUEST, samples=3))
    stepping.stepper.run_once()
    spoil_scheduler(active.samples[1])
    stepping.run_to_end()
    assert "out of timesteps" in failure_of(active).detail


@contextmanager
def small_memory(stepping: StepperHarness, rows: int) -> Iterator[list[int]]:
    """Let the UNet run out of memory beyond `rows`; yield the batch sizes that were tried."""
    tried: list[int] = []

    def before(_unet: object, inputs: tuple[torch.Tensor, ...]) -> None:
        tried.append(len(inputs[0]))
        if tried[-1] > rows:
            raise torch.OutOfMemoryError

    hook = stepping.prepare(REQUEST).components.unet.register_forward_pre_hook(before)
    try:
        yield tried
    finally:
        hook.remove()


def test_out_of_memory_shrinks_the_batch_before_a_request_fails(stepping: StepperHarness) -> None:
    (expected,) = stepping.alone(REQUEST)
    active_requests = [stepping.add(REQUEST) for _ in range(5)]
    with small_memory(stepping, rows=4) as tried:
        stepping.run_to_end()
    assert max(tried) > 4
    assert max(tried[4:]) <= 4, "it has learnt"
    for active in active_requests:
        assert decibels(images_of(active)[0], expected) > 45


def test_out_of_memory_for_one_request_fails_it(stepping: StepperHarness) -> None:
    active = stepping.add(REQUEST)
    with small_memory(stepping, rows=1):
        stepping.run_to_end()
    assert (
        failure_of(active).message == "the model ran out of memory; try a smaller width and height"
    )
