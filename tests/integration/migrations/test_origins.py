"""Deliveries that waited when the lines came stand in them."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import orjson
import pytest
from pydantic import SecretStr

from common.postgres.database import Database
from common.postgres.repositories.deliveries.claim import claim_deliveries
from common.postgres.repositories.deliveries.origins import mark_due_dispatches
from common.settings import DatabaseSettings
from deploy.cli.migrate import upgrade
from tests.conftest import Servers
from tests.support.jobs import REQUEST

BEFORE = "0007"
FILL = """
WITH tenant AS (
    INSERT INTO tenants (name, plan_id) SELECT 'alice', id FROM plans RETURNING id
), made AS (
    INSERT INTO jobs (tenant_id, file_prefix, queue, state, max_attempts, request, inputs, base64,
        cost, webhook_url)
    SELECT id, gen_random_uuid(), 'q', 'failed', 3, $1, '{}', false, 1,
        'https://Caller.test:443/' || state
    FROM tenant, unnest(ARRAY['pending', 'sending', 'delivered']) AS state
    RETURNING id, tenant_id, webhook_url, split_part(webhook_url, '/', 4) AS state
)
INSERT INTO deliveries (job_id, tenant_id, event, url, state, lease_expires_at)
SELECT id, tenant_id, 'job.failed', webhook_url, state,
    CASE state WHEN 'sending' THEN now() END
FROM made
"""


@pytest.fixture
async def before(servers: Servers) -> AsyncIterator[str]:
    """The address of a database as the release before left it, with three deliveries."""
    name = f"before_{uuid4().hex}"
    await servers.postgres.ensure_database(name)
    url = servers.postgres.url(name)
    await upgrade(url, BEFORE)
    connection = await asyncpg.connect(url)
    await connection.execute(FILL, orjson.dumps(REQUEST.to_json()).decode())
    await connection.close()
    yield url
    admin = await asyncpg.connect(servers.postgres.url("postgres"))
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


async def test_what_waits_is_found_and_what_is_sent_is_counted(before: str) -> None:
    await upgrade(before)
    database = Database(DatabaseSettings(url=SecretStr(before)), application="test")
    async with database.statement() as connection:
        await mark_due_dispatches(connection)
        due = await claim_deliveries(
            connection,
            dispatcher="d",
            limit=10,
            lease_seconds=60,
            per_origin=2,
            retries=False,
        )
        lines = await connection.exec_driver_sql("SELECT origin, sending FROM tenant_origins")
        assert [tuple(line) for line in lines] == [("https://caller.test", 2)]
    await database.aclose()
    assert [taken.url for taken in due.taken] == ["https://Caller.test:443/pending"]
