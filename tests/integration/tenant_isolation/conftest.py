"""Fixtures: two tenants with rows in every table, and databases of the owner and the gateway."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from common.domain.delivery import DeliveryState
from common.postgres.database import GATEWAY_ROLE, Database
from common.postgres.models import (
    ApiKey,
    DailyUsage,
    DeliveryAttempt,
    Table,
    UnfoldedUsage,
    UsageEntry,
    WebhookSecret,
)
from common.postgres.repositories.tenants.tenants import create_tenant
from common.settings import DatabaseSettings
from tests.integration.repositories.support.tenant_rows import TenantRows

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
AMOUNTS = {"model": "m", "images": 1, "megapixel_steps": Decimal(1), "gpu_milliseconds": 1}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database of the tables' owner, without row-level security."""
    opened = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    yield opened
    await opened.aclose()


@pytest.fixture
async def gateway_database(database_url: str) -> AsyncIterator[Database]:
    """A database with the gateway's role."""
    settings = DatabaseSettings(url=SecretStr(database_url), pool_size=2)
    opened = Database(settings, application="test", role=GATEWAY_ROLE)
    yield opened
    await opened.aclose()


async def _create_tenant(database: Database, name: str) -> TenantRows:
    async with database.statement() as connection:
        tenant_id = await create_tenant(connection, name)
    assert tenant_id is not None
    alice = TenantRows(database, tenant_id)
    job_id = await alice.queue_job()
    delivery = await alice.add_delivery(DeliveryState.PENDING)
    async with database.statement() as connection:
        for table, values in _rows(name, job_id, delivery.delivery_id):
            named = {"tenant_id": tenant_id} if hasattr(table, "tenant_id") else {}
            await connection.execute(insert(table).values(**named, **values))
    return alice


def _rows(name: str, job_id: int, delivery_id: UUID) -> list[tuple[type[Table], dict[str, object]]]:
    attempt = {"delivery_id": delivery_id, "attempt": 1, "started_at": NOON, "duration_ms": 1}
    key: dict[str, object] = {"name": "k", "digest": name.encode(), "last_four": "wxyz"}
    return [
        (DeliveryAttempt, {**attempt, "answer": ""}),
        (ApiKey, key),
        (WebhookSecret, {"secret": f"secret of {name}"}),
        (UsageEntry, {"job_id": job_id, **AMOUNTS}),
        (UnfoldedUsage, {"job_id": job_id}),
        (DailyUsage, {"day": date(2026, 5, 4), "jobs": 1, **AMOUNTS}),
    ]


@pytest.fixture
async def alice(database: Database) -> TenantRows:
    return await _create_tenant(database, "alice")


@pytest.fixture
async def bob(database: Database, alice: TenantRows) -> TenantRows:
    """The tenant that reads; alice is created before it."""
    assert alice.tenant_id
    return await _create_tenant(database, "bob")
