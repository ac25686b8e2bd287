"""Requests as LiteLLM, Open WebUI and newer clients send them, replayed."""

import base64
import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.integration.api.openai.conftest import Site, png

RED, BLUE = (255, 0, 0), (0, 0, 255)


def data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def corners(response: Any) -> list[tuple[object, object]]:
    assert response.status_code == 200, response.text
    images = [
        Image.open(BytesIO(base64.b64decode(item["b64_json"]))).convert("RGB")
        for item in response.json()["data"]
    ]
    return [(image.getpixel((4, 4)), image.getpixel((60, 60))) for image in images]


async def test_an_edit_of_litellm(site: Site) -> None:
    fields = {"model": "gpt-image-1", "prompt": "a cat", "n": "2", "size": "64x64"}
    parts = [
        ("image[]", ("image.png", png(), "image/png")),
        ("mask", ("mask.png", png("white", hole=True), "image/png")),
    ]
    assert corners(await site.post("images/edits", data=fields, files=parts)) == [(RED, BLUE)] * 2


async def test_a_generation_of_open_webui(site: Site) -> None:
    body = {
        "model": "dall-e-2",
        "prompt": "a lake",
        "n": 1,
        "size": "64x64",
        "response_format": "b64_json",
    }
    assert corners(await site.post("images/generations", json=body)) == [(RED, RED)]


@pytest.mark.parametrize("size", [(64, 64), (200, 200)], ids=["short", "long"])
async def test_an_edit_as_json(site: Site, size: tuple[int, int]) -> None:
    noisy = Image.effect_noise(size, 100).convert("RGB")  # too large to be compressed
    noisy.paste(BLUE, (0, 0, 64, 64))
    buffer = BytesIO()
    noisy.save(buffer, "PNG")
    body = {
        "prompt": "a cat",
        "images": [{"image_url": data_uri(buffer.getvalue())}],
        "mask": {"image_url": data_uri(png("white", hole=True, size=size))},
        "output_format": None,
    }
    (found,) = corners(await site.post("images/edits", json=body))
    assert found == (RED, BLUE if size > (64, 64) else found[1])
    request = (await site.last_job())["request"]
    assert (request["width"], request["height"]) == size


async def test_events_are_framed_as_server_sent_events(site: Site) -> None:
    response = await site.post(
        "images/generations", json={"prompt": "a lake", "size": "64x64", "stream": True}
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-infill-job-id"] == str((await site.last_job())["id"])
    event, data, end = response.text.split("\n", 2)
    assert (event, end) == ("event: image_generation.completed", "\n")
    body = json.loads(data.removeprefix("data: "))
    assert body["type"] == "image_generation.completed"
    assert (body["size"], body["background"], body["quality"]) == ("64x64", "opaque", "medium")
