"""openai-python, unmodified, against a gateway and a worker."""

import base64
from io import BytesIO
from typing import Any

import openai
import pytest
from PIL import Image

from tests.integration.api.openai.conftest import SIZE, Site, png

RED, BLUE = (255, 0, 0), (0, 0, 255)


def image_of(item: Any, image_format: str = "PNG") -> Image.Image:
    image = Image.open(BytesIO(base64.b64decode(item.b64_json)))
    assert image.format == image_format
    return image.convert("RGB")


@pytest.mark.parametrize("path", ["/v1", "/openai/v1"])
async def test_images_are_generated(site: Site, path: str) -> None:
    response = await site.client(path).images.generate(
        prompt="a lake", model="gpt-image-1", size="256x128", quality="low", n=2
    )
    assert response.data is not None
    assert [image_of(item).size for item in response.data] == [(256, 128)] * 2
    assert image_of(response.data[0]).getpixel((0, 0)) == RED
    assert (response.size, response.quality, response.output_format) == ("256x128", "low", "png")
    assert response.background == "opaque"
    assert response.usage is not None
    assert response.usage.output_tokens == response.usage.total_tokens == 1
    job = await site.last_job()
    assert (job["request"]["samples"], job["request"]["inference_steps"]) == (2, 12)
    assert job["request"]["prompt"] == "a lake"


async def test_ten_images_are_one_job(site: Site) -> None:
    response = await site.client().images.generate(prompt="a lake", n=10, size="64x64")
    assert len(response.data or ()) == 10
    assert len((await site.last_job())["result"]["object_keys"]) == 10


async def test_the_transparent_part_of_the_mask_is_repainted(site: Site) -> None:
    response = await site.client().images.edit(
        image=png(), mask=png("white", hole=True), prompt="a cat"
    )
    assert response.data is not None
    image = image_of(response.data[0])
    assert image.size == SIZE
    assert (image.getpixel((4, 4)), image.getpixel((60, 60))) == (RED, BLUE)
    assert (await site.last_job())["request"]["strength"] == 1.0


async def test_an_image_with_transparency_is_its_own_mask(site: Site) -> None:
    response = await site.client().images.edit(image=[png(hole=True)], prompt="a cat")
    assert response.data is not None
    image = image_of(response.data[0])
    assert (image.getpixel((4, 4)), image.getpixel((60, 60))) == (RED, BLUE)


async def test_without_a_mask_the_whole_image_is_changed(site: Site) -> None:
    response = await site.client().images.edit(
        image=("photo.bin", png(), "application/octet-stream"),
        prompt="a cat",
        input_fidelity="high",
        output_format="webp",
        output_compression=80,
        extra_body={"seed": 7, "negative_prompt": "fog", "num_inference_steps": 3},
    )
    assert response.data is not None
    assert image_of(response.data[0], "WEBP").size == SIZE
    request = (await site.last_job())["request"]
    assert (request["endpoint"], request["model"]) == ("img2img", "standin")
    assert (request["strength"], request["seed"], request["negative_prompt"]) == (0.5, 7, "fog")
    assert (request["inference_steps"], request["output_quality"]) == (3, 80)


async def test_previews_are_streamed_before_the_image(site: Site) -> None:
    stream = await site.client().images.edit(
        image=png(), prompt="slow", stream=True, partial_images=2, quality="low"
    )
    events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds[-1] == "image_edit.completed"
    partial = events[:-1]
    assert 1 <= len(partial) <= 2
    for index, event in enumerate(partial):
        assert event.type == "image_edit.partial_image"
        assert event.partial_image_index == index
        assert event.output_format == "jpeg"
        assert f"{'x'.join(map(str, image_of(event, 'JPEG').size))}" == event.size
    completed = events[-1]
    assert completed.type == "image_edit.completed"
    assert image_of(completed).size == SIZE
    assert completed.usage.total_tokens >= 1


async def test_each_image_is_an_event_without_previews(site: Site) -> None:
    stream = await site.client().images.generate(prompt="a lake", n=2, size="64x64", stream=True)
    events = [event.type async for event in stream]
    assert events == ["image_generation.completed"] * 2


async def test_a_failure_in_a_stream_is_raised(site: Site) -> None:
    stream = await site.client().images.generate(prompt="broken", size="64x64", stream=True)
    with pytest.raises(openai.APIError, match="the model failed") as caught:
        _ = [event async for event in stream]
    assert caught.value.code == "generation_failed"


async def test_models_are_listed(site: Site) -> None:
    client = site.client()
    assert [model.id async for model in client.models.list()] == ["standin-inpainting", "standin"]
    assert (await client.models.retrieve("standin")).owned_by == "infill"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-image-1")
    assert caught.value.code == "model_not_found"


async def test_a_wrong_key_is_an_authentication_error(site: Site) -> None:
    client = site.client(api_key="sk-unknown")
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.images.generate(prompt="a lake")
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        await client.models.list()


async def test_a_failed_job_is_not_repeated_by_the_client(site: Site) -> None:
    before = await site.gateway.count_jobs()
    with pytest.raises(openai.InternalServerError, match="the model failed"):
        await site.client(max_retries=2).images.generate(prompt="broken", size="64x64")
    assert await site.gateway.count_jobs() == before + 1


async def test_an_image_that_cannot_be_decoded_is_a_bad_request(site: Site) -> None:
    damaged = png()[:60]
    with pytest.raises(openai.BadRequestError) as caught:
        await site.client(max_retries=2).images.edit(image=damaged, prompt="a cat")
    assert caught.value.code == "invalid_image"
    assert caught.value.param == "image"


async def test_a_repeated_request_returns_the_same_images(site: Site) -> None:
    client = site.client()
    before = await site.gateway.count_jobs()
    seen = [
        await client.images.generate(
            prompt="a lake", size="64x64", extra_headers={"Idempotency-Key": "of-a-lake"}
        )
        for _ in range(2)
    ]
    assert seen[0] == seen[1]
    assert await site.gateway.count_jobs() == before + 1
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.generate(
            prompt="another lake", extra_headers={"Idempotency-Key": "of-a-lake"}
        )
    assert caught.value.param == "Idempotency-Key"
