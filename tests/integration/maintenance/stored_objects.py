"""Jobs with stored images; a test chooses the age of both."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from prometheus_client import REGISTRY
from types_boto3_s3 import S3Client

from common.domain.job import JobState
from common.domain.object_keys import input_key, result_key
from common.domain.record import InputImage, JobResult
from common.object_store.storage import Storage
from common.postgres.database import Database
from common.runtime.clock import utc_now
from common.settings import RetentionSettings
from tests.integration.repositories.support.tenant_rows import (
    ATTEMPT,
    FAR_AHEAD,
    LONG_AGO,
    TenantRows,
)
from worker.maintenance.retention import Retention

KINDS = ("images", "job", "delivery", "attempt", "orphan")


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job and the keys of its images."""

    job_id: int
    tenant_id: int
    prefix: UUID

    def output_key(self, attempt: int = ATTEMPT) -> str:
        return result_key(self.tenant_id, self.prefix, attempt, 0)

    @property
    def mask(self) -> str:
        return input_key(self.tenant_id, self.prefix, "mask_image")


@dataclass(frozen=True, slots=True)
class StoredJobs:
    """One tenant's jobs and the objects in a bucket."""

    tenant: TenantRows
    storage: Storage
    s3: S3Client
    bucket: str
    stopping: asyncio.Event

    @property
    def database(self) -> Database:
        return self.tenant.database

    async def job(self, state: JobState, **columns: Any) -> StoredJob:
        """Record a job in its second attempt, with two samples; a final state is old."""
        prefix = uuid4()
        made = StoredJob(0, self.tenant.tenant_id, prefix)
        running, ended = state is JobState.RUNNING, state not in {"queued", "running"}
        result = JobResult((made.output_key(),), (False,), 1.0, {}, 1.0).to_json()
        values = {
            "state": state,
            "attempt": ATTEMPT,
            "lease_expires_at": FAR_AHEAD if running else None,
            "finished_at": LONG_AGO if ended else None,
            "result": result if state is JobState.SUCCEEDED else None,
            **columns,
        }
        inputs = {"mask_image": InputImage(object_key=made.mask)}
        job_id = await self.tenant.queue_job(file_prefix=prefix, inputs=inputs, columns=values)
        return StoredJob(job_id, self.tenant.tenant_id, prefix)

    def put(self, *keys: str, modified_at: datetime = LONG_AGO) -> None:
        """Store objects as if they had been stored then; the local server reads it from there."""
        for key in keys:
            metadata = {"mtime": str(modified_at.timestamp())}
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"\x89PNG", Metadata=metadata)

    def put_now(self, *keys: str) -> None:
        self.put(*keys, modified_at=utc_now())

    @property
    def keys(self) -> set[str]:
        """The keys of all objects in the bucket."""
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {entry["Key"] for entry in found}

    def retention(self, storage: Storage | None = None, /, **settings: Any) -> Retention:
        return Retention(self.database, storage or self.storage, RetentionSettings(**settings))

    async def run_round(self, retention: Retention | None = None) -> None:
        """Run one round of retention."""
        async with self.database.statement() as connection:
            await (retention or self.retention()).run_round(connection, self.stopping)

    async def job_ids(self) -> list[int]:
        async with self.database.statement() as connection:
            found = await connection.exec_driver_sql("SELECT id FROM jobs ORDER BY id")
            return list(found.scalars())


def deletion_counts() -> dict[str, float]:
    """Return the deletion counters by kind."""
    name = "infill_retention_deleted_total"
    return {kind: REGISTRY.get_sample_value(name, {"kind": kind}) or 0.0 for kind in KINDS}
