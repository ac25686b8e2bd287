"""Waiting jobs of many tenants, one of whom has most: made by Postgres itself, in wide strokes."""

from collections.abc import Mapping
from typing import Final

import asyncpg

QUEUE: Final = "shared-inpainting"
HOG_PART: Final = 0.75
COST: Final = 7.864  # 512 × 512 pixels, 30 steps, in megapixel-steps
WEIGHTS: Final[Mapping[str, float]] = {"light": 1.0, "middle": 2.0, "heavy": 4.0}

TENANTS: Final = """
WITH made AS (
    INSERT INTO tenants (name, plan_id) SELECT called, plans.id
    FROM unnest($1::text[]) AS called, plans WHERE plans.name = 'default' RETURNING id, name
)
INSERT INTO tenant_shares (tenant_id, weight)
SELECT id, weight FROM made JOIN unnest($1::text[], $2::float8[]) AS given(name, weight)
    USING (name)
RETURNING tenant_id
"""
# `$2` jobs of each tenant `$1`, one tenant's after another's or in turn: their order is no matter.
JOBS: Final = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost)
SELECT tenant, gen_random_uuid(), $3, 3, jsonb_build_object('endpoint', 'inpaint', 'model',
        $3::text, 'prompt', left(repeat(md5(n::text) || ' ', 10), 200), 'negative_prompt', '',
        'width', 512, 'height', 512, 'samples', 1, 'inference_steps', 30, 'guidance_scale', 7.5,
        'strength', 0.7, 'seed', n, 'safety_checker', false, 'scheduler', null),
    jsonb_build_object('init_image', jsonb_build_object('url', 'https://pictures.test/' || n)),
    false, $4
FROM generate_series(1, $2::bigint) AS n, unnest($1::bigint[]) AS tenant
"""
QUEUES: Final = """
INSERT INTO tenant_queues (tenant_id, queue, has_ready, backlog)
SELECT tenant_id, queue, true, sum(cost) FROM jobs WHERE state = 'queued' GROUP BY tenant_id, queue
"""


async def crowd(url: str, *, jobs: int, tenants: int) -> int:
    """Let three quarters of the jobs be one tenant's, and the others share the rest; give it."""
    keeper = await asyncpg.connect(url)
    try:
        hog, *others = await make_tenants(keeper, {f"tenant-{n}": 1.0 for n in range(tenants)})
        of_hog = round(jobs * HOG_PART)
        await _fill(keeper, [hog], of_hog)
        await _fill(keeper, others, (jobs - of_hog) // len(others))
        await _settle(keeper)
    finally:
        await keeper.close()
    return hog


async def weigh(url: str, *, jobs: int) -> dict[int, float]:
    """Give each of three tenants so many jobs; give their weights."""
    keeper = await asyncpg.connect(url)
    try:
        tenants = await make_tenants(keeper, WEIGHTS)
        await _fill(keeper, tenants, jobs)
        await _settle(keeper)
        found = await keeper.fetch("SELECT tenant_id, weight FROM tenant_shares")
    finally:
        await keeper.close()
    return {row["tenant_id"]: row["weight"] for row in found}


async def newcomers(url: str, number: int) -> list[int]:
    """Make tenants that have asked for nothing yet."""
    keeper = await asyncpg.connect(url)
    try:
        return await make_tenants(keeper, {f"newcomer-{n}": 1.0 for n in range(number)})
    finally:
        await keeper.close()


async def make_tenants(keeper: asyncpg.Connection, weights: Mapping[str, float]) -> list[int]:
    """Make tenants of these names and weights; give their ids in rising order."""
    rows = await keeper.fetch(TENANTS, list(weights), list(weights.values()))
    return sorted(row["tenant_id"] for row in rows)


async def _fill(keeper: asyncpg.Connection, tenants: list[int], each: int) -> None:
    # Foreign keys hold by how the rows are made; checking each would take longer than writing.
    await keeper.execute("SET session_replication_role = replica")
    await keeper.execute(JOBS, tenants, each, QUEUE, COST)


async def _settle(keeper: asyncpg.Connection) -> None:
    await keeper.execute(QUEUES)
    await keeper.execute("VACUUM (ANALYZE)")
    await keeper.execute("CHECKPOINT")
