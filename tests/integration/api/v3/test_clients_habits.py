"""Requests that real clients send, although the hosted service does not document them."""

import json
from typing import Any

import pytest

from common.domain.api_key import new_key
from common.settings import Settings
from tests.integration.api.gateways import Gateway, open_gateway
from tests.support.requests import IMAGE_URL, INPAINT_BODY, TEXT2IMG_BODY

PLAIN = {"content-type": "text/plain;charset=UTF-8"}


async def send(
    gateway: Gateway, path: str, body: Any = None, *, method: str = "POST", **options: Any
) -> Any:
    """Send a request without a key of its own, and return the body of the response."""
    content = None if body is None else json.dumps(body).encode()
    response = await gateway.client.request(
        method, f"/api/v3/{path}", content=content, **{"headers": PLAIN, **options}
    )
    assert response.status_code == 200, response.text
    return response.json()


def bearer(gateway: Gateway) -> dict[str, str]:
    return {"authorization": f"Bearer {gateway.key}"}


async def test_fields_are_read_from_the_query_string_and_the_body_wins(gateway: Gateway) -> None:
    query = {"prompt": "a lake & a hill", "width": "64", "seed": "5", "track_id": "q"}
    body = {"key": gateway.key, "width": 128, "enhance_prompt": "no"}
    response = await send(gateway, "text2img", body, params=query)
    meta = response["meta"]
    assert (meta["prompt"], meta["W"], meta["seed"]) == ("a lake & a hill", 128, 5)
    assert await gateway.read_column("track_id", response["id"]) == "q"


async def test_a_request_may_have_a_query_string_alone(gateway: Gateway) -> None:
    query = {**INPAINT_BODY, "mask_image": "data:image/png;base64,iVBORw0KGgo="}
    response = await send(gateway, "inpaint", params=query, headers=bearer(gateway))
    assert (response["status"], response["meta"]["init_image"]) == ("processing", IMAGE_URL)


async def test_a_bad_field_in_the_query_string_is_named(gateway: Gateway) -> None:
    response = await send(gateway, "text2img?width=5", TEXT2IMG_BODY, headers=bearer(gateway))
    assert response["message"] == {
        "width": ["The width field must be a multiple of 8 from 64 to 1024."]
    }
    assert "prompt" in (await send(gateway, "text2img?prompt=", headers=bearer(gateway)))["message"]


@pytest.mark.parametrize(
    ("query", "tip"),
    [
        ("prompt=%ff", "The query string is not UTF-8 text."),
        ("a&" * 201, "The query string has more than 200 fields."),
    ],
)
async def test_a_malformed_query_string_is_reported(gateway: Gateway, query: str, tip: str) -> None:
    response = await send(gateway, f"text2img?{query}", TEXT2IMG_BODY, headers=bearer(gateway))
    assert (response["message"], response["tip"]) == ("Invalid API Request", tip)


async def test_a_field_of_the_query_string_belongs_to_an_idempotent_request(
    gateway: Gateway,
) -> None:
    headers = {**bearer(gateway), "idempotency-key": "k"}
    paths = ["text2img?seed=1", "text2img?seed=1&key=unread", "text2img?seed=2"]
    first, second, third = [
        await send(gateway, path, TEXT2IMG_BODY, headers=headers) for path in paths
    ]
    assert first["id"] == second["id"]
    assert set(third["message"]) == {"Idempotency-Key"}


@pytest.mark.parametrize("path", ["text2img", "fetch/1", "system_load"])
async def test_a_key_in_the_query_string_is_not_read_by_default(
    gateway: Gateway, path: str
) -> None:
    response = await send(gateway, f"{path}?key={gateway.key}", TEXT2IMG_BODY)
    assert (response["status"], response["message"]) == ("error", "Invalid Api Key")
    assert "The key in the query string was not read" in response["tip"]
    assert "INFILL_ALLOW_KEY_IN_QUERY" in response["tip"]
    large = {**TEXT2IMG_BODY, "more": "x" * 9_000, "padding": list(range(10))}
    assert "query string" in (await send(gateway, f"{path}?key={gateway.key}", large))["tip"]
    # It does no harm beside a valid key elsewhere.
    sent = await send(gateway, f"{path}?key=junk", TEXT2IMG_BODY, headers=bearer(gateway))
    assert sent["message" if path == "fetch/1" else "status"] in {
        "processing",
        "Request not found",
        "ok",
    }


async def test_a_missing_key_is_not_blamed_on_the_query_string(gateway: Gateway) -> None:
    for path in ("text2img", "text2img?key=", "text2img?prompt=x"):
        assert "query string" not in (await send(gateway, path, TEXT2IMG_BODY))["tip"]


