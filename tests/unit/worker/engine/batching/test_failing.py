"""A request that fails leaves its neighbours as they would be without it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from common.domain.errors import GenerationError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.batching.harness import (
    Floor,
    Looker,
    decibels,
    failure_of,
    images_of,
)
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.active_request import ActiveRequest, Sample
from worker.engine.prompts.conditioning import Guided

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

REQUEST = a_request(Endpoint.INPAINT, scheduler="Euler a", inference_steps=4, strength=1.0)


def no_numbers(sample: Sample) -> None:
    sample.latents = torch.full_like(sample.latents, float("nan"))


def bad_scheduler(sample: Sample) -> None:
    def step(*_arguments: Any, **_options: Any) -> None:
        raise IndexError("out of timesteps")

    sample.start.timeline.scheduler.step = step


def bad_prompt(sample: Sample) -> None:
    wanted = sample.guided.wanted
    sample.guided = Guided(replace(wanted, hidden=wanted.hidden[:, :5]), sample.guided.unwanted)


def bad_latents(sample: Sample) -> None:
    sample.latents = sample.latents[..., :5]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_numbers, None),
        (bad_scheduler, "out of timesteps"),
        (bad_prompt, "size"),
        (bad_latents, "size"),
    ],
)
def test_one_of_three_goes_wrong(
    floor: Floor, spoil: Callable[[Sample], None], said: str | None
) -> None:
    (expected,) = floor.alone(REQUEST)
    tickets = [floor.admit(REQUEST) for _ in range(3)]
    floor.stepper.turn()
    floor.stepper.turn()
    spoil(tickets[1].samples[0])
    floor.work_off()
    for ticket in (tickets[0], tickets[2]):
        assert decibels(images_of(ticket)[0], expected) > 45
    if said is None:  # found where pixels are made of it
        _, finite = tickets[1].future.result().copies[0].wait()
        assert not finite
    else:
        error = failure_of(tickets[1])
        assert isinstance(error, GenerationError)
        assert said in error.detail


def test_one_whose_pictures_cannot_be_encoded(floor: Floor) -> None:
    (expected,) = floor.alone(REQUEST)
    bad = ActiveRequest(replace(floor.recipe(REQUEST), masked=torch.zeros(1, 3, 60, 60)), Looker())
    good = [floor.admit(REQUEST), floor.admit(REQUEST)]
    floor.stepper.admit(bad)
    good.append(floor.admit(REQUEST))
    floor.work_off()
    assert isinstance(failure_of(bad), GenerationError)
    for ticket in good:
        assert decibels(images_of(ticket)[0], expected) > 45


@pytest.mark.parametrize("asked", ["should_stop", "started", "progressed"])
def test_whoever_looks_on_may_fail_too(floor: Floor, asked: str) -> None:
    class Blind(Looker):
        pass

    def fall(*_told: object) -> None:
        raise ZeroDivisionError("blind")

    blind = Blind()
    setattr(blind, asked, fall)
    bad, good = floor.admit(REQUEST, blind), floor.admit(REQUEST)
    floor.work_off()
    assert "blind" in failure_of(bad).detail
    assert images_of(good)


def test_several_images_of_a_request_fail_together(floor: Floor) -> None:
    ticket = floor.admit(replace(REQUEST, samples=3))
    floor.stepper.turn()
    bad_scheduler(ticket.samples[1])
    floor.work_off()
    assert "out of timesteps" in failure_of(ticket).detail


@contextmanager
def small_memory(floor: Floor, rows: int) -> Iterator[list[int]]:
    """Let the UNet run out of memory beyond so many rows; gives the sizes that were tried."""
    tried: list[int] = []

    def before(_unet: object, inputs: tuple[torch.Tensor, ...]) -> None:
        tried.append(len(inputs[0]))
        if tried[-1] > rows:
            raise torch.OutOfMemoryError

    hook = floor.recipe(REQUEST).parts.unet.register_forward_pre_hook(before)
    try:
        yield tried
    finally:
        hook.remove()


def test_no_memory_shrinks_the_batch_before_anybody_fails(floor: Floor) -> None:
    (expected,) = floor.alone(REQUEST)
    tickets = [floor.admit(REQUEST) for _ in range(5)]
    with small_memory(floor, rows=4) as tried:
        floor.work_off()
    assert max(tried) > 4
    assert max(tried[4:]) <= 4, "it has learnt"
    for ticket in tickets:
        assert decibels(images_of(ticket)[0], expected) > 45


def test_no_memory_for_one_is_said(floor: Floor) -> None:
    ticket = floor.admit(REQUEST)
    with small_memory(floor, rows=1):
        floor.work_off()
    assert failure_of(ticket).message == "the model ran out of memory, a smaller image may fit"
