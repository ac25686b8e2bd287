"""Fixtures of the worker tests: Postgres, Redis, S3, an image server and a controlled engine."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from common.object_store.storage import Storage
from common.postgres.database import Database
from common.settings import StorageSettings
from tests.integration.dispatcher.conftest import redis, storage
from tests.integration.dispatcher.program import environment as dispatcher_environment
from tests.integration.repositories.conftest import database, make_tenant
from tests.integration.worker.harness.engine_control import EngineControl, open_engine_control
from tests.integration.worker.harness.image_host import ImageHost, open_image_host
from tests.integration.worker.harness.worker_harness import QUEUES, WorkerHarness

__all__ = ["database", "redis", "storage"]  # fixtures from other modules


@pytest.fixture
async def image_host() -> AsyncIterator[ImageHost]:
    async with open_image_host() as image_host:
        yield image_host


@pytest.fixture
async def engine_control() -> AsyncIterator[EngineControl]:
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="infill-") as folder:
        async with open_engine_control(Path(folder)) as engine_control:
            yield engine_control


@pytest.fixture
async def harness(
    database: Database,
    redis: Redis,
    storage: Storage,
    image_host: ImageHost,
    engine_control: EngineControl,
) -> WorkerHarness:
    tenant = await make_tenant(database, "alice")
    return WorkerHarness(database, redis, storage, tenant, image_host, engine_control)


@pytest.fixture
def environment(
    database_url: str, redis_url: str, bucket: StorageSettings, engine_control: EngineControl
) -> dict[str, str]:
    """Settings of a worker process that serves two models with a controlled engine."""
    models = engine_control.folder / "models.toml"
    models.write_text(
        "\n".join(
            f'[[models]]\nname = "{name}"\nsource = "random:base"\nlicence = "none"\n'
            'endpoints = ["inpaint", "text2img"]'
            for name in QUEUES
        )
    )
    return dispatcher_environment(database_url, redis_url, bucket) | {
        "INFILL_MODELS_FILE": str(models),
        "INFILL_MODELS_DIRECTORY": str(engine_control.folder),
        "INFILL_WORKER_ENGINE": "tests.integration.worker.harness.engine:create_engine",
        "INFILL_JOB_SWEEP_SECONDS": "0.2",
        "INFILL_JOB_RETRY_SECONDS": "0.1",
    }
