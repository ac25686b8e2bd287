"""Ended jobs whose webhooks wait to be sent, and receivers that are to have them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from common.standard_webhooks.keys import new_secret

SECRETS: Final = (
    "INSERT INTO webhook_secrets (tenant_id, secret) SELECT t, $2 FROM unnest($1::bigint[]) AS t"
)
# A success of tenant `$1` number n, to be told to URL number n.
JOBS: Final = """
INSERT INTO jobs (tenant_id, file_prefix, queue, state, attempt, max_attempts, request, inputs,
    base64, cost, webhook_url, track_id, result, started_at, finished_at)
SELECT tenant, gen_random_uuid(), 'told', 'succeeded', 1, 3,
    jsonb_build_object('endpoint', 'inpaint', 'model', 'told', 'prompt',
        left(repeat(md5(n::text) || ' ', 10), 200), 'negative_prompt', '', 'width', 512,
        'height', 512, 'samples', 1, 'inference_steps', 30, 'guidance_scale', 7.5, 'strength', 0.7,
        'seed', n, 'safety_checker', false, 'scheduler', null),
    jsonb_build_object('init_image', jsonb_build_object('url', 'https://pictures.test/' || n)),
    false, 7.864, url, to_jsonb('order-' || n),
    jsonb_build_object('object_keys', jsonb_build_array(tenant || '/generations/' || n || '.png'),
        'nsfw', jsonb_build_array(false), 'generation_seconds', 1.91, 'timeline', '{}'::jsonb),
    now(), now()
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS told (tenant, url, n)
RETURNING id, tenant_id, webhook_url
"""
TELL: Final = f"""
WITH job AS ({JOBS})
INSERT INTO deliveries (job_id, tenant_id, event, url)
SELECT id, tenant_id, 'job.succeeded', webhook_url FROM job RETURNING id::text
"""  # noqa: S608 our own words


@dataclass(slots=True)
class Receivers:
    """The receivers' process."""

    process: asyncio.subprocess.Process
    prompt: int
    silent: int
    dripping: int

    async def count(self) -> int:
        """Give how many webhooks the prompt one has had."""
        return int(await self._ask(""))

    async def arrivals(self, home: Path) -> dict[str, float]:
        """Give when each came, by the monotonic clock that all processes share."""
        path = home / "arrivals.json"
        await self._ask(str(path))
        arrivals: dict[str, float] = json.loads(path.read_text())
        return arrivals

    async def until(self, number: int, seconds: float) -> None:
        """Wait until it has had so many."""
        async with asyncio.timeout(seconds):
            while await self.count() < number:  # noqa: ASYNC110 another process has no event here
                await asyncio.sleep(0.05)

    async def _ask(self, line: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n".encode())
        return json.loads(await self.process.stdout.readline())


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    """Run them while the block lasts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load.webhook_receivers"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Receivers(process, *json.loads(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.wait()


def origin(number: int, port: int, scheme: str = "http") -> str:
    """Give one of many origins of the same receiver: loopback has more than enough addresses."""
    return f"{scheme}://127.0.{1 + number // 250}.{1 + number % 250}:{port}/hook"


async def give_secrets(connection: "asyncpg.Connection[Any]", tenants: Sequence[int]) -> None:
    """Let their webhooks be signed, as all are."""
    await connection.execute(SECRETS, tenants, new_secret())


async def tell(
    connection: "asyncpg.Connection[Any]", tenants: Sequence[int], urls: Sequence[str]
) -> list[str]:
    """End a job of each tenant, to be told to the URL beside it; give the deliveries."""
    return [row[0] for row in await connection.fetch(TELL, tenants, urls)]
