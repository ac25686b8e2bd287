import base64
from typing import Any

import pytest
from redis.asyncio import Redis

from common.domain.generation import SEED_LIMIT
from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT, enhance_prompt
from common.settings import ModelSettings, Settings
from tests.integration.api.gateways import PUBLIC, QUEUE, Gateway, open_gateway
from tests.support.requests import IMAGE_URL, IMG2IMG_BODY, INPAINT_BODY, TEXT2IMG_BODY
from tests.unit.worker.engine.images.test_decode import png_header

IMAGE = b"\x89PNG sent"


async def test_the_response_for_a_queued_job(gateway: Gateway) -> None:
    submitted = {**INPAINT_BODY, "seed": 3163825381, "samples": "2", "num_inference_steps": "30"}
    response = await gateway.post("inpaint", submitted)
    prefix = response["meta"]["file_prefix"]
    links = response.pop("future_links")
    assert response == {
        "status": "processing",
        "tip": "No worker is running for this model; the job waits until one starts.",
        "eta": 8,  # 512 × 512 × 30 steps × 2 are 15.7 units, half a second each
        "messege": "Try to fetch request after seconds estimated",
        "message": "Try to fetch request after seconds estimated",
        "fetch_result": f"{PUBLIC}/api/v3/fetch/{response['id']}",
        "id": response["id"],
        "output": [],
        "webhook_status": "",
        "meta": {
            "H": 512,
            "W": 512,
            "enable_attention_slicing": "false",
            "file_prefix": prefix,
            "guidance_scale": 7.5,
            "init_image": IMAGE_URL,
            "mask_image": IMAGE_URL,
            "model": QUEUE,
            "n_samples": 2,
            "negative_prompt": DEFAULT_NEGATIVE_PROMPT,
            "outdir": "out",
            "prompt": enhance_prompt("a cat on a bench", 3163825381),
            "revision": "",
            "safetychecker": "no",
            "seed": 3163825381,
            "steps": 30,
            "strength": 0.7,
            "vae": QUEUE,
        },
    }
    assert len(links) == 2
    for index, link in enumerate(links):
        assert f"/generations/{prefix}-1-{index}.png?X-Amz-Algorithm=" in link


async def test_prompts_are_unchanged_without_enhancement(gateway: Gateway) -> None:
    submitted = {
        **INPAINT_BODY,
        "enhance_prompt": "no",
        "negative_prompt": "dogs",
        "webhook": IMAGE_URL,
    }
    response = await gateway.post("inpaint", {**submitted, "track_id": 7})
    assert response["meta"]["prompt"] == "a cat on a bench"
    assert response["meta"]["negative_prompt"] == "dogs"
    assert response["webhook_status"] == "pending"
    assert await gateway.read_column("webhook_url", response["id"]) == IMAGE_URL
    assert await gateway.read_column("track_id", response["id"]) == 7


