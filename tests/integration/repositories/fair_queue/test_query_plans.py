"""Frequent statements use their index and never scan a whole table."""

import re
from uuid import uuid4

import pytest

from common.domain.job import Claim
from common.postgres.repositories.deliveries.claim import claim_deliveries
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.fair_queue.queue_snapshot import (
    read_running,
    read_totals,
    read_waiting_tenants,
)
from common.postgres.repositories.fair_queue.tenant_position import read_tenant_position
from common.postgres.repositories.jobs.leases import renew_claims
from common.postgres.repositories.jobs.read import find_ended, read_job
from common.postgres.repositories.maintenance.expire import fail_abandoned, fail_overdue
from common.postgres.repositories.maintenance.requeue import (
    count_claimable,
    count_jobs,
    requeue_expired,
    requeue_expired_deliveries,
)
from common.postgres.repositories.maintenance.retention import (
    delete_old_attempts,
    delete_old_deliveries,
    delete_old_jobs,
    find_expired_images,
    find_job_objects,
    mark_images_deleted,
)
from tests.integration.repositories.support.query_plans import Call, fill, plans
from tests.integration.repositories.support.tenant_rows import TenantRows

CLAIMS = [Claim(job_id, 1) for job_id in (1, 2, 3)]


@pytest.mark.parametrize(
    ("call", "index"),
    [
        pytest.param(
            lambda c: claim_jobs(c, queues=["queue-0"], worker="w", lease_seconds=60.0, limit=3),
            "ix_jobs_queued",
            id="claim_jobs",
        ),
        pytest.param(
            lambda c: renew_claims(c, CLAIMS, 60.0), "Index Scan using", id="renew_claims"
        ),
        pytest.param(lambda c: count_jobs(c, at_most=5), "ix_jobs_queued", id="count_jobs"),
        pytest.param(
            lambda c: count_claimable(c, ["queue-0", "queue-1"], at_most=5),
            "ix_jobs_queued",
            id="count_claimable",
        ),
        pytest.param(lambda c: requeue_expired(c, limit=10), "ix_jobs_lease", id="requeue"),
        pytest.param(lambda c: fail_abandoned(c, limit=10), "ix_jobs_lease", id="abandoned"),
        pytest.param(
            lambda c: fail_overdue(c, max_queue_seconds=3600.0, limit=10),
            "ix_jobs_waiting",
            id="overdue",
        ),
        pytest.param(
            lambda c: read_totals(c, "queue-0", silent_seconds=60.0),
            "ix_jobs_succeeded",
            id="read_totals",
        ),
        pytest.param(
            lambda c: read_waiting_tenants(c, "queue-0"),
            "ix_jobs_queued",
            id="read_waiting_tenants",
        ),
        pytest.param(lambda c: read_running(c, "queue-0"), "ix_jobs_lease", id="read_running"),
        pytest.param(
            lambda c: read_tenant_position(c, tenant_id=1, queue="queue-0"),
            "ix_jobs_queued",
            id="read_tenant_position",
        ),
        pytest.param(
            lambda c: find_ended(c, [uuid4(), uuid4()]), "uq_jobs_file_prefix", id="find_ended"
        ),
        pytest.param(lambda c: read_job(c, tenant_id=1, job_id=5), "pk_jobs", id="read_job"),
        pytest.param(
            lambda c: claim_deliveries(
                c, dispatcher="d", limit=10, lease_seconds=60.0, per_origin=50, retries=False
            ),
            "ix_deliveries_first",
            id="claim_deliveries",
        ),
        pytest.param(
            lambda c: claim_deliveries(
                c, dispatcher="d", limit=10, lease_seconds=60.0, per_origin=50, retries=True
            ),
            "ix_deliveries_retry",
            id="claim_retries",
        ),
        pytest.param(
            lambda c: requeue_expired_deliveries(c, limit=10),
            "ix_deliveries_lease",
            id="requeue_deliveries",
        ),
        pytest.param(
            lambda c: find_expired_images(c, seconds=9.0, limit=10),
            "ix_jobs_with_objects",
            id="find_expired_images",
        ),
        pytest.param(
            lambda c: mark_images_deleted(c, [1, 2, 3]), "pk_jobs", id="mark_images_deleted"
        ),
        pytest.param(
            lambda c: delete_old_jobs(c, seconds=9.0, limit=10),
            "ix_jobs_without_objects",
            id="delete_old_jobs",
        ),
        pytest.param(
            lambda c: delete_old_deliveries(c, seconds=9.0, limit=10),
            "ix_deliveries_finished",
            id="delete_old_deliveries",
        ),
        pytest.param(
            lambda c: delete_old_attempts(c, seconds=9.0, limit=10),
            "pk_delivery_attempts",
            id="delete_old_attempts",
        ),
        pytest.param(
            lambda c: find_job_objects(c, [uuid4(), uuid4()]),
            "uq_jobs_file_prefix",
            id="find_job_objects",
        ),
    ],
)
async def test_the_index_is_used(
    alice: TenantRows, database_url: str, call: Call, index: str
) -> None:
    await fill(alice)
    for plan in await plans(alice.database, database_url, call):
        assert index in plan
        assert "Seq Scan on jobs" not in plan
        assert "Seq Scan on deliver" not in plan


@pytest.mark.parametrize("retries", [False, True])
async def test_claimed_deliveries_are_found_by_id_with_outdated_statistics(
    alice: TenantRows, database_url: str, *, retries: bool
) -> None:
    """Otherwise the first claims from a new backlog would read all of it."""
    for plan in await plans(
        alice.database,
        database_url,
        lambda c: claim_deliveries(
            c, dispatcher="d", limit=10, lease_seconds=60.0, per_origin=50, retries=retries
        ),
    ):
        locked = plan.split("CTE locked")[1].split("CTE claimed")[0]
        assert "on deliveries" in locked
        assert "ix_deliveries" not in locked


async def test_jobs_that_are_not_due_are_skipped_within_the_index(
    alice: TenantRows, database_url: str
) -> None:
    await fill(alice)
    for plan in await plans(
        alice.database,
        database_url,
        lambda c: claim_jobs(c, queues=["queue-0"], worker="w", lease_seconds=60.0, limit=3),
    ):
        assert re.search(r"ix_jobs_queued .*\n +Index Cond: .*available_at <= now\(\)", plan)
