"""Serialization of a job's inputs and result."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from uuid import UUID

import pytest

from common.domain.job import Claim, JobState
from common.domain.object_keys import input_key, result_key
from common.domain.record import InputImage, JobResult, NewJob
from tests.support.generation_request import FILE_PREFIX, HOOK, job_record, new_job


@pytest.mark.parametrize(
    ("image", "stored"),
    [
        (InputImage(url="https://images.test/a.png"), {"url": "https://images.test/a.png"}),
        (InputImage(object_key="1/inputs/x"), {"object_key": "1/inputs/x"}),
    ],
)
def test_an_input_image_is_stored_without_its_empty_field(
    image: InputImage, stored: dict[str, str]
) -> None:
    assert image.to_json() == stored
    assert InputImage(**stored) == image


def test_a_result_reads_back_the_same() -> None:
    result = JobResult(
        object_keys=("1/generations/a.png", "1/generations/b.png"),
        nsfw=(False, True),
        generation_seconds=1.91,
        timeline={"claimed": 1.5, "uploaded": 4.25},
        engine_seconds=0.75,
    )
    assert JobResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_record_returns_its_claim() -> None:
    assert job_record(attempt=3).claim == Claim(7, 3)


def test_two_attempts_never_write_the_same_object() -> None:
    keys = {
        result_key(tenant, prefix, attempt, index)
        for tenant in (1, 2)
        for prefix in (FILE_PREFIX, UUID(int=1))
        for attempt in (1, 11)
        for index in (0, 1)
    }
    assert len(keys) == 16


def test_keys_are_sorted_by_tenant() -> None:
    assert result_key(4, FILE_PREFIX, 2, 0) == f"4/generations/{FILE_PREFIX}-2-0.png"
    assert input_key(4, FILE_PREFIX, "mask_image") == f"4/inputs/{FILE_PREFIX}-mask_image"


def test_a_recorded_job_is_queued_with_all_fields_of_the_new_job() -> None:
    job_to_record = new_job(
        4,
        inputs={"init_image": InputImage(object_key="k")},
        base64=True,
        priority=9,
        webhook_url=HOOK,
        track_id=1.5,
    )
    at = datetime(2026, 5, 4, tzinfo=UTC)
    job = job_to_record.recorded(7, at)
    assert (job.id, job.created_at, job.state, job.attempt) == (7, at, JobState.QUEUED, 0)
    shared = {field.name for field in fields(NewJob)} & {field.name for field in fields(job)}
    assert len(shared) == 9
    assert all(getattr(job, name) == getattr(job_to_record, name) for name in shared)
