"""Whatever the company, a request gives what it gives alone."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.domain.errors import GenerationStoppedError
from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.batching.harness import (
    Floor,
    Looker,
    decibels,
    failure_of,
    images_of,
)
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.active_request import ActiveRequest
from worker.engine.models.loaded_model import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LEAST_DECIBELS = 45.0

# Few of each kind, so that what they give alone is drawn once.
REQUESTS: tuple[GenerationRequest, ...] = (
    a_request(Endpoint.INPAINT, scheduler="DDIM", inference_steps=4),
    a_request(Endpoint.INPAINT, scheduler="Euler a", inference_steps=6, guidance_scale=3.0),
    a_request(Endpoint.INPAINT, scheduler="DPM++ 2M Karras", inference_steps=5, seed=9, samples=2),
    a_request(Endpoint.INPAINT, model="standin", scheduler="UniPC", inference_steps=5),
    a_request(Endpoint.IMG2IMG, scheduler="PNDM", inference_steps=5, strength=0.5),
    a_request(Endpoint.TEXT2IMG, scheduler="LCM", inference_steps=2, guidance_scale=1.0),
    a_request(Endpoint.TEXT2IMG, scheduler="Euler", inference_steps=3, samples=3, width=72),
)


@pytest.fixture(scope="module")
def alone(models: dict[str, LoadedModel]) -> list[Any]:
    return [Floor(models).alone(request) for request in REQUESTS]


# Which request, at which turn it joins, and after how many more it is canceled, if it is.
arrivals = st.tuples(
    st.integers(0, len(REQUESTS) - 1), st.integers(0, 6), st.none() | st.integers(0, 5)
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=st.lists(arrivals, min_size=2, max_size=7), most=st.integers(1, 8))
def test_random_joins_and_cancels(
    models: dict[str, LoadedModel],
    alone: list[Any],
    plan: list[tuple[int, int, int | None]],
    most: int,
) -> None:
    floor = Floor(models, most=most)
    under_way: list[tuple[int, ActiveRequest, Looker, int | None]] = []
    for turn in range(7):
        for which, joins, leaves in plan:
            if joins == turn:
                looker = Looker()
                ticket = floor.admit(REQUESTS[which], looker)
                under_way.append((which, ticket, looker, leaves and turn + leaves))
        for _, _, looker, leaves_at in under_way:
            looker.stops = looker.stops or leaves_at == turn
        floor.stepper.turn()
    floor.work_off()
    for which, ticket, looker, _ in under_way:
        if isinstance(ticket.future.exception(), GenerationStoppedError):
            assert looker.stops
            continue
        for image, expected in zip(images_of(ticket), alone[which], strict=True):
            assert decibels(image, expected) >= LEAST_DECIBELS


def test_a_crowd_steps_together(floor: Floor) -> None:
    """So that the tests above mean something: one UNet call serves them all."""
    rows: list[int] = []
    request = REQUESTS[0]
    unet = floor.recipe(request).parts.unet
    hook = unet.register_forward_pre_hook(lambda _unet, inputs: rows.append(len(inputs[0])))
    tickets = [floor.admit(request) for _ in range(4)]
    floor.work_off()
    hook.remove()
    assert max(rows) == 8  # two halves each
    # The first step measures what one takes.
    assert len(rows) < 2 * len(tickets)
    assert all(decibels(images_of(ticket)[0], images_of(tickets[0])[0]) > 45 for ticket in tickets)


def test_a_cancel_costs_its_neighbours_no_step(floor: Floor) -> None:
    stays, leaves = Looker(), Looker()
    request = REQUESTS[1]
    staying, leaving = floor.admit(request, stays), floor.admit(request, leaves)
    floor.stepper.turn()
    floor.stepper.turn()
    leaves.stops = True
    done = staying.samples[0].done
    floor.stepper.turn()
    assert isinstance(failure_of(leaving), GenerationStoppedError)
    assert staying.samples[0].done == done + 1
    floor.work_off()
    assert images_of(staying)
