"""Ended jobs whose webhooks are pending, and the URLs they go to."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from common.standard_webhooks.keys import new_secret

SECRETS: Final = (
    "INSERT INTO webhook_secrets (tenant_id, secret) SELECT t, $2 FROM unnest($1::bigint[]) AS t"
)
# A succeeded job of tenant `$1` number n, whose webhook goes to URL number n.
JOBS: Final = """
INSERT INTO jobs (tenant_id, file_prefix, queue, state, attempt, max_attempts, request, inputs,
    base64, cost, webhook_url, track_id, result, started_at, finished_at)
SELECT tenant, gen_random_uuid(), 'webhooks', 'succeeded', 1, 3,
    jsonb_build_object('endpoint', 'inpaint', 'model', 'webhooks', 'prompt',
        left(repeat(md5(n::text) || ' ', 10), 200), 'negative_prompt', '', 'width', 512,
        'height', 512, 'samples', 1, 'inference_steps', 30, 'guidance_scale', 7.5, 'strength', 0.7,
        'seed', n, 'safety_checker', false, 'scheduler', null),
    jsonb_build_object('init_image', jsonb_build_object('url', 'https://images.test/' || n)),
    false, 7.864, url, to_jsonb('order-' || n),
    jsonb_build_object('object_keys', jsonb_build_array(tenant || '/generations/' || n || '.png'),
        'nsfw', jsonb_build_array(false), 'generation_seconds', 1.91, 'engine_seconds', 1.91,
        'timeline', '{}'::jsonb),
    now(), now()
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS given (tenant, url, n)
RETURNING id, tenant_id, webhook_url
"""
ENDED_WITH_DELIVERY: Final = f"""
WITH job AS ({JOBS})
INSERT INTO deliveries (job_id, tenant_id, event, url)
SELECT id, tenant_id, 'job.succeeded', webhook_url FROM job RETURNING id::text
"""  # noqa: S608 - constants of this module


def origin(number: int, port: int, scheme: str = "http") -> str:
    """Return the URL of one of many origins of the same receiver, each an address of loopback."""
    return f"{scheme}://127.0.{1 + number // 250}.{1 + number % 250}:{port}/hook"


async def create_secrets(connection: "asyncpg.Connection[Any]", tenants: Sequence[int]) -> None:
    """Create a webhook secret for each tenant: webhooks are signed."""
    await connection.execute(SECRETS, tenants, new_secret())


async def end_jobs(
    connection: "asyncpg.Connection[Any]", tenants: Sequence[int], urls: Sequence[str]
) -> list[str]:
    """Insert an ended job of each tenant, its webhook due to the URL beside it; return ids."""
    return [row[0] for row in await connection.fetch(ENDED_WITH_DELIVERY, tenants, urls)]
