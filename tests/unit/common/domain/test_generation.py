"""The generation request: serialization, seeds and cost."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain.generation import SEED_LIMIT, Endpoint, GenerationRequest
from common.domain.schedulers import SCHEDULER_NAMES
from tests.support.generation_request import generation_request

REQUESTS = st.builds(
    GenerationRequest,
    endpoint=st.sampled_from(Endpoint),
    width=st.integers(8, 128).map(lambda eighths: eighths * 8),
    height=st.integers(8, 128).map(lambda eighths: eighths * 8),
    samples=st.integers(1, 4),
    inference_steps=st.integers(1, 51),
    guidance_scale=st.floats(1, 20),
    strength=st.floats(0.01, 1),
    seed=st.integers(0, SEED_LIMIT - 1),
    scheduler=st.sampled_from([None, *SCHEDULER_NAMES]),
    mask_padding=st.none() | st.integers(0, 256),
)


@given(REQUESTS)
def test_a_stored_request_is_read_back_unchanged(request: GenerationRequest) -> None:
    stored = json.loads(json.dumps(request.to_json()))
    assert GenerationRequest.from_json(stored) == request
    assert isinstance(GenerationRequest.from_json(stored).endpoint, Endpoint)


@given(REQUESTS)
def test_each_image_has_a_seed_of_32_bits(request: GenerationRequest) -> None:
    assert request.seeds[0] == request.seed
    assert len(set(request.seeds)) == request.samples
    assert all(0 <= seed < SEED_LIMIT for seed in request.seeds)


def test_seeds_wrap_around_at_their_limit() -> None:
    wrapping = generation_request(seed=SEED_LIMIT - 2, samples=4)
    assert wrapping.seeds == [SEED_LIMIT - 2, SEED_LIMIT - 1, 0, 1]


def test_cost_counts_megapixel_steps() -> None:
    one = generation_request(width=1000, height=1000, samples=1, inference_steps=1)
    assert one.cost == 1.0
    assert replace(one, scheduler="Euler a").cost == 1.0
    for scheduler in ("Heun", "DPM2 a Karras"):  # two model evaluations in each step
        assert replace(one, scheduler=scheduler).cost == 2.0
    several = generation_request(width=512, height=256, inference_steps=30, samples=3)
    assert several.cost == pytest.approx(11.79648)
