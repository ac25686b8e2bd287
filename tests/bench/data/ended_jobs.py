"""Tables as large as after years of operation, inserted by a few large statements."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import asyncpg

from tests.bench.data.waiting_jobs import QUEUES, make_tenants

QUEUE: Final = "scale-inpainting"
CHUNK: Final = 25_000  # jobs one statement writes
WRITERS: Final = 2
TENANTS: Final = 10

# The rows of an ended job in every table. Of a hundred, 95 succeeded, four failed and one
# was canceled; 60 have a webhook, and every tenth of those took two attempts. `$3` holds the
# tenants, assigned round-robin by id, so that a reader knows the tenant of a job.
ENDED: Final = """
WITH chosen AS (
    SELECT id, ($3::bigint[])[1 + id % cardinality($3)] AS tenant, random() AS luck,
        now() - interval '30 days' * random() AS ended,
        100 + (random() * 200)::int AS prompt_length, gen_random_uuid() AS prefix
    FROM generate_series($1::bigint, $2::bigint) AS id
), job AS (
    INSERT INTO jobs (id, tenant_id, file_prefix, queue, state, attempt, max_attempts, request,
        inputs, base64, cost, webhook_url, track_id, result, error_code, error_message,
        created_at, available_at, started_at, finished_at)
    SELECT id, tenant, prefix, $4::text,
        CASE WHEN luck < 0.95 THEN 'succeeded' WHEN luck < 0.99 THEN 'failed' ELSE 'canceled' END,
        1, 3, jsonb_build_object('endpoint', 'inpaint', 'model', $4::text, 'prompt',
            left(repeat(md5(id::text) || ' ', 10), prompt_length), 'negative_prompt', 'blurry',
            'width', 512, 'height', 512, 'samples', 1, 'inference_steps', 30,
            'guidance_scale', 7.5, 'strength', 0.7, 'seed', id % 4294967296,
            'safety_checker', false, 'scheduler', null),
        jsonb_build_object('init_image', jsonb_build_object('url', 'https://images.test/' || id),
            'mask_image', jsonb_build_object('object_key', tenant || '/inputs/' || prefix)),
        false, 7.86, CASE WHEN id % 10 < 6 THEN 'https://tenant-' || tenant || '.test/hook' END,
        to_jsonb('order-' || id),
        CASE WHEN luck < 0.95 THEN jsonb_build_object('object_keys',
            jsonb_build_array(tenant || '/generations/' || prefix || '-1-0.png'),
            'nsfw', jsonb_build_array(false), 'generation_seconds', 1.91,
            'engine_seconds', 1.91,
            'timeline', jsonb_build_object('claimed', extract(epoch FROM ended) - 3,
                'fetched', extract(epoch FROM ended) - 2.5, 'generation_started',
                extract(epoch FROM ended) - 2.4, 'generated', extract(epoch FROM ended) - 0.4,
                'uploaded', extract(epoch FROM ended))) END,
        CASE WHEN luck >= 0.95 THEN 'invalid_image' END,
        CASE WHEN luck >= 0.95 THEN 'init_image is not an image' END,
        ended - interval '5 s', ended - interval '5 s', ended - interval '3 s', ended
    FROM chosen
    RETURNING id, tenant_id, state, webhook_url, cost, finished_at
), delivery AS (
    INSERT INTO deliveries (job_id, tenant_id, event, url, origin, state, attempt, failures,
        available_at, created_at, finished_at)
    SELECT id, tenant_id, 'job.' || state, webhook_url, infill_origin(webhook_url), 'delivered',
        1 + n, n, finished_at, finished_at, finished_at + interval '1 s'
    FROM job, LATERAL (SELECT (id / 10 % 10 = 0)::int) AS repeated(n)
    WHERE webhook_url IS NOT NULL
    RETURNING id, attempt, created_at
), attempts AS (
    INSERT INTO delivery_attempts (delivery_id, attempt, started_at, duration_ms, status_code,
        answer)
    SELECT id, n, created_at, 40, CASE WHEN n = attempt THEN 200 ELSE 503 END, 'ok'
    FROM delivery, generate_series(1, attempt) AS n
)
INSERT INTO usage_entries (job_id, tenant_id, model, images, megapixel_steps, gpu_milliseconds,
    created_at)
SELECT id, tenant_id, $4::text, 1, cost, 1910, finished_at FROM job WHERE state = 'succeeded'
"""
# Waiting jobs are copies of the first ended ones.
WAITING: Final = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost,
    webhook_url, track_id)
SELECT tenant_id, gen_random_uuid(), queue, 3, request, inputs, base64, cost, webhook_url, track_id
FROM generate_series(1, $1::bigint) AS n JOIN jobs ON jobs.id = 1 + n % $2::bigint
"""


async def fill(url: str, *, ended: int, waiting: int) -> list[int]:
    """Insert ended jobs with ids from 1, and waiting ones; return the tenants.

    Job `id` is of tenant number `id % TENANTS` of these.
    """
    connection = await asyncpg.connect(url)
    try:
        tenants = await make_tenants(connection, {f"scale-{n}": 1.0 for n in range(TENANTS)})
        starts = iter(range(1, ended + 1, CHUNK))
        await asyncio.gather(*(_write(url, starts, ended, tenants) for _ in range(WRITERS)))
        await connection.execute("SELECT setval(pg_get_serial_sequence('jobs', 'id'), $1)", ended)
        await connection.execute(WAITING, waiting, min(ended, CHUNK))
        await connection.execute(QUEUES)
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return tenants


async def _write(url: str, starts: Iterator[int], last: int, tenants: Sequence[int]) -> None:
    writer = await asyncpg.connect(url)
    try:
        # Foreign keys hold by construction; checking each would take longer than writing.
        await writer.execute("SET session_replication_role = replica")
        for start in starts:
            await writer.execute(ENDED, start, min(start + CHUNK - 1, last), tenants, QUEUE)
    finally:
        await writer.close()
