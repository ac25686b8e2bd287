"""What an operator does with tenants: the command line and the admin routes both call this."""

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database
from common.domain import api_key
from common.domain.errors import ConflictError, InvalidNameError, NotFoundError
from common.repositories import tenants
from common.repositories.tenants import ApiKeyRecord, TenantRecord
from common.webhook_keys import new_secret

# Receivers learn of a new secret by hand: a day in which both are good.
SECRET_OVERLAP_SECONDS: Final = 86_400.0
LAST_FOUR: Final = 4

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A tenant just made; its webhook secret is shown here once."""

    id: int
    name: str
    webhook_secret: str


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """An API key just made; the key is shown here once and never again."""

    id: int
    key: str


async def create_tenant(database: Database, name: str) -> NewTenant:
    """Create a tenant with its first webhook secret.

    Raises:
        InvalidNameError: the name cannot be used.
        ConflictError: the name is taken.
    """
    _check(name)
    secret = new_secret()
    async with database.transaction() as connection:
        tenant_id = await tenants.create_tenant(connection, name)
        if tenant_id is None:
            raise ConflictError(f"there is a tenant called {name} already")
        await tenants.add_webhook_secret(
            connection, tenant_id=tenant_id, secret=secret, overlap_seconds=SECRET_OVERLAP_SECONDS
        )
    return NewTenant(tenant_id, name, secret)


async def list_tenants(database: Database) -> list[TenantRecord]:
    """Give all tenants, oldest first."""
    async with database.statement() as connection:
        return await tenants.list_tenants(connection)


async def issue_key(database: Database, tenant: str, name: str, pepper: str) -> IssuedKey:
    """Make an API key called `name` for a tenant; `pepper` goes into its stored digest.

    Raises:
        InvalidNameError: the name cannot be used.
        NotFoundError: there is no such tenant.
    """
    _check(name)
    key = api_key.new_key()
    async with database.transaction() as connection:
        key_id = await tenants.add_api_key(
            connection,
            tenant_id=await _find(connection, tenant),
            name=name,
            digest=api_key.digest(key, pepper),
            last_four=key[-LAST_FOUR:],
        )
    return IssuedKey(key_id, key)


async def is_live_key(database: Database, key: str, pepper: str) -> bool:
    """Tell whether `key` opens the gateway."""
    async with database.statement() as connection:
        digest = api_key.digest(key, pepper)
        return await tenants.find_key_owner(connection, digest) is not None


async def list_keys(database: Database, tenant: str) -> list[ApiKeyRecord]:
    """Give a tenant's keys, oldest first, the revoked ones too.

    Raises:
        NotFoundError: there is no such tenant.
    """
    async with database.statement() as connection:
        return await tenants.list_api_keys(connection, await _find(connection, tenant))


async def revoke_key(database: Database, tenant: str, key_id: int) -> None:
    """Revoke an API key; gateways that know it trust it for a few seconds more.

    Raises:
        NotFoundError: there is no such tenant, or it has no such key that still works.
    """
    async with database.transaction() as connection:
        tenant_id = await _find(connection, tenant)
        if not await tenants.revoke_api_key(connection, tenant_id=tenant_id, key_id=key_id):
            raise NotFoundError(f"{tenant} has no live key with the id {key_id}")


async def rotate_webhook_secret(database: Database, tenant: str) -> str:
    """Give a tenant a new webhook secret; the one before it signs along for a day.

    Raises:
        NotFoundError: there is no such tenant.
    """
    secret = new_secret()
    async with database.transaction() as connection:
        await tenants.add_webhook_secret(
            connection,
            tenant_id=await _find(connection, tenant),
            secret=secret,
            overlap_seconds=SECRET_OVERLAP_SECONDS,
        )
    return secret


def _check(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise InvalidNameError(
            "a name has 1 to 64 letters, digits, dots, hyphens or underscores, "
            "and starts with a letter or a digit"
        )


async def _find(connection: AsyncConnection, name: str) -> int:
    tenant_id = await tenants.find_tenant(connection, name)
    if tenant_id is None:
        raise NotFoundError(f"there is no tenant called {name}")
    return tenant_id
