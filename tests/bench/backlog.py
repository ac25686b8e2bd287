"""A million deliveries that wait for one dead origin, and what they cost the others."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

from common.domain.delivery import DeliveryState
from common.postgres.repositories.deliveries.claim import DueDelivery, claim_deliveries
from common.postgres.repositories.deliveries.record import (
    AttemptLog,
    BreakerRules,
    DeliveryResult,
    record_attempts,
)
from common.runtime.clock import monotonic
from common.settings import WebhookSettings
from tests.bench.delivering import HEALTHY, MILLISECONDS, P99_TARGET_MILLISECONDS, Scene, scene
from tests.bench.figures import Figure, percentile
from tests.bench.rig import Rig
from tests.bench.telling import origin, tell
from worker.maintenance.sweeper import maintain_origins

PENDING: Final = 1_000_000
CHUNK: Final = 100_000
ROUNDS: Final = 1_000
WARM_UP: Final = 20
BATCH: Final = 32
PER_ORIGIN: Final = 50
LEASE_SECONDS: Final = 60.0
CLAIM_TARGET_MILLISECONDS: Final = 25
# Each of a dead tenant's failures, to be told to a place where nobody listens.
FILL: Final = """
WITH job AS (
    INSERT INTO jobs (tenant_id, file_prefix, queue, state, attempt, max_attempts, request, inputs,
        base64, cost, webhook_url, error_code, error_message, finished_at)
    SELECT $1, gen_random_uuid(), 'told', 'failed', 1, 3, jsonb_build_object('endpoint', 'inpaint',
            'model', 'told', 'prompt', 'a cat', 'negative_prompt', '', 'width', 512, 'height', 512,
            'samples', 1, 'inference_steps', 30, 'guidance_scale', 7.5, 'strength', 0.7,
            'seed', n, 'safety_checker', false, 'scheduler', null),
        '{}', false, 7.864, $2, 'invalid_image', 'init_image is not a picture', now()
    FROM generate_series(1, $3::bigint) AS n RETURNING id, tenant_id, webhook_url
)
INSERT INTO deliveries (job_id, tenant_id, event, url, origin, attempt, failures)
SELECT id, tenant_id, 'job.failed', webhook_url, infill_origin(webhook_url), id % 2, id % 2 FROM job
"""


async def measure_backlog(rig: Rig, home: Path) -> list[Figure]:
    """Claim and send beside it: by hand with its breaker kept closed, then with a dispatcher."""
    async with scene(rig, home, 2) as setting:
        dead, healthy = setting.tenants
        begun = monotonic()
        await _fill(setting, dead)
        filled = monotonic() - begun
        times = await _claim(setting, healthy)
        await setting.start_dispatcher()
        waits = await setting.trickle(healthy, HEALTHY)
    return [
        Figure(
            f"claim beside {PENDING:,} pending of one origin, p99",
            percentile(times, 99),
            "ms",
            CLAIM_TARGET_MILLISECONDS,
            at_least=False,
            note=f"p50 {percentile(times, 50):.2f} ms over {len(times):,} claims of up to {BATCH}, "
            f"half of first attempts, half of retries; filled in {filled:.0f} s",
        ),
        Figure(
            "commit to arrival beside them, p99",
            percentile(waits, 99),
            "ms",
            P99_TARGET_MILLISECONDS,
            at_least=False,
            note=f"p50 {percentile(waits, 50):.1f} ms over {HEALTHY}, one at a time",
        ),
    ]


async def _fill(setting: Scene, tenant_id: int) -> None:
    url = origin(0, 1)
    # The triggers would note each chunk; the books are derived once instead, as by the sweeper.
    await setting.connection.execute("SET session_replication_role = replica")
    for _ in range(PENDING // CHUNK):
        await setting.connection.execute(FILL, tenant_id, url, CHUNK, timeout=600)
    await setting.connection.execute("SET session_replication_role = origin")
    await setting.connection.execute(
        "INSERT INTO tenant_origins (tenant_id, origin) VALUES ($1, infill_origin($2))",
        tenant_id,
        url,
    )
    await setting.connection.execute("VACUUM (ANALYZE)", timeout=600)
    async with setting.rig.database.statement() as connection:
        await maintain_origins(connection, per_origin=PER_ORIGIN)


async def _claim(setting: Scene, healthy: int) -> list[float]:
    """Take, fail what is of the dead origin, and go on; a delivery of another comes each time."""
    times: list[float] = []
    url = origin(1, setting.receivers.prompt)
    async with setting.rig.database.direct() as connection:
        for number in range(WARM_UP + ROUNDS):
            await tell(setting.connection, [healthy], [url])
            taken: list[DueDelivery] = []
            for retries in (False, True):
                begun = monotonic()
                due = await claim_deliveries(
                    connection,
                    dispatcher="bench",
                    limit=BATCH,
                    lease_seconds=LEASE_SECONDS,
                    per_origin=PER_ORIGIN,
                    retries=retries,
                )
                if number >= WARM_UP:
                    times.append((monotonic() - begun) * MILLISECONDS)
                taken += due.deliveries
            assert healthy in {one.job.tenant_id for one in taken}
            await record_attempts(
                connection,
                [_outcome(one, healthy) for one in taken],
                per_origin=PER_ORIGIN,
                rules=replace(
                    BreakerRules.from_settings(WebhookSettings()), min_requests=1_000_000_000
                ),
            )
            await asyncio.sleep(0)
    return times


def _outcome(due: DueDelivery, healthy: int) -> DeliveryResult:
    is_healthy = due.job.tenant_id == healthy
    log = AttemptLog(
        started_at=due.job.created_at,
        duration=due.job.created_at - due.job.created_at,
        status_code=200 if is_healthy else None,
        error=None if is_healthy else "connect",
        answer="",
    )
    if is_healthy:
        return DeliveryResult(due.claim, DeliveryState.DELIVERED, log, is_healthy=True)
    return DeliveryResult(
        due.claim, DeliveryState.PENDING, log, wait_seconds=300.0, is_healthy=False
    )
