"""Lists for operators use an index."""

import pytest

from common.domain.job import JobState
from common.postgres.repositories.fair_queue.queues import _RUNNING, _count_waiting
from common.postgres.repositories.jobs.overview import JobFilter, _read_summaries, _select_jobs
from tests.integration.repositories.support.query_plans import Call, fill, plans
from tests.integration.repositories.support.tenant_rows import TenantRows

_RUNS = JobFilter(state=JobState.RUNNING)


@pytest.mark.parametrize(
    ("call", "index"),
    [
        pytest.param(
            lambda c: c.execute(_count_waiting("queue-0", 5)), "ix_jobs_queued", id="waiting"
        ),
        pytest.param(lambda c: c.execute(_RUNNING), "ix_jobs_lease", id="running"),
        pytest.param(
            lambda c: _read_summaries(c, _select_jobs(_RUNS).limit(50)), "ix_jobs_lease", id="list"
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
