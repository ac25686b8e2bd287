"""Commands for production: one for each process, and two one-off tasks to run before them.

The one-off tasks migrate the database and create the bucket.
"""

import asyncio

import click

from common.object_store.storage import Storage
from common.settings import Settings, StorageSettings
from deploy.cli.migrate import DEFAULT_WAIT_SECONDS, upgrade
from deploy.cli.postgres_errors import explain_postgres_errors


@click.command()
@click.option("--host", default="0.0.0.0", show_default=True)  # noqa: S104 meant for containers
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def gateway(host: str, port: int) -> None:
    """Run a gateway."""
    from api.app import create_app  # noqa: PLC0415 the other commands need none of it
    from api.server import serve  # noqa: PLC0415 the same

    serve(create_app(), host=host, port=port)


@click.command()
def worker() -> None:
    """Run a GPU worker."""
    from worker.__main__ import main  # noqa: PLC0415 only this process loads torch

    main()


@click.command()
def dispatcher() -> None:
    """Run a webhook dispatcher; elected dispatchers also run maintenance tasks."""
    from worker.dispatcher.__main__ import main  # noqa: PLC0415 the other commands need none of it

    main()


@click.command()
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=DEFAULT_WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Longest time in which locks of other sessions are waited for.",
)
def migrate(wait_seconds: float) -> None:
    """Migrate the database to the schema version of this release."""

    def report(message: str) -> None:
        click.echo(f"infill: {message}", err=True)

    url = Settings().database.url.get_secret_value()
    with explain_postgres_errors():
        asyncio.run(upgrade(url, wait_seconds=wait_seconds, report=report))
    click.echo("the database is up to date")


@click.command()
def bucket() -> None:
    """Create the bucket if it is missing."""
    settings = Settings().storage
    asyncio.run(_make_bucket(settings))
    click.echo(f"the bucket {settings.bucket} exists")


async def _make_bucket(settings: StorageSettings) -> None:
    storage = Storage(settings)
    try:
        await storage.create_bucket()
    finally:
        storage.close()
