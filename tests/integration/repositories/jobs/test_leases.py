"""Renewing and releasing claims, and retrying and requeueing jobs."""

from datetime import timedelta

from common.domain.job import Claim, JobState
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.jobs.leases import release_claim, renew_claims, retry_later
from common.postgres.repositories.maintenance.requeue import requeue_expired
from tests.integration.repositories.support.tenant_rows import FAR_AHEAD, LONG_AGO, TenantRows


async def renew(alice: TenantRows, *claims: Claim) -> set[Claim]:
    async with alice.database.statement() as connection:
        return await renew_claims(connection, claims, 60.0)


async def test_a_renewal_returns_the_claims_still_held(alice: TenantRows) -> None:
    kept, other = [await alice.add_job(JobState.RUNNING) for _ in range(2)]
    canceled = await alice.add_job(JobState.RUNNING)
    stale = Claim(other.job_id, other.attempt - 1)
    ended = await alice.add_job(JobState.SUCCEEDED)
    async with alice.database.statement() as connection:
        await cancel(connection, tenant_id=alice.tenant_id, job_id=canceled.job_id)
    assert await renew(alice, kept, other, canceled, stale, ended) == {kept, other}


async def test_a_renewed_lease_runs_from_now(alice: TenantRows) -> None:
    claim = await alice.add_job(JobState.RUNNING, lease_expires_at=LONG_AGO)
    assert await renew(alice, claim) == {claim}
    assert (await alice.read_job(claim.job_id))["lease_expires_at"] > LONG_AGO
    async with alice.database.statement() as connection:
        assert await requeue_expired(connection, limit=10) == 0


async def test_a_renewal_leaves_other_claims_alone(alice: TenantRows) -> None:
    mine, theirs = [await alice.add_job(JobState.RUNNING) for _ in range(2)]
    await renew(alice, mine)
    assert (await alice.read_job(theirs.job_id))["lease_expires_at"] == FAR_AHEAD


async def test_a_renewal_without_claims_changes_nothing(alice: TenantRows) -> None:
    claim = await alice.add_job(JobState.RUNNING)
    assert await renew(alice) == set()
    assert (await alice.read_job(claim.job_id))["lease_expires_at"] == FAR_AHEAD


async def test_a_release_costs_no_attempt(alice: TenantRows) -> None:
    job_id = await alice.queue_job(max_attempts=1)
    for _ in range(3):
        claim = (await alice.claim_job()).claim
        async with alice.database.statement() as connection:
            assert await release_claim(connection, claim)
        row = await alice.read_job(job_id)
        assert (row["state"], row["max_attempts"] - row["attempt"]) == (JobState.QUEUED, 1)
        assert (row["claimed_by"], row["started_at"], row["error_code"]) == (None, None, None)


async def test_a_release_with_a_delay_keeps_a_suspect(
    alice: TenantRows,
) -> None:
    job_id = await alice.queue_job(columns={"error_code": "worker_lost", "suspect": True})
    claim = (await alice.claim_job()).claim
    async with alice.database.statement() as connection:
        assert await release_claim(connection, claim, seconds=3600)
    row = await alice.read_job(job_id)
    assert row["available_at"] - row["created_at"] > timedelta(seconds=3600)
    assert (row["error_code"], row["max_attempts"], row["suspect"]) == ("worker_lost", 4, True)


async def test_a_job_to_be_retried_has_a_delay_and_its_error(alice: TenantRows) -> None:
    job_id = await alice.queue_job(columns={"error_code": "worker_lost", "suspect": True})
    claim = (await alice.claim_job()).claim
    async with alice.database.statement() as connection:
        assert await retry_later(
            connection, claim, seconds=30, code="storage_unavailable", message="store unavailable"
        )
    row = await alice.read_job(job_id)
    assert (row["state"], row["attempt"], row["max_attempts"]) == (JobState.QUEUED, 1, 3)
    assert (row["error_code"], row["error_message"]) == ("storage_unavailable", "store unavailable")
    assert (row["claimed_by"], row["suspect"]) == (None, False)
    assert row["available_at"] - row["started_at"] > timedelta(seconds=29)


async def test_requeueing_begins_with_the_lease_that_expired_first(alice: TenantRows) -> None:
    claims = [
        await alice.add_job(JobState.RUNNING, lease_expires_at=LONG_AGO + timedelta(seconds=age))
        for age in (2, 0, 1)
    ]
    async with alice.database.statement() as connection:
        assert await requeue_expired(connection, limit=2) == 2
    states = [(await alice.read_job(claim.job_id))["state"] for claim in claims]
    assert states == [JobState.RUNNING, JobState.QUEUED, JobState.QUEUED]
    row = await alice.read_job(claims[1].job_id)
    assert (row["error_code"], row["claimed_by"], row["attempt"]) == ("worker_lost", None, 2)
