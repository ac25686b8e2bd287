"""`infill tenants` and `infill keys`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import click

from common import tenancy
from common.database import Database
from common.settings import Settings
from common.webhook_keys import new_signing_key
from deploy.reach import reaching_postgres

LARGEST_ID: Final = 2**63 - 1  # of Postgres' bigint

T = TypeVar("T")


def _run(use_case: Callable[[Database], Awaitable[T]]) -> T:
    async def with_database() -> T:
        database = Database(Settings().database, application="infill-cli")
        try:
            return await use_case(database)
        finally:
            await database.aclose()

    with reaching_postgres():
        return asyncio.run(with_database())


@click.group()
def tenants() -> None:
    """Tenants: who may use this installation."""


@tenants.command("create")
@click.argument("name")
def create_tenant(name: str) -> None:
    """Make tenant NAME; its webhook secret is shown once."""
    made = _run(lambda database: tenancy.create_tenant(database, name))
    click.echo(f"tenant {made.name} (id {made.id})\nwebhook secret: {made.webhook_secret}")


@tenants.command("list")
def list_tenants() -> None:
    """List all tenants."""
    for tenant in _run(tenancy.list_tenants):
        state = "disabled" if tenant.disabled_at else "active"
        click.echo(f"{tenant.id}\t{tenant.name}\t{state}\t{tenant.created_at:%Y-%m-%d %H:%M}")


@tenants.command("rotate-secret")
@click.argument("name")
def rotate_secret(name: str) -> None:
    """Give NAME a new webhook secret; the old one signs along for a day."""
    secret = _run(lambda database: tenancy.rotate_webhook_secret(database, name))
    click.echo(f"webhook secret: {secret}")


@click.group()
def keys() -> None:
    """API keys, and the key webhooks are signed with."""


@keys.command("create")
@click.argument("tenant")
@click.option("--name", default="default", show_default=True)
def create_key(tenant: str, name: str) -> None:
    """Make an API key for TENANT; it is shown once."""
    pepper = Settings().gateway.api_key_pepper.get_secret_value()
    made = _run(lambda database: tenancy.issue_key(database, tenant, name, pepper))
    click.echo(f"API key {made.id}: {made.key}")


@keys.command("list")
@click.argument("tenant")
def list_keys(tenant: str) -> None:
    """List TENANT's API keys by their last four characters."""
    for key in _run(lambda database: tenancy.list_keys(database, tenant)):
        state = "revoked" if key.revoked_at else "live"
        click.echo(f"{key.id}\t{key.name}\t…{key.last_four}\t{state}")


@keys.command("revoke")
@click.argument("tenant")
@click.argument("key_id", type=click.IntRange(1, LARGEST_ID))
def revoke_key(tenant: str, key_id: int) -> None:
    """Revoke TENANT's API key KEY_ID."""
    _run(lambda database: tenancy.revoke_key(database, tenant, key_id))
    click.echo("revoked")


@keys.command("webhook")
def webhook_key() -> None:
    """Draw a key for v1a webhook signatures, for INFILL_WEBHOOK_SIGNING_KEY."""
    click.echo(new_signing_key())
