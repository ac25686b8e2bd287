"""A request has the same result in any batch as alone."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.domain.errors import GenerationStoppedError
from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.batching.harness import (
    RecordingCallback,
    StepperHarness,
    decibels,
    failure_of,
    images_of,
)
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.active_request import ActiveRequest
from worker.engine.models.loaded_model import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

LEAST_DECIBELS = 45.0

# Few of each kind, so that each is generated alone only once.
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
    return [StepperHarness(models).alone(request) for request in REQUESTS]


# Which request, at which turn it joins, and after how many more it is canceled, if it is.
arrivals = st.tuples(
    st.integers(0, len(REQUESTS) - 1), st.integers(0, 6), st.none() | st.integers(0, 5)
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=st.lists(arrivals, min_size=2, max_size=7), max_batch=st.integers(1, 8))
def test_a_request_is_unaffected_by_random_joins_and_cancels(
    models: dict[str, LoadedModel],
    alone: list[Any],
    plan: list[tuple[int, int, int | None]],
    max_batch: int,
) -> None:
    stepping = StepperHarness(models, max_batch=max_batch)
    under_way: list[tuple[int, ActiveRequest, RecordingCallback, int | None]] = []
    for run_once in range(7):
        for which, joins, leaves in plan:
            if joins == run_once:
                callback = RecordingCallback()
                active = stepping.add(REQUESTS[which], callback)
                under_way.append((which, active, callback, leaves and run_once + leaves))
        for _, _, callback, leaves_at in under_way:
            callback.stop = callback.stop or leaves_at == run_once
        stepping.stepper.run_once()
    stepping.run_to_end()
    for which, active, callback, _ in under_way:
        if isinstance(active.future.exception(), GenerationStoppedError):
            assert callback.stop
            continue
        for image, expected in zip(images_of(active), alone[which], strict=True):
            assert decibels(image, expected) >= LEAST_DECIBELS


def test_equal_requests_share_unet_calls(stepping: StepperHarness) -> None:
    """The tests above depend on it."""
    rows: list[int] = []
    request = REQUESTS[0]
    unet = stepping.prepare(request).components.unet
    hook = unet.register_forward_pre_hook(lambda _unet, inputs: rows.append(len(inputs[0])))
    active_requests = [stepping.add(request) for _ in range(4)]
    stepping.run_to_end()
    hook.remove()
    assert max(rows) == 8  # two halves each
    # The first step measures what one takes.
    assert len(rows) < 2 * len(active_requests)
    assert all(
        decibels(images_of(active)[0], images_of(active_requests[0])[0]) > 45
        for active in active_requests
    )


def test_a_cancellation_costs_other_requests_no_step(stepping: StepperHarness) -> None:
    stays, leaves = RecordingCallback(), RecordingCallback()
    request = REQUESTS[1]
    staying, leaving = stepping.add(request, stays), stepping.add(request, leaves)
    stepping.stepper.run_once()
    stepping.stepper.run_once()
    leaves.stop = True
    done = staying.samples[0].steps_done
    stepping.stepper.run_once()
    assert isinstance(failure_of(leaving), GenerationStoppedError)
    assert staying.samples[0].steps_done == done + 1
    stepping.run_to_end()
    assert images_of(staying)
