"""A sample request to generate images, and the record of a job for this request."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from common.domain.generation import Endpoint, GenerationRequest
from common.domain.job import JobState
from common.domain.record import InputImage, JobRecord, NewJob

FILE_PREFIX: Final = UUID("6f2a1c1e-8a0b-4d0e-9b7e-0d3c5a1f2b44")
HOOK: Final = "https://caller.test/hook"

REQUEST: Final = GenerationRequest(
    endpoint=Endpoint.INPAINT,
    model="sd15-inpainting",
    prompt="a cat on a bench",
    negative_prompt="blurry",
    width=512,
    height=384,
    samples=2,
    inference_steps=30,
    guidance_scale=7.5,
    strength=0.7,
    seed=3_163_825_381,
)
INPUTS: Final = {"init_image": InputImage(url="https://images.test/bench.png")}

JOB: Final = JobRecord(
    id=7,
    tenant_id=4,
    file_prefix=FILE_PREFIX,
    queue=REQUEST.model,
    state=JobState.RUNNING,
    attempt=1,
    request=REQUEST,
    inputs={"init_image": InputImage(url="https://images.test/bench.png")},
    base64=False,
    webhook_url=HOOK,
    track_id="order-9",
    result=None,
    error_code=None,
    error_message=None,
    created_at=datetime(2026, 5, 4, tzinfo=UTC),
    started_at=None,
    finished_at=None,
)


def generation_request(**changes: Any) -> GenerationRequest:
    """Return the sample request with `changes` to its fields."""
    return replace(REQUEST, **changes)


def new_job(tenant_id: int, **changes: Any) -> NewJob:
    """Return a new job for the sample request, with its own file prefix and with `changes`."""
    sample = NewJob(
        tenant_id=tenant_id,
        file_prefix=uuid4(),
        queue=REQUEST.model,
        request=REQUEST,
        inputs=INPUTS,
        base64=False,
        max_attempts=3,
    )
    return replace(sample, **changes)


def job_record(**changes: Any) -> JobRecord:
    """Return the sample job with `changes` to its fields."""
    return replace(JOB, **changes)
