"""Tenants, their API keys and their webhook secrets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, insert, literal, or_, select, true, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from common.models import ApiKey, Plan, Tenant, TenantShare, WebhookSecret
from common.repositories.columns import from_now

# The plan there is in every installation: no limits, until an operator sets some.
DEFAULT_PLAN: Final = "default"


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant as an operator sees it."""

    id: int
    name: str
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key as an operator sees it; the key itself is not known to us."""

    id: int
    name: str
    last_four: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def create_tenant(
    connection: AsyncConnection, name: str, *, plan: str = DEFAULT_PLAN
) -> int | None:
    """Create a tenant on a plan, with its share; give its id, None if the name is taken."""
    theirs = select(Plan.id, Plan.limits).where(Plan.name == plan).cte("theirs")
    made = (
        postgresql.insert(Tenant)
        .from_select(["name", "plan_id"], select(literal(name), theirs.c.id))
        .on_conflict_do_nothing(index_elements=[Tenant.name])
        .returning(Tenant.id)
        .cte("made")
    )
    share = (
        insert(TenantShare)
        .from_select(
            ["tenant_id", "weight", "max_running", "max_running_per_queue"],
            select(
                made.c.id,
                func.coalesce(theirs.c.limits["weight"].as_float(), 1.0),
                theirs.c.limits["max_running"].as_integer(),
                theirs.c.limits["max_running_per_queue"].as_integer(),
            ).join_from(made, theirs, true()),
        )
        .returning(TenantShare.tenant_id)
    )
    return (await connection.execute(share)).scalar()


async def find_tenant(connection: AsyncConnection, name: str) -> int | None:
    """Give the id of the tenant of that name, None if there is none."""
    return (await connection.execute(select(Tenant.id).where(Tenant.name == name))).scalar()


async def list_tenants(connection: AsyncConnection) -> list[TenantRecord]:
    """Give all tenants, oldest first."""
    statement = select(Tenant.id, Tenant.name, Tenant.created_at, Tenant.disabled_at)
    rows = await connection.execute(statement.order_by(Tenant.id))
    return [TenantRecord(*row) for row in rows]


async def disable_tenant(connection: AsyncConnection, name: str, *, disabled: bool) -> bool:
    """Shut a tenant's keys out, or let them in again; False if there is no such tenant."""
    statement = (
        update(Tenant)
        .where(Tenant.name == name)
        .values(disabled_at=func.now() if disabled else None)
    )
    return (await connection.execute(statement)).rowcount == 1


async def add_api_key(
    connection: AsyncConnection, *, tenant_id: int, name: str, digest: bytes, last_four: str
) -> int:
    """Store a key's digest and give the key's id."""
    statement = (
        insert(ApiKey)
        .values(tenant_id=tenant_id, name=name, digest=digest, last_four=last_four)
        .returning(ApiKey.id)
    )
    return (await connection.execute(statement)).scalar_one()


async def list_api_keys(connection: AsyncConnection, tenant_id: int) -> list[ApiKeyRecord]:
    """Give a tenant's keys, oldest first, the revoked ones too."""
    statement = select(
        ApiKey.id,
        ApiKey.name,
        ApiKey.last_four,
        ApiKey.created_at,
        ApiKey.expires_at,
        ApiKey.revoked_at,
    ).where(ApiKey.tenant_id == tenant_id)
    return [ApiKeyRecord(*row) for row in await connection.execute(statement.order_by(ApiKey.id))]


async def revoke_api_key(connection: AsyncConnection, *, tenant_id: int, key_id: int) -> bool:
    """Revoke a key; False if the tenant has no such key that still works."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    return (await connection.execute(statement)).rowcount == 1


async def find_key_owner(connection: AsyncConnection, digest: bytes) -> int | None:
    """Give the tenant a live key belongs to, None for any other digest."""
    statement = (
        select(ApiKey.tenant_id)
        .join(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(
            ApiKey.digest == digest,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
            Tenant.disabled_at.is_(None),
        )
    )
    return (await connection.execute(statement)).scalar()


async def add_webhook_secret(
    connection: AsyncConnection, *, tenant_id: int, secret: str, overlap_seconds: float
) -> None:
    """Give a tenant a new signing secret; the ones before it live on for `overlap_seconds`."""
    await connection.execute(
        update(WebhookSecret)
        .where(WebhookSecret.tenant_id == tenant_id, WebhookSecret.expires_at.is_(None))
        .values(expires_at=from_now(overlap_seconds))
    )
    await connection.execute(insert(WebhookSecret).values(tenant_id=tenant_id, secret=secret))
