"""Protections of the product, each removed: the harness must detect that."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

import worker.heartbeat
import worker.runner
from common.domain.delivery import Event
from common.domain.job import Claim, EndedJob, JobState
from common.domain.record import JobResult
from common.postgres.models import Delivery, Job, UsageEntry
from common.postgres.repositories.jobs.leases import renew_claims
from tests.chaos.inside.hooks import CRASH_POINTS, put
from worker.heartbeat import Heartbeat
from worker.image_store.store import ImageStore


def without_fence() -> None:
    """Let a worker keep every claim it ever held, and finish the job whoever holds it now."""

    async def all_hold(connection: Any, claims: Sequence[Claim], seconds: float) -> set[Claim]:
        await renew_claims(connection, claims, seconds)
        return set(claims)

    async def end_regardless(connection: Any, claim: Claim, result: JobResult) -> EndedJob | None:
        return await _end(connection, claim, result, tell=True)

    put(worker.heartbeat, "renew_claims", all_hold)
    put(worker.runner, "succeed", end_regardless)


def without_outbox() -> None:
    """Record the delivery after the commit of the result, as systems without an outbox do."""

    async def end_then_tell(connection: Any, claim: Claim, result: JobResult) -> EndedJob | None:
        ended = await _end(connection, claim, result, tell=False)
        if ended is not None:
            CRASH_POINTS.crash_if_armed("worker.untold")
            await connection.execute(_TELL, {"of_job": ended.job_id})
        return ended

    put(worker.runner, "succeed", end_then_tell)


def without_heartbeat() -> None:
    """Never renew a lease."""

    async def silent(_heart: Heartbeat) -> None:
        return None

    put(Heartbeat, "renew_leases", silent)


def without_upload_retry() -> None:
    """Release a job whose images cannot be stored, and generate them again."""

    async def put_once(self: ImageStore, key: str, image: bytes) -> None:
        await self._storage.put(key, image)

    put(ImageStore, "put", put_once)


BREAKS = {
    "fence": without_fence,
    "outbox": without_outbox,
    "heartbeat": without_heartbeat,
    "upload": without_upload_retry,
}

_ENDED = (
    update(Job)
    .where(Job.id == bindparam("of_job"), Job.state == JobState.RUNNING)
    .values(
        state=JobState.SUCCEEDED,
        result=bindparam("to_result"),
        claimed_by=None,
        lease_expires_at=None,
        finished_at=func.now(),
    )
    .returning(Job.id, Job.file_prefix, Job.webhook_url)
)
_CHARGE = insert(UsageEntry).from_select(
    ["job_id", "tenant_id", "model", "images", "megapixel_steps", "gpu_milliseconds"],
    select(Job.id, Job.tenant_id, Job.queue, 1, Job.cost, 1).where(Job.id == bindparam("of_job")),
)
_TELL = insert(Delivery).from_select(
    ["job_id", "tenant_id", "event", "url"],
    select(Job.id, Job.tenant_id, bindparam("event", Event.SUCCEEDED.value), Job.webhook_url).where(
        Job.id == bindparam("of_job"), Job.webhook_url.is_not(None)
    ),
)


async def _end(connection: Any, claim: Claim, result: JobResult, *, tell: bool) -> EndedJob | None:
    values = {"of_job": claim.job_id, "to_result": result.to_json()}
    row = (await connection.execute(_ENDED, values)).first()
    if row is None:
        return None
    await connection.execute(_CHARGE, {"of_job": claim.job_id})
    if tell:
        await connection.execute(_TELL, {"of_job": claim.job_id})
    return EndedJob(row[0], row[1], None)
