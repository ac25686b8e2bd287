"""The bodies of jobs that have ended, against the example of the documentation."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from common.dialects.v3 import failed_body, success_body
from common.domain.generation import Endpoint
from common.domain.job import JobState
from common.domain.record import JobResult
from tests.support.generation_request import FILE_PREFIX, REQUEST, job_record

LINKS = ["https://store.test/0.png", "https://store.test/1.png"]
INPUTS = {"init_image": "https://p.test/a.png", "mask_image": "https://p.test/b.png"}
RESULT = JobResult(("k0", "k1"), (False, False), 1.91, {}, 1.91)


def test_the_body_of_a_succeeded_job() -> None:
    job = job_record(state=JobState.SUCCEEDED, result=RESULT)
    assert success_body(job, RESULT, output=LINKS, inputs=INPUTS, webhook_status="pending") == {
        "status": "success",
        "generationTime": 1.91,
        "id": 7,
        "output": LINKS,
        "proxy_links": LINKS,
        "nsfw_content_detected": False,
        "webhook_status": "pending",
        "meta": {
            "H": 384,
            "W": 512,
            "enable_attention_slicing": "false",
            "file_prefix": str(FILE_PREFIX),
            "guidance_scale": 7.5,
            "init_image": "https://p.test/a.png",
            "mask_image": "https://p.test/b.png",
            "model": "sd15-inpainting",
            "n_samples": 2,
            "negative_prompt": "blurry",
            "outdir": "out",
            "prompt": "a cat on a bench",
            "revision": "",
            "safetychecker": "no",
            "seed": 3_163_825_381,
            "steps": 30,
            "strength": 0.7,
            "vae": "sd15-inpainting",
        },
    }


@pytest.mark.parametrize(
    ("endpoint", "spelling", "has_strength"),
    [
        (Endpoint.INPAINT, "safetychecker", True),
        (Endpoint.IMG2IMG, "safety_checker", True),
        (Endpoint.TEXT2IMG, "safetychecker", False),
    ],
)
def test_each_endpoint_has_its_own_spelling_in_meta(
    endpoint: Endpoint, spelling: str, *, has_strength: bool
) -> None:
    job = job_record(request=replace(REQUEST, endpoint=endpoint, safety_checker=True))
    meta = success_body(job, RESULT, output=LINKS, inputs={}, webhook_status="")["meta"]
    assert {name for name in meta if name.startswith("safety")} == {spelling}
    assert meta[spelling] == "yes"
    assert ("strength" in meta) == has_strength


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize(("revision", "shown"), [(None, ""), ("fp16", "fp16")])
def test_meta_names_the_model_as_text(endpoint: Endpoint, revision: str | None, shown: str) -> None:
    job = job_record(request=replace(REQUEST, endpoint=endpoint, revision=revision))
    meta = success_body(job, RESULT, output=LINKS, inputs={}, webhook_status="")["meta"]
    names = ("model", "revision", "vae", "enable_attention_slicing")
    assert [meta[name] for name in names] == [REQUEST.model, shown, REQUEST.model, "false"]


def test_meta_has_extensions_only_where_they_were_set() -> None:
    extensions = {"scheduler": "Euler a", "mask_grow": -3, "mask_blur": 8, "mask_padding": 0}
    request = replace(REQUEST, mask_invert=True, **extensions)  # type: ignore[arg-type] # by name
    plain, changed = (
        success_body(job_record(request=one), RESULT, output=[], inputs={}, webhook_status="")
        for one in (REQUEST, request)
    )
    assert changed["meta"] == plain["meta"] | extensions | {"mask_invert": "yes"}


def test_one_unsafe_image_sets_the_flag() -> None:
    unsafe = replace(RESULT, nsfw=(False, True))
    body = success_body(job_record(), unsafe, output=LINKS, inputs={}, webhook_status="")
    assert body["nsfw_content_detected"] is True


def test_the_body_of_a_failed_job() -> None:
    assert failed_body(7, "mask_image is not an image") == {
        "status": "failed",
        "id": 7,
        "message": "mask_image is not an image",
        "messege": "mask_image is not an image",
        "output": [],
    }


def test_success_after_the_images_were_deleted() -> None:
    job = job_record(objects_deleted_at=datetime(2026, 6, 3, 23, 59, tzinfo=UTC))
    body = success_body(job, RESULT, output=[], inputs=INPUTS, webhook_status="delivered")
    message = "The images of this job were deleted on 2026-06-03."
    assert (body["status"], body["output"], body["proxy_links"]) == ("success", [], [])
    assert (body["message"], body["messege"]) == (message, message)
    assert body["meta"]["seed"] == REQUEST.seed
