"""The commands production runs: one per process."""

import asyncio

import click
import uvicorn

from common.settings import Settings, StorageSettings
from common.storage import Storage
from deploy.migrate import upgrade
from deploy.reach import reaching_postgres

# Idle connections of a load balancer are kept longer than it keeps them itself (usually 60 s).
KEEP_ALIVE_SECONDS = 75
# What a request may still take after SIGTERM: the longest wait for a job, and a little.
GRACE_SECONDS = 10


@click.command()
@click.option("--host", default="0.0.0.0", show_default=True)  # noqa: S104 a container's only face
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def gateway(host: str, port: int) -> None:
    """Run a gateway."""
    settings = Settings()
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.gateway.sync_wait_seconds + GRACE_SECONDS),
    )


@click.command()
def worker() -> None:
    """Run a GPU worker."""
    from worker.__main__ import main  # noqa: PLC0415 only this process loads torch

    main()


@click.command()
def dispatcher() -> None:
    """Run a webhook dispatcher; one of them also sweeps."""
    from worker.webhooks.__main__ import main  # noqa: PLC0415 the other commands need none of it

    main()


@click.command()
def migrate() -> None:
    """Bring the database to this release's version."""
    with reaching_postgres():
        asyncio.run(upgrade(Settings().database.url.get_secret_value()))
    click.echo("the database is up to date")


@click.command()
def bucket() -> None:
    """Make the bucket, if it is missing."""
    settings = Settings().storage
    asyncio.run(_make_bucket(settings))
    click.echo(f"the bucket {settings.bucket} is there")


async def _make_bucket(settings: StorageSettings) -> None:
    storage = Storage(settings)
    try:
        await storage.create_bucket()
    finally:
        storage.close()
