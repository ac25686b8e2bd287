"""Plans of our statements on tables large enough that a scan would be noticed."""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.database import Database
from tests.integration.repositories.support.tenant_rows import REQUEST, TenantRows

FUNCTION = re.compile(r"infill_(?!virtual_time)\w+")
Call = Callable[[AsyncConnection], Awaitable[object]]

FILL = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost,
    priority, state, result, finished_at, lease_expires_at)
SELECT :tenant_id, gen_random_uuid(), 'queue-' || n % 3, 3, CAST(:request AS jsonb), '{}', false,
    1, n % 7, s,
    CASE s WHEN 'succeeded' THEN '{"engine_seconds": 1}'::jsonb END, now(),
    CASE s WHEN 'running' THEN now() + '1 hour' END
FROM generate_series(1, 6000) AS n,
    LATERAL (SELECT CASE WHEN n % 100 = 0 THEN 'running' WHEN n % 10 = 0 THEN 'queued'
        WHEN n % 4 = 0 THEN 'succeeded' ELSE 'failed' END) AS states(s)
"""
FILL_DELIVERIES = """
INSERT INTO deliveries (job_id, tenant_id, event, url, state, lease_expires_at)
SELECT id, tenant_id, 'job.failed', 'https://caller.test', s,
    CASE s WHEN 'sending' THEN now() + '1 hour' END
FROM jobs, LATERAL (SELECT CASE WHEN id % 100 = 0 THEN 'sending' WHEN id % 10 = 0 THEN 'pending'
        ELSE 'delivered' END) AS states(s)
"""
# So many tenants and origins that reading each would be noticed.
FILL_ORIGINS = """
WITH others AS (
    INSERT INTO tenants (name, plan_id)
    SELECT 'other-' || n, (SELECT min(id) FROM plans) FROM generate_series(1, 3000) AS n
    RETURNING id
), dispatches AS (
    INSERT INTO tenant_dispatches (tenant_id, retries, has_due)
    SELECT id, retries, id % 100 = 0 FROM others, (VALUES (false), (true)) AS kinds (retries)
)
INSERT INTO tenant_origins (tenant_id, origin, first_due_at, retry_due_at)
SELECT id, 'https://host-' || n || '.test', now() + '1 h', now() + '1 h'
FROM others, generate_series(1, 2) AS n
"""
FILL_ATTEMPTS = """
INSERT INTO delivery_attempts (delivery_id, attempt, started_at, duration_ms, answer)
SELECT id, 1, now(), 5, '' FROM deliveries
"""


async def fill(tenant: TenantRows) -> None:
    """Write 6,000 jobs, most of them ended, and for each a delivery with an attempt."""
    values = {"tenant_id": tenant.tenant_id, "request": json.dumps(REQUEST.to_json())}
    async with tenant.database.transaction() as connection:
        await connection.execute(text(FILL), values)
        await connection.execute(text(FILL_DELIVERIES))
        await connection.execute(text(FILL_ATTEMPTS))
        await connection.execute(text(FILL_ORIGINS))
        await connection.execute(text("ANALYZE"))


async def plans(database: Database, url: str, call: Call) -> list[str]:
    """Return the custom and the generic plan of the one statement that `call` executes.

    Postgres may choose the generic one after five executions on a connection.
    """
    statement, parameters = await captured(database, call)
    values = f"({', '.join(map(literal, parameters))})" if parameters else ""
    connection = await asyncpg.connect(url)
    try:
        types, statement = await function_body(connection, statement)
        await connection.execute(f"PREPARE statement{types} AS {statement}")
        found = []
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            rows = await connection.fetch(f"EXPLAIN EXECUTE statement{values}")
            found.append("\n".join(row[0] for row in rows))
        return found
    finally:
        await connection.close()


async def function_body(connection: "asyncpg.Connection[Any]", statement: str) -> tuple[str, str]:
    """Return the body of the SQL function that is called, with its parameter types; or the call."""
    called = FUNCTION.search(statement)
    if called is None:
        return "", statement
    row = await connection.fetchrow(
        "SELECT oidvectortypes(proargtypes), prosrc FROM pg_proc WHERE proname = $1", called[0]
    )
    assert row is not None
    return f"({row[0]})", row[1]


async def captured(database: Database, call: Call) -> tuple[str, Sequence[object]]:
    """Return the one statement that `call` executes, as sent to Postgres, and its parameters."""
    executed: list[tuple[str, Sequence[object]]] = []

    def listener(*event_values: object) -> None:
        statement, parameters = event_values[2:4]
        assert isinstance(statement, str)
        assert isinstance(parameters, tuple)
        executed.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", listener)
    try:
        async with database.statement() as connection:
            await call(connection)
    finally:
        event.remove(engine, "before_cursor_execute", listener)
    (only,) = executed
    return only


def literal(value: object) -> str:
    """Return a parameter as an SQL literal."""
    if isinstance(value, list | tuple):
        # Without a type: it takes the type of the parameter.
        return "'{" + ", ".join(map(str, value)) + "}'"
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, int | float) else f"'{value}'"