async def test_a_missing_seed_is_chosen_at_random(gateway: Gateway) -> None:
    seeds = {(await gateway.post("inpaint", INPAINT_BODY))["meta"]["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < SEED_LIMIT for seed in seeds)


async def test_text2img_and_img2img_jobs_are_accepted(gateway: Gateway) -> None:
    text = await gateway.post("text2img", TEXT2IMG_BODY)
    assert "strength" not in text["meta"]
    assert "init_image" not in text["meta"]
    assert text["meta"]["safetychecker"] == "no"
    over = await gateway.post("img2img", IMG2IMG_BODY)
    assert over["meta"]["safety_checker"] == "no"
    assert over["meta"]["init_image"] == IMAGE_URL
    assert await gateway.read_column("queue", over["id"]) == "standin"


async def test_workers_are_rung_once_per_job(gateway: Gateway, redis_url: str) -> None:
    for _ in range(3):
        await gateway.post("inpaint", INPAINT_BODY)
    await gateway.services.worker_notifier.aclose()
    async with Redis.from_url(redis_url) as redis:
        assert await redis.llen(QUEUE) == 3


async def test_form_bodies_are_accepted(gateway: Gateway) -> None:
    fields = {"key": gateway.key, **INPAINT_BODY, "width": "64", "track_id": "7", "webhook": ""}
    response = (await gateway.client.post("/api/v3/inpaint", data=fields)).json()
    assert (response["status"], response["meta"]["W"]) == ("processing", 64)
    assert await gateway.read_column("track_id", response["id"]) == "7"


async def test_multipart_bodies_with_files_are_accepted(gateway: Gateway) -> None:
    response = (
        await gateway.client.post(
            "/api/v3/inpaint",
            data={"key": gateway.key, "prompt": "a cat", "mask_image": IMAGE_URL},
            files={"init_image": ("a.png", IMAGE, "image/png")},
        )
    ).json()
    job = await gateway.claim()
    key = job.inputs["init_image"].object_key
    assert key == f"{job.tenant_id}/inputs/{job.file_prefix}-init_image"
    assert await gateway.services.storage.get(key) == IMAGE
    assert f"/{key}?X-Amz-" in response["meta"]["init_image"]
    assert response["meta"]["mask_image"] == IMAGE_URL


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_base64_images_are_accepted(gateway: Gateway, prefix: str) -> None:
    sent = prefix + base64.b64encode(IMAGE).decode()
    await gateway.post("inpaint", {**INPAINT_BODY, "mask_image": sent})
    key = (await gateway.claim()).inputs["mask_image"].object_key
    assert key is not None
    assert await gateway.services.storage.get(key) == IMAGE


async def test_a_decompression_bomb_is_stored_undecoded(gateway: Gateway) -> None:
    """Only the decoders of workers look into images, which may be decompression bombs."""
    bomb = png_header(65_000, 65_000)
    await gateway.post("inpaint", {**INPAINT_BODY, "mask_image": base64.b64encode(bomb).decode()})
    key = (await gateway.claim()).inputs["mask_image"].object_key
    assert key is not None
    assert await gateway.services.storage.get(key) == bomb


@pytest.mark.parametrize("location", ["body", "header", "bearer"])
async def test_the_key_is_read_from_body_header_or_bearer_token(
    gateway: Gateway, location: str
) -> None:
    headers = {"header": {"key": gateway.key}, "bearer": {"authorization": f"Bearer {gateway.key}"}}
    body = {**INPAINT_BODY, **({"key": gateway.key} if location == "body" else {})}
    response = await gateway.client.post(
        "/api/v3/inpaint", json=body, headers=headers.get(location)
    )
    assert response.json()["status"] == "processing"


@pytest.mark.parametrize("path", ["inpaint", "img2img", "text2img", "fetch/1", "system_load"])
@pytest.mark.parametrize("key", [None, "", "inf_nonsense", 5, "inf_" + "0" * 43])
async def test_a_bad_key_is_rejected(gateway: Gateway, path: str, key: Any) -> None:
    response = await gateway.client.post(f"/api/v3/{path}", json={**INPAINT_BODY, "key": key})
    body = response.json()
    assert response.status_code == 200
    assert (body["status"], body["message"], body["messege"]) == (
        "error",
        "Invalid Api Key",
        "Invalid Api Key",
    )
    assert body["tip"]


async def test_bad_fields_record_nothing(gateway: Gateway) -> None:
    response = await gateway.post("inpaint", {"width": 5})
    assert set(response["message"]) == {"prompt", "init_image", "mask_image", "width"}
    assert await gateway.count_jobs() == 0


async def test_an_endpoint_without_a_model_is_rejected(settings: Settings) -> None:
    settings.models = ModelSettings(serve=("standin",))
    async with open_gateway(settings) as gateway:
        response = await gateway.post("inpaint", INPAINT_BODY)
    assert response["message"] == (
        "No model on this service supports inpaint. Available models: standin."
    )


async def test_transport_errors_keep_their_status(gateway: Gateway) -> None:
    post = gateway.client.post
    large = await post("/api/v3/inpaint", content=b"x" * 10_001)
    assert (large.status_code, large.json()["status"]) == (413, "error")
    strange = await post("/api/v3/inpaint", content=b"x", headers={"content-type": "text/plain"})
    assert (strange.status_code, strange.json()["status"]) == (415, "error")
    unknown = await post("/api/v3/outpaint", json={})
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Not Found")
    wrong = await gateway.client.get("/api/v3/inpaint")
    assert (wrong.status_code, wrong.json()["status"]) == (405, "error")
    assert wrong.json()["tip"] == "This path accepts POST only."


async def test_broken_json_is_reported(gateway: Gateway) -> None:
    response = await gateway.client.post("/api/v3/inpaint", content=b'{"prompt": "a",}')
    assert response.status_code == 200
    assert response.json()["message"] == "Invalid API Request"
    assert "trailing comma at line 1, column 15" in response.json()["tip"]


async def test_browsers_of_any_origin_may_call(gateway: Gateway) -> None:
    response = await gateway.client.post(
        "/api/v3/inpaint", json={}, headers={"origin": "https://example.com"}
    )
    assert response.headers["access-control-allow-origin"] == "*"
