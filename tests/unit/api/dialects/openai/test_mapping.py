"""Size, steps, strength and endpoint that a request gets."""

from dataclasses import replace
from typing import Any

import pytest

from api.auth.api_keys import AuthenticatedTenant
from api.dialects.openai.errors import InvalidParameterError
from api.dialects.openai.image_header import ImageHeader
from api.dialects.openai.images import SourceImage
from api.dialects.openai.mapping import Sources, to_new_job, to_order
from api.dialects.openai.openapi import REQUESTS
from api.dialects.openai.schemas import EditBody, GenerationBody, read_body
from api.dialects.openai.sizes import choose_size
from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint, ImageFormat
from common.domain.limits import Limits
from common.domain.record import NewJob
from common.outbound import Guard
from common.settings import OutboundSettings
from common.settings.catalogue import Catalogue, ModelEntry

INPAINTING = ModelEntry(name="inpainting", source="a/b", endpoints=("inpaint",), licence="none")
BASE = ModelEntry(name="base", source="a/b", endpoints=("text2img", "img2img"), licence="none")
FAST = BASE.model_copy(update={"name": "fast", "scheduler": "LCM"})
MODELS = Catalogue((INPAINTING, BASE, FAST))
OPAQUE = ImageHeader(ImageFormat.PNG, 640, 480)
HOLED = replace(OPAQUE, has_alpha=True)
NO_LIMITS = Limits()
GUARD = Guard(OutboundSettings())


def image(header: ImageHeader | None = OPAQUE) -> SourceImage:
    return SourceImage("https://example.com/a.png" if header is None else b"content", header)


def new_job(
    sources: Sources, limits: Limits = NO_LIMITS, catalogue: Catalogue = MODELS, **fields: Any
) -> NewJob:
    kind = GenerationBody if sources.image is None else EditBody
    body = read_body(kind, {"prompt": "a cat", **fields}, GUARD)
    order = to_order(body, sources, catalogue, limits)
    tenant = AuthenticatedTenant(1, limits)
    return to_new_job(order, tenant, max_attempts=3, idempotency_key=None, request_digest=None)[0]


@pytest.mark.parametrize(
    ("sources", "endpoint", "inputs"),
    [
        (Sources(), Endpoint.TEXT2IMG, set()),
        (Sources(image()), Endpoint.IMG2IMG, {"init_image"}),
        (Sources(image(HOLED)), Endpoint.INPAINT, {"init_image", "own_mask"}),
        (Sources(image(None)), Endpoint.INPAINT, {"init_image", "own_mask"}),
        (Sources(image(), image(HOLED)), Endpoint.INPAINT, {"init_image", "alpha_mask"}),
    ],
)
def test_the_images_select_the_endpoint(
    sources: Sources, endpoint: Endpoint, inputs: set[str]
) -> None:
    job = new_job(sources)
    assert job.request.endpoint is endpoint
    assert set(job.inputs) == inputs
    if "own_mask" in inputs:
        assert job.inputs["own_mask"] == job.inputs["init_image"]


def test_without_a_model_of_the_preferred_endpoint_the_other_one_serves() -> None:
    inpainting, base = Catalogue((INPAINTING,)), Catalogue((BASE,))
    assert set(new_job(Sources(image()), catalogue=inpainting).inputs) == {
        "init_image",
        "own_mask",
    }
    assert new_job(Sources(image(HOLED)), catalogue=base).request.endpoint is Endpoint.IMG2IMG
    with pytest.raises(UnsupportedRequestError, match="supports inpaint"):
        new_job(Sources(image(), image(HOLED)), catalogue=base)


@pytest.mark.parametrize(
    ("model", "served"), [("fast", "fast"), ("gpt-image-1", "base"), (None, "base")]
)
def test_an_unknown_model_is_the_default(model: str | None, served: str) -> None:
    assert new_job(Sources(), model=model).queue == served


def test_a_named_model_selects_another_possible_endpoint() -> None:
    assert new_job(Sources(image()), model="inpainting").request.endpoint is Endpoint.INPAINT


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({}, 21),
        ({"quality": "low"}, 12),
        ({"quality": "standard"}, 21),
        ({"quality": "hd"}, 40),
        ({"quality": "low", "num_inference_steps": "30"}, 30),
        ({"quality": "high", "model": "fast"}, 8),
        ({"quality": "high", "scheduler": "lcm"}, 8),
    ],
)
def test_the_quality_is_a_number_of_steps(fields: dict[str, Any], steps: int) -> None:
    assert new_job(Sources(), **fields).request.inference_steps == steps


def test_the_plan_limits_the_steps() -> None:
    limits = Limits(max_inference_steps=10)
    assert new_job(Sources(), limits).request.inference_steps == 10
    with pytest.raises(InvalidParameterError):
        new_job(Sources(), limits, num_inference_steps=11)
    with pytest.raises(InvalidParameterError):
        new_job(Sources(), model="fast", num_inference_steps=51)


@pytest.mark.parametrize(
    ("mask", "fields", "strength"),
    [
        (None, {}, 0.8),
        (None, {"input_fidelity": "high"}, 0.5),
        (image(HOLED), {}, 1.0),
        (image(HOLED), {"input_fidelity": "high"}, 0.75),
        (None, {"strength": "0.3"}, 0.3),
    ],
)
def test_the_fidelity_is_a_strength(
    mask: SourceImage | None, fields: dict[str, Any], strength: float
) -> None:
    assert new_job(Sources(image(), mask), **fields).request.strength == strength


@pytest.mark.parametrize(
    ("header", "max_pixels", "size"),
    [
        (None, None, (512, 512)),
        (None, 64 * 64, (64, 64)),
        (OPAQUE, None, (640, 480)),
        (replace(OPAQUE, width=4000, height=3000), None, (1176, 888)),
        (replace(OPAQUE, width=3001, height=150), None, (1792, 88)),
        (replace(OPAQUE, width=10, height=10), None, (64, 64)),
        (replace(OPAQUE, width=641, height=483), 512 * 512, (584, 448)),
    ],
)
def test_auto_is_the_size_of_the_image_within_the_limits(
    header: ImageHeader | None, max_pixels: int | None, size: tuple[int, int]
) -> None:
    limits = Limits(max_pixels=max_pixels)
    chosen = choose_size("auto", header, BASE, limits)
    assert chosen == size
    assert chosen[0] * chosen[1] <= (max_pixels or 1024 * 1024)


@pytest.mark.parametrize("size", ["1024x1024", "1536x1024", "1024x1536", "1792x1024", "256x256"])
def test_the_sizes_of_the_openai_api_are_accepted(size: str) -> None:
    request = new_job(Sources(), size=size).request
    assert f"{request.width}x{request.height}" == size


def test_a_seed_of_minus_one_is_random() -> None:
    assert len({new_job(Sources(), seed=-1).request.seed for _ in range(3)}) > 1
    assert new_job(Sources(), seed=7).request.seed == 7


def test_the_mask_options_belong_to_inpainting() -> None:
    options: dict[str, Any] = {
        "mask_grow": 4,
        "mask_blur": "2",
        "mask_padding": 8,
        "mask_invert": "true",
    }
    request = new_job(Sources(image(), image(HOLED)), **options).request
    assert (request.mask_grow, request.mask_blur, request.mask_padding) == (4, 2, 8)
    assert request.mask_invert
    assert new_job(Sources(image()), **options).request.mask_padding is None


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_examples_of_the_document_are_valid(kind: type[GenerationBody]) -> None:
    assert read_body(kind, REQUESTS[kind], GUARD).n == 1
