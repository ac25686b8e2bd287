"""The `infill jobs` and `infill queues` commands."""

import click

from common.domain.job import JobState
from common.messaging.announcer import Announcer
from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.operations import jobs
from common.operations.paging import Page
from common.postgres.database import Database
from common.postgres.repositories.jobs.overview import JobSummary
from common.settings import Settings
from deploy.cli.operators.options import ID, page_options
from deploy.cli.operators.printing import json_option, show_list, show_record
from deploy.cli.operators.run import current_operator, run_operation

COLUMNS = (
    *("id", "tenant", "queue", "state", "priority", "attempt", "cost"),
    *("created_at", "started_at", "finished_at", "error_code"),
)


@click.command("queues")
@json_option
def list_queues(*, as_json: bool) -> None:
    """List the queues: waiting jobs (counted up to 10,000), running jobs, workers."""
    silent = Settings().jobs.lease_seconds
    listed = run_operation(lambda database: jobs.list_queues(database, silent_seconds=silent))
    columns = ("name", "waiting", "running", "ready_tenants", "workers")
    show_list(listed, columns, as_json=as_json)


@click.group("jobs")
def group() -> None:
    """List, show, cancel and prioritize jobs."""


@group.command("list")
@click.option("--tenant")
@click.option("--state", type=click.Choice([state.value for state in JobState]))
@click.option("--queue")
@page_options
@json_option
def list_all(
    page: Page, tenant: str | None, state: str | None, queue: str | None, *, as_json: bool
) -> None:
    """List jobs, latest first; a page can be short even if there is a next page."""
    wanted = None if state is None else JobState(state)
    listed = run_operation(
        lambda database: jobs.list_jobs(database, page, tenant=tenant, state=wanted, queue=queue)
    )
    show_list(listed, COLUMNS, as_json=as_json)


@group.command("show")
@click.argument("job_id", type=ID)
@json_option
def show(job_id: int, *, as_json: bool) -> None:
    """Show the state of job JOB_ID, without its prompt or images."""
    show_record(run_operation(lambda database: jobs.show_job(database, job_id)), as_json=as_json)


@group.command("cancel")
@click.argument("job_id", type=ID)
@json_option
def cancel(job_id: int, *, as_json: bool) -> None:
    """Cancel the queued or running job JOB_ID; its webhook is sent."""
    show_record(run_operation(lambda database: _cancel(database, job_id)), as_json=as_json)


# Otherwise click would parse a negative priority as an option.
@group.command("set-priority", context_settings={"ignore_unknown_options": True})
@click.argument("job_id", type=ID)
@click.argument("priority", type=int)
@json_option
def set_priority(job_id: int, priority: int, *, as_json: bool) -> None:
    """Set the PRIORITY of queued job JOB_ID; a tenant's job with the highest is claimed first."""
    changed = run_operation(
        lambda database: jobs.set_job_priority(database, current_operator(), job_id, priority)
    )
    show_record(changed, as_json=as_json)


async def _cancel(database: Database, job_id: int) -> JobSummary:
    canceled = await jobs.cancel_job(database, current_operator(), job_id)
    settings = Settings().redis
    redis = connect(settings)
    try:
        await Announcer(redis, Doorbell(redis, settings)).announce_canceled(canceled.ended)
    finally:
        await redis.aclose()
    return canceled.job
