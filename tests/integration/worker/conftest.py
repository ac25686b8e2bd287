"""A worker's surroundings, all real: Postgres, Redis, S3, pictures on loopback, and a studio."""

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
from tests.integration.worker.harness.image_host import ImageHost, open_gallery
from tests.integration.worker.harness.studio import Studio, open_studio
from tests.integration.worker.harness.workshop import QUEUES, WorkerHarness

__all__ = ["database", "redis", "storage"]  # fixtures made elsewhere


@pytest.fixture
async def gallery() -> AsyncIterator[ImageHost]:
    async with open_gallery() as gallery:
        yield gallery


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="infill-") as folder:
        async with open_studio(Path(folder)) as studio:
            yield studio


@pytest.fixture
async def workshop(
    database: Database, redis: Redis, storage: Storage, gallery: ImageHost, studio: Studio
) -> WorkerHarness:
    books = await make_tenant(database, "alice")
    return WorkerHarness(database, redis, storage, books, gallery, studio)


@pytest.fixture
def environment(
    database_url: str, redis_url: str, bucket: StorageSettings, studio: Studio
) -> dict[str, str]:
    """Give the settings of a worker process that serves two models with the studio's engine."""
    models = studio.folder / "models.toml"
    models.write_text(
        "\n".join(
            f'[[models]]\nname = "{name}"\nsource = "random:base"\nlicence = "none"\n'
            'endpoints = ["inpaint", "text2img"]'
            for name in QUEUES
        )
    )
    return dispatcher_environment(database_url, redis_url, bucket) | {
        "INFILL_MODELS_FILE": str(models),
        "INFILL_MODELS_DIRECTORY": str(studio.folder),
        "INFILL_WORKER_ENGINE": "tests.integration.worker.harness.engine:create_engine",
        "INFILL_JOB_SWEEP_SECONDS": "0.2",
        "INFILL_JOB_RETRY_SECONDS": "0.1",
    }