async def test_an_operator_can_allow_the_key_in_the_query_string(settings: Settings) -> None:
    settings.gateway = settings.gateway.model_copy(update={"allow_key_in_query": True})
    async with open_gateway(settings) as gateway:
        key = f"key={gateway.key}"
        submitted = await send(gateway, f"text2img?{key}", TEXT2IMG_BODY)
        path = f"fetch/{submitted['id']}?{key}"
        assert (await send(gateway, path, method="GET"))["id"] == submitted["id"]
        assert (await send(gateway, path))["id"] == submitted["id"]
        # As with a key in a header, a wrong one is an error, and the field of the body counts more.
        wrong = f"text2img?key={new_key()}"
        body = {**TEXT2IMG_BODY, "key": gateway.key}
        assert (await send(gateway, wrong, body))["message"] == "Invalid Api Key"
        assert (await send(gateway, f"text2img?{key}", {**body, "key": new_key()}))[
            "message"
        ] == "Invalid Api Key"


async def test_a_job_can_be_fetched_with_get(gateway: Gateway) -> None:
    job = await gateway.post("text2img", TEXT2IMG_BODY)
    for headers in (bearer(gateway), {"key": gateway.key}):
        fetched = await send(gateway, f"fetch/{job['id']}", method="GET", headers=headers)
        assert (fetched["status"], fetched["id"]) == ("processing", job["id"])
    nobody = await send(gateway, f"fetch/{job['id']}", method="GET", headers={})
    assert nobody["message"] == "Invalid Api Key"
    unknown = await send(gateway, "fetch/abc", method="GET", headers=bearer(gateway))
    assert unknown["message"] == "Request not found"
    wrong = await gateway.client.put(f"/api/v3/fetch/{job['id']}")
    assert wrong.json()["tip"] == "This path accepts GET and POST only."


@pytest.mark.parametrize("path", ["inpaint/", "img2img/", "text2img/", "fetch/{}/", "system_load/"])
async def test_a_path_may_end_with_a_slash(gateway: Gateway, path: str) -> None:
    job = await gateway.post("text2img", TEXT2IMG_BODY)
    response = await gateway.post(path.format(job["id"]), INPAINT_BODY)
    assert response["status"] in {"processing", "ok"}
    if path.startswith("fetch"):
        assert response["id"] == job["id"]
        fetched = await send(gateway, path.format(job["id"]), method="GET", headers=bearer(gateway))
        assert fetched["id"] == job["id"]
    # The same label of metrics.
    metrics = (await gateway.client.get("/metrics")).text
    assert f'route="/api/v3/{path}"' not in metrics


@pytest.mark.parametrize("path", ["inpaint//", "fetch/", "fetch//", "/inpaint"])
async def test_other_slashes_are_not_ignored(gateway: Gateway, path: str) -> None:
    response = await gateway.client.post(f"/api/v3/{path}", json={"key": gateway.key})
    assert (response.status_code, response.json()["status"]) == (404, "error")


async def test_json_may_be_declared_as_plain_text(gateway: Gateway) -> None:
    body = {**TEXT2IMG_BODY, "key": gateway.key}
    assert (await send(gateway, "text2img", body))["status"] == "processing"
    broken = await gateway.client.post("/api/v3/text2img", content=b' \n{"key": }', headers=PLAIN)
    assert broken.json()["message"] == "Invalid API Request"
    other = await gateway.client.post("/api/v3/text2img", content=b"prompt=a", headers=PLAIN)
    assert (other.status_code, other.json()["status"]) == (415, "error")


@pytest.mark.parametrize("seed", [-1, "-1", " -1 ", -1.0])
async def test_a_seed_of_minus_one_is_random(gateway: Gateway, seed: object) -> None:
    sent = [await gateway.post("text2img", {**TEXT2IMG_BODY, "seed": seed}) for _ in range(2)]
    seeds = {response["meta"]["seed"] for response in sent}
    assert len(seeds) == 2
    assert min(seeds) >= 0


async def test_white_space_around_urls_and_base64_is_ignored(gateway: Gateway) -> None:
    fields = {
        **INPAINT_BODY,
        "init_image": f" \t{IMAGE_URL}\r\n",
        "mask_image": "\n data:image/png;base64, iVBORw0KGgo=\n",
        "webhook": f"  {IMAGE_URL} \n",
    }
    response = await gateway.post("inpaint", fields)
    assert (response["status"], response["meta"]["init_image"]) == ("processing", IMAGE_URL)
    assert await gateway.read_column("webhook_url", response["id"]) == IMAGE_URL
