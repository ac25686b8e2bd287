"""Wrong requests: v3's error, which names the field and what would be right."""

import json
from typing import Any, Final

import pytest
from httpx2 import Response

from tests.integration.api.gateways import Gateway
from tests.support.requests import IMG2IMG_BODY, INPAINT_BODY, TEXT2IMG_BODY

BODIES: Final = {"inpaint": INPAINT_BODY, "img2img": IMG2IMG_BODY, "text2img": TEXT2IMG_BODY}
SIDE: Final = "must be a multiple of 8 from 64 to 1024"
# The endpoint, a field and its wrong value, and words of its sentence. None leaves the field out.
WRONG_FIELDS: Final = [
    ("inpaint", "prompt", None, "is required"),
    ("inpaint", "init_image", None, "is required"),
    ("inpaint", "mask_image", None, "is required"),
    ("img2img", "init_image", "  ", "is required"),
    ("text2img", "prompt", "x" * 2001, "must be text of 1 to 2000 characters"),
    ("text2img", "prompt", ["a"], "must be text of 1 to 2000 characters"),
    ("text2img", "prompt", "a\x00b", "must not contain a NUL character"),
    ("text2img", "width", "513", SIDE),
    ("text2img", "width", "wide", SIDE),
    ("text2img", "height", 2048, SIDE),
    ("text2img", "height", True, SIDE),
    ("text2img", "samples", 5, "must be a whole number from 1 to 4"),
    ("text2img", "num_inference_steps", "52", "must be a whole number from 1 to 51"),
    ("text2img", "guidance_scale", "nan", "must be a number from 1 to 20"),
    ("text2img", "seed", -2, "must be null, -1 or a whole number from 0 to 4294967295"),
    ("text2img", "seed", "4294967296", "must be null, -1 or a whole number"),
    ("text2img", "seed", True, "must be null, -1 or a whole number"),
    ("text2img", "panorama", "yes", 'must be "no" or left out'),
    ("text2img", "safety_checker", "perhaps", "must be yes or no"),
    ("text2img", "scheduler", "unknown", "must be null, one of DDIM"),
    ("text2img", "model_id", "unknown", "must be null or a model that supports text2img"),
    ("text2img", "track_id", {"a": 1}, "must be null, text of at most 1000 characters"),
    ("text2img", "webhook", "ftp://example.com/", "does not start with http:// or https://"),
    ("text2img", "webhook", "http://127.0.0.1/", "the address is not allowed"),
    ("img2img", "strength", 0, "must be a number greater than 0 and at most 1"),
    ("img2img", "init_image", "https://example.com/a b", "the URL has white space"),
    ("img2img", "init_image", "http://10.0.0.1/a.png", "the address is not allowed"),
    ("img2img", "init_image", "data:image/png,AAAA", "the data: URI does not begin like"),
    ("img2img", "init_image", "cat.png", "the character '.' at position 4 is not base64"),
    ("img2img", "init_image", 7, "must be an http or https URL, an image file as base64"),
    ("inpaint", "mask_grow", 65, "must be a whole number of pixels from -64 to 64"),
]
# A content type, a body, and words of the tip.
WRONG_BODIES: Final = [
    ("application/json", b'{"prompt": "a",}', "trailing comma at line 1, column 15"),
    ("application/json", b'{"prompt": "a"', "line 1, column 15"),
    ("application/json", b'["a"]', "must be a JSON object"),
    ("application/json", b'{"prompt": NaN}', "NaN is not JSON"),
    ("text/plain", b'{"prompt": "a",}', "trailing comma at line 1, column 15"),
    ("application/x-www-form-urlencoded", b"prompt=%ff", "not UTF-8"),
    ("multipart/form-data", b"", "names no usable boundary"),
    ("multipart/form-data; boundary=e", b"--e\r\n", "cannot be read"),
]


async def send_field(
    gateway: Gateway, place: str, endpoint: str, field: str, value: object
) -> Response:
    fields: dict[str, Any] = {**BODIES[endpoint], field: value}
    if value is None:
        del fields[field]
    sent: dict[str, Any] = {"params" if place == "query" else "json": fields}
    return await gateway.client.post(f"/api/v3/{endpoint}", headers={"key": gateway.key}, **sent)


@pytest.mark.parametrize("place", ["body", "query"])
async def test_a_wrong_field_is_named_with_what_would_be_right(
    gateway: Gateway, place: str
) -> None:
    for endpoint, field, value, words in WRONG_FIELDS:
        if place == "query" and isinstance(value, list | dict):
            continue  # a query string contains text only
        response = await send_field(gateway, place, endpoint, field, value)
        body = response.json()
        row = (endpoint, field, value, body)
        assert (response.status_code, body["status"]) == (200, "error"), row
        assert list(body["message"]) == [field], row
        assert body["messege"] == body["message"], row
        (sentence,) = body["message"][field]
        assert sentence.startswith(f"The {field} field "), row
        assert words in sentence, row
    assert await gateway.count_jobs() == 0


async def test_a_body_that_cannot_be_parsed_is_explained(gateway: Gateway) -> None:
    for content_type, content, words in WRONG_BODIES:
        headers = {"key": gateway.key, "content-type": content_type}
        response = await gateway.client.post("/api/v3/text2img", content=content, headers=headers)
        body = response.json()
        row = (content_type, content, body)
        assert (response.status_code, body["status"]) == (200, "error"), row
        assert body["message"] == body["messege"] == "Invalid API Request", row
        assert words in body["tip"], row


async def test_all_wrong_fields_are_named_at_once(gateway: Gateway) -> None:
    wrong = {"width": 1, "samples": "many", "seed": -5, "init_image": "http://10.0.0.1/"}
    response = await gateway.post("inpaint", wrong)
    assert set(response["message"]) == {*wrong, "prompt", "mask_image"}
    assert json.dumps(response["message"]) == json.dumps(response["messege"])
