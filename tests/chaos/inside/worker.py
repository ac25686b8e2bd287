"""Hooks into a worker: journal entries for its claims, and its crash points."""

from typing import Any

import worker.failure
import worker.runner
from common.object_store.storage import Storage
from common.outbound import Guard
from tests.chaos.inside.hooks import CRASH_POINTS, JOURNAL, hook, put
from worker.image_transfers import ImageTransfers
from worker.process import WorkerProcess


def install() -> None:
    hook(worker.runner, "claim_jobs", after=_claimed)
    hook(Guard, "fetch", before=_crash("worker.fetching"))
    stored = _note("stored")
    hook(Storage, "put", before=_crash("worker.uploading"), after=stored)
    hook(ImageTransfers, "upload", after=_crash("worker.uploaded"))
    hook(worker.runner, "succeed", after=_committed)
    for name in ("release_claim", "retry_later", "fail"):
        _note_end(name)
    _note_rings()


def _claimed(claimed: Any) -> None:
    JOURNAL.note("looked")
    for job in (one.record for one in claimed.jobs):
        JOURNAL.note("claimed", job=job.id, attempt=job.attempt)
    if claimed.jobs:
        CRASH_POINTS.crash_if_armed("worker.claimed")


def _committed(ended: Any) -> None:
    if ended is not None:
        JOURNAL.note("committed", job=ended.job_id)
        CRASH_POINTS.crash_if_armed("worker.committed")


def _note_end(name: str) -> None:
    original = getattr(worker.failure, name)

    async def noted(connection: Any, claim: Any, **named: Any) -> Any:
        done = await original(connection, claim, **named)
        if done:
            JOURNAL.note("let_go", how=name, job=claim.job_id, attempt=claim.attempt)
        return done

    put(worker.failure, name, noted)


def _note_rings() -> None:
    original = WorkerProcess.claim_waiting_jobs

    def claim_waiting_jobs(self: WorkerProcess, queue: str) -> None:
        JOURNAL.note("ring_heard")
        original(self, queue)

    put(WorkerProcess, "claim_waiting_jobs", claim_waiting_jobs)


def _note(event: str) -> Any:
    return lambda _: JOURNAL.note(event)


def _crash(place: str) -> Any:
    return lambda *_args, **_named: CRASH_POINTS.crash_if_armed(place)
