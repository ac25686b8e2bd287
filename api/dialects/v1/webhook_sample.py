"""The body of a webhook ping: shaped like a real webhook, but without a job."""

from datetime import datetime
from typing import Final
from uuid import UUID

import orjson

from common.dialects.v3 import failed_body, success_body
from common.domain.delivery import Event
from common.domain.generation import Endpoint, GenerationRequest
from common.domain.job import JobState
from common.domain.record import JobRecord, JobResult

# No job has this id.
SAMPLE_ID: Final = 0
_PREFIX: Final = UUID(int=0)
_IMAGE: Final = "https://images.example.com/sample-0.png"
_INPUTS: Final = {
    "init_image": "https://images.example.com/init.png",
    "mask_image": "https://images.example.com/mask.png",
}
_MESSAGES: Final = {
    Event.FAILED: "init_image: could not fetch the image: HTTP 404",
    Event.CANCELED: "the job was canceled by its owner through the API",
}
_REQUEST: Final = GenerationRequest(
    endpoint=Endpoint.INPAINT,
    model="sample",
    prompt="a sample: no image was generated",
    negative_prompt="",
    width=512,
    height=512,
    samples=1,
    inference_steps=21,
    guidance_scale=7.5,
    strength=0.7,
    seed=0,
)
_RESULT: Final = JobResult(("sample-0.png",), (False,), 1.5, {}, 1.5)


def sample_body(event: Event, track_id: str | float | None, now: datetime) -> bytes:
    """Return the JSON body of a sample webhook that reports `event`."""
    if event is Event.SUCCEEDED:
        body = success_body(
            _job(now),
            _RESULT,
            output=[_IMAGE],
            inputs=_INPUTS,
            webhook_status="pending",
        )
    else:
        body = failed_body(SAMPLE_ID, _MESSAGES[event])
    return orjson.dumps({**body, "track_id": track_id})


def _job(now: datetime) -> JobRecord:
    return JobRecord(
        id=SAMPLE_ID,
        tenant_id=0,
        file_prefix=_PREFIX,
        queue=_REQUEST.model,
        state=JobState.SUCCEEDED,
        attempt=1,
        request=_REQUEST,
        inputs={},
        base64=False,
        webhook_url=None,
        track_id=None,
        result=_RESULT,
        error_code=None,
        error_message=None,
        created_at=now,
        started_at=now,
        finished_at=now,
    )
