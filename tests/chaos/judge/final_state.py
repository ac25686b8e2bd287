"""Rows, bucket and journal after a run, read once for all checks."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from common.settings import Settings
from tests.chaos.installation.world import World
from tests.chaos.journal import Entry
from tests.chaos.judge.ledger import LedgerRows, read_ledger

FINAL = {"succeeded", "failed", "canceled"}

JOBS = """
SELECT id, tenant_id, state, attempt, max_attempts, result, inputs, idempotency_key AS token,
    webhook_url IS NOT NULL AS told, error_code FROM jobs
"""
UNSETTLED = """
SELECT (SELECT count(*) FROM jobs WHERE state IN ('queued', 'running'))
    + (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending'))
"""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FinalState:
    """Everything that the checks read."""

    jobs: dict[int, Row]
    accounts: LedgerRows
    deliveries: list[Row]
    objects: set[str]
    entries: list[Entry] = field(repr=False)

    @property
    def named(self) -> set[str]:
        """The objects that jobs name: results and uploaded inputs."""
        return {key for job in self.jobs.values() for key in named_by(job)}


def named_by(job: Row) -> set[str]:
    inputs = (image.get("object_key") for image in job["inputs"].values())
    results = job["result"]["object_keys"] if job["result"] else []
    return {key for key in (*inputs, *results) if key}


async def unsettled(world: World) -> int:
    """Count the jobs and deliveries that have not ended."""
    count: int = (await world.ask(UNSETTLED))[0][0]
    return count


async def read_final_state(world: World) -> FinalState:
    jobs = [_job(dict(row)) for row in await world.ask(JOBS)]
    deliveries = await world.ask("SELECT id::text, job_id, event, state FROM deliveries")
    return FinalState(
        jobs={job["id"]: job for job in jobs},
        accounts=await read_ledger(world.ask),
        deliveries=[dict(row) for row in deliveries],
        objects=await asyncio.to_thread(list_bucket),
        entries=world.journal.entries(),
    )


def list_bucket() -> set[str]:
    """Return the keys in the bucket, less the installation's marker; read without the product."""
    settings = Settings().storage
    key_id, secret = settings.fixed_keys or (None, None)
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}),
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket)
    keys = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
    return {key for key in keys if not key.startswith(".")}


def _job(row: Row) -> Row:
    for column in ("result", "inputs"):
        row[column] = json.loads(row[column]) if row[column] else {}
    return row
