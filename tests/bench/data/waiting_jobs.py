"""Waiting jobs of many tenants, inserted by a few large statements."""

from collections.abc import Mapping
from typing import Final

import asyncpg

QUEUE: Final = "shared-inpainting"
HOG_PART: Final = 0.75
COST: Final = 7.864  # 512 × 512 pixels, 30 steps, in megapixel-steps
WEIGHTS: Final[Mapping[str, float]] = {"light": 1.0, "middle": 2.0, "heavy": 4.0}

TENANTS: Final = """
WITH created AS (
    INSERT INTO tenants (name, plan_id) SELECT called, plans.id
    FROM unnest($1::text[]) AS called, plans WHERE plans.name = 'default' RETURNING id, name
)
INSERT INTO tenant_shares (tenant_id, weight)
SELECT id, weight FROM created JOIN unnest($1::text[], $2::float8[]) AS given(name, weight)
    USING (name)
RETURNING tenant_id
"""
# `$2` jobs of each tenant `$1`; their order does not matter.
JOBS: Final = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost)
SELECT tenant, gen_random_uuid(), $3, 3, jsonb_build_object('endpoint', 'inpaint', 'model',
        $3::text, 'prompt', left(repeat(md5(n::text) || ' ', 10), 200), 'negative_prompt', '',
        'width', 512, 'height', 512, 'samples', 1, 'inference_steps', 30, 'guidance_scale', 7.5,
        'strength', 0.7, 'seed', n, 'safety_checker', false, 'scheduler', null),
    jsonb_build_object('init_image', jsonb_build_object('url', 'https://images.test/' || n)),
    false, $4
FROM generate_series(1, $2::bigint) AS n, unnest($1::bigint[]) AS tenant
"""
QUEUES: Final = """
INSERT INTO tenant_queues (tenant_id, queue, has_ready, backlog)
SELECT tenant_id, queue, true, sum(cost) FROM jobs WHERE state = 'queued' GROUP BY tenant_id, queue
"""


async def crowd(url: str, *, jobs: int, tenants: int) -> int:
    """Insert jobs, three quarters of them of one tenant, the hog; return its id."""
    connection = await asyncpg.connect(url)
    try:
        hog, *others = await make_tenants(connection, {f"tenant-{n}": 1.0 for n in range(tenants)})
        of_hog = round(jobs * HOG_PART)
        await _fill(connection, [hog], of_hog)
        await _fill(connection, others, (jobs - of_hog) // len(others))
        await _settle(connection)
    finally:
        await connection.close()
    return hog


async def weigh(url: str, *, jobs: int) -> dict[int, float]:
    """Insert `jobs` jobs for each of three tenants; return their weights by id."""
    connection = await asyncpg.connect(url)
    try:
        tenants = await make_tenants(connection, WEIGHTS)
        await _fill(connection, tenants, jobs)
        await _settle(connection)
        found = await connection.fetch("SELECT tenant_id, weight FROM tenant_shares")
    finally:
        await connection.close()
    return {row["tenant_id"]: row["weight"] for row in found}


async def newcomers(url: str, number: int) -> list[int]:
    """Create tenants without any job; return their ids."""
    connection = await asyncpg.connect(url)
    try:
        return await make_tenants(connection, {f"newcomer-{n}": 1.0 for n in range(number)})
    finally:
        await connection.close()


async def make_tenants(connection: asyncpg.Connection, weights: Mapping[str, float]) -> list[int]:
    """Create tenants of these names and weights; return their ids in rising order."""
    rows = await connection.fetch(TENANTS, list(weights), list(weights.values()))
    return sorted(row["tenant_id"] for row in rows)


async def _fill(connection: asyncpg.Connection, tenants: list[int], each: int) -> None:
    # Foreign keys hold by construction; checking each would take longer than writing.
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(JOBS, tenants, each, QUEUE, COST)


async def _settle(connection: asyncpg.Connection) -> None:
    await connection.execute(QUEUES)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.execute("CHECKPOINT")
