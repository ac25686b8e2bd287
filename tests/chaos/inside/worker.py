"""Hooks into a worker: what it claims and what becomes of it, and where it can be struck."""

from typing import Any

import worker.failure
import worker.runner
from common.object_store.storage import Storage
from common.outbound import Guard
from tests.chaos.inside.hooks import JOURNAL, WOUNDS, hook, put
from worker.process import WorkerProcess
from worker.stages import Stages


def install() -> None:
    hook(worker.runner, "claim_jobs", after=_claimed)
    hook(Guard, "fetch", before=_strike("worker.fetching"))
    stored = _note("stored")
    hook(Storage, "put", before=_strike("worker.uploading"), after=stored)
    hook(Stages, "upload", after=_strike("worker.uploaded"))
    hook(worker.runner, "succeed", after=_committed)
    for name in ("release_claim", "retry_later", "fail"):
        _note_end(name)
    _note_rings()


def _claimed(claimed: Any) -> None:
    JOURNAL.note("looked")
    for job, _ in claimed.jobs:
        JOURNAL.note("claimed", job=job.id, attempt=job.attempt)
    if claimed.jobs:
        WOUNDS.strike("worker.claimed")


def _committed(ended: Any) -> None:
    if ended is not None:
        JOURNAL.note("committed", job=ended.job_id)
        WOUNDS.strike("worker.committed")


def _note_end(name: str) -> None:
    original = getattr(worker.failure, name)

    async def noted(connection: Any, claim: Any, **named: Any) -> Any:
        done = await original(connection, claim, **named)
        if done:
            JOURNAL.note("let_go", how=name, job=claim.job_id, attempt=claim.attempt)
        return done

    put(worker.failure, name, noted)


def _note_rings() -> None:
    original = WorkerProcess.look

    def look(self: WorkerProcess, queue: str) -> None:
        JOURNAL.note("ring_heard")
        original(self, queue)

    put(WorkerProcess, "look", look)


def _note(event: str) -> Any:
    return lambda _: JOURNAL.note(event)


def _strike(place: str) -> Any:
    return lambda *_args, **_named: WOUNDS.strike(place)
