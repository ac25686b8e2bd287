"""The job columns that statements return, and their conversion to records."""

from collections.abc import Sequence
from typing import Any, Final

from common.domain.generation import GenerationRequest
from common.domain.record import InputImage, JobRecord, JobResult
from common.postgres.models import Delivery, Job

JOB_COLUMNS: Final[tuple[Any, ...]] = (
    Job.id,
    Job.tenant_id,
    Job.file_prefix,
    Job.queue,
    Job.state,
    Job.attempt,
    Job.request,
    Job.inputs,
    Job.base64,
    Job.webhook_url,
    Job.track_id,
    Job.result,
    Job.error_code,
    Job.error_message,
    Job.created_at,
    Job.started_at,
    Job.finished_at,
    Job.objects_deleted_at,
    Job.priority,
)
# Columns returned by every statement that ends jobs: the fields of `EndedJob`, in their order.
ENDED_JOB_COLUMNS: Final[tuple[Any, ...]] = (Job.id, Job.file_prefix, Delivery.id)


def to_job_record(row: Sequence[Any]) -> JobRecord:
    """Convert a row that starts with `JOB_COLUMNS` to a job record.

    Raises:
        TypeError, ValueError, KeyError: a newer release wrote the row, with fields or values
            unknown to this release.
    """
    fields = {column.key: row[index] for index, column in enumerate(JOB_COLUMNS)}
    fields["request"] = GenerationRequest.from_json(fields["request"])
    fields["inputs"] = {name: InputImage(**stored) for name, stored in fields["inputs"].items()}
    if fields["result"] is not None:
        fields["result"] = JobResult.from_json(fields["result"])
    return JobRecord(**fields)
