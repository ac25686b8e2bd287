"""What a million pending deliveries of one dead origin cost the others."""

import asyncio
from dataclasses import replace
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
from tests.bench.data.deliveries import end_jobs, origin
from tests.bench.figures import Figure, percentile
from tests.bench.rig.stack import Rig
from tests.bench.rig.webhook_scene import (
    MILLISECONDS,
    P99_TARGET_MILLISECONDS,
    WebhookScene,
    webhook_scene,
)
from tests.bench.sizes import DeliverySizes, Sizes
from worker.maintenance.sweeper import maintain_origins

BATCH: Final = 32
PER_ORIGIN: Final = 50
LEASE_SECONDS: Final = 60.0
CLAIM_TARGET_MILLISECONDS: Final = 25
# Failed jobs of one tenant, whose webhooks go to a port where nothing listens.
FILL: Final = """
WITH job AS (
    INSERT INTO jobs (tenant_id, file_prefix, queue, state, attempt, max_attempts, request, inputs,
        base64, cost, webhook_url, error_code, error_message, finished_at)
    SELECT $1, gen_random_uuid(), 'hooks', 'failed', 1, 3, jsonb_build_object('endpoint', 'inpaint',
            'model', 'hooks', 'prompt', 'a cat', 'negative_prompt', '', 'width', 512, 'height', 512,
            'samples', 1, 'inference_steps', 30, 'guidance_scale', 7.5, 'strength', 0.7,
            'seed', n, 'safety_checker', false, 'scheduler', null),
        '{}', false, 7.864, $2, 'invalid_image', 'init_image is not an image', now()
    FROM generate_series(1, $3::bigint) AS n RETURNING id, tenant_id, webhook_url
)
INSERT INTO deliveries (job_id, tenant_id, event, url, origin, attempt, failures)
SELECT id, tenant_id, 'job.failed', webhook_url, infill_origin(webhook_url), id % 2, id % 2 FROM job
"""


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Claim beside the backlog, its circuit breaker kept closed; then send with a dispatcher."""
    load = sizes.deliveries
    async with webhook_scene(rig, 2) as scene:
        dead, healthy = scene.tenants
        begun = monotonic()
        await _fill(scene, dead, load)
        filled = monotonic() - begun
        times = await _claim(scene, healthy, load)
        await scene.start_dispatcher()
        waits = await scene.trickle(healthy, load.trickled)
    return [
        Figure(
            f"claim beside {load.pending:,} pending of one origin, p99",
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
            note=f"p50 {percentile(waits, 50):.1f} ms over {load.trickled}, one at a time",
        ),
    ]


async def _fill(scene: WebhookScene, tenant_id: int, load: DeliverySizes) -> None:
    url = origin(0, 1)
    # Triggers would update the counters per chunk; they are recounted once, as by the sweeper.
    await scene.connection.execute("SET session_replication_role = replica")
    for _ in range(load.pending // load.pending_chunk):
        await scene.connection.execute(FILL, tenant_id, url, load.pending_chunk, timeout=600)
    await scene.connection.execute("SET session_replication_role = origin")
    await scene.connection.execute(
        "INSERT INTO tenant_origins (tenant_id, origin) VALUES ($1, infill_origin($2))",
        tenant_id,
        url,
    )
    await scene.connection.execute("VACUUM (ANALYZE)", timeout=600)
    async with scene.rig.database.statement() as connection:
        await maintain_origins(connection, per_origin=PER_ORIGIN)


async def _claim(scene: WebhookScene, healthy: int, load: DeliverySizes) -> list[float]:
    """Claim repeatedly, failing the dead origin's; one delivery of another origin is due each time.

    Returns the milliseconds of each claim.
    """
    times: list[float] = []
    url = origin(1, scene.receivers.prompt)
    async with scene.rig.database.direct() as connection:
        for number in range(load.claim_warm_up + load.claim_rounds):
            await end_jobs(scene.connection, [healthy], [url])
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
                if number >= load.claim_warm_up:
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
