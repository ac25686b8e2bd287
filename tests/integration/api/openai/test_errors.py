"""A table of requests that are rejected, each with its error body; none makes a job."""

import base64
from typing import Any

import pytest

from tests.integration.api.openai.conftest import Site, png

LAKE = {"prompt": "a lake"}
INVALID = "invalid_fields"
BASE64 = base64.b64encode(png()).decode()
GENERATIONS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "prompt", "Missing required parameter: 'prompt'."),
    ({"prompt": "x" * 2001}, "prompt", "text of 1 to 2000 characters"),
    ({"prompt": "a\0b"}, "prompt", "text of 1 to 2000"),
    ({**LAKE, "n": 0}, "n", "Invalid value for 'n': it must be a whole number from 1 to 10."),
    ({**LAKE, "n": 11}, "n", "from 1 to 10"),
    ({**LAKE, "n": True}, "n", "from 1 to 10"),
    ({**LAKE, "size": "big"}, "size", "auto, or WIDTHxHEIGHT"),
    ({**LAKE, "size": "100x100"}, "size", "multiples of 8"),
    ({**LAKE, "size": "1792x1792"}, "size", "at most 1835008 pixels"),
    ({**LAKE, "quality": "best"}, "quality", "low, medium, high or auto"),
    ({**LAKE, "background": "transparent"}, "background", "transparent is not supported"),
    ({**LAKE, "output_format": "gif"}, "output_format", "png, jpeg or webp"),
    ({**LAKE, "output_compression": 101}, "output_compression", "from 0 to 100"),
    ({**LAKE, "stream": "perhaps"}, "stream", "true or false"),
    ({**LAKE, "partial_images": 4}, "partial_images", "from 0 to 3"),
    ({**LAKE, "seed": 2**32}, "seed", "-1 (random) to 4294967295"),
    ({**LAKE, "num_inference_steps": 52}, "num_inference_steps", "from 1 to 51"),
    ({**LAKE, "lora": "style"}, "lora", "does not support it"),
    ({**LAKE, "scheduler": "fast"}, "scheduler", "the name of a scheduler"),
    ({**LAKE, "safety_checker": True}, "safety_checker", "has no safety checker"),
    ({**LAKE, "webhook": "ftp://a"}, "webhook", "an http or https URL"),
]
EDITS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "image", "An image is required."),
    ({"image": b"no image"}, "image", "The image must be a PNG, JPEG or WebP file"),
    ({"image": png(), "mask": png()}, "mask", "must have transparent parts"),
    ({"image": png(), "mask": png(hole=True, size=(32, 32))}, "mask", "the size of the image"),
    ({"image": png(), "mask": b"no mask"}, "mask", "The image must be a PNG"),
]
DOCUMENTS: list[tuple[dict[str, Any], str, str]] = [
    ({"images": [{"file_id": "file-1"}]}, "image", "does not store files"),
    ({"images": [{"image_url": "http://10.0.0.1/a.png"}]}, "image", "address is not allowed"),
    ({"images": [{"image_url": "data:image/png;base64,?"}]}, "image", "must be a PNG"),
    ({"images": [{"image_url": BASE64}] * 2}, "image", "edits one image in a request"),
    ({"images": [{"image_url": BASE64}], "strength": 0}, "strength", "from 0.02 to 1"),
    ({"images": [7]}, "image", "must be a PNG"),
]


async def expect(site: Site, response: Any, parameter: str, words: str) -> None:
    before = await site.gateway.count_jobs()
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == parameter
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert await site.gateway.count_jobs() == before


@pytest.mark.parametrize(("body", "parameter", "words"), GENERATIONS)
async def test_invalid_generations(
    site: Site, body: dict[str, Any], parameter: str, words: str
) -> None:
    await expect(site, await site.post("images/generations", json=body), parameter, words)


@pytest.mark.parametrize(("files", "parameter", "words"), EDITS)
async def test_invalid_forms(
    site: Site, files: dict[str, bytes], parameter: str, words: str
) -> None:
    parts = [(name, (name, content)) for name, content in files.items()]
    response = await site.post("images/edits", data=LAKE, files=parts or [("other", ("a", b"b"))])
    await expect(site, response, parameter, words)


@pytest.mark.parametrize(("body", "parameter", "words"), DOCUMENTS)
async def test_invalid_documents(
    site: Site, body: dict[str, Any], parameter: str, words: str
) -> None:
    response = await site.post("images/edits", json={**LAKE, **body})
    await expect(site, response, parameter, words)


async def test_several_image_parts_are_an_error(site: Site) -> None:
    parts = [("image[]", ("a.png", png())), ("image[]", ("b.png", png()))]
    response = await site.post("images/edits", data=LAKE, files=parts)
    await expect(site, response, "image", "edits one image")


async def test_errors_of_the_transport_have_the_same_format(site: Site) -> None:
    large = await site.post("images/generations", content=b"x" * 1_000_001)
    text = await site.post("images/generations", content=b"x", headers={"content-type": "a/b"})
    broken = await site.post("images/generations", content=b"{")
    nothing = await site.post("images/variations", json=LAKE)
    method = await site.post("models", json={})
    codes = [
        (response.status_code, response.json()["error"]["code"])
        for response in (large, text, broken, nothing, method)
    ]
    assert codes == [
        (400, "body_too_large"),
        (400, "unsupported_media_type"),
        (400, "malformed_body"),
        (404, "not_found"),
        (405, "method_not_allowed"),
    ]


async def test_limits_of_the_plan_are_429_with_retry_after(site: Site) -> None:
    await site.gateway.set_limits(max_queued=10, monthly_credits=1)
    try:
        credits_spent = await site.post(
            "images/generations", json={**LAKE, "size": "1024x1024", "quality": "high"}
        )
        await site.gateway.set_limits(requests_per_minute=1)
        for _ in range(2):
            rate = await site.post("images/generations", json={**LAKE, "size": "8x8"})
        await site.gateway.set_limits(max_pixels=64 * 64, max_inference_steps=5)
        pixels = await site.post("images/generations", json={**LAKE, "size": "128x64"})
        steps = await site.post("images/generations", json={**LAKE, "num_inference_steps": 6})
        fitting = await site.post("images/generations", json={**LAKE, "quality": "high"})
    finally:
        await site.gateway.set_limits()
    assert (credits_spent.status_code, rate.status_code) == (429, 429)
    assert credits_spent.json()["error"]["type"] == "insufficient_quota"
    assert credits_spent.headers["x-should-retry"] == "false"
    assert rate.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(rate.headers["retry-after"]) > 0
    await expect(site, pixels, "size", "Your plan allows at most 4096 pixels")
    await expect(site, steps, "num_inference_steps", "at most 5")
    assert fitting.json()["size"] == "64x64"
