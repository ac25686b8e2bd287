"""Models, schedulers, changes of the mask and the required checker, from the request to the row."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.settings import ModelSettings, Settings
from tests.integration.api.gateways import Gateway, open_gateway
from tests.support.requests import INPAINT_BODY

MODELS = """
[[models]]
name = "plain"
source = "random:base"
endpoints = ["inpaint", "text2img"]
licence = "none"

[[models]]
name = "safe"
source = "random:base"
safety_checker = true
endpoints = ["inpaint", "img2img"]
licence = "none"
"""


@pytest.fixture
async def gateway(settings: Settings, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Yield a gateway with two models, of which one has a safety checker."""
    file = tmp_path / "models.toml"
    file.write_text(MODELS)
    settings.models = ModelSettings(file=file)
    async with open_gateway(settings) as opened:
        yield opened


async def send(gateway: Gateway, path: str = "inpaint", **fields: Any) -> Any:
    return await gateway.post(path, {**INPAINT_BODY, **fields})


async def test_model_scheduler_and_mask_options_are_recorded_and_returned(gateway: Gateway) -> None:
    mask: dict[str, Any] = {"mask_grow": -8, "mask_blur": 4, "mask_padding": 32}
    sent = {"model_id": "safe", "scheduler": "plms", "mask_invert": "yes", **mask}
    response = await send(gateway, **sent)
    kept = await gateway.claim("safe")
    assert (kept.id, kept.request.model) == (response["id"], "safe")
    assert (kept.request.scheduler, kept.request.mask_invert) == ("PNDM", True)
    assert {name: getattr(kept.request, name) for name in mask} == mask
    await gateway.finish(kept)
    done = await gateway.post(f"fetch/{response['id']}")
    assert done["meta"] == response["meta"]
    result = {"scheduler": "PNDM", "mask_invert": "yes", **mask}
    assert {name: done["meta"].get(name) for name in result} == result


async def test_fields_left_out_are_not_in_the_response(gateway: Gateway) -> None:
    off: dict[str, Any] = {
        "mask_invert": "no",
        "mask_grow": 0,
        "mask_blur": "0",
        "mask_padding": None,
    }
    plain = await send(gateway, seed=5)
    switched_off = await send(gateway, seed=5, scheduler="", model_id="null", **off)
    assert switched_off["meta"].keys() == plain["meta"].keys()
    assert await gateway.read_column("queue", switched_off["id"]) == "plain"


async def test_a_form_can_choose_model_scheduler_and_mask_options(gateway: Gateway) -> None:
    form = {
        "key": gateway.key,
        **INPAINT_BODY,
        "model_id": "safe",
        "mask_grow": "9",
        "scheduler": "lcm",
    }
    response = (await gateway.client.post("/api/v3/inpaint", data=form)).json()
    assert (response["meta"]["mask_grow"], response["meta"]["scheduler"]) == (9, "LCM")
    assert await gateway.read_column("queue", response["id"]) == "safe"


async def test_bad_choices_are_rejected_and_nothing_is_recorded(gateway: Gateway) -> None:
    bad: dict[str, Any] = {"model_id": "x", "scheduler": "x", "mask_grow": 99, "mask_padding": -1}
    result = (await send(gateway, **bad, num_inference_steps=0))["message"]
    assert set(result) == {*bad, "num_inference_steps"}
    assert "(plain, safe)." in result["model_id"][0]
    lcm = await send(gateway, scheduler="LCM", num_inference_steps=51)
    assert set(lcm["message"]) == {"num_inference_steps"}
    assert await gateway.count_jobs() == 0


async def test_a_scheduler_that_evaluates_the_model_twice_costs_twice(gateway: Gateway) -> None:
    euler, heun = [await send(gateway, scheduler=name) for name in ("Euler", "Heun")]
    cost = await gateway.read_column("cost", euler["id"])
    assert await gateway.read_column("cost", heun["id"]) == 2 * cost
    await gateway.set_limits(max_queued=9, monthly_credits=3.5 * cost)
    assert (await send(gateway, scheduler="Heun"))["message"].startswith("Rate limit exceeded.")


@pytest.mark.parametrize("sent", [{}, {"safety_checker": "no"}, {"safety_checker": "yes"}])
async def test_a_required_safety_checker_is_on_for_every_request(
    gateway: Gateway, sent: dict[str, str]
) -> None:
    await gateway.set_limits(require_safety_checker=True)
    response = await send(gateway, **sent)
    assert response["meta"]["safetychecker"] == "yes"
    job = await gateway.claim("safe")
    assert job.request.safety_checker is True
    await gateway.finish(job, flagged=1)
    assert (await gateway.post(f"fetch/{job.id}"))["nsfw_content_detected"] is True


async def test_models_without_a_required_safety_checker_are_rejected(gateway: Gateway) -> None:
    await gateway.set_limits(require_safety_checker=True)
    (result,) = (await send(gateway, model_id="plain"))["message"]["model_id"]
    assert result.endswith(
        "inpaint (safe); your plan requires the safety checker, and plain has none."
    )
    rejected = (await send(gateway, "text2img"))["message"]
    assert rejected.startswith("Your plan requires the safety checker, but no model that supports ")
    await gateway.set_limits(require_safety_checker=True, models=["plain"])
    assert "no model that supports inpaint has one (plain)." in (await send(gateway))["message"]
    assert await gateway.count_jobs() == 0


async def test_the_request_decides_about_an_optional_safety_checker(gateway: Gateway) -> None:
    assert (await send(gateway))["meta"]["safetychecker"] == "no"
    result = (await send(gateway, safety_checker="yes"))["message"]
    must_be = '"no" because the model plain has no safety checker; models with one: safe'
    assert result == {"safety_checker": [f"The safety_checker field must be {must_be}."]}
    checked = await send(gateway, safety_checker="yes", model_id="safe")
    assert checked["meta"]["safetychecker"] == "yes"
