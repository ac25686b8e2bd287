"""A real Celery worker receives the rings written without Celery."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from common.messaging.doorbell import Doorbell
from common.settings import RedisSettings
from deploy.local.processes.child import Child
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.processes.supervisor import Supervisor
from tests.integration.messaging.listening_worker import HEARD

QUEUE, OTHER_QUEUE = "sd15-inpainting", "standin.v2_x"
PROGRAM = "tests.integration.messaging.listening_worker"


@pytest.fixture
async def worker(redis_settings: RedisSettings, tmp_path: Path) -> AsyncIterator[Path]:
    """Run Celery as a process; yield the folder of its log."""
    child = Child(
        name="celery",
        command=(sys.executable, "-m", PROGRAM, f"--queues={QUEUE},{OTHER_QUEUE}"),
        environment={"INFILL_REDIS_URL": redis_settings.url.get_secret_value()},
        directory=Path(__file__).parents[3],
    )
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(child)
        yield tmp_path


async def next_arguments(redis_url: str) -> list[str]:
    """Wait for the next task to run, and return its arguments."""
    async with Redis.from_url(redis_url, socket_timeout=None) as patient:
        popped = await patient.blpop([HEARD], timeout=60)
    assert popped is not None
    read: list[str] = json.loads(popped[1])
    return read


async def test_a_ring_runs_the_task(
    worker: Path, redis: Redis, redis_settings: RedisSettings, redis_url: str
) -> None:
    doorbell = Doorbell(redis, redis_settings)
    for queue in (QUEUE, OTHER_QUEUE, QUEUE):
        assert await doorbell.ring_worker(queue)
        assert await next_arguments(redis_url) == [queue]
    await doorbell.ring_worker_up_to(QUEUE, 3)
    assert [await next_arguments(redis_url) for _ in range(3)] == [[QUEUE]] * 3
    assert await redis.llen(QUEUE) == 0

    # Acknowledged on receipt: nothing is kept to be delivered again.
    async def nothing_kept() -> bool:
        return not await redis.hlen("unacked")

    await wait_until_ready(nothing_kept, "an empty list of messages under way", 20)
    log = (worker / "celery.log").read_text()
    assert "Traceback" not in log
    assert "unknown" not in log.lower()
